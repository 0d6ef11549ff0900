//! Hashes one file in order while its pieces arrive in any order.
//!
//! A segment that arrives in order is hashed from memory. One that arrives early is buffered if the memory
//! budget allows; otherwise only its position is recorded, and it is read back from the file later. The
//! worker that delivers a segment hashes it unless another worker is already hashing this file, which then
//! also hashes the new segment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::budget::MemoryBudget;
use crate::digest::{HASHING_ENABLED, Hasher};

const READ_BACK_BYTES: usize = 256 << 10;

/// Hash of one file up to an offset, and the segments after it.
pub(crate) struct InOrderHasher {
    size: u64,
    /// Segments that are not hashed yet, by offset.
    pending: Mutex<BTreeMap<u64, PendingSegment>>,
    hasher: Mutex<Option<Hasher>>,
    hashed_bytes: AtomicU64,
}

enum PendingSegment {
    Memory(Bytes),
    /// Stored only in the file; length in bytes.
    File(u64),
}

impl PendingSegment {
    fn length(&self) -> u64 {
        match self {
            PendingSegment::Memory(bytes) => bytes.len() as u64,
            PendingSegment::File(length) => *length,
        }
    }
}

impl InOrderHasher {
    pub(crate) fn new(size: u64, hasher: Hasher) -> Self {
        Self {
            size,
            pending: Mutex::default(),
            hasher: Mutex::new(Some(hasher)),
            hashed_bytes: AtomicU64::new(0),
        }
    }

    /// Returns the number of bytes hashed so far.
    pub(crate) fn hashed_bytes(&self) -> u64 {
        self.hashed_bytes.load(Ordering::Acquire)
    }

    /// Records that `length` bytes at `offset` are in the file.
    pub(crate) fn add_stored(&self, offset: u64, length: u64) {
        let mut pending = lock(&self.pending);
        // Adjacent segments are merged into one entry.
        if let Some((before, PendingSegment::File(entry_length))) = pending.range_mut(..offset).next_back()
            && *before + *entry_length == offset
        {
            *entry_length += length;
            return;
        }
        pending.insert(offset, PendingSegment::File(length));
    }

    /// Adds bytes that are already in the file at `offset`.
    pub(crate) fn add(&self, offset: u64, bytes: Bytes, budget: &MemoryBudget) {
        if offset == self.hashed_bytes() {
            // It is hashed and released immediately, so the budget does not apply.
            budget.reserve_unchecked(bytes.len());
        } else if !budget.try_reserve(bytes.len()) {
            return self.add_stored(offset, bytes.len() as u64);
        }
        lock(&self.pending).insert(offset, PendingSegment::Memory(bytes));
    }

    /// Hashes all segments that are next in order. Returns the digits once, after the last byte.
    pub(crate) fn hash_ready(&self, file: &File, budget: &MemoryBudget) -> io::Result<Option<String>> {
        loop {
            let Ok(mut hashing) = self.hasher.try_lock() else {
                return Ok(None);
            };
            let Some(hasher) = hashing.as_mut() else {
                return Ok(None);
            };
            self.hash_pending(hasher, file, budget)?;
            if self.hashed_bytes() == self.size {
                return Ok(hashing.take().map(Hasher::into_digits));
            }
            drop(hashing);
            // A segment may have been added after the last check and before the unlock, by a worker that
            // found the hasher busy.
            if !lock(&self.pending).contains_key(&self.hashed_bytes()) {
                return Ok(None);
            }
        }
    }

    fn hash_pending(&self, hasher: &mut Hasher, file: &File, budget: &MemoryBudget) -> io::Result<()> {
        loop {
            let offset = self.hashed_bytes();
            let Some(next) = lock(&self.pending).remove(&offset) else {
                return Ok(());
            };
            let length = next.length();
            match next {
                PendingSegment::Memory(bytes) => {
                    if HASHING_ENABLED {
                        hasher.update(&bytes);
                    }
                    budget.release(bytes.len());
                }
                PendingSegment::File(length) if HASHING_ENABLED => read_back(hasher, file, offset, length)?,
                PendingSegment::File(_) => {}
            }
            self.hashed_bytes.store(offset + length, Ordering::Release);
        }
    }

    /// Discards everything: the file is fetched again.
    pub(crate) fn reset(&self, hasher: Hasher, budget: &MemoryBudget) {
        let mut hashing = lock(&self.hasher);
        for (_, segment) in std::mem::take(&mut *lock(&self.pending)) {
            if let PendingSegment::Memory(bytes) = segment {
                budget.release(bytes.len());
            }
        }
        self.hashed_bytes.store(0, Ordering::Release);
        *hashing = Some(hasher);
    }
}

fn read_back(hasher: &mut Hasher, file: &File, mut offset: u64, length: u64) -> io::Result<()> {
    let end = offset + length;
    let mut block = vec![0; READ_BACK_BYTES.min(length as usize)];
    while offset < end {
        let chunk_length = block.len().min((end - offset) as usize);
        file.read_exact_at(&mut block[..chunk_length], offset)?;
        hasher.update(&block[..chunk_length]);
        offset += chunk_length as u64;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_fetcher_contract::Checksum;

    fn sha256(size: u64) -> Hasher {
        Hasher::new(&Checksum::Sha256(String::new()), size)
    }

    fn content() -> Vec<u8> {
        (0..1000u32).flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Adds `content` in pieces in the order of `offsets`; returns the digits each time they are reported.
    fn digests_of(offsets: &[usize], piece: usize, held_bytes: usize) -> Vec<String> {
        let content = content();
        let file = tempfile::tempfile().unwrap();
        let hasher = InOrderHasher::new(content.len() as u64, sha256(0));
        let budget = MemoryBudget::new(held_bytes);
        let mut digits = Vec::new();
        for offset in offsets {
            let bytes = &content[*offset..(*offset + piece).min(content.len())];
            file.write_all_at(bytes, *offset as u64).unwrap();
            hasher.add(*offset as u64, Bytes::copy_from_slice(bytes), &budget);
            digits.extend(hasher.hash_ready(&file, &budget).unwrap());
        }
        assert!(budget.try_reserve(held_bytes), "the budget is released");
        digits
    }

    #[test]
    fn any_arrival_order_gives_the_same_hash() {
        let mut hasher = sha256(0);
        hasher.update(&content());
        let expected = vec![hasher.into_digits()];
        let forwards: Vec<usize> = (0..4000).step_by(500).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        for held_bytes in [0, 700, 10_000] {
            assert_eq!(digests_of(&forwards, 500, held_bytes), expected);
            assert_eq!(digests_of(&backwards, 500, held_bytes), expected);
        }
    }

    #[test]
    fn hashes_empty_file() {
        let hasher = InOrderHasher::new(0, sha256(0));
        let digits = hasher.hash_ready(&tempfile::tempfile().unwrap(), &MemoryBudget::new(0)).unwrap();
        assert!(digits.unwrap().starts_with("e3b0c442"));
    }

    #[test]
    fn reset_discards_hashed_bytes() {
        let file = tempfile::tempfile().unwrap();
        let budget = MemoryBudget::new(100);
        let hasher = InOrderHasher::new(2, sha256(2));
        hasher.add(0, Bytes::from_static(b"x"), &budget);
        assert_eq!(hasher.hash_ready(&file, &budget).unwrap(), None);
        hasher.reset(sha256(2), &budget);
        assert_eq!(hasher.hashed_bytes(), 0);
        hasher.add(0, Bytes::from_static(b"ab"), &budget);
        assert!(hasher.hash_ready(&file, &budget).unwrap().unwrap().starts_with("fb8e20fc"));
    }
}
