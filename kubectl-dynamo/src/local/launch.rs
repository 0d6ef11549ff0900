//! The parent's side of a supervised deployment.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::LocalError;
use super::supervisor::{KEEP, Notice, SERVE, VERB};

/// Whether what is started outlives this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Everything ends with this process, however it ends.
    Tied,
    /// Everything serves on until `down`.
    Kept,
}

/// A deployment under a supervisor of its own.
pub struct Launched {
    supervisor: Child,
    /// Closing it ends a tied deployment.
    held: Option<ChildStdin>,
    notices: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Launched {
    /// Starts a supervisor for what `folder` describes. `program` is this program.
    ///
    /// # Errors
    /// A program that cannot be started again.
    pub fn start(program: &Path, folder: &Path, lifetime: Lifetime) -> Result<Self, LocalError> {
        let log = folder.join("supervisor.log");
        let log = std::fs::File::create(&log).map_err(LocalError::file("write", &log))?;
        let (word, stdin) = match lifetime {
            Lifetime::Tied => (SERVE, Stdio::piped()),
            Lifetime::Kept => (KEEP, Stdio::null()),
        };
        let mut supervisor = Command::new(program)
            .args([VERB, word])
            .arg(folder)
            .current_dir(folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(LocalError::file("start", program))?;
        let held = supervisor.stdin.take();
        let stdout = supervisor.stdout.take().expect("stdout is piped");
        Ok(Self { supervisor, held, notices: BufReader::new(stdout).lines(), folder: folder.to_owned() })
    }

    /// What the supervisor tells next; none when it is gone.
    pub async fn next_notice(&mut self) -> Option<Notice> {
        while let Ok(Some(line)) = self.notices.next_line().await {
            if let Ok(notice) = serde_json::from_str(&line) {
                return Some(notice);
            }
        }
        None
    }

    /// Ends everything; returns when all processes are gone.
    pub async fn end(mut self) {
        drop(self.held.take());
        let pid = self.supervisor.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.supervisor.wait().await;
        // A supervisor that was killed has ended nothing.
        super::state::end_leftovers(&self.folder).await;
    }
}
