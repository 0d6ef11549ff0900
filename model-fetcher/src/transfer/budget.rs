//! How much memory a transfer may use, read from the control group, and the account of what it holds.

use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;

/// Limits of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// At most this many connections.
    pub(crate) connections: usize,
    /// Bytes of one request when several connections share a file.
    pub(crate) piece_bytes: u64,
    /// Bytes received and not yet hashed that are kept in memory; beyond it they are read back from the file.
    pub(crate) held_bytes: usize,
}

impl Limits {
    /// Limits for a control group that allows `memory` bytes, page cache included; `None` is no limit.
    pub(crate) fn for_memory(memory: Option<u64>) -> Self {
        match memory {
            Some(memory) if memory < 128 * MIB => {
                Self { connections: 8, piece_bytes: 2 * MIB, held_bytes: (8 * MIB) as usize }
            }
            Some(memory) if memory < 1024 * MIB => {
                Self { connections: 16, piece_bytes: 4 * MIB, held_bytes: (12 * MIB) as usize }
            }
            _ => Self { connections: 32, piece_bytes: 8 * MIB, held_bytes: (12 * MIB) as usize },
        }
    }

    /// Limits for this process.
    pub(crate) fn here() -> Self {
        Self::for_memory(control_group_memory())
    }
}

/// The memory limit of this process's control group, version 2 or 1.
fn control_group_memory() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&own);
    let limits =
        limits.iter().filter_map(|place| std::fs::read_to_string(place).ok()?.trim().parse::<u64>().ok());
    // Version 1 writes "no limit" as a number near 2^63.
    limits.filter(|limit| *limit < 1 << 60).min()
}

/// Where limits may stand: of the groups that `/proc/self/cgroup` names, and, as a container sees its own, at the top.
fn limit_files(own: &str) -> Vec<String> {
    let groups = own.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let path = path.trim_end_matches('/');
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            _ => None,
        }
    });
    let tops = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    groups.chain(tops.map(ToOwned::to_owned)).collect()
}

/// An account of bytes held in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// Takes `bytes` if they fit.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let taken = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
            Some(held + bytes).filter(|held| *held <= self.limit)
        });
        taken.is_ok()
    }

    /// Takes `bytes` that are given back in a moment.
    pub(crate) fn take_anyway(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_means_few_connections() {
        assert_eq!(Limits::for_memory(Some(64 * MIB)).connections, 8);
        assert_eq!(Limits::for_memory(Some(512 * MIB)).connections, 16);
        assert_eq!(Limits::for_memory(None).connections, 32);
    }

    #[test]
    fn a_limit_is_looked_for_in_groups_of_both_versions() {
        let own = limit_files("9:cpu,memory-like:/x\n4:memory:/pods/a\n0::/unified/b\n");
        assert_eq!(own[0], "/sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes");
        assert_eq!(own[1], "/sys/fs/cgroup/unified/b/memory.max");
        assert_eq!(own.len(), 4, "{own:?}");
    }

    #[test]
    fn a_budget_is_never_overdrawn() {
        let budget = Budget::new(10);
        assert!(budget.take(6));
        assert!(!budget.take(5));
        budget.give_back(6);
        assert!(budget.take(10));
    }
}
