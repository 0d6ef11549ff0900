//! A serving plan as processes of this machine: the runtime they need, the model they read, the processes
//! themselves and what is known about them afterwards.
//!
//! It knows no cluster, shows nothing and reads no environment: [`Folders`] says where it may write, and what
//! happens is told to an observer as [`Progress`].

mod error;
pub mod folders;
pub mod gpus;
mod identity;
pub mod launch;
pub mod logs;
pub mod model;
pub mod processes;
mod python;
pub mod readiness;
pub mod runtime;
pub mod state;
pub mod supervisor;
pub mod tiny_model;

pub use error::LocalError;
pub use folders::Folders;

/// What a watcher of a local start may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The runtime is being installed; `waits_for` says what for now.
    Runtime { waits_for: String },
    /// The model's files are being fetched.
    ModelFetch { done: u64, total: u64, bytes_per_second: u64, note: String },
    /// The fetch waits or says something in words.
    ModelFetchWaits { waits_for: String },
    /// The processes are started, and this is missing until the deployment can be asked.
    Ready { waits_for: String },
    /// Something to know that stops nothing.
    Warning { text: String },
}

/// Takes progress from any thread.
pub type Observer<'a> = &'a (dyn Fn(Progress) + Send + Sync);
