//! The supervisor: a second instance of this program that starts and stops the processes of a local
//! deployment.
//!
//! It stops all of them on SIGTERM, and when its parent exits, even after `kill -9`: the parent holds the
//! write end of the supervisor's stdin. As the subreaper it becomes the parent of all descendants, so it can
//! wait for each of them.

mod process_group;
mod serving;
mod subreaper;
mod tied_command;

pub use serving::serve;
pub use tied_command::run_tied_to_parent;
pub(super) use tied_command::{CommandFailure, output_tied_to_parent};

use serde::{Deserialize, Serialize};

/// Whether the deployment continues to run after the command that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The deployment stops when that command exits, for any reason.
    Foreground,
    /// The deployment runs until `down`.
    Detached,
}

/// The hidden verb that runs this program as a supervisor.
pub const SUPERVISE_VERB: &str = "__supervise";

/// Subcommand that serves a deployment until the parent exits: `__supervise serve FOLDER`.
pub const SERVE_SUBCOMMAND: &str = "serve";

/// Subcommand that serves a deployment also after the parent exits: `__supervise keep FOLDER`.
pub const DETACHED_SUBCOMMAND: &str = "keep";

/// Subcommand for one command that must not outlive the parent: `__supervise run PROGRAM ARGUMENTS`.
pub const RUN_SUBCOMMAND: &str = "run";

/// An event that a supervisor reports to its parent, as one JSON object per line on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SupervisorEvent {
    /// Every process was started and recorded.
    Started,
    /// A process could not be started; the others were stopped.
    StartFailed { process: String, reason: String },
    /// A process exited unexpectedly.
    ProcessExited { process: String, exit_status: String },
    /// The supervisor was asked to stop and is stopping all processes.
    Stopping,
}
