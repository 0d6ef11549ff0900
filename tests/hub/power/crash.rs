//! Constructs the file systems that a crash can leave, and checks each of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kubectl_dynamo_tests::hub::Repository;
use model_fetcher::{FetchOptions, check};
use model_fetcher_contract::RECEIPT_FILE;
use serde_json::Value;

use crate::support::{HubFixture, MODEL};
use crate::trace::{ROOT, Trace, TraceAction, TraceOperation, TraceRecord};

/// A file system after a crash.
#[derive(Default, Clone)]
struct CrashImage {
    names: BTreeMap<(usize, String), usize>,
    contents: BTreeMap<usize, Vec<u8>>,
}

impl CrashImage {
    fn apply(&mut self, operation: &TraceOperation) {
        match operation {
            TraceOperation::Write { inode, offset, bytes } => {
                self.extend_content(*inode, offset + bytes.len())[*offset..offset + bytes.len()]
                    .copy_from_slice(bytes);
            }
            TraceOperation::Truncate { inode } => self.contents.entry(*inode).or_default().clear(),
            TraceOperation::Link { folder, name, inode } => {
                self.names.insert((*folder, name.clone()), *inode);
            }
            TraceOperation::Unlink { folder, name } => {
                self.names.remove(&(*folder, name.clone()));
            }
        }
    }

    /// Drops a write: the file may keep its length with zeros as content.
    fn drop_write(&mut self, operation: &TraceOperation) {
        if let TraceOperation::Write { inode, offset, bytes } = operation {
            self.extend_content(*inode, offset + bytes.len());
        }
    }

    fn extend_content(&mut self, inode: usize, length: usize) -> &mut Vec<u8> {
        let content = self.contents.entry(inode).or_default();
        content.resize(content.len().max(length), 0);
        content
    }

    /// Returns every reachable file by its path.
    fn files(&self, trace: &Trace) -> BTreeMap<PathBuf, usize> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(ROOT, PathBuf::new())];
        while let Some((folder, path)) = folders.pop() {
            // A folder may have two names, but never contains itself.
            let inside = self.names.range((folder, String::new())..(folder + 1, String::new()));
            for ((_, name), inode) in inside {
                let path = path.join(name);
                match trace.folders.contains(inode) {
                    true => folders.push((*inode, path)),
                    false => drop(files.insert(path, *inode)),
                }
            }
        }
        files
    }

    fn content(&self, inode: usize) -> &[u8] {
        self.contents.get(&inode).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Input and counters of the crash checks.
pub(crate) struct CrashChecker<'a> {
    scene: &'a HubFixture,
    trace: &'a Trace,
    /// Expected content of each file, by the digits in the name of its partial file.
    contents: HashMap<String, &'a [u8]>,
    times: BTreeMap<PathBuf, SystemTime>,
    /// Number of crash images that were reported complete.
    pub(crate) accepted_crashes: usize,
    /// Number of recorded ranges that a resume would reuse.
    pub(crate) resumable_ranges: usize,
}

impl<'a> CrashChecker<'a> {
    /// Creates a checker for a run that completed the folder of `scene`.
    pub(crate) fn new(fixture: &'a HubFixture, trace: &'a Trace, repository: &Repository) -> Self {
        let (_, listed) = repository.resolve("main").expect("the model has a main branch");
        let contents = listed.iter().map(|file| {
            let digits = file.sha256.clone().unwrap_or_else(|| file.blob_id.clone());
            (digits, fixture.files[&file.path].as_slice())
        });
        let times = fixture.files.keys().map(|path| {
            let modified = std::fs::metadata(fixture.folder().join(path)).unwrap().modified().unwrap();
            (Path::new(MODEL).join(path), modified)
        });
        Self {
            scene: fixture,
            trace,
            contents: contents.collect(),
            times: times.collect(),
            accepted_crashes: 0,
            resumable_ranges: 0,
        }
    }

    /// Checks every crash after each step. `ignored` is a sync to ignore. Returns a description of the first
    /// error.
    pub(crate) fn find_violation(&mut self, ignored: Option<usize>) -> Option<String> {
        let trace = self.trace;
        let durable_at = durable_at(&trace.records, ignored);
        let points: BTreeSet<usize> =
            trace.records.iter().flat_map(|record| [record.start, record.end]).collect();
        let last = points.last().copied()?;
        let mut base = CrashImage::default();
        let mut applied = 0;
        points.into_iter().find_map(|point| {
            // Changes are ordered by their end. All changes after the first one that may be lost are decided
            // again.
            let is_durable = |index: usize| {
                trace.records[index].end <= point && durable_at[index].is_some_and(|durable| durable <= point)
            };
            while applied < trace.records.len()
                && (operation(trace, applied).is_none() || is_durable(applied))
            {
                operation(trace, applied).into_iter().for_each(|operation| base.apply(operation));
                applied += 1;
            }
            let started: Vec<usize> = (applied..trace.records.len())
                .filter(|index| trace.records[*index].start <= point && operation(trace, *index).is_some())
                .collect();
            let optional: Vec<usize> = started.iter().copied().filter(|index| !is_durable(*index)).collect();
            dropped_subsets(&optional).into_iter().find_map(|dropped| {
                let mut image = base.clone();
                for (index, operation) in
                    started.iter().filter_map(|index| Some((index, operation(trace, *index)?)))
                {
                    match dropped.contains(index) {
                        true => image.drop_write(operation),
                        false => image.apply(operation),
                    }
                }
                let violation = self.check_image(&image, point == last);
                violation.map(|violation| format!("after step {point}, without {dropped:?}: {violation}"))
            })
        })
    }

    fn check_image(&mut self, image: &CrashImage, is_finished: bool) -> Option<String> {
        let files = image.files(self.trace);
        self.find_false_record(image, &files).or_else(|| match self.check_completeness(image, &files) {
            Some(problem) => problem,
            None => is_finished.then(|| "the fetch ended but the folder is incomplete".to_owned()),
        })
    }

    /// Returns a range that the synced record lists but that is not present.
    fn find_false_record(&mut self, image: &CrashImage, files: &BTreeMap<PathBuf, usize>) -> Option<String> {
        let records = files.iter().filter(|(path, _)| path.ends_with("durable.json"));
        for (path, inode) in records {
            // A torn record counts as no record.
            let record: Value = serde_json::from_slice(image.content(*inode)).unwrap_or_default();
            for (name, ranges) in record["files"].as_object().into_iter().flatten() {
                let content = files.get(&path.with_file_name(name)).map(|inode| image.content(*inode));
                let content = content.unwrap_or_default();
                let digits = name.split('.').next().unwrap_or_default();
                let expected = self.contents.get(digits).copied().unwrap_or_default();
                for range in ranges.as_array().into_iter().flatten() {
                    let bound = |index: usize| {
                        range[index].as_u64().map_or(0, |bound| bound as usize).min(content.len())
                    };
                    let (first, end) = (bound(0), bound(1));
                    self.resumable_ranges += usize::from(first < end);
                    if expected.get(first..end) != Some(&content[first..end]) {
                        return Some(format!("{name} is recorded from {first} to {end} but not present"));
                    }
                }
            }
        }
        None
    }

    /// Returns `None` if `check` reports the folder as incomplete, else what is wrong with it, if anything.
    fn check_completeness(
        &mut self,
        image: &CrashImage,
        files: &BTreeMap<PathBuf, usize>,
    ) -> Option<Option<String>> {
        files.get(&Path::new(MODEL).join(RECEIPT_FILE))?;
        let crash_folder = tempfile::tempdir().unwrap();
        for (path, inode) in files {
            let target = crash_folder.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(&target, image.content(*inode)).unwrap();
            // Uses the modification time in the receipt, which is the most difficult case.
            if let Some(time) = self.times.get(path) {
                std::fs::File::options().write(true).open(&target).unwrap().set_modified(*time).unwrap();
            }
        }
        check(&FetchOptions::new(MODEL, crash_folder.path())).ok()?;
        self.accepted_crashes += 1;
        let corrupt_file = self.scene.files.iter().find(|(path, content)| {
            std::fs::read(crash_folder.path().join(MODEL).join(path)).ok().as_ref() != Some(content)
        });
        Some(
            corrupt_file.map(|(path, _)| format!("{path} is wrong but check reports the folder as complete")),
        )
    }
}

fn operation(trace: &Trace, index: usize) -> Option<&TraceOperation> {
    match &trace.records[index].action {
        TraceAction::Change(operation) => Some(operation),
        TraceAction::Sync(..) => None,
    }
}

/// Returns when each change is durable: at the end of the first sync that covers it.
fn durable_at(records: &[TraceRecord], ignored: Option<usize>) -> Vec<Option<usize>> {
    let syncs = || records.iter().enumerate().filter(|(index, _)| Some(*index) != ignored);
    let first_covering_sync = |change: &TraceRecord| {
        syncs().filter(|(_, sync)| sync.covers(change)).map(|(_, sync)| sync.end).min()
    };
    records.iter().map(first_covering_sync).collect()
}

/// Returns the subsets of unsynced changes that a crash drops: all, none, each one, all but each one, and
/// random ones.
fn dropped_subsets(optional: &[usize]) -> Vec<Vec<usize>> {
    let mut subsets = vec![optional.to_vec(), Vec::new()];
    for one in optional {
        subsets.push(vec![*one]);
        subsets.push(optional.iter().copied().filter(|other| other != one).collect());
    }
    let mut random_state = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..4 {
        let mut random_bool = || {
            random_state ^= random_state << 13;
            random_state ^= random_state >> 7;
            random_state ^= random_state << 17;
            random_state & 1 == 0
        };
        subsets.push(optional.iter().copied().filter(|_| random_bool()).collect());
    }
    subsets
}
