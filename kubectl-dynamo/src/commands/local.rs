//! The verbs with `--local`: the same words, for processes of this machine.

mod down;
mod find;
mod logs;
mod look;
mod machine;
mod screen;
mod supervise;
mod up;
mod watch;
mod wish;

pub(super) use down::down;
pub(super) use find::serving;
pub(super) use logs::logs;
pub(super) use look::{list, status};
pub(super) use machine::{fetch_options, folders};
pub(super) use supervise::{SuperviseArgs, run as supervise};
pub(super) use up::run as up;
