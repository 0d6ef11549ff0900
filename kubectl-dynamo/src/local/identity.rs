//! Which process is meant: a process id alone may belong to another by now, so its start time stands beside it.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// A process of this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub pid: i32,
    /// Clock ticks between boot and its start.
    start_ticks: u64,
    boot: String,
}

impl Identity {
    /// The process with this id now; none when there is no such process.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, start_ticks: start_ticks(pid)?, boot: boot_id() })
    }

    /// Whether that very process still runs. A zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        self.boot == boot_id() && start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Sends a signal to the process, if it still is the one.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Every process whose environment was started with `variable` (as `NAME=value`), except this one.
/// Groups and parents can change; what a process was started with cannot.
pub(super) fn started_with(variable: &str) -> Vec<i32> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(own) && has_variable(*pid, variable.as_bytes()))
        .collect()
}

/// Sends a signal to a process and to its group where it leads one.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, signal);
        let _ = kill_process(pid, signal);
    }
}

fn has_variable(pid: i32, variable: &[u8]) -> bool {
    // A zombie's environment reads as empty, so what has ended is not counted.
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable))
}

/// Field 22 of `/proc/PID/stat`; the second field holds the name in parentheses and may hold anything.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_while_it_lives_and_not_by_its_number_alone() {
        let own = Identity::of(std::process::id()).expect("this process runs");
        assert!(own.is_alive());
        assert!(!Identity { start_ticks: own.start_ticks + 1, ..own.clone() }.is_alive());
        assert!(!Identity { boot: "another".into(), ..own }.is_alive());
    }

    #[test]
    fn a_child_is_found_by_what_it_was_started_with() {
        let value = format!("of-{}", std::process::id());
        let mut child =
            std::process::Command::new("sleep").arg("600").env("A_TEST", &value).spawn().expect("sleep runs");
        // Until it has become `sleep`, its environment is that of this process.
        let variable = format!("A_TEST={value}");
        while started_with(&variable).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(started_with(&variable), [i32::try_from(child.id()).expect("a pid fits")]);
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert_eq!(started_with(&variable), [0; 0]);
    }
}
