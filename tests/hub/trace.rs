//! Parses strace output into file system operations: writes, renames, and syncs, with their order.
//!
//! Names belong to folders and content belongs to inodes, so that a renamed folder keeps its files. Files
//! that a crash cannot make invalid are excluded: records that are only valid on the same boot, the lock, and
//! huggingface_hub's records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Inode number of the folder that contains everything else.
pub(crate) const ROOT: usize = 0;
const EXCLUDED_NAMES: [&str; 5] =
    ["written.json", ".model-fetcher.lock", ".model-fetcher.probe", ".cache", "authority.pem"];

/// A change of the file system that a crash may keep or lose.
#[derive(Debug, Clone)]
pub(crate) enum TraceOperation {
    Write { inode: usize, offset: usize, bytes: Vec<u8> },
    Truncate { inode: usize },
    Link { folder: usize, name: String, inode: usize },
    Unlink { folder: usize, name: String },
}

/// The object of a sync.
#[derive(Debug, Clone)]
pub(crate) enum SyncTarget {
    Content { inode: usize },
    Names { folder: usize },
}

impl SyncTarget {
    fn covers(&self, operation: &TraceOperation) -> bool {
        match (self, operation) {
            (
                SyncTarget::Content { inode: synced },
                TraceOperation::Write { inode, .. } | TraceOperation::Truncate { inode },
            ) => inode == synced,
            (
                SyncTarget::Names { folder: synced },
                TraceOperation::Link { folder, .. } | TraceOperation::Unlink { folder, .. },
            ) => folder == synced,
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum TraceAction {
    Change(TraceOperation),
    /// A sync and the path of its object, for messages.
    Sync(SyncTarget, PathBuf),
}

/// An operation or a sync, with the lines at which it started and ended.
#[derive(Debug, Clone)]
pub(crate) struct TraceRecord {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) action: TraceAction,
}

impl TraceRecord {
    /// Returns whether this is a sync that started after `other` ended and covers it.
    pub(crate) fn covers(&self, other: &TraceRecord) -> bool {
        let (TraceAction::Sync(target, _), TraceAction::Change(operation)) = (&self.action, &other.action)
        else {
            return false;
        };
        other.end < self.start && target.covers(operation)
    }
}

/// All operations of a program below one folder.
pub(crate) struct Trace {
    pub(crate) records: Vec<TraceRecord>,
    pub(crate) folders: HashSet<usize>,
}

/// State while lines are parsed.
struct TraceReader<'a> {
    root: &'a Path,
    records: Vec<TraceRecord>,
    /// The current names in each folder.
    folders: HashMap<usize, BTreeMap<String, usize>>,
    all_folders: HashSet<usize>,
    next_inode: usize,
    sizes: HashMap<usize, usize>,
    /// Offset of the next plain write of each file descriptor.
    positions: HashMap<u32, usize>,
}

/// Parses the outputs of `strace -f -qq -xx -y` of successive runs, limited to paths below `root`.
pub(crate) fn read_traces<'a>(texts: impl IntoIterator<Item = &'a str>, root: &Path) -> Trace {
    let mut reader = TraceReader {
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
        first = reader.read_run(text, first);
    }
    Trace { records: reader.records, folders: reader.all_folders }
}

impl TraceReader<'_> {
    /// Parses one run. Its lines are counted from `first`; returns the number after the last line.
    fn read_run(&mut self, text: &str, first: usize) -> usize {
        let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
        let mut next_line = first;
        for (line, line_number) in text.lines().zip(first..) {
            next_line = line_number + 1;
            let Some((process, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if let Some(call_start) = call.strip_suffix(" <unfinished ...>") {
                unfinished.insert(process, (line_number, call_start.to_owned()));
            } else if let Some(call_end) = call.strip_prefix("<... ") {
                let suffix = call_end.split_once(" resumed>").map(|(_, suffix)| suffix).unwrap_or_default();
                if let Some((start, call_start)) = unfinished.remove(process) {
                    self.read_call(&format!("{call_start}{suffix}"), start, line_number);
                }
            } else {
                self.read_call(call, line_number, line_number);
            }
        }
        next_line
    }

    fn read_call(&mut self, call: &str, start: usize, end: usize) {
        let Some((head, result)) = call.rsplit_once(" = ") else { return };
        let Some((name, arguments)) = head.trim_end().trim_end_matches(')').split_once('(') else { return };
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let actions = match name {
            "openat" => self.read_open(arguments, result),
            "write" | "pwrite64" => self.read_write(name, arguments, result),
            "fsync" | "fdatasync" => self.read_sync(arguments),
            "rename" | "renameat2" => self.read_rename(arguments),
            "unlink" | "unlinkat" | "rmdir" => self.read_remove(arguments),
            "mkdir" => self.read_mkdir(arguments),
            _ => None,
        };
        let records = actions.into_iter().flatten().map(|action| TraceRecord { start, end, action });
        self.records.extend(records);
    }

    fn read_open(&mut self, arguments: &str, result: &str) -> Option<Vec<TraceAction>> {
        let (number, path) = parse_descriptor(result)?;
        self.positions.insert(number, 0);
        match self.find_inode(&path) {
            Some(inode) if arguments.contains("O_TRUNC") => {
                Some(vec![TraceAction::Change(TraceOperation::Truncate { inode })])
            }
            None if arguments.contains("O_CREAT") => {
                self.next_inode += 1;
                self.link(&path, self.next_inode).map(|action| vec![action])
            }
            _ => None,
        }
    }

    fn read_write(&mut self, name: &str, arguments: &str, result: &str) -> Option<Vec<TraceAction>> {
        let (number, path) = parse_descriptor(arguments)?;
        let inode = self.find_inode(&path)?;
        let bytes = parse_quoted(arguments).into_iter().next()?;
        let written: usize = result.trim().parse().expect("strace prints the number of written bytes");
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
        Some(vec![TraceAction::Change(TraceOperation::Write {
            inode,
            offset,
            bytes: bytes[..written].to_vec(),
        })])
    }

    fn read_sync(&self, arguments: &str) -> Option<Vec<TraceAction>> {
        let (_, path) = parse_descriptor(arguments)?;
        let inode = self.find_inode(&path)?;
        let target = match self.folders.contains_key(&inode) {
            true => SyncTarget::Names { folder: inode },
            false => SyncTarget::Content { inode },
        };
        Some(vec![TraceAction::Sync(target, path)])
    }

    /// A rename adds the new name and removes the old one; a crash may keep either change without the other.
    fn read_rename(&mut self, arguments: &str) -> Option<Vec<TraceAction>> {
        let [from, to] = parse_quoted(arguments).try_into().ok()?;
        let (from, to) = (to_path(&from), to_path(&to));
        let inode = self.find_inode(&from)?;
        Some(vec![self.link(&to, inode)?, self.unlink(&from)?])
    }

    fn read_remove(&mut self, arguments: &str) -> Option<Vec<TraceAction>> {
        let folder = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let folder = to_path(&unescape(folder.map(|(folder, _)| folder).unwrap_or_default()));
        // An absolute path replaces the folder.
        let path = folder.join(to_path(parse_quoted(arguments).first()?));
        self.find_inode(&path)?;
        self.unlink(&path).map(|action| vec![action])
    }

    fn read_mkdir(&mut self, arguments: &str) -> Option<Vec<TraceAction>> {
        let path = to_path(parse_quoted(arguments).first()?);
        self.next_inode += 1;
        let action = self.link(&path, self.next_inode)?;
        self.folders.insert(self.next_inode, BTreeMap::new());
        self.all_folders.insert(self.next_inode);
        Some(vec![action])
    }

    fn link(&mut self, path: &Path, inode: usize) -> Option<TraceAction> {
        let (folder, name) = self.parent(path)?;
        self.folders.get_mut(&folder)?.insert(name.clone(), inode);
        Some(TraceAction::Change(TraceOperation::Link { folder, name, inode }))
    }

    fn unlink(&mut self, path: &Path) -> Option<TraceAction> {
        let (folder, name) = self.parent(path)?;
        self.folders.get_mut(&folder)?.remove(&name);
        Some(TraceAction::Change(TraceOperation::Unlink { folder, name }))
    }

    /// Returns the inode of a path below the root, unless the path is excluded.
    fn find_inode(&self, path: &Path) -> Option<usize> {
        let mut inode = ROOT;
        for part in path.strip_prefix(self.root).ok()?.components() {
            inode = *self.folders.get(&inode)?.get(part.as_os_str().to_str()?)?;
        }
        Some(inode)
    }

    fn parent(&self, path: &Path) -> Option<(usize, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let excluded = EXCLUDED_NAMES.iter().any(|excluded| name.starts_with(excluded));
        let folder = self.find_inode(path.parent()?)?;
        (!excluded && self.folders.contains_key(&folder)).then_some((folder, name))
    }
}

fn to_path(text: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(text).into_owned())
}

/// Parses `9<path>` into a number and a path.
fn parse_descriptor(text: &str) -> Option<(u32, PathBuf)> {
    let (number, rest) = text.split_once('<')?;
    let path = unescape(rest.split_once('>')?.0);
    Some((number.parse().ok()?, PathBuf::from(String::from_utf8(path).ok()?)))
}

/// Returns the strings in double quotes.
fn parse_quoted(text: &str) -> Vec<Vec<u8>> {
    text.split('"').skip(1).step_by(2).map(unescape).collect()
}

/// Decodes `\x2f\x74` to bytes.
fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|digits| u8::from_str_radix(digits.get(..2)?, 16).ok()).collect()
}
