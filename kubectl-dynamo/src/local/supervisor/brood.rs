//! Children and what becomes of them: starting each in a group of its own, learning of every end, ending all.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, set_child_subreaper, wait};
use tokio::sync::mpsc;

use crate::local::identity;

/// How long processes may take to end by themselves: Dynamo lets running requests finish first.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the kernel may take to end what was killed.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// The children of this process.
pub(super) struct Brood {
    /// `NAME=value` in the environment of each child and of all they start.
    marker: (&'static str, String),
    pids: Vec<i32>,
    ends: Option<mpsc::UnboundedReceiver<(i32, ExitStatus)>>,
}

impl Brood {
    /// An empty brood; this process becomes the parent of every descendant whose own parent ends.
    pub(super) fn new(marker: (&'static str, String)) -> Self {
        // Refused only by kernels before 3.4; descendants that leave their group are then found by the marker.
        let _ = set_child_subreaper(Some(rustix::process::getpid()));
        Self { marker, pids: Vec::new(), ends: None }
    }

    /// Starts a child in a process group of its own.
    pub(super) fn start(&mut self, command: &mut Command) -> std::io::Result<u32> {
        let child = command.env(self.marker.0, &self.marker.1).process_group(0).spawn()?;
        self.pids.push(Pid::from_child(&child).as_raw_nonzero().get());
        Ok(child.id())
    }

    /// The next child that ended; none when no descendant is left. Nothing may be started after the first call.
    pub(super) async fn next_end(&mut self) -> Option<(u32, ExitStatus)> {
        let ends = self.ends.get_or_insert_with(reap);
        loop {
            let (pid, status) = ends.recv().await?;
            if let Some(at) = self.pids.iter().position(|known| *known == pid) {
                self.pids.remove(at);
                return Some((pid.unsigned_abs(), status));
            }
        }
    }

    /// Ends every child and all they started: first asked, then killed. Returns when none is left.
    pub(super) async fn end(&mut self) {
        for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, AFTER_KILL)] {
            self.signal(signal);
            let all_gone = async { while self.next_end().await.is_some() {} };
            if tokio::time::timeout(patience, all_gone).await.is_ok() {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let marked = identity::started_with(&format!("{}={}", self.marker.0, self.marker.1));
        for pid in self.pids.iter().chain(&marked) {
            identity::signal(*pid, signal);
        }
    }
}

/// Waits for every descendant on a thread of its own, until none is left.
fn reap() -> mpsc::UnboundedReceiver<(i32, ExitStatus)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => {
                    let status = ExitStatus::from_raw(status.as_raw());
                    let _ = sender.send((pid.as_raw_nonzero().get(), status));
                }
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

/// An exit status in words: `exit code 1`, `signal 9`.
pub(super) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".into(),
    }
}
