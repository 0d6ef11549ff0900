//! The supervisor of a deployment: starts the processes of the launch file, records them, and reports exits.
//! It does not restart a process.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};

use super::process_group::{ProcessGroup, exit_status_text};
use super::tied_command::parent_exited;
use super::{Lifetime, SupervisorEvent};
use crate::local::error::LocalError;
use crate::local::processes::Process;
use crate::local::state::{self, RunRecord, RunningProcess};

/// Runs the deployment in `folder` until a signal arrives, all processes have exited, or the parent exits.
/// The exit of the parent of a detached deployment is ignored. Returns whether the processes were stopped on request.
///
/// # Errors
/// The state folder cannot be read or written.
pub async fn serve(folder: &Path, lifetime: Lifetime) -> Result<bool, LocalError> {
    // A new session, so that Ctrl-C in the terminal only reaches the parent, which then stops the supervisor.
    let _ = rustix::process::setsid();
    let launch = state::read_launch(folder)?;
    let mut stop_signals = stop_signals().map_err(LocalError::file("watch signals for", folder))?;
    let mut group = ProcessGroup::new(state::env_marker(folder));
    let mut running = RunRecord::new();
    for process in &launch {
        match start(process, folder, &mut group) {
            Ok(pid) => running.processes.push(RunningProcess::new(process, pid)),
            Err(error) => {
                report_event(&SupervisorEvent::StartFailed {
                    process: process.name.clone(),
                    reason: error.to_string(),
                });
                group.stop().await;
                return Ok(false);
            }
        }
    }
    state::write_running(folder, &running)?;
    report_event(&SupervisorEvent::Started);
    let parent_exit = parent_exited();
    tokio::pin!(parent_exit);
    loop {
        tokio::select! {
            ended = group.next_exit() => match ended {
                Some((pid, status)) => {
                    let exit_status = exit_status_text(status);
                    if let Some(process) = running.record_exit(pid, &exit_status) {
                        report_event(&SupervisorEvent::ProcessExited { process, exit_status });
                    }
                    // After `down` the folder does not exist anymore, so an error is ignored.
                    let _ = state::write_running(folder, &running);
                }
                None => return Ok(false),
            },
            () = &mut parent_exit, if lifetime == Lifetime::Foreground => break,
            _ = stop_signals.recv() => break,
        }
    }
    report_event(&SupervisorEvent::Stopping);
    group.stop().await;
    Ok(true)
}

fn start(process: &Process, folder: &Path, group: &mut ProcessGroup) -> std::io::Result<u32> {
    let log = OpenOptions::new().create(true).append(true).open(state::log_file(folder, &process.name))?;
    let mut command = Command::new(&process.program);
    command.args(&process.args);
    for name in &process.removed_environment {
        command.env_remove(name);
    }
    command.envs(process.environment.iter().map(|(name, value)| (name, value)));
    if let Some(folder) = &process.working_directory {
        command.current_dir(folder);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    group.start(&mut command)
}

/// Reports an event to the parent. A closed stdout is ignored.
fn report_event(event: &SupervisorEvent) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Receives one message for each signal that asks the supervisor to stop.
fn stop_signals() -> std::io::Result<tokio::sync::mpsc::UnboundedReceiver<()>> {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while signals.recv().await.is_some() && sender.send(()).is_ok() {} });
    }
    Ok(receiver)
}
