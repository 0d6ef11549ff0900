//! Starts the supervisor of a local deployment and receives its events.
//! This runs in the parent of the supervisor.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::LocalError;
use super::supervisor::{DETACHED_SUBCOMMAND, Lifetime, SERVE_SUBCOMMAND, SUPERVISE_VERB, SupervisorEvent};

/// A running supervisor and its event stream.
pub struct SupervisorHandle {
    supervisor: Child,
    /// Closing it stops a foreground deployment.
    stdin: Option<ChildStdin>,
    events: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl SupervisorHandle {
    /// Starts a supervisor for the deployment in `folder`. `program` is the path of this program.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(program: &Path, folder: &Path, lifetime: Lifetime) -> Result<Self, LocalError> {
        let log = folder.join("supervisor.log");
        let log = std::fs::File::create(&log).map_err(LocalError::file("write", &log))?;
        let (subcommand, stdin) = match lifetime {
            Lifetime::Foreground => (SERVE_SUBCOMMAND, Stdio::piped()),
            Lifetime::Detached => (DETACHED_SUBCOMMAND, Stdio::null()),
        };
        let mut supervisor = Command::new(program)
            .args([SUPERVISE_VERB, subcommand])
            .arg(folder)
            .current_dir(folder)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(LocalError::file("start", program))?;
        let supervisor_stdin = supervisor.stdin.take();
        let stdout = supervisor.stdout.take().expect("stdout is piped");
        Ok(Self {
            supervisor,
            stdin: supervisor_stdin,
            events: BufReader::new(stdout).lines(),
            folder: folder.to_owned(),
        })
    }

    /// The next event of the supervisor; `None` if it has exited.
    pub async fn next_event(&mut self) -> Option<SupervisorEvent> {
        while let Ok(Some(line)) = self.events.next_line().await {
            if let Ok(event) = serde_json::from_str(&line) {
                return Some(event);
            }
        }
        None
    }

    /// Stops the deployment and returns when all processes have exited.
    pub async fn stop(mut self) {
        drop(self.stdin.take());
        let pid = self.supervisor.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
        let _ = self.supervisor.wait().await;
        // A supervisor that was killed has not stopped its processes.
        super::state::kill_orphans(&self.folder).await;
    }
}
