//! Runs a serving plan as processes on this machine: the Dynamo runtime, the model, the processes, and their
//! state.
//!
//! It does not use a cluster, does not print, and does not read environment variables. [`Folders`] defines
//! where it writes. It reports progress to an observer as [`LocalEvent`].

pub mod aiperf;
mod error;
mod feature;
pub mod folders;
pub mod gpus;
pub mod launch;
pub mod logs;
pub mod model;
mod pid;
pub mod predictor;
pub mod processes;
mod python;
mod python_environment;
pub mod readiness;
pub mod runtime;
pub mod state;
pub mod supervisor;
pub mod tiny_model;

pub use error::LocalError;
pub(crate) use error::local_command;
pub use feature::LocalFeature;
pub use folders::Folders;

/// Progress of starting a local deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalEvent {
    /// The runtime is being installed; `waits_for` is the current step.
    Runtime { waits_for: String },
    /// The model is being fetched; sizes are in bytes.
    ModelFetch { done: u64, total: u64, bytes_per_second: u64, note: String },
    /// The fetch waits for something.
    ModelFetchWaiting { waits_for: String },
    /// The processes have started, and `waits_for` is missing until the deployment accepts requests.
    Starting { waits_for: String },
    /// A warning; the start continues.
    Warning { text: String },
}

/// A callback for progress, called from any thread.
pub type LocalObserver<'a> = &'a (dyn Fn(LocalEvent) + Send + Sync);
