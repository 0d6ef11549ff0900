//! Hashing one file in order while its pieces arrive in any order.
//!
//! A segment that comes in order is hashed from memory as it arrives. One that comes early is kept while the memory
//! budget allows, else only its place is noted and it is read back from the file when its turn comes. Whoever
//! brings a segment hashes; if someone is hashing already, that one goes on with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::budget::Budget;
use crate::digest::{Hasher, VERIFIES};

const READ_BACK_BYTES: usize = 256 << 10;

/// How far one file is hashed, and what waits behind.
pub(crate) struct Frontier {
    size: u64,
    /// Segments that wait for their turn, by offset.
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    hashing: Mutex<Option<Hasher>>,
    hashed: AtomicU64,
}

enum Waiting {
    Memory(Bytes),
    /// In the file only; this many bytes.
    File(u64),
}

impl Waiting {
    fn length(&self) -> u64 {
        match self {
            Waiting::Memory(bytes) => bytes.len() as u64,
            Waiting::File(length) => *length,
        }
    }
}

impl Frontier {
    pub(crate) fn new(size: u64, hasher: Hasher) -> Self {
        Self { size, waiting: Mutex::default(), hashing: Mutex::new(Some(hasher)), hashed: AtomicU64::new(0) }
    }

    /// Bytes hashed so far.
    pub(crate) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Acquire)
    }

    /// Notes that `length` bytes at `offset` are in the file.
    pub(crate) fn offer_stored(&self, offset: u64, length: u64) {
        let mut waiting = lock(&self.waiting);
        // Neighbours become one, so that a long stretch is one entry.
        if let Some((before, Waiting::File(held))) = waiting.range_mut(..offset).next_back()
            && *before + *held == offset
        {
            *held += length;
            return;
        }
        waiting.insert(offset, Waiting::File(length));
    }

    /// Hands over bytes that are in the file at `offset` already.
    pub(crate) fn offer(&self, offset: u64, bytes: Bytes, budget: &Budget) {
        if offset == self.hashed() {
            // Its turn is now and it leaves memory at once, so it is taken whatever the budget says.
            budget.take_anyway(bytes.len());
        } else if !budget.take(bytes.len()) {
            return self.offer_stored(offset, bytes.len() as u64);
        }
        lock(&self.waiting).insert(offset, Waiting::Memory(bytes));
    }

    /// Hashes everything whose turn has come. Returns the digits once, when the last byte is in.
    pub(crate) fn advance(&self, file: &File, budget: &Budget) -> io::Result<Option<String>> {
        loop {
            let Ok(mut hashing) = self.hashing.try_lock() else {
                return Ok(None);
            };
            let Some(hasher) = hashing.as_mut() else {
                return Ok(None);
            };
            self.hash_waiting(hasher, file, budget)?;
            if self.hashed() == self.size {
                return Ok(hashing.take().map(Hasher::digits));
            }
            drop(hashing);
            // A segment may have come between the last look and the unlock, whose bringer found us busy.
            if !lock(&self.waiting).contains_key(&self.hashed()) {
                return Ok(None);
            }
        }
    }

    fn hash_waiting(&self, hasher: &mut Hasher, file: &File, budget: &Budget) -> io::Result<()> {
        loop {
            let offset = self.hashed();
            let Some(next) = lock(&self.waiting).remove(&offset) else {
                return Ok(());
            };
            let length = next.length();
            match next {
                Waiting::Memory(bytes) => {
                    if VERIFIES {
                        hasher.update(&bytes);
                    }
                    budget.give_back(bytes.len());
                }
                Waiting::File(length) if VERIFIES => read_back(hasher, file, offset, length)?,
                Waiting::File(_) => {}
            }
            self.hashed.store(offset + length, Ordering::Release);
        }
    }

    /// Forgets everything: the file is fetched again.
    pub(crate) fn reset(&self, hasher: Hasher, budget: &Budget) {
        let mut hashing = lock(&self.hashing);
        for (_, waiting) in std::mem::take(&mut *lock(&self.waiting)) {
            if let Waiting::Memory(bytes) = waiting {
                budget.give_back(bytes.len());
            }
        }
        self.hashed.store(0, Ordering::Release);
        *hashing = Some(hasher);
    }
}

fn read_back(hasher: &mut Hasher, file: &File, mut offset: u64, length: u64) -> io::Result<()> {
    let end = offset + length;
    let mut block = vec![0; READ_BACK_BYTES.min(length as usize)];
    while offset < end {
        let wanted = block.len().min((end - offset) as usize);
        file.read_exact_at(&mut block[..wanted], offset)?;
        hasher.update(&block[..wanted]);
        offset += wanted as u64;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Checksum;

    fn sha256(size: u64) -> Hasher {
        Hasher::new(&Checksum::Sha256(String::new()), size)
    }

    fn content() -> Vec<u8> {
        (0..1000u32).flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Brings `content` in pieces in the order of `offsets` under a budget; returns the digits and how often they came.
    fn hashed(offsets: &[usize], piece: usize, held_bytes: usize) -> Vec<String> {
        let content = content();
        let file = tempfile::tempfile().unwrap();
        let frontier = Frontier::new(content.len() as u64, sha256(0));
        let budget = Budget::new(held_bytes);
        let mut digits = Vec::new();
        for offset in offsets {
            let bytes = &content[*offset..(*offset + piece).min(content.len())];
            file.write_all_at(bytes, *offset as u64).unwrap();
            frontier.offer(*offset as u64, Bytes::copy_from_slice(bytes), &budget);
            digits.extend(frontier.advance(&file, &budget).unwrap());
        }
        assert!(budget.take(held_bytes), "all of the budget is given back");
        digits
    }

    #[test]
    fn any_order_gives_the_hash_of_the_whole() {
        let mut whole = sha256(0);
        whole.update(&content());
        let expected = vec![whole.digits()];
        let forwards: Vec<usize> = (0..4000).step_by(500).collect();
        let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
        for held_bytes in [0, 700, 10_000] {
            assert_eq!(hashed(&forwards, 500, held_bytes), expected);
            assert_eq!(hashed(&backwards, 500, held_bytes), expected);
        }
    }

    #[test]
    fn an_empty_file_has_a_hash_too() {
        let frontier = Frontier::new(0, sha256(0));
        let digits = frontier.advance(&tempfile::tempfile().unwrap(), &Budget::new(0)).unwrap();
        assert!(digits.unwrap().starts_with("e3b0c442"));
    }

    #[test]
    fn a_reset_starts_over() {
        let file = tempfile::tempfile().unwrap();
        let budget = Budget::new(100);
        let frontier = Frontier::new(2, sha256(2));
        frontier.offer(0, Bytes::from_static(b"x"), &budget);
        assert_eq!(frontier.advance(&file, &budget).unwrap(), None);
        frontier.reset(sha256(2), &budget);
        assert_eq!(frontier.hashed(), 0);
        frontier.offer(0, Bytes::from_static(b"ab"), &budget);
        assert!(frontier.advance(&file, &budget).unwrap().unwrap().starts_with("fb8e20fc"));
    }
}
