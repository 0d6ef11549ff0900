//! Unfinished files: one work folder for each holder of the lease, named by its token.
//!
//! `.model-fetcher.partial/<token>/<digits>.<n>.mfpart`. A new holder renames the folder of the last one, so a
//! holder that was stopped and wakes up finds no way to a final name any more. What was written is recorded twice:
//! often without a sync, which is right as long as this machine runs, and now and then after one, which is right
//! always.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{create_folders, sync_folder, write_synced};
use crate::contract::{PARTIAL_SUFFIX, WORK_FOLDER};
use crate::error::Error;
use crate::ranges::RangeSet;

/// Beside the work folders of holders: what the xet library keeps while it runs.
pub(crate) const XET_FOLDER: &str = "xet";
const WRITTEN: &str = "written.json";
const DURABLE: &str = "durable.json";

/// Which ranges of which partial file are there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The boot of the machine that wrote this: without syncs, only its own memory is believed.
    boot: String,
    files: BTreeMap<String, RangeSet>,
}

impl Progress {
    pub(crate) fn new(boot: &str, files: BTreeMap<String, RangeSet>) -> Self {
        Self { boot: boot.to_owned(), files }
    }

    /// The ranges of each file, whatever boot they are of; nothing of what cannot be read.
    #[cfg(test)]
    pub(crate) fn read(json: &[u8]) -> BTreeMap<String, RangeSet> {
        serde_json::from_slice::<Self>(json).map(|progress| progress.files).unwrap_or_default()
    }
}

/// The work folder of one holder.
#[derive(Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    boot: String,
    found: BTreeMap<String, RangeSet>,
}

/// What is known about the holder before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predecessor {
    /// It ended, or there was none: its files can be written on.
    Gone,
    /// It fell silent and may wake up with its files still open: they are copied.
    Silent,
}

impl Work {
    /// Takes over what earlier holders left in `model_folder`, under the name `token`.
    pub(crate) fn adopt(
        model_folder: &Path,
        token: &str,
        boot: &str,
        predecessor: Predecessor,
    ) -> Result<Self, Error> {
        let above = model_folder.join(WORK_FOLDER);
        let folder = above.join(token);
        let result = adopt(&above, &folder, boot, predecessor);
        let found = result.map_err(|error| Error::disk("take over", &above, error))?;
        Ok(Self { folder, boot: boot.to_owned(), found })
    }

    /// What an earlier run left of the partial file `name`, cut to its real length.
    pub(crate) fn found(&self, name: &str) -> RangeSet {
        let mut ranges = self.found.get(name).cloned().unwrap_or_default();
        let length = fs::metadata(self.place(name)).map(|metadata| metadata.len()).unwrap_or(0);
        ranges.truncate(length);
        ranges
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Opens a partial file for reading and writing at any place.
    pub(crate) fn open(&self, name: &str) -> Result<File, Error> {
        let place = self.place(name);
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&place);
        opened.map_err(|error| Error::disk("open", place, error))
    }

    /// Removes partial files that no plan wants any more.
    pub(crate) fn keep_only(&self, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
        let entries = fs::read_dir(&self.folder).map_err(|error| Error::disk("read", &self.folder, error))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let unwanted = name.to_str().is_none_or(|name| name.ends_with(PARTIAL_SUFFIX) && !wanted(name));
            if unwanted {
                fs::remove_file(entry.path()).map_err(|error| Error::disk("remove", entry.path(), error))?;
            }
        }
        Ok(())
    }

    /// Records `progress` for the case that this process is killed. Not synced.
    pub(crate) fn record_written(&self, files: BTreeMap<String, RangeSet>) -> Result<(), Error> {
        let staging = self.folder.join("written.json.new");
        let json = self.json(files);
        fs::write(&staging, json)
            .and_then(|()| fs::rename(&staging, self.folder.join(WRITTEN)))
            .map_err(|error| Error::disk("write", staging, error))
    }

    /// Records `files`, whose data is synced already, for the case that this machine goes down.
    pub(crate) fn record_durable(&self, files: BTreeMap<String, RangeSet>) -> Result<(), Error> {
        let staging = self.folder.join("durable.json.new");
        let json = self.json(files);
        write_synced(&staging, &json)
            .and_then(|()| fs::rename(&staging, self.folder.join(DURABLE)))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|error| Error::disk("write", staging, error))
    }

    fn json(&self, files: BTreeMap<String, RangeSet>) -> Vec<u8> {
        serde_json::to_vec(&Progress::new(&self.boot, files)).unwrap_or_default()
    }

    /// Where the receipt is written before it gets its name.
    pub(crate) fn staging(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes everything unfinished: the folder is complete.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let above = self.folder.parent().unwrap_or(&self.folder);
        fs::remove_dir_all(above).map_err(|error| Error::disk("remove", above, error))
    }
}

fn adopt(
    above: &Path,
    folder: &Path,
    boot: &str,
    predecessor: Predecessor,
) -> io::Result<BTreeMap<String, RangeSet>> {
    create_folders(above)?;
    let holders = fs::read_dir(above)?.flatten().filter(|entry| entry.file_name() != XET_FOLDER);
    let mut earlier: Vec<PathBuf> = holders.map(|entry| entry.path()).collect();
    earlier.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).and_then(|found| found.modified()).ok()));
    let mut earlier = earlier.into_iter();
    match (earlier.next(), predecessor) {
        (Some(last), Predecessor::Gone) => fs::rename(&last, folder)?,
        (Some(last), Predecessor::Silent) => {
            fs::create_dir(folder)?;
            // Renamed first, so that its owner finds no way to a final name while its files are copied.
            let taken = folder.with_extension("taken");
            fs::rename(&last, &taken)?;
            copy_synced(&taken, folder)?;
            fs::remove_dir_all(&taken)?;
        }
        (None, _) => fs::create_dir(folder)?,
    }
    for left in earlier {
        fs::remove_dir_all(left)?;
    }
    sync_folder(above)?;
    Ok(found_in(folder, boot))
}

/// Copies every file, and the synced record last: it must not call durable what is not.
fn copy_synced(from: &Path, to: &Path) -> io::Result<()> {
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(from)?.flatten().collect();
    entries.sort_by_key(|entry| entry.file_name() == DURABLE);
    for entry in entries {
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        File::open(copy)?.sync_data()?;
    }
    Ok(())
}

/// What is recorded in `folder`: the newer, unsynced record if it is of this boot, else the synced one.
fn found_in(folder: &Path, boot: &str) -> BTreeMap<String, RangeSet> {
    let read =
        |name: &str| -> Option<Progress> { serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok() };
    read(WRITTEN)
        .filter(|progress| progress.boot == boot && !boot.is_empty())
        .or_else(|| read(DURABLE))
        .map(|progress| progress.files)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(end: u64) -> RangeSet {
        vec![(0, end)].into()
    }

    fn left_behind(folder: &Path) {
        let work = Work::adopt(folder, "first", "boot-1", Predecessor::Gone).unwrap();
        fs::write(work.place("a.mfpart"), vec![1; 100]).unwrap();
        work.record_durable([("a.mfpart".to_owned(), ranges(40))].into()).unwrap();
        work.record_written([("a.mfpart".to_owned(), ranges(90))].into()).unwrap();
    }

    #[test]
    fn unsynced_records_are_believed_on_the_same_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        left_behind(folder.path());
        let same = Work::adopt(folder.path(), "second", "boot-1", Predecessor::Gone).unwrap();
        assert_eq!(same.found("a.mfpart"), ranges(90));
        let other = Work::adopt(folder.path(), "third", "boot-2", Predecessor::Gone).unwrap();
        assert_eq!(other.found("a.mfpart"), ranges(40));
    }

    #[test]
    fn a_shorter_file_holds_no_more_than_its_length() {
        let folder = tempfile::tempdir().unwrap();
        left_behind(folder.path());
        let work = Work::adopt(folder.path(), "second", "boot-1", Predecessor::Gone).unwrap();
        fs::write(work.place("a.mfpart"), vec![1; 10]).unwrap();
        assert_eq!(work.found("a.mfpart"), ranges(10));
    }

    #[test]
    fn a_silent_holder_keeps_no_hand_on_the_files() {
        let folder = tempfile::tempdir().unwrap();
        left_behind(folder.path());
        let old = folder.path().join(WORK_FOLDER).join("first");
        let still_open = File::options().write(true).open(old.join("a.mfpart")).unwrap();
        let work = Work::adopt(folder.path(), "second", "boot-1", Predecessor::Silent).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&still_open, &[9; 100], 0).unwrap();
        assert_eq!(fs::read(work.place("a.mfpart")).unwrap(), vec![1; 100]);
        assert!(fs::rename(old.join("a.mfpart"), folder.path().join("a")).is_err());
    }

    #[test]
    fn files_no_plan_wants_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        left_behind(folder.path());
        let work = Work::adopt(folder.path(), "second", "boot-1", Predecessor::Gone).unwrap();
        work.keep_only(|name| name != "a.mfpart").unwrap();
        assert!(!work.place("a.mfpart").exists());
        work.clear().unwrap();
        assert!(!folder.path().join(WORK_FOLDER).exists());
    }
}
