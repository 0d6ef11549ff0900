//! The lock file: created with its content, read, and removed only if it is still the same.
//! It must not decide who may write; `lease` does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::record::LeaseRecord;

/// A lock as it was read.
pub(super) struct LockFile {
    /// Kept open, so that no other lock gets its inode number.
    pub(super) file: File,
    pub(super) content: Vec<u8>,
    pub(super) modified: Option<SystemTime>,
}

impl LockFile {
    pub(super) fn read(lock_path: &Path) -> io::Result<Self> {
        let mut file = File::open(lock_path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
        Ok(Self { file, content, modified })
    }

    /// Returns the record of the holder, or an unknown one if it is not valid.
    pub(super) fn record(&self) -> LeaseRecord {
        LeaseRecord::parse(&self.content)
    }

    /// Returns whether both are the lock of one holder. Records without a token do not identify a holder: then it must
    /// be the same file.
    fn is_same_lock(&self, other: &Self) -> bool {
        let (one, two) = (self.record().token, other.record().token);
        if !one.is_empty() || !two.is_empty() {
            return one == two;
        }
        let inode = |lock: &Self| lock.file.metadata().map(|found| (found.dev(), found.ino())).ok();
        self.content == other.content && self.modified == other.modified && inode(self) == inode(other)
    }
}

/// Creates the lock with a record of this process. The file is written under another name first, so that no reader
/// finds a lock without a record.
pub(super) fn create(lock_path: &Path) -> io::Result<(File, LeaseRecord)> {
    let draft_path = unique_path(lock_path);
    let created = create_through_draft(&draft_path, lock_path);
    // It is a second name of the lock, or a draft that was not used.
    let _ = fs::remove_file(&draft_path);
    created
}

fn create_through_draft(draft_path: &Path, lock_path: &Path) -> io::Result<(File, LeaseRecord)> {
    let draft = create_with_record(draft_path)?;
    match fs::hard_link(draft_path, lock_path) {
        Ok(()) => Ok(draft),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            Err(error)
        }
        // Volumes on object storage, and some others, do not have hard links.
        Err(_) => create_with_record(lock_path),
    }
}

fn create_with_record(path: &Path) -> io::Result<(File, LeaseRecord)> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    // Without flock, the heartbeat alone protects the lock.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    let record = LeaseRecord::for_this_process(&file);
    match file.write_all(&record.to_json()) {
        Ok(()) => Ok((file, record)),
        Err(error) => {
            // The volume is full. A lock without a record would stop other fetchers until it expires.
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Writes a record of constant length in one write, so that a reader never sees a partial record.
pub(super) fn overwrite(lock_path: &Path, record: &LeaseRecord) -> io::Result<()> {
    File::options().write(true).open(lock_path)?.write_all_at(&record.to_json(), 0)
}

/// Moves the lock aside and reads it again. If another waiter already replaced it, its lock is restored.
pub(super) fn remove_if_unchanged(lock_path: &Path, expected: &LockFile) -> io::Result<bool> {
    let moved_path = unique_path(lock_path);
    match fs::rename(lock_path, &moved_path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    if LockFile::read(&moved_path)?.is_same_lock(expected) {
        fs::remove_file(&moved_path)?;
        return Ok(true);
    }
    if renameat_with(CWD, &moved_path, CWD, lock_path, RenameFlags::NOREPLACE).is_err() {
        fs::remove_file(&moved_path)?;
    }
    Ok(false)
}

/// Returns an unused path next to the lock. Names with its prefix are reserved for this program.
fn unique_path(lock_path: &Path) -> PathBuf {
    lock_path.with_extension(format!("lock.{:016x}", fastrand::u64(..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_fetcher_contract::LOCK_FILE;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn lock_of_another_waiter_without_a_record_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let lock_path = folder.path().join(LOCK_FILE);
        fs::write(&lock_path, "").unwrap();
        let crashed = LockFile::read(&lock_path).unwrap();
        // Another waiter takes over the lock of the crashed process, and has not written its record yet.
        fs::remove_file(&lock_path).unwrap();
        fs::write(&lock_path, "").unwrap();
        assert!(!remove_if_unchanged(&lock_path, &crashed).unwrap());
        assert!(lock_path.exists(), "the other waiter still holds its lock");
        let current = LockFile::read(&lock_path).unwrap();
        assert!(
            remove_if_unchanged(&lock_path, &current).unwrap(),
            "a lock without a record can be taken over"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_reader_finds_a_lock_without_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let lock_path = folder.path().join(LOCK_FILE);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2000 {
                    create(&lock_path).unwrap();
                    fs::remove_file(&lock_path).unwrap();
                }
                is_done.store(true, Ordering::Release);
            });
            while !is_done.load(Ordering::Acquire) {
                if let Ok(lock) = LockFile::read(&lock_path) {
                    assert!(!lock.record().token.is_empty(), "{:?}", lock.content);
                }
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no draft remains");
    }

    #[test]
    fn only_one_of_two_processes_creates_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock_path = folder.path().join(LOCK_FILE);
        let (_, first) = create(&lock_path).unwrap();
        assert_eq!(create(&lock_path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(LockFile::read(&lock_path).unwrap().record(), first);
        let missing = folder.path().join("missing").join(LOCK_FILE);
        assert_eq!(create(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
