//! The process between this program and what it starts: it ends everything it started when its parent is gone,
//! even by kill -9, or when it is told to.
//!
//! It is this same program, started again. The parent holds the writing end of its stdin; as the subreaper of
//! all its descendants it outlives none of them and loses none.

mod brood;
mod guarded;
mod serving;

pub(super) use guarded::output as guarded_output;
pub use guarded::run as run_guarded;
pub use serving::serve;

use serde::{Deserialize, Serialize};

/// The hidden verb under which the program becomes a supervisor.
pub const VERB: &str = "__supervise";

/// Its word for serving a deployment: `__supervise serve FOLDER`.
pub const SERVE: &str = "serve";

/// Its word for serving on after the parent's end: `__supervise keep FOLDER`.
pub const KEEP: &str = "keep";

/// Its word for one command that must not outlive its parent: `__supervise run PROGRAM ARGUMENTS`.
pub const RUN: &str = "run";

/// What a supervisor tells its parent, one JSON object a line on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// Every process is started and recorded.
    Started,
    /// A process could not be started; the others are ended.
    NotStarted { process: String, reason: String },
    /// A process ended by itself.
    Ended { process: String, how: String },
    /// It was told to end, and everything ends now.
    Ending,
}
