//! One unfinished file: its staging file, the ranges written, and the progress of its hash.
//! It must not have its final name before its hash is verified.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::budget::MemoryBudget;
use super::in_order_hasher::InOrderHasher;
use crate::digest::Hasher;
use crate::error::FetcherError;
use crate::ranges::RangeSet;
use crate::store::staging::StagingDir;
use model_fetcher_contract::RemoteFile;

/// An unfinished file.
pub(crate) struct PartialFile {
    pub(crate) remote: RemoteFile,
    /// Its name in the staging folder.
    pub(crate) name: String,
    path: PathBuf,
    file: File,
    written: Mutex<RangeSet>,
    hasher: InOrderHasher,
    committed: AtomicBool,
    has_failed_once: AtomicBool,
}

impl PartialFile {
    /// Opens the partial file `name` and reads the ranges that an earlier run recorded.
    pub(crate) fn open(staging: &StagingDir, name: String, remote: RemoteFile) -> Result<Self, FetcherError> {
        let file = staging.open(&name)?;
        let mut written = staging.recorded_ranges(&name);
        written.truncate(remote.size);
        let hasher = InOrderHasher::new(remote.size, Hasher::for_file(&remote));
        written.iter().for_each(|range| hasher.add_stored(range.start, range.end - range.start));
        Ok(Self {
            path: staging.path_of(&name),
            name,
            file,
            written: Mutex::new(written),
            hasher,
            committed: AtomicBool::new(false),
            has_failed_once: AtomicBool::new(false),
            remote,
        })
    }

    /// Writes `bytes` at `offset` and adds them to the hash. Bytes that are already present are not written
    /// again. Returns how many were new, and the digits if the file is complete.
    pub(crate) fn write(
        &self,
        offset: u64,
        bytes: &Bytes,
        budget: &MemoryBudget,
    ) -> Result<(u64, Option<String>), FetcherError> {
        let missing = self.written().missing_in(offset..offset + bytes.len() as u64);
        let mut new_bytes = 0;
        for range in missing {
            let part = bytes.slice((range.start - offset) as usize..(range.end - offset) as usize);
            self.file.write_all_at(&part, range.start).map_err(|error| self.disk_error("write", error))?;
            new_bytes += part.len() as u64;
            self.hasher.add(range.start, part, budget);
            self.written().insert(range);
        }
        Ok((new_bytes, self.hash_ready(budget)?))
    }

    /// Hashes all bytes that are next in order; returns the digits if the file is complete.
    pub(crate) fn hash_ready(&self, budget: &MemoryBudget) -> Result<Option<String>, FetcherError> {
        self.hasher.hash_ready(&self.file, budget).map_err(|error| self.disk_error("read back", error))
    }

    /// Returns the bytes of free space that the file still needs. Allocated blocks are reused, recorded or
    /// not.
    pub(crate) fn bytes_required(&self) -> u64 {
        let allocated = self.file.metadata().map(|metadata| metadata.blocks() * 512).unwrap_or(0);
        self.remote.size.saturating_sub(allocated)
    }

    /// Syncs the data to disk.
    pub(crate) fn sync(&self) -> Result<(), FetcherError> {
        self.file.sync_data().map_err(|error| self.disk_error("sync", error))
    }

    pub(crate) fn written(&self) -> MutexGuard<'_, RangeSet> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hashed_bytes(&self) -> u64 {
        self.hasher.hashed_bytes()
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn set_committed(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Returns whether its content did not match once, so that this is the second and last try.
    pub(crate) fn has_failed_once(&self) -> bool {
        self.has_failed_once.load(Ordering::Acquire)
    }

    /// Discards all content because its hash did not match.
    pub(crate) fn restart(&self, budget: &MemoryBudget) {
        self.has_failed_once.store(true, Ordering::Release);
        *self.written() = RangeSet::default();
        self.hasher.reset(Hasher::for_file(&self.remote), budget);
    }

    fn disk_error(&self, action: &'static str, error: std::io::Error) -> FetcherError {
        FetcherError::disk(action, self.path.clone(), error)
    }
}
