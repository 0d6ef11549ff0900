//! The child processes of a supervisor: starts each in a separate process group, reports exits, and stops
//! all. It does not know what the processes are for.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::sync::mpsc;

use super::subreaper;
use crate::local::pid;

/// Time between SIGTERM and SIGKILL: Dynamo finishes running requests first.
const TERM_TIMEOUT: Duration = Duration::from_secs(8);
/// How long to wait after SIGKILL.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// The child processes of this process.
pub(super) struct ProcessGroup {
    /// Name and value of a variable in the environment of each child and its descendants.
    env_marker: (&'static str, String),
    pids: Vec<i32>,
    exits: Option<mpsc::UnboundedReceiver<(i32, ExitStatus)>>,
}

impl ProcessGroup {
    /// An empty group. This process becomes the parent of every descendant whose own parent exits.
    pub(super) fn new(env_marker: (&'static str, String)) -> Self {
        subreaper::become_subreaper();
        Self { env_marker, pids: Vec::new(), exits: None }
    }

    /// Starts a child in a separate process group and returns its process ID.
    pub(super) fn start(&mut self, command: &mut Command) -> std::io::Result<u32> {
        let child = command.env(self.env_marker.0, &self.env_marker.1).process_group(0).spawn()?;
        self.pids.push(Pid::from_child(&child).as_raw_nonzero().get());
        Ok(child.id())
    }

    /// Waits for the next child to exit; `None` if no descendant is left. Do not start a child after the
    /// first call.
    pub(super) async fn next_exit(&mut self) -> Option<(u32, ExitStatus)> {
        let exits = self.exits.get_or_insert_with(reap);
        loop {
            let (pid, status) = exits.recv().await?;
            if let Some(index) = self.pids.iter().position(|child_pid| *child_pid == pid) {
                self.pids.remove(index);
                return Some((pid.unsigned_abs(), status));
            }
        }
    }

    /// Sends the signal of Ctrl-C to the children, which then end. Their descendants do not get it.
    pub(super) fn interrupt(&self) {
        for pid in self.pids.iter().copied().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
    }

    /// Stops all children and their descendants, with SIGTERM and then SIGKILL. Returns when none is left.
    pub(super) async fn stop(&mut self) {
        for (signal, timeout) in [(Signal::TERM, TERM_TIMEOUT), (Signal::KILL, KILL_TIMEOUT)] {
            self.signal(signal);
            let all_exited = async { while self.next_exit().await.is_some() {} };
            if tokio::time::timeout(timeout, all_exited).await.is_ok() {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let marked_pids = pid::pids_with_variable(&format!("{}={}", self.env_marker.0, self.env_marker.1));
        for pid in self.pids.iter().chain(&marked_pids) {
            pid::send_signal(*pid, signal);
        }
    }
}

/// Waits for all descendants on a separate thread, until none is left.
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

/// An exit status as text: `exit code 1`, `signal 9`.
pub(super) fn exit_status_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".into(),
    }
}
