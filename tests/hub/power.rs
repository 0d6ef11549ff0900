//! Power cuts: the writes, syncs and renames of a real run are recorded, and every crash they allow is looked at.
//!
//! A crash keeps what a sync covered and any subset of the rest. After each one, the folder is either incomplete by
//! our own check or right. To show that the look is sharp, it has to fail when one sync of the record is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kubectl_dynamo_tests::hub::Settings;
use model_fetcher::contract::RECEIPT_FILE;
use model_fetcher::{FetchOptions, check};

use crate::support::{Ended, MODEL, Scene};
use crate::trace::{Operation, Record, Target, read_trace};

/// What one crash left: folders and files by path.
#[derive(Default)]
struct Remains {
    folders: Vec<PathBuf>,
    files: BTreeMap<PathBuf, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
}

impl Remains {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Write { inode, offset, bytes } => {
                let content = self.contents.entry(*inode).or_default();
                content.resize(content.len().max(offset + bytes.len()), 0);
                content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Operation::Truncate { inode } => self.contents.entry(*inode).or_default().clear(),
            Operation::Name { path, inode } => {
                self.files.insert(path.clone(), *inode);
            }
            Operation::Unname { path } => {
                self.files.remove(path);
            }
            Operation::Folder { path } => self.folders.push(path.clone()),
            Operation::RemoveFolder { path } => self.folders.retain(|held| held != path),
        }
    }

    /// A write that was lost: its length may have been kept, with nothing but zeros.
    fn lose(&mut self, operation: &Operation) {
        if let Operation::Write { inode, offset, bytes } = operation {
            let content = self.contents.entry(*inode).or_default();
            content.resize(content.len().max(offset + bytes.len()), 0);
        }
    }

    /// Whether every folder above `path` is there.
    fn is_reachable(&self, root: &Path, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != root)
            .all(|above| self.folders.iter().any(|held| held == above))
    }
}

/// Everything one look needs.
struct Autopsy<'a> {
    scene: &'a Scene,
    records: &'a [Record],
    times: BTreeMap<PathBuf, std::time::SystemTime>,
    accepted: usize,
}

impl Autopsy<'_> {
    /// Looks at every crash after each step; `ignored` is a sync taken out. Returns the first wrong folder's story.
    fn violation(&mut self, ignored: Option<usize>) -> Option<String> {
        // Without the receipt's name no folder is called complete.
        let receipt = self.scene.folder().join(RECEIPT_FILE);
        let named = self.records.iter().filter(
            |record| matches!(record.operation(), Some(Operation::Name { path, .. }) if *path == receipt),
        );
        let first = named.map(Record::start).min().expect("the run wrote a receipt");
        let last = self.records.iter().map(Record::end).max().unwrap_or(first);
        (first..=last).find_map(|point| self.violation_at(point, ignored))
    }

    fn violation_at(&mut self, point: usize, ignored: Option<usize>) -> Option<String> {
        let begun: Vec<(usize, &Record)> =
            self.records.iter().enumerate().filter(|(_, record)| record.start() <= point).collect();
        let is_durable = |record: &Record| {
            begun.iter().any(|(index, sync)| Some(*index) != ignored && sync.covers(record, point))
        };
        let operations: Vec<(&Operation, bool)> = begun
            .iter()
            .filter_map(|(_, record)| record.operation().map(|operation| (operation, is_durable(record))))
            .collect();
        let optional: Vec<usize> = (0..operations.len()).filter(|index| !operations[*index].1).collect();
        crashes(&optional).into_iter().find_map(|dropped| {
            let mut remains = Remains::default();
            for (index, (operation, _)) in operations.iter().enumerate() {
                match dropped.contains(&index) {
                    true => remains.lose(operation),
                    false => remains.apply(operation),
                }
            }
            self.judge(&remains).map(|story| format!("after step {point}, without {dropped:?}: {story}"))
        })
    }

    /// What is wrong with a folder that our own check calls complete.
    fn judge(&mut self, remains: &Remains) -> Option<String> {
        let root = self.scene.volume.path();
        let receipt = self.scene.folder().join(RECEIPT_FILE);
        let has_receipt = remains.files.contains_key(&receipt) && remains.is_reachable(root, &receipt);
        if !has_receipt {
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        for (path, inode) in remains.files.iter().filter(|(path, _)| remains.is_reachable(root, path)) {
            let target = place.path().join(path.strip_prefix(root).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            let content = remains.contents.get(inode).map(Vec::as_slice).unwrap_or_default();
            std::fs::write(&target, content).unwrap();
            // The time is the one the receipt names, whatever the crash made of it: the hardest case.
            if let Some(time) = self.times.get(path) {
                std::fs::File::options().write(true).open(&target).unwrap().set_modified(*time).unwrap();
            }
        }
        if check(&FetchOptions::new(MODEL, place.path())).is_err() {
            return None;
        }
        self.accepted += 1;
        let wrong = self.scene.files.iter().find(|(path, content)| {
            std::fs::read(place.path().join(MODEL).join(path)).ok().as_ref() != Some(content)
        });
        wrong.map(|(path, _)| format!("{path} is wrong and the check calls the folder complete"))
    }
}

/// Which of the operations without a sync a crash drops: all, none, each alone, all but each, and some by chance.
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

/// Runs a fetch under strace; `None`, with the reason on stderr, where that is not to be had.
async fn recorded(scene: &Scene) -> Option<Vec<Record>> {
    let strace = match which::which("strace") {
        Ok(strace) => strace,
        Err(error) => {
            assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: strace: {error}");
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "cannot run: strace: {error}");
            return None;
        }
    };
    let trace = scene.served.path().with_extension("trace");
    let fetch = scene.command("fetch", &["--connections", "2"]);
    let mut command = tokio::process::Command::new(strace);
    command.args(["-f", "-qq", "-xx", "-y", "-s", "4000000", "-e"]);
    command.arg(
        "trace=openat,write,pwrite64,fsync,fdatasync,rename,renameat2,unlink,unlinkat,mkdir,rmdir,ftruncate",
    );
    command.arg("-o").arg(&trace).arg(fetch.as_std().get_program()).args(fetch.as_std().get_args());
    command.env_clear().envs(fetch.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    Ended::of(command.spawn().unwrap()).await.assert_code(0);
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    Some(read_trace(&text, scene.volume.path()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_power_cut_leaves_a_wrong_folder_that_looks_complete() {
    let scene = Scene::with(Settings::default(), 40_000).await;
    let Some(records) = recorded(&scene).await else { return };
    scene.assert_complete();
    let times = records.iter().filter_map(Record::operation).filter_map(|operation| match operation {
        Operation::Name { path, .. } => Some((path.clone(), std::fs::metadata(path).ok()?.modified().ok()?)),
        _ => None,
    });
    let mut autopsy = Autopsy { scene: &scene, records: &records, times: times.collect(), accepted: 0 };
    assert_eq!(autopsy.violation(None), None);
    assert!(autopsy.accepted > 0, "no crash was accepted: the look saw nothing");
    let content_syncs: Vec<usize> = records
        .iter()
        .enumerate()
        .filter_map(|(index, record)| match record.target() {
            Some(Target::Content { name, bytes, .. }) if name.ends_with(".mfpart") && *bytes > 0 => {
                Some(index)
            }
            _ => None,
        })
        .collect();
    // The empty file has nothing to lose.
    assert_eq!(content_syncs.len(), scene.files.len() - 1);
    for index in content_syncs {
        assert!(autopsy.violation(Some(index)).is_some(), "sync {index} could be left out unnoticed");
    }
}
