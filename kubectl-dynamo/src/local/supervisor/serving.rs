//! The supervisor of a deployment: starts what the launch file lists, records it, tells its parent what ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};

use super::Notice;
use super::brood::{Brood, in_words};
use super::guarded::parent_gone;
use crate::local::error::LocalError;
use crate::local::processes::Process;
use crate::local::state::{self, Running, RunningProcess};

/// Serves what `folder` describes until told to end, until nothing is left, or until the parent is gone.
/// With `keep` the parent may go. Returns whether every process ended because it was asked to.
///
/// # Errors
/// A state folder that cannot be read or written.
pub async fn serve(folder: &Path, keep: bool) -> Result<bool, LocalError> {
    // A session of its own: Ctrl-C in the terminal reaches the parent, which then asks.
    let _ = rustix::process::setsid();
    let launch = state::read_launch(folder)?;
    let mut told = told_to_end().map_err(LocalError::file("watch signals for", folder))?;
    let mut brood = Brood::new(state::marker(folder));
    let mut running = Running::new();
    for process in &launch {
        match start(process, folder, &mut brood) {
            Ok(pid) => running.processes.push(RunningProcess::new(process, pid)),
            Err(error) => {
                tell(&Notice::NotStarted { process: process.name.clone(), reason: error.to_string() });
                brood.end().await;
                return Ok(false);
            }
        }
    }
    state::write_running(folder, &running)?;
    tell(&Notice::Started);
    let gone = parent_gone();
    tokio::pin!(gone);
    loop {
        tokio::select! {
            ended = brood.next_end() => match ended {
                Some((pid, status)) => {
                    let how = in_words(status);
                    if let Some(process) = running.ended(pid, &how) {
                        tell(&Notice::Ended { process, how });
                    }
                    // After `down` the folder is gone, and there is nobody to read it.
                    let _ = state::write_running(folder, &running);
                }
                None => return Ok(false),
            },
            () = &mut gone, if !keep => break,
            _ = told.recv() => break,
        }
    }
    tell(&Notice::Ending);
    brood.end().await;
    Ok(true)
}

fn start(process: &Process, folder: &Path, brood: &mut Brood) -> std::io::Result<u32> {
    let log = OpenOptions::new().create(true).append(true).open(state::log_file(folder, &process.name))?;
    let mut command = Command::new(&process.program);
    command.args(&process.args);
    for name in &process.without_environment {
        command.env_remove(name);
    }
    command.envs(process.environment.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = &process.working_directory {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    brood.start(&mut command)
}

/// A parent that no longer reads is nobody's reason to fail.
fn tell(notice: &Notice) {
    if let Ok(line) = serde_json::to_string(notice) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Receives once for each signal that means "end".
fn told_to_end() -> std::io::Result<tokio::sync::mpsc::UnboundedReceiver<()>> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(()).is_ok() {} });
    }
    Ok(receiver)
}
