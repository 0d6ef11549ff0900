//! Staging folders for unfinished files. Each holder of the lock has one, named by its token.
//!
//! `.model-fetcher.partial/<token>/<digits>.<n>.mfpart`. A new holder renames the folder of the previous one,
//! so a stopped holder that resumes cannot reach a final name. Written ranges are recorded twice: often
//! without a sync, which is valid until this machine reboots, and sometimes after a sync, which is always
//! valid.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{create_folders, sync_folder, write_synced};
use crate::error::FetcherError;
use crate::ranges::RangeSet;
use model_fetcher_contract::{PARTIAL_SUFFIX, WORK_FOLDER};

/// Folder of the xet library's files, next to the staging folders.
pub(crate) const XET_FOLDER: &str = "xet";
const WRITTEN_FILE: &str = "written.json";
const DURABLE_FILE: &str = "durable.json";

/// The written ranges of each partial file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedRanges {
    /// Boot ID of the machine that wrote this: a record without a sync is only valid on that boot.
    boot: String,
    files: BTreeMap<String, RangeSet>,
}

impl RecordedRanges {
    pub(crate) fn new(boot: &str, files: BTreeMap<String, RangeSet>) -> Self {
        Self { boot: boot.to_owned(), files }
    }

    /// Parses a record and ignores its boot ID. Returns no ranges if it is invalid.
    #[cfg(test)]
    pub(crate) fn parse(json: &[u8]) -> BTreeMap<String, RangeSet> {
        serde_json::from_slice::<Self>(json).map(|progress| progress.files).unwrap_or_default()
    }
}

/// The staging folder of one lock holder.
#[derive(Debug)]
pub(crate) struct StagingDir {
    folder: PathBuf,
    boot: String,
    recorded_ranges: BTreeMap<String, RangeSet>,
}

/// State of the previous lock holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PreviousHolder {
    /// It exited, or there was none: its files are reused.
    Exited,
    /// It is unresponsive and may resume with its files still open: they are copied.
    Unresponsive,
}

impl StagingDir {
    /// Recovers partial files of earlier holders in `model_folder` and moves them to the folder `token`.
    pub(crate) fn recover(
        model_folder: &Path,
        token: &str,
        boot: &str,
        previous_holder: PreviousHolder,
    ) -> Result<Self, FetcherError> {
        let parent = model_folder.join(WORK_FOLDER);
        let folder = parent.join(token);
        let result = recover_folder(&parent, &folder, boot, previous_holder);
        let recorded_ranges = result.map_err(|error| FetcherError::disk("take over", &parent, error))?;
        Ok(Self { folder, boot: boot.to_owned(), recorded_ranges })
    }

    /// Returns the recorded ranges of the partial file `name`, truncated to its actual length.
    pub(crate) fn recorded_ranges(&self, name: &str) -> RangeSet {
        let mut ranges = self.recorded_ranges.get(name).cloned().unwrap_or_default();
        let length = fs::metadata(self.path_of(name)).map(|metadata| metadata.len()).unwrap_or(0);
        ranges.truncate(length);
        ranges
    }

    /// Returns the path of a file that is written before it gets its final name.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Opens a partial file for reading and writing.
    pub(crate) fn open(&self, name: &str) -> Result<File, FetcherError> {
        let path = self.path_of(name);
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        opened.map_err(|error| FetcherError::disk("open", path, error))
    }

    /// Removes partial files that are not in the plan.
    pub(crate) fn retain_only(&self, is_planned: impl Fn(&str) -> bool) -> Result<(), FetcherError> {
        let entries =
            fs::read_dir(&self.folder).map_err(|error| FetcherError::disk("read", &self.folder, error))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_obsolete =
                name.to_str().is_none_or(|name| name.ends_with(PARTIAL_SUFFIX) && !is_planned(name));
            if is_obsolete {
                fs::remove_file(entry.path())
                    .map_err(|error| FetcherError::disk("remove", entry.path(), error))?;
            }
        }
        Ok(())
    }

    /// Records the written ranges for the case that this process is killed. Not synced.
    pub(crate) fn record_written(&self, files: BTreeMap<String, RangeSet>) -> Result<(), FetcherError> {
        let staging = self.folder.join("written.json.new");
        let json = self.ranges_json(files);
        fs::write(&staging, json)
            .and_then(|()| fs::rename(&staging, self.folder.join(WRITTEN_FILE)))
            .map_err(|error| FetcherError::disk("write", staging, error))
    }

    /// Records `files`, whose data is already synced, for the case that this machine fails.
    pub(crate) fn record_durable(&self, files: BTreeMap<String, RangeSet>) -> Result<(), FetcherError> {
        let staging = self.folder.join("durable.json.new");
        let json = self.ranges_json(files);
        write_synced(&staging, &json)
            .and_then(|()| fs::rename(&staging, self.folder.join(DURABLE_FILE)))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|error| FetcherError::disk("write", staging, error))
    }

    fn ranges_json(&self, files: BTreeMap<String, RangeSet>) -> Vec<u8> {
        serde_json::to_vec(&RecordedRanges::new(&self.boot, files)).unwrap_or_default()
    }

    /// Removes all unfinished files: the model is complete.
    pub(crate) fn clear(&self) -> Result<(), FetcherError> {
        let parent = self.folder.parent().unwrap_or(&self.folder);
        fs::remove_dir_all(parent).map_err(|error| FetcherError::disk("remove", parent, error))
    }
}

fn recover_folder(
    parent: &Path,
    folder: &Path,
    boot: &str,
    previous_holder: PreviousHolder,
) -> io::Result<BTreeMap<String, RangeSet>> {
    create_folders(parent)?;
    let holders = fs::read_dir(parent)?.flatten().filter(|entry| entry.file_name() != XET_FOLDER);
    let mut previous_folders: Vec<PathBuf> = holders.map(|entry| entry.path()).collect();
    previous_folders.sort_by_key(|path| {
        std::cmp::Reverse(fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
    });
    let mut previous_folders = previous_folders.into_iter();
    match (previous_folders.next(), previous_holder) {
        (Some(last), PreviousHolder::Exited) => fs::rename(&last, folder)?,
        (Some(last), PreviousHolder::Unresponsive) => {
            fs::create_dir(folder)?;
            // Renamed first, so that its owner cannot reach a final name while its files are copied.
            let moved = folder.with_extension("taken");
            fs::rename(&last, &moved)?;
            copy_synced(&moved, folder)?;
            fs::remove_dir_all(&moved)?;
        }
        (None, _) => fs::create_dir(folder)?,
    }
    for obsolete in previous_folders {
        fs::remove_dir_all(obsolete)?;
    }
    sync_folder(parent)?;
    Ok(read_recorded_ranges(folder, boot))
}

/// Copies every file, and the synced record last: it must not list ranges that are not durable.
fn copy_synced(from: &Path, to: &Path) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(from)?.flatten().collect();
    entries.sort_by_key(|entry| entry.file_name() == DURABLE_FILE);
    for entry in entries {
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        File::open(copy)?.sync_data()?;
    }
    Ok(())
}

/// Reads the ranges recorded in `folder`: the newer, unsynced record if it is from this boot, else the synced
/// one.
fn read_recorded_ranges(folder: &Path, boot: &str) -> BTreeMap<String, RangeSet> {
    let parse = |name: &str| -> Option<RecordedRanges> {
        serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
    };
    parse(WRITTEN_FILE)
        .filter(|progress| progress.boot == boot && !boot.is_empty())
        .or_else(|| parse(DURABLE_FILE))
        .map(|progress| progress.files)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(end: u64) -> RangeSet {
        vec![(0, end)].into()
    }

    fn create_interrupted_run(folder: &Path) {
        let staging = StagingDir::recover(folder, "first", "boot-1", PreviousHolder::Exited).unwrap();
        fs::write(staging.path_of("a.mfpart"), vec![1; 100]).unwrap();
        staging.record_durable([("a.mfpart".to_owned(), ranges(40))].into()).unwrap();
        staging.record_written([("a.mfpart".to_owned(), ranges(90))].into()).unwrap();
    }

    #[test]
    fn unsynced_records_are_used_only_on_the_same_boot() {
        let folder = tempfile::tempdir().unwrap();
        create_interrupted_run(folder.path());
        let same = StagingDir::recover(folder.path(), "second", "boot-1", PreviousHolder::Exited).unwrap();
        assert_eq!(same.recorded_ranges("a.mfpart"), ranges(90));
        let other = StagingDir::recover(folder.path(), "third", "boot-2", PreviousHolder::Exited).unwrap();
        assert_eq!(other.recorded_ranges("a.mfpart"), ranges(40));
    }

    #[test]
    fn recorded_ranges_are_truncated_to_file_length() {
        let folder = tempfile::tempdir().unwrap();
        create_interrupted_run(folder.path());
        let staging = StagingDir::recover(folder.path(), "second", "boot-1", PreviousHolder::Exited).unwrap();
        fs::write(staging.path_of("a.mfpart"), vec![1; 10]).unwrap();
        assert_eq!(staging.recorded_ranges("a.mfpart"), ranges(10));
    }

    #[test]
    fn unresponsive_holder_cannot_modify_recovered_files() {
        let folder = tempfile::tempdir().unwrap();
        create_interrupted_run(folder.path());
        let old_folder = folder.path().join(WORK_FOLDER).join("first");
        let still_open = File::options().write(true).open(old_folder.join("a.mfpart")).unwrap();
        let staging =
            StagingDir::recover(folder.path(), "second", "boot-1", PreviousHolder::Unresponsive).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&still_open, &[9; 100], 0).unwrap();
        assert_eq!(fs::read(staging.path_of("a.mfpart")).unwrap(), vec![1; 100]);
        assert!(fs::rename(old_folder.join("a.mfpart"), folder.path().join("a")).is_err());
    }

    #[test]
    fn retain_only_removes_unplanned_files() {
        let folder = tempfile::tempdir().unwrap();
        create_interrupted_run(folder.path());
        let staging = StagingDir::recover(folder.path(), "second", "boot-1", PreviousHolder::Exited).unwrap();
        staging.retain_only(|name| name != "a.mfpart").unwrap();
        assert!(!staging.path_of("a.mfpart").exists());
        staging.clear().unwrap();
        assert!(!folder.path().join(WORK_FOLDER).exists());
    }
}
