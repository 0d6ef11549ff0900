//! A record of strace as operations on a file system: what was written, named and synced, and in which order.
//!
//! Names belong to folders and content to inodes, so that a folder that is renamed keeps what is in it. What no crash
//! can make wrong is left out: records that only the same boot believes, the lock, and huggingface_hub's records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The folder that everything is below.
pub(crate) const ROOT: usize = 0;
const LEFT_OUT: [&str; 5] =
    ["written.json", ".model-fetcher.lock", ".model-fetcher.probe", ".cache", "authority.pem"];

/// A change of the file system that a crash may keep or lose.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Write { inode: usize, offset: usize, bytes: Vec<u8> },
    Truncate { inode: usize },
    Link { folder: usize, name: String, inode: usize },
    Unlink { folder: usize, name: String },
}

/// What a sync covers.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Content { inode: usize },
    Names { folder: usize },
}

impl Target {
    fn covers(&self, operation: &Operation) -> bool {
        match (self, operation) {
            (
                Target::Content { inode: synced },
                Operation::Write { inode, .. } | Operation::Truncate { inode },
            ) => inode == synced,
            (
                Target::Names { folder: synced },
                Operation::Link { folder, .. } | Operation::Unlink { folder, .. },
            ) => folder == synced,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Change(Operation),
    /// With where it was, for people.
    Sync(Target, PathBuf),
}

/// An operation or a sync, from the line where it began to the line where it was done.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) action: Action,
}

impl Record {
    /// Whether this is a sync that began after `other` was done and covers it.
    pub(crate) fn covers(&self, other: &Record) -> bool {
        let (Action::Sync(target, _), Action::Change(operation)) = (&self.action, &other.action) else {
            return false;
        };
        other.end < self.start && target.covers(operation)
    }
}

/// What a program did below one folder.
pub(crate) struct Trace {
    pub(crate) records: Vec<Record>,
    pub(crate) folders: HashSet<usize>,
}

/// What is known while the lines are read.
struct Reader<'a> {
    root: &'a Path,
    records: Vec<Record>,
    /// The names in each folder now.
    folders: HashMap<usize, BTreeMap<String, usize>>,
    all_folders: HashSet<usize>,
    next_inode: usize,
    sizes: HashMap<usize, usize>,
    /// Where the next plain write of a process's descriptor goes.
    positions: HashMap<u32, usize>,
}

/// Reads the outputs of `strace -f -qq -xx -y` of one run after the other, as far as they are about what is below `root`.
pub(crate) fn read_traces<'a>(texts: impl IntoIterator<Item = &'a str>, root: &Path) -> Trace {
    let mut reader = Reader {
        root,
        records: Vec::new(),
        folders: HashMap::from([(ROOT, BTreeMap::new())]),
        all_folders: HashSet::from([ROOT]),
        next_inode: ROOT,
        sizes: HashMap::new(),
        positions: HashMap::new(),
    };
    let mut first = 0;
    for text in texts {
        reader.positions.clear();
        first = reader.run(text, first);
    }
    Trace { records: reader.records, folders: reader.all_folders }
}

impl Reader<'_> {
    /// Reads one run, whose lines are counted from `first`; returns the number after its last.
    fn run(&mut self, text: &str, first: usize) -> usize {
        let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
        let mut number = first;
        for (line, at) in text.lines().zip(first..) {
            number = at + 1;
            let Some((process, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
                unfinished.insert(process, (at, begun.to_owned()));
            } else if let Some(resumed) = call.strip_prefix("<... ") {
                let rest = resumed.split_once(" resumed>").map(|(_, rest)| rest).unwrap_or_default();
                if let Some((start, begun)) = unfinished.remove(process) {
                    self.call(&format!("{begun}{rest}"), start, at);
                }
            } else {
                self.call(call, at, at);
            }
        }
        number
    }

    fn call(&mut self, call: &str, start: usize, end: usize) {
        let Some((head, result)) = call.rsplit_once(" = ") else { return };
        let Some((name, arguments)) = head.trim_end().trim_end_matches(')').split_once('(') else { return };
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let actions = match name {
            "openat" => self.opened(arguments, result),
            "write" | "pwrite64" => self.written(name, arguments, result),
            "fsync" | "fdatasync" => self.synced(arguments),
            "rename" | "renameat2" => self.renamed(arguments),
            "unlink" | "unlinkat" | "rmdir" => self.removed(arguments),
            "mkdir" => self.made(arguments),
            _ => None,
        };
        let records = actions.into_iter().flatten().map(|action| Record { start, end, action });
        self.records.extend(records);
    }

    fn opened(&mut self, arguments: &str, result: &str) -> Option<Vec<Action>> {
        let (number, place) = descriptor(result)?;
        self.positions.insert(number, 0);
        match self.find(&place) {
            Some(inode) if arguments.contains("O_TRUNC") => {
                Some(vec![Action::Change(Operation::Truncate { inode })])
            }
            None if arguments.contains("O_CREAT") => {
                self.next_inode += 1;
                self.link(&place, self.next_inode).map(|action| vec![action])
            }
            _ => None,
        }
    }

    fn written(&mut self, name: &str, arguments: &str, result: &str) -> Option<Vec<Action>> {
        let (number, place) = descriptor(arguments)?;
        let inode = self.find(&place)?;
        let bytes = quoted(arguments).into_iter().next()?;
        let written: usize = result.trim().parse().expect("strace tells how much was written");
        let position = self.positions.entry(number).or_default();
        let offset = match name {
            "write" => std::mem::replace(position, *position + written),
            _ => {
                let last = arguments.rsplit(", ").next().and_then(|last| last.parse().ok());
                last.expect("pwrite64 ends with its offset")
            }
        };
        let size = self.sizes.entry(inode).or_default();
        *size = (*size).max(offset + written);
        Some(vec![Action::Change(Operation::Write { inode, offset, bytes: bytes[..written].to_vec() })])
    }

    fn synced(&self, arguments: &str) -> Option<Vec<Action>> {
        let (_, place) = descriptor(arguments)?;
        let inode = self.find(&place)?;
        let target = match self.folders.contains_key(&inode) {
            true => Target::Names { folder: inode },
            false => Target::Content { inode },
        };
        Some(vec![Action::Sync(target, place)])
    }

    /// A rename is a new name and the loss of the old one; a crash may keep either without the other.
    fn renamed(&mut self, arguments: &str) -> Option<Vec<Action>> {
        let [from, to] = quoted(arguments).try_into().ok()?;
        let (from, to) = (path(&from), path(&to));
        let inode = self.find(&from)?;
        Some(vec![self.link(&to, inode)?, self.unlink(&from)?])
    }

    fn removed(&mut self, arguments: &str) -> Option<Vec<Action>> {
        let folder = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let folder = path(&unescaped(folder.map(|(folder, _)| folder).unwrap_or_default()));
        // An absolute path takes the place of the folder.
        let place = folder.join(path(quoted(arguments).first()?));
        self.find(&place)?;
        self.unlink(&place).map(|action| vec![action])
    }

    fn made(&mut self, arguments: &str) -> Option<Vec<Action>> {
        let place = path(quoted(arguments).first()?);
        self.next_inode += 1;
        let action = self.link(&place, self.next_inode)?;
        self.folders.insert(self.next_inode, BTreeMap::new());
        self.all_folders.insert(self.next_inode);
        Some(vec![action])
    }

    fn link(&mut self, place: &Path, inode: usize) -> Option<Action> {
        let (folder, name) = self.parent(place)?;
        self.folders.get_mut(&folder)?.insert(name.clone(), inode);
        Some(Action::Change(Operation::Link { folder, name, inode }))
    }

    fn unlink(&mut self, place: &Path) -> Option<Action> {
        let (folder, name) = self.parent(place)?;
        self.folders.get_mut(&folder)?.remove(&name);
        Some(Action::Change(Operation::Unlink { folder, name }))
    }

    /// The inode of a path below the root, unless it is left out.
    fn find(&self, place: &Path) -> Option<usize> {
        let mut inode = ROOT;
        for part in place.strip_prefix(self.root).ok()?.components() {
            inode = *self.folders.get(&inode)?.get(part.as_os_str().to_str()?)?;
        }
        Some(inode)
    }

    fn parent(&self, place: &Path) -> Option<(usize, String)> {
        let name = place.file_name()?.to_str()?.to_owned();
        let left_out = LEFT_OUT.iter().any(|left_out| name.starts_with(left_out));
        let folder = self.find(place.parent()?)?;
        (!left_out && self.folders.contains_key(&folder)).then_some((folder, name))
    }
}

fn path(text: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(text).into_owned())
}

/// `9<path>` as a number and the path.
fn descriptor(text: &str) -> Option<(u32, PathBuf)> {
    let (number, rest) = text.split_once('<')?;
    let path = unescaped(rest.split_once('>')?.0);
    Some((number.parse().ok()?, PathBuf::from(String::from_utf8(path).ok()?)))
}

/// The strings in double quotes.
fn quoted(text: &str) -> Vec<Vec<u8>> {
    text.split('"').skip(1).step_by(2).map(unescaped).collect()
}

/// `\x2f\x74` as bytes.
fn unescaped(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}
