//! The verbs with `--local`: the same words, for processes of this machine.

mod look;
mod machine;
mod supervise;
mod up;
mod watch;

pub(super) use look::{down, list, logs, serving, status};
pub(super) use machine::folders;
pub(super) use supervise::{SuperviseArgs, run as supervise};
pub(super) use up::run as up;
