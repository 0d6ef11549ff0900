//! What a lock file says about its holder.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Every record has this length, so that it can be written over in one piece.
const LENGTH: usize = 512;

/// The holder of a lock, as it describes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Names one process for one lock; also names its work folder.
    pub(crate) token: String,
    host: String,
    process: u32,
    /// The boot of the holder's machine.
    pub(crate) boot: String,
    /// The file system as the holder's kernel numbers it: two mounts of one volume may not share `flock`.
    device: u64,
    beat: u64,
    /// What it is doing, in words.
    pub(crate) doing: String,
}

impl Record {
    pub(crate) fn of_this_process(file: &File) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            token: format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
            host: shortened(host.trim(), 64),
            process: std::process::id(),
            boot: boot_id(),
            device: file.metadata().map(|metadata| metadata.dev()).unwrap_or_default(),
            beat: 0,
            doing: String::new(),
        }
    }

    /// A holder that has not written its record yet.
    pub(crate) fn unknown() -> Self {
        Self::default()
    }

    pub(crate) fn read(content: &[u8]) -> Self {
        serde_json::from_slice(content).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.resize(LENGTH.max(json.len()), b' ');
        json
    }

    pub(crate) fn beat(&mut self, doing: String) {
        self.beat += 1;
        self.doing = shortened(&doing, 128);
    }

    /// Whether the holder runs, or ran, under this very kernel and on this very mount, where `flock` tells the truth.
    pub(crate) fn is_of_this_machine(&self, file: &File) -> bool {
        let device = file.metadata().map(|metadata| metadata.dev()).ok();
        !self.boot.is_empty() && self.boot == boot_id() && device == Some(self.device)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.token.is_empty() {
            return formatter.write_str("another fetcher");
        }
        write!(formatter, "process {} on {}", self.process, self.host)?;
        if !self.doing.is_empty() {
            write!(formatter, " ({})", self.doing)?;
        }
        Ok(())
    }
}

fn shortened(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// The kernel's id of this boot, or nothing where it is not told.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_one_length_and_survives_damage() {
        let file = tempfile::tempfile().unwrap();
        let mut record = Record::of_this_process(&file);
        assert_eq!(record.json().len(), LENGTH);
        record.beat("fetching 3 of 14 files".repeat(20));
        assert_eq!(record.json().len(), LENGTH);
        assert_eq!(Record::read(&record.json()), record);
        assert_eq!(Record::read(b"{ half"), Record::unknown());
        assert!(record.to_string().contains("fetching 3"));
    }
}
