//! The content of a lock file: who holds the lock and what the holder is doing.
//! It parses any input, because other processes write the file.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use super::boot_id::boot_id;

/// Length of every record in bytes, so that one write replaces it.
const RECORD_LENGTH: usize = 512;

/// The holder of a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LeaseRecord {
    /// Identifies one process and one lock; also the name of its staging folder.
    pub(crate) token: String,
    host: String,
    process: u32,
    /// Boot ID of the holder's machine.
    pub(crate) boot: String,
    /// Device number of the file system on the holder's machine: two mounts of one volume may not share
    /// `flock`.
    device: u64,
    beat: u64,
    /// What the holder is doing, as text.
    #[serde(alias = "doing")]
    pub(crate) activity: String,
}

impl LeaseRecord {
    pub(crate) fn for_this_process(file: &File) -> Self {
        let system = rustix::system::uname();
        Self {
            token: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            host: truncate_chars(&system.nodename().to_string_lossy(), 64),
            process: std::process::id(),
            boot: boot_id().to_owned(),
            device: file.metadata().map(|metadata| metadata.dev()).unwrap_or_default(),
            beat: 0,
            activity: String::new(),
        }
    }

    /// Returns a record for a holder that has not written its own yet.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    pub(crate) fn parse(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_default()
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.resize(RECORD_LENGTH.max(json.len()), b' ');
        json
    }

    pub(crate) fn beat(&mut self, activity: String) {
        self.beat += 1;
        self.activity = truncate_chars(&activity, 128);
    }

    /// Returns whether the holder was started on this machine since it booted, and on the same mount, where `flock`
    /// is reliable.
    pub(crate) fn is_from_this_machine(&self, file: &File) -> bool {
        let device = file.metadata().map(|metadata| metadata.dev()).ok();
        !self.boot.is_empty() && self.boot == boot_id() && device == Some(self.device)
    }
}

impl fmt::Display for LeaseRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.token.is_empty() {
            return formatter.write_str("another fetcher");
        }
        write!(formatter, "process {} on {}", self.process, self.host)?;
        if !self.activity.is_empty() {
            write!(formatter, " ({})", self.activity)?;
        }
        Ok(())
    }
}

fn truncate_chars(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_has_fixed_length_and_tolerates_corruption() {
        let file = tempfile::tempfile().unwrap();
        let mut record = LeaseRecord::for_this_process(&file);
        assert_eq!(record.to_json().len(), RECORD_LENGTH);
        record.beat("fetching 3 of 14 files".repeat(20));
        assert_eq!(record.to_json().len(), RECORD_LENGTH);
        assert_eq!(LeaseRecord::parse(&record.to_json()), record);
        assert_eq!(LeaseRecord::parse(b"{ half"), LeaseRecord::unknown());
        assert!(record.to_string().contains("fetching 3"));
    }
}
