//! One unfinished file: where its bytes are written, which are there, and how far they are hashed.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::budget::Budget;
use super::frontier::Frontier;
use crate::contract::RemoteFile;
use crate::digest::Hasher;
use crate::error::Error;
use crate::ranges::RangeSet;
use crate::store::work::Work;

/// A file on its way.
pub(crate) struct Partial {
    pub(crate) remote: RemoteFile,
    /// Its name in the work folder.
    pub(crate) name: String,
    place: PathBuf,
    file: File,
    written: Mutex<RangeSet>,
    frontier: Frontier,
    committed: AtomicBool,
    wrong_once: AtomicBool,
}

impl Partial {
    /// Opens the partial file `name`, with what an earlier run left of it.
    pub(crate) fn open(work: &Work, name: String, remote: RemoteFile) -> Result<Self, Error> {
        let file = work.open(&name)?;
        let mut written = work.found(&name);
        written.truncate(remote.size);
        let frontier = Frontier::new(remote.size, Hasher::of(&remote));
        written.iter().for_each(|range| frontier.offer_stored(range.start, range.end - range.start));
        Ok(Self {
            place: work.place(&name),
            name,
            file,
            written: Mutex::new(written),
            frontier,
            committed: AtomicBool::new(false),
            wrong_once: AtomicBool::new(false),
            remote,
        })
    }

    /// Writes `bytes` at `offset` and hands them to the hash. Bytes that are there already are left as they are.
    /// Returns how many were new, and the digits once the file is whole.
    pub(crate) fn store(
        &self,
        offset: u64,
        bytes: &Bytes,
        budget: &Budget,
    ) -> Result<(u64, Option<String>), Error> {
        let missing = self.written().missing_in(offset..offset + bytes.len() as u64);
        let mut new = 0;
        for range in missing {
            let part = bytes.slice((range.start - offset) as usize..(range.end - offset) as usize);
            self.file.write_all_at(&part, range.start).map_err(|error| self.disk("write", error))?;
            new += part.len() as u64;
            self.frontier.offer(range.start, part, budget);
            self.written().insert(range);
        }
        Ok((new, self.advance(budget)?))
    }

    /// Hashes what can be hashed; the digits once the file is whole.
    pub(crate) fn advance(&self, budget: &Budget) -> Result<Option<String>, Error> {
        self.frontier.advance(&self.file, budget).map_err(|error| self.disk("read back", error))
    }

    /// Bytes of room the file still needs. Blocks it has already are used again, recorded or not.
    pub(crate) fn room_needed(&self) -> u64 {
        let allocated = self.file.metadata().map(|found| found.blocks() * 512).unwrap_or(0);
        self.remote.size.saturating_sub(allocated)
    }

    /// Makes the data survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| self.disk("sync", error))
    }

    pub(crate) fn written(&self) -> MutexGuard<'_, RangeSet> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hashed(&self) -> u64 {
        self.frontier.hashed()
    }

    pub(crate) fn place(&self) -> &PathBuf {
        &self.place
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn set_committed(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Whether its content was wrong once, so that this is its second and last try.
    pub(crate) fn was_wrong(&self) -> bool {
        self.wrong_once.load(Ordering::Acquire)
    }

    /// Forgets all content, which was wrong.
    pub(crate) fn start_over(&self, budget: &Budget) {
        self.wrong_once.store(true, Ordering::Release);
        *self.written() = RangeSet::default();
        self.frontier.reset(Hasher::of(&self.remote), budget);
    }

    fn disk(&self, action: &'static str, error: std::io::Error) -> Error {
        Error::disk(action, self.place.clone(), error)
    }
}
