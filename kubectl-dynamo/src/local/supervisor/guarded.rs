//! One command that must not outlive who asked for it, such as an installation.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use super::brood::{Brood, in_words};
use super::{RUN, VERB};
use crate::error::Exit;

/// How much of a refused command's output is kept.
const TAIL_LINES: usize = 12;
const LINE_LENGTH: usize = 200;

const MARKER: &str = "KUBECTL_DYNAMO_GUARD";

/// The supervisor's side: runs the command until it ends or stdin closes. Says the command's own exit code.
pub async fn run(command: &[OsString]) -> u8 {
    let Some((program, args)) = command.split_first() else { return Exit::Usage as u8 };
    let _ = rustix::process::setsid();
    let mut brood = Brood::new((MARKER, std::process::id().to_string()));
    if let Err(error) = brood.start(Command::new(program).args(args).stdin(Stdio::null())) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "{}: {error}", program.display());
        return Exit::Failed as u8;
    }
    let status = tokio::select! {
        ended = brood.next_end() => ended.map(|(_, status)| status),
        () = parent_gone() => None,
    };
    brood.end().await;
    status.and_then(|status| u8::try_from(status.code()?).ok()).unwrap_or(Exit::Failed as u8)
}

/// Returns when the parent has closed this process's stdin, as its death does. To be called once.
pub(super) async fn parent_gone() {
    let (sender, closed) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(sender);
    });
    let _ = closed.await;
}

/// A guarded command that did not work.
pub(in crate::local) struct Refused {
    pub(in crate::local) status: String,
    /// Its last lines.
    pub(in crate::local) tail: String,
}

/// The parent's side: runs a command under a supervisor and hands each line of its stdout to `line`.
/// Dropping the future ends the command.
pub(in crate::local) async fn output(
    supervisor: &Path,
    command: &[&std::ffi::OsStr],
    without: &[&str],
    mut line: impl FnMut(&str),
) -> Result<(), Refused> {
    let refused = |error: std::io::Error| Refused { status: "not started".into(), tail: error.to_string() };
    let mut starting = tokio::process::Command::new(supervisor);
    starting.arg(VERB).arg(RUN).arg("--").args(command);
    for name in without {
        starting.env_remove(name);
    }
    starting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = starting.spawn().map_err(refused)?;
    // Held until the end of this function: closing it is what ends the command.
    let _held = child.stdin.take();
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text).await;
        text
    });
    let mut said = Vec::new();
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        line(&text);
        said.push(text);
    }
    let status = child.wait().await.map_err(refused)?;
    if status.success() {
        return Ok(());
    }
    said.extend(errors.await.unwrap_or_default().lines().map(ToOwned::to_owned));
    let last = said.split_off(said.len().saturating_sub(TAIL_LINES));
    let tail = last.iter().map(|line| shortened(line)).collect::<Vec<_>>().join("\n");
    Err(Refused { status: in_words(status), tail })
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
