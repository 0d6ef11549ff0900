//! The commands with `--local`: the same options and output, for deployments that run as processes on this
//! machine. Process management is in `crate::local`.

mod down;
mod endpoint;
mod logs;
mod status;
mod supervise;

pub(super) use down::{down, down_all};
pub(super) use endpoint::{LocalEndpoint, endpoint};
pub(super) use logs::{LocalLogsOptions, logs};
pub(super) use status::{list, status};
pub(super) use supervise::{SuperviseArgs, run as supervise};
