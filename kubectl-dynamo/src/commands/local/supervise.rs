//! The hidden verb under which this program becomes a supervisor. People never type it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::local::supervisor;

/// Look after processes (used by this program itself)
#[derive(Args)]
#[command(hide = true)]
pub(in crate::commands) struct SuperviseArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// End what FOLDER describes when stdin closes
    Serve { folder: PathBuf },
    /// Keep what FOLDER describes until told to end
    Keep { folder: PathBuf },
    /// Run one command that ends when stdin closes
    Run {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

/// Supervises until everything has ended.
pub(in crate::commands) async fn run(args: SuperviseArgs) -> Result<Exit> {
    let (folder, keep) = match args.task {
        Task::Serve { folder } => (folder, false),
        Task::Keep { folder } => (folder, true),
        // The command's own code is the answer to whoever asked, and it may be any.
        Task::Run { command } => std::process::exit(supervisor::run_guarded(&command).await.into()),
    };
    let as_told = supervisor::serve(&folder, keep).await?;
    Ok(if as_told { Exit::Ok } else { Exit::Failed })
}
