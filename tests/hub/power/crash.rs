//! What a crash leaves of a recorded run, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kubectl_dynamo_tests::hub::Repository;
use model_fetcher::contract::RECEIPT_FILE;
use model_fetcher::{FetchOptions, check};
use serde_json::Value;

use crate::support::{MODEL, Scene};
use crate::trace::{Action, Operation, ROOT, Record, Trace};

/// A file system after a crash.
#[derive(Default, Clone)]
struct Remains {
    names: BTreeMap<(usize, String), usize>,
    contents: BTreeMap<usize, Vec<u8>>,
}

impl Remains {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { inode, offset, bytes } => {
                self.stretch(*inode, offset + bytes.len())[*offset..offset + bytes.len()]
                    .copy_from_slice(bytes);
            }
            Operation::Truncate { inode } => self.contents.entry(*inode).or_default().clear(),
            Operation::Link { folder, name, inode } => {
                self.names.insert((*folder, name.clone()), *inode);
            }
            Operation::Unlink { folder, name } => {
                self.names.remove(&(*folder, name.clone()));
            }
        }
    }

    /// A write that was lost: its length may have been kept, with nothing but zeros.
    fn lose(&mut self, operation: &Operation) {
        if let Operation::Write { inode, offset, bytes } = operation {
            self.stretch(*inode, offset + bytes.len());
        }
    }

    fn stretch(&mut self, inode: usize, length: usize) -> &mut Vec<u8> {
        let content = self.contents.entry(inode).or_default();
        content.resize(content.len().max(length), 0);
        content
    }

    /// Every file that can be reached, by its path.
    fn files(&self, trace: &Trace) -> BTreeMap<PathBuf, usize> {
        let mut files = BTreeMap::new();
        let mut folders = vec![(ROOT, PathBuf::new())];
        while let Some((folder, place)) = folders.pop() {
            // A folder may be found under two names, but is never in itself.
            let inside = self.names.range((folder, String::new())..(folder + 1, String::new()));
            for ((_, name), inode) in inside {
                let place = place.join(name);
                match trace.folders.contains(inode) {
                    true => folders.push((*inode, place)),
                    false => drop(files.insert(place, *inode)),
                }
            }
        }
        files
    }

    fn content(&self, inode: usize) -> &[u8] {
        self.contents.get(&inode).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Everything one look needs.
pub(crate) struct Autopsy<'a> {
    scene: &'a Scene,
    trace: &'a Trace,
    /// What each file of the model must hold, by the digits that name it on its way.
    contents: HashMap<String, &'a [u8]>,
    times: BTreeMap<PathBuf, SystemTime>,
    /// Folders that were called complete.
    pub(crate) accepted: usize,
    /// Ranges of unfinished files that a resume would believe.
    pub(crate) believed: usize,
}

impl<'a> Autopsy<'a> {
    /// Of a run that has completed the folder of `scene`.
    pub(crate) fn new(scene: &'a Scene, trace: &'a Trace, repository: &Repository) -> Self {
        let (_, listed) = repository.resolve("main").expect("the model has a main");
        let contents = listed.iter().map(|file| {
            let digits = file.sha256.clone().unwrap_or_else(|| file.blob_id.clone());
            (digits, scene.files[&file.path].as_slice())
        });
        let times = scene.files.keys().map(|path| {
            let modified = std::fs::metadata(scene.folder().join(path)).unwrap().modified().unwrap();
            (Path::new(MODEL).join(path), modified)
        });
        Self { scene, trace, contents: contents.collect(), times: times.collect(), accepted: 0, believed: 0 }
    }

    /// Looks at every crash after each step; `ignored` is a sync taken out. Returns the first wrong folder's story.
    pub(crate) fn violation(&mut self, ignored: Option<usize>) -> Option<String> {
        let trace = self.trace;
        let durable_at = durable_at(&trace.records, ignored);
        let points: BTreeSet<usize> =
            trace.records.iter().flat_map(|record| [record.start, record.end]).collect();
        let last = points.last().copied()?;
        let mut base = Remains::default();
        let mut applied = 0;
        points.into_iter().find_map(|point| {
            // Changes come in the order of their ends; those from the first one that may be lost on are decided anew.
            let is_sure = |index: usize| {
                trace.records[index].end <= point && durable_at[index].is_some_and(|durable| durable <= point)
            };
            while applied < trace.records.len() && (operation(trace, applied).is_none() || is_sure(applied)) {
                operation(trace, applied).into_iter().for_each(|operation| base.apply(operation));
                applied += 1;
            }
            let begun: Vec<usize> = (applied..trace.records.len())
                .filter(|index| trace.records[*index].start <= point && operation(trace, *index).is_some())
                .collect();
            let optional: Vec<usize> = begun.iter().copied().filter(|index| !is_sure(*index)).collect();
            crashes(&optional).into_iter().find_map(|dropped| {
                let mut remains = base.clone();
                for (index, operation) in
                    begun.iter().filter_map(|index| Some((index, operation(trace, *index)?)))
                {
                    match dropped.contains(index) {
                        true => remains.lose(operation),
                        false => remains.apply(operation),
                    }
                }
                let story = self.judge(&remains, point == last);
                story.map(|story| format!("after step {point}, without {dropped:?}: {story}"))
            })
        })
    }

    fn judge(&mut self, remains: &Remains, is_over: bool) -> Option<String> {
        let files = remains.files(self.trace);
        self.misbelief(remains, &files).or_else(|| match self.is_complete(remains, &files) {
            Some(wrong) => wrong,
            None => is_over.then(|| "the fetch has ended and the folder is incomplete".to_owned()),
        })
    }

    /// A range that the synced record calls present and that is not there.
    fn misbelief(&mut self, remains: &Remains, files: &BTreeMap<PathBuf, usize>) -> Option<String> {
        let records = files.iter().filter(|(path, _)| path.ends_with("durable.json"));
        for (path, inode) in records {
            // One that is torn is taken for none.
            let record: Value = serde_json::from_slice(remains.content(*inode)).unwrap_or_default();
            for (name, ranges) in record["files"].as_object().into_iter().flatten() {
                let held = files.get(&path.with_file_name(name)).map(|inode| remains.content(*inode));
                let held = held.unwrap_or_default();
                let digits = name.split('.').next().unwrap_or_default();
                let expected = self.contents.get(digits).copied().unwrap_or_default();
                for range in ranges.as_array().into_iter().flatten() {
                    let bound = |index: usize| {
                        range[index].as_u64().map_or(0, |bound| bound as usize).min(held.len())
                    };
                    let (first, end) = (bound(0), bound(1));
                    self.believed += usize::from(first < end);
                    if expected.get(first..end) != Some(&held[first..end]) {
                        return Some(format!("{name} is believed from {first} to {end} and is not there"));
                    }
                }
            }
        }
        None
    }

    /// `None` when our own check calls the folder incomplete; else what is wrong with it, if anything is.
    fn is_complete(&mut self, remains: &Remains, files: &BTreeMap<PathBuf, usize>) -> Option<Option<String>> {
        files.get(&Path::new(MODEL).join(RECEIPT_FILE))?;
        let place = tempfile::tempdir().unwrap();
        for (path, inode) in files {
            let target = place.path().join(path);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(&target, remains.content(*inode)).unwrap();
            // The time is the one the receipt names, whatever the crash made of it: the hardest case.
            if let Some(time) = self.times.get(path) {
                std::fs::File::options().write(true).open(&target).unwrap().set_modified(*time).unwrap();
            }
        }
        check(&FetchOptions::new(MODEL, place.path())).ok()?;
        self.accepted += 1;
        let wrong = self.scene.files.iter().find(|(path, content)| {
            std::fs::read(place.path().join(MODEL).join(path)).ok().as_ref() != Some(content)
        });
        Some(wrong.map(|(path, _)| format!("{path} is wrong and the check calls the folder complete")))
    }
}

fn operation(trace: &Trace, index: usize) -> Option<&Operation> {
    match &trace.records[index].action {
        Action::Change(operation) => Some(operation),
        Action::Sync(..) => None,
    }
}

/// When each change is sure to survive: at the end of the first sync that covers it.
fn durable_at(records: &[Record], ignored: Option<usize>) -> Vec<Option<usize>> {
    let syncs = || records.iter().enumerate().filter(|(index, _)| Some(*index) != ignored);
    let sure =
        |change: &Record| syncs().filter(|(_, sync)| sync.covers(change)).map(|(_, sync)| sync.end).min();
    records.iter().map(sure).collect()
}

/// Which of the changes without a sync a crash drops: all, none, each alone, all but each, and some by chance.
fn crashes(optional: &[usize]) -> Vec<Vec<usize>> {
    let mut crashes = vec![optional.to_vec(), Vec::new()];
    for one in optional {
        crashes.push(vec![*one]);
        crashes.push(optional.iter().copied().filter(|other| other != one).collect());
    }
    let mut chance = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..4 {
        let mut coin = || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            chance & 1 == 0
        };
        crashes.push(optional.iter().copied().filter(|_| coin()).collect());
    }
    crashes
}
