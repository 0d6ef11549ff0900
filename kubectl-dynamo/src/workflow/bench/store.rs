//! The benchmark runs on this machine: one folder for each, with our record and AIPerf's own files. A run that was
//! killed stays readable.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{BenchError, BenchResult};
use crate::file_modes::private_folder;
use crate::local::folders::write_atomically;
use crate::workflow::local::environment;
use kubectl_dynamo_core::bench::{BenchRun, BenchStatus};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::name::is_dns1123_label;

/// The record of a run.
const RECORD: &str = "run.json";
/// The output of AIPerf in a Job.
pub(super) const OUTPUT: &str = "aiperf.log";
/// The output of AIPerf on this machine, in the folder of a measurement.
const OWN_OUTPUT: &str = "logs/aiperf.log";
/// A file that is locked while the run is measured.
const LOCK: &str = "run.lock";

/// The folder with all runs.
pub(crate) struct BenchStore {
    root: PathBuf,
}

/// The folder of a run that is being measured.
pub(super) struct RunFolder {
    pub(super) path: PathBuf,
    /// Held until the run has ended.
    _lock: File,
}

impl BenchStore {
    /// The runs in this folder, or in the user's data folder.
    ///
    /// # Errors
    /// The user does not have a home folder.
    pub(crate) fn new(folder: Option<&Path>) -> Result<Self> {
        let root = match folder {
            Some(folder) => std::path::absolute(folder).map_err(BenchError::file("find", folder))?,
            None => environment::bench_folder()?,
        };
        Ok(Self { root })
    }

    fn folder(&self, name: &str) -> BenchResult<PathBuf> {
        match is_dns1123_label(name) {
            true => Ok(self.root.join(name)),
            false => Err(BenchError::InvalidName { name: name.into() }),
        }
    }

    /// The first name with this beginning that is neither used here nor by `others`: `tiny-check-1`.
    pub(super) fn unused_name(&self, beginning: &str, others: &[String]) -> String {
        let mut names = (1_u32..).map(|number| format!("{beginning}-{number}"));
        names.find(|name| !self.root.join(name).exists() && !others.contains(name)).unwrap_or_default()
    }

    /// Checks that a run with this name can be created.
    ///
    /// # Errors
    /// The name is invalid or used.
    pub(super) fn check_unused(&self, name: &str) -> BenchResult<()> {
        match self.folder(name)?.join(RECORD).exists() {
            true => Err(BenchError::RunExists { name: name.into() }),
            false => Ok(()),
        }
    }

    /// Creates the folder of a new run.
    ///
    /// # Errors
    /// The name is used, or the folder cannot be created.
    pub(super) fn create(&self, name: &str) -> BenchResult<RunFolder> {
        let path = self.folder(name)?;
        std::fs::create_dir_all(&self.root).map_err(BenchError::file("create", &self.root))?;
        // Errors of a server can contain prompts.
        match private_folder().create(&path) {
            // A command that was killed, or a full disk, can have left a folder without a record.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {
                if path.join(RECORD).exists() || is_locked(&path) {
                    return Err(BenchError::RunExists { name: name.into() });
                }
            }
            result => result.map_err(BenchError::file("create", &path))?,
        }
        Self::lock(path, name)
    }

    /// Opens the folder of a run of a cluster, or creates it if this machine did not start the run.
    ///
    /// # Errors
    /// Another process follows the run, or the folder cannot be created.
    pub(super) fn open_or_create(&self, name: &str) -> BenchResult<RunFolder> {
        let path = self.folder(name)?;
        if path.is_dir() { Self::lock(path, name) } else { self.create(name) }
    }

    fn lock(path: PathBuf, name: &str) -> BenchResult<RunFolder> {
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(BenchError::file("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(RunFolder { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(BenchError::StillRunning { name: name.into() }),
            Err(TryLockError::Error(error)) => Err(BenchError::file("lock", &lock_path)(error)),
        }
    }

    /// All runs with a readable record, in any order.
    pub(crate) fn list(&self) -> Vec<BenchRun> {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return Vec::new() };
        entries.flatten().filter_map(|entry| read_record(&entry.path()).ok()).collect()
    }

    /// Reads a run.
    ///
    /// # Errors
    /// The run does not exist, or its record cannot be read.
    pub(crate) fn read(&self, name: &str) -> BenchResult<BenchRun> {
        let folder = self.existing(name)?;
        read_record(&folder)
    }

    /// The folder of a run.
    ///
    /// # Errors
    /// The run does not exist.
    pub(crate) fn existing(&self, name: &str) -> BenchResult<PathBuf> {
        let folder = self.folder(name)?;
        match folder.join(RECORD).is_file() {
            true => Ok(folder),
            false => Err(BenchError::RunNotFound { name: name.into(), folder: self.root.clone() }),
        }
    }

    /// The output of AIPerf during a run; empty if this machine does not have it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn output(&self, run: &BenchRun) -> BenchResult<Vec<String>> {
        let folder = self.folder(&run.name)?;
        let levels = run.levels.iter().flat_map(|level| &level.runs);
        let files = levels.map(|level| folder.join(&level.folder).join(OWN_OUTPUT));
        let mut lines = Vec::new();
        for path in files.chain([folder.join(OUTPUT)]) {
            lines.extend(read_text(&path)?.unwrap_or_default().lines().map(str::to_owned));
        }
        Ok(lines)
    }

    /// Removes a run with all its files.
    ///
    /// # Errors
    /// The run does not exist, is being measured, or cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> BenchResult<()> {
        let folder = self.existing(name)?;
        if is_locked(&folder) {
            return Err(BenchError::StillRunning { name: name.into() });
        }
        std::fs::remove_dir_all(&folder).map_err(BenchError::file("remove", &folder))
    }
}

impl RunFolder {
    /// Replaces the record. A reader sees the old or the new one.
    pub(super) fn write(&self, run: &BenchRun) -> BenchResult<()> {
        let path = self.path.join(RECORD);
        let text =
            serde_json::to_vec_pretty(run).map_err(|error| BenchError::file("write", &path)(error.into()))?;
        write_atomically(&path, &text).map_err(BenchError::file("write", &path))
    }
}

fn read_record(folder: &Path) -> BenchResult<BenchRun> {
    let path = folder.join(RECORD);
    let text = std::fs::read(&path).map_err(BenchError::file("read", &path))?;
    let mut run: BenchRun =
        serde_json::from_slice(&text).map_err(|error| BenchError::file("read", &path)(error.into()))?;
    if run.status == BenchStatus::Running && !is_locked(folder) {
        run.status = BenchStatus::Interrupted;
    }
    Ok(run)
}

/// Whether a process measures the run of this folder.
fn is_locked(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(LOCK)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Reads a file of AIPerf; `None` if it does not exist.
pub(super) fn read_text(path: &Path) -> BenchResult<Option<String>> {
    match std::fs::read(path) {
        // An answer of a model can contain half of a character.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BenchError::file("read", path)(error)),
    }
}

/// Reads a JSON file of AIPerf; `None` if it does not exist or is incomplete.
pub(super) fn read_json(path: &Path) -> BenchResult<Option<Value>> {
    Ok(read_text(path)?.and_then(|text| serde_json::from_str(&text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BenchStore) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = BenchStore { root: folder.path().join("bench") };
        (folder, store)
    }

    #[test]
    fn used_name_is_refused_and_the_next_one_is_found() {
        let (_folder, store) = store();
        assert_eq!(store.unused_name("tiny-check", &[]), "tiny-check-1");
        let _running = store.create("tiny-check-1").expect("an unused name");
        assert!(matches!(store.create("tiny-check-1"), Err(BenchError::RunExists { .. })));
        assert_eq!(store.unused_name("tiny-check", &[]), "tiny-check-2");
    }

    #[test]
    fn names_outside_of_the_folder_are_invalid() {
        let (_folder, store) = store();
        for name in ["..", "a/b", "", "A", "/tmp"] {
            assert!(matches!(store.create(name), Err(BenchError::InvalidName { .. })), "{name}");
            assert!(store.remove(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_run_is_locked_while_it_is_measured() {
        let (_folder, store) = store();
        let running = store.create("one").expect("an unused name");
        let path = running.path.clone();
        assert!(is_locked(&path));
        drop(running);
        assert!(!is_locked(&path));
    }
}
