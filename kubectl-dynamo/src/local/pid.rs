//! Identifies processes by ID, start time, and boot, because the kernel reuses process IDs.
//! It finds processes by environment variable and sends signals to them. It reads `/proc`, and finds no process on an
//! operating system without it, where no verb starts one.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// A process, identified unambiguously across reused IDs and reboots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessId {
    pub pid: i32,
    /// Start time in clock ticks since boot.
    start_ticks: u64,
    boot: String,
}

impl ProcessId {
    /// The process that currently has this ID; `None` if there is none.
    pub(super) fn from_pid(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, start_ticks: start_ticks(pid)?, boot: boot_id() })
    }

    /// Whether this process is still running. A zombie is not.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == boot_id() && start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Sends a signal to the process, if it is still running.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// The IDs of all processes, except this one, that were started with `variable` (`NAME=value`) in their
/// environment. Process groups and parents can change; the initial environment cannot.
pub(super) fn pids_with_variable(variable: &str) -> Vec<i32> {
    let own_pid = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(own_pid) && has_variable(*pid, variable.as_bytes()))
        .collect()
}

/// Sends a signal to a process and, if it is a group leader, to its process group.
pub(super) fn send_signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, signal);
        let _ = kill_process(pid, signal);
    }
}

fn has_variable(pid: i32, variable: &[u8]) -> bool {
    // The environment of a zombie is empty, so exited processes are not counted.
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable))
}

/// Field 22 of `/proc/PID/stat`. The second field is the name in parentheses, which may contain any
/// character.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> String {
    std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"))
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn process_id_requires_matching_start_time_and_boot() {
        let own = ProcessId::from_pid(std::process::id()).expect("this process is running");
        assert!(own.is_alive());
        assert!(!ProcessId { start_ticks: own.start_ticks + 1, ..own.clone() }.is_alive());
        assert!(!ProcessId { boot: "another".into(), ..own }.is_alive());
    }

    #[test]
    fn finds_child_by_environment_variable() {
        let value = format!("of-{}", std::process::id());
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .env("A_TEST", &value)
            .spawn()
            .expect("sleep starts");
        // Until it executes `sleep`, the child has the environment of this process.
        let variable = format!("A_TEST={value}");
        while pids_with_variable(&variable).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(pids_with_variable(&variable), [i32::try_from(child.id()).expect("a process ID fits")]);
        child.kill().expect("the child is running");
        child.wait().expect("the child exits");
        assert_eq!(pids_with_variable(&variable), [0; 0]);
    }
}
