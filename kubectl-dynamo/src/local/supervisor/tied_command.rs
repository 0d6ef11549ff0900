//! Runs one command, such as an installation, that must stop when this program exits.
//! One part runs in the supervisor, the other in its parent.

use std::ffi::OsString;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};

use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::process_group::{ProcessGroup, exit_status_text};
use super::{RUN_SUBCOMMAND, SUPERVISE_VERB};
use kubectl_dynamo_core::error::Exit;

/// How much of the output of a failed command is reported: number of lines and characters per line.
const TAIL_LINES: usize = 12;
const LINE_LENGTH: usize = 200;

const MARKER: &str = "KUBECTL_DYNAMO_GUARD";

/// In the supervisor: runs the command until it exits or stdin is closed. Returns the exit code of the
/// command.
pub async fn run_tied_to_parent(command: &[OsString]) -> u8 {
    let Some((program, args)) = command.split_first() else { return Exit::Usage as u8 };
    let _ = rustix::process::setsid();
    let mut group = ProcessGroup::new((MARKER, std::process::id().to_string()));
    if let Err(error) = group.start(Command::new(program).args(args).stdin(Stdio::null())) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "{}: {error}", program.display());
        return Exit::Failed as u8;
    }
    // Without the signal, the command can only be stopped.
    let mut interrupts = signal(SignalKind::interrupt()).ok();
    let parent_exit = parent_exited();
    tokio::pin!(parent_exit);
    let status = loop {
        tokio::select! {
            ended = group.next_exit() => break ended.map(|(_, status)| status),
            () = &mut parent_exit => break None,
            () = next_signal(interrupts.as_mut()) => group.interrupt(),
        }
    };
    group.stop().await;
    status.and_then(|status| u8::try_from(status.code()?).ok()).unwrap_or(Exit::Failed as u8)
}

async fn next_signal(signals: Option<&mut Signal>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns when the parent has closed this process's stdin, which also happens when it exits. Call it only
/// once.
pub(super) async fn parent_exited() {
    let (sender, closed) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(sender);
    });
    let _ = closed.await;
}

/// A command that failed.
pub(in crate::local) struct CommandFailure {
    pub(in crate::local) status: String,
    /// The last lines of its output.
    pub(in crate::local) tail: String,
}

/// In the parent: runs a command under a supervisor and calls `on_line` for each line of its stdout.
/// When `interrupt` completes, the command gets the signal of Ctrl-C once. Dropping the future stops the command.
pub(in crate::local) async fn output_tied_to_parent(
    supervisor: &Path,
    command: &[&std::ffi::OsStr],
    removed_environment: &[&str],
    mut on_line: impl FnMut(&str),
    interrupt: impl Future<Output = ()>,
) -> Result<(), CommandFailure> {
    let start_error =
        |error: std::io::Error| CommandFailure { status: "not started".into(), tail: error.to_string() };
    let mut supervisor_command = tokio::process::Command::new(supervisor);
    supervisor_command.arg(SUPERVISE_VERB).arg(RUN_SUBCOMMAND).arg("--").args(command);
    for name in removed_environment {
        supervisor_command.env_remove(name);
    }
    supervisor_command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = supervisor_command.spawn().map_err(start_error)?;
    // Keep stdin open until the end of this function: closing it stops the command.
    let _stdin = child.stdin.take();
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text).await;
        text
    });
    let mut output_lines = Vec::new();
    let mut lines = BufReader::new(stdout).lines();
    let mut interrupt = pin!(interrupt.fuse());
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Ok(Some(text)) = line else { break };
                on_line(&text);
                output_lines.push(text);
            }
            () = &mut interrupt => send_interrupt(&child),
        }
    }
    let status = child.wait().await.map_err(start_error)?;
    if status.success() {
        return Ok(());
    }
    output_lines.extend(errors.await.unwrap_or_default().lines().map(ToOwned::to_owned));
    let last_lines = output_lines.split_off(output_lines.len().saturating_sub(TAIL_LINES));
    let tail = last_lines.iter().map(|on_line| truncate(on_line)).collect::<Vec<_>>().join("\n");
    Err(CommandFailure { status: exit_status_text(status), tail })
}

fn send_interrupt(supervisor: &tokio::process::Child) {
    let pid =
        supervisor.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    }
}

fn truncate(line: &str) -> String {
    match line.char_indices().nth(LINE_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
