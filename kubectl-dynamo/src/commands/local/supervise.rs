//! The hidden command that runs this program as a supervisor of local processes. Users do not call it. The
//! supervisor itself is in `crate::local`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::local::supervisor::{self, Lifetime};
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(in crate::commands) struct SuperviseArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the processes described in FOLDER and stop them when stdin closes
    Serve { folder: PathBuf },
    /// Run the processes described in FOLDER until a signal stops them
    #[command(name = "keep")]
    Detached { folder: PathBuf },
    /// Run one command and stop it when stdin closes
    Run {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

/// Runs the supervisor until all its processes have exited.
pub(in crate::commands) async fn run(args: SuperviseArgs) -> Result<Exit> {
    let (folder, lifetime) = match args.task {
        Task::Serve { folder } => (folder, Lifetime::Foreground),
        Task::Detached { folder } => (folder, Lifetime::Detached),
        // The caller needs the exit code of the command itself, whatever it is.
        Task::Run { command } => std::process::exit(supervisor::run_tied_to_parent(&command).await.into()),
    };
    let stopped_on_request = supervisor::serve(&folder, lifetime).await?;
    Ok(if stopped_on_request { Exit::Ok } else { Exit::Failed })
}
