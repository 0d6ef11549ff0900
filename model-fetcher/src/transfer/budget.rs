//! Limits the memory of a transfer, based on the cgroup limit, and tracks the buffered bytes.
//! The limits depend only on memory, so that the fetcher runs in small containers.

use std::sync::atomic::{AtomicUsize, Ordering};

const MIB: u64 = 1 << 20;

/// Limits of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransferLimits {
    /// Maximum number of connections.
    pub(crate) connections: usize,
    /// Bytes per request when several connections share a file.
    pub(crate) piece_bytes: u64,
    /// Bytes received and not yet hashed that may be buffered; further bytes are read back from the file.
    pub(crate) buffer_bytes: usize,
}

impl TransferLimits {
    /// Returns limits for a cgroup with `memory` bytes, page cache included; `None` means no limit.
    ///
    /// Measured in 2026 with a model of 4.3 GB in a cgroup of 64 MiB: 8 connections complete and 16 are killed. With 50 MB/s
    /// per connection, 8, 16, and 32 connections take 11, 6, and 4 s. The buffers are chosen: each connection may hold a
    /// few segments before it is its turn to be hashed.
    pub(crate) fn for_memory(memory: Option<u64>) -> Self {
        match memory {
            Some(memory) if memory < 128 * MIB => {
                Self { connections: 8, piece_bytes: 2 * MIB, buffer_bytes: (8 * MIB) as usize }
            }
            Some(memory) if memory < 1024 * MIB => {
                Self { connections: 16, piece_bytes: 4 * MIB, buffer_bytes: (12 * MIB) as usize }
            }
            _ => Self { connections: 32, piece_bytes: 8 * MIB, buffer_bytes: (12 * MIB) as usize },
        }
    }

    /// Returns limits for this process.
    pub(crate) fn for_this_process() -> Self {
        Self::for_memory(memory_limit())
    }
}

/// Returns the memory limit of this process's cgroup, version 2 or 1, in bytes. Only Linux has cgroups.
fn memory_limit() -> Option<u64> {
    let cgroup_text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&cgroup_text);
    let limits =
        limits.iter().filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    // Version 1 writes "no limit" as a number near 2^63.
    limits.filter(|limit| *limit < 1 << 60).min()
}

/// Returns the files that may contain limits: of the cgroups in `/proc/self/cgroup` and, as in a container,
/// at the root.
fn limit_files(cgroup_text: &str) -> Vec<String> {
    let groups = cgroup_text.lines().filter_map(|line| {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        let path = path.trim_end_matches('/');
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.max")),
            "memory" => Some(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes")),
            _ => None,
        }
    });
    let root_files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    groups.chain(root_files.map(ToOwned::to_owned)).collect()
}

/// Tracks bytes buffered in memory.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: usize,
    reserved: AtomicUsize,
}

impl MemoryBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, reserved: AtomicUsize::new(0) }
    }

    /// Reserves `bytes` if they fit.
    pub(crate) fn try_reserve(&self, bytes: usize) -> bool {
        let result = self.reserved.fetch_update(Ordering::AcqRel, Ordering::Acquire, |reserved| {
            Some(reserved + bytes).filter(|reserved| *reserved <= self.limit)
        });
        result.is_ok()
    }

    /// Reserves `bytes` that are released shortly, without a check.
    pub(crate) fn reserve_unchecked(&self, bytes: usize) {
        self.reserved.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_memory_limits_connections() {
        assert_eq!(TransferLimits::for_memory(Some(64 * MIB)).connections, 8);
        assert_eq!(TransferLimits::for_memory(Some(512 * MIB)).connections, 16);
        assert_eq!(TransferLimits::for_memory(None).connections, 32);
    }

    #[test]
    fn finds_limit_files_of_cgroup_v1_and_v2() {
        let files = limit_files("9:cpu,memory-like:/x\n4:memory:/pods/a\n0::/unified/b\n");
        assert_eq!(files[0], "/sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes");
        assert_eq!(files[1], "/sys/fs/cgroup/unified/b/memory.max");
        assert_eq!(files.len(), 4, "{files:?}");
    }

    #[test]
    fn reservations_cannot_exceed_limit() {
        let budget = MemoryBudget::new(10);
        assert!(budget.try_reserve(6));
        assert!(!budget.try_reserve(5));
        budget.release(6);
        assert!(budget.try_reserve(10));
    }
}
