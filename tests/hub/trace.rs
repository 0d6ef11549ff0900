//! A record of strace as operations on files: what was written, named and synced, and in which order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A change of the file system that a crash may keep or lose.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Write { inode: usize, offset: usize, bytes: Vec<u8> },
    Truncate { inode: usize },
    Name { path: PathBuf, inode: usize },
    Unname { path: PathBuf },
    Folder { path: PathBuf },
    RemoveFolder { path: PathBuf },
}

/// What a sync covers.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Content { inode: usize, name: String, bytes: usize },
    Names { folder: PathBuf },
}

impl Target {
    fn covers(&self, operation: &Operation) -> bool {
        match (self, operation) {
            (
                Target::Content { inode: synced, .. },
                Operation::Write { inode, .. } | Operation::Truncate { inode },
            ) => inode == synced,
            (
                Target::Names { folder },
                Operation::Name { path, .. }
                | Operation::Unname { path }
                | Operation::Folder { path }
                | Operation::RemoveFolder { path },
            ) => path.parent() == Some(folder.as_path()),
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Change(Operation),
    Sync(Target),
}

/// An operation or a sync, from the line where it began to the line where it was done.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    start: usize,
    end: usize,
    action: Action,
}

impl Record {
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn operation(&self) -> Option<&Operation> {
        match &self.action {
            Action::Change(operation) => Some(operation),
            Action::Sync(_) => None,
        }
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        match &self.action {
            Action::Sync(target) => Some(target),
            Action::Change(_) => None,
        }
    }

    /// Whether this is a sync that was done by `point` and began after `other` was done.
    pub(crate) fn covers(&self, other: &Record, point: usize) -> bool {
        let (Action::Sync(target), Action::Change(operation)) = (&self.action, &other.action) else {
            return false;
        };
        self.end <= point && other.end < self.start && target.covers(operation)
    }
}

/// What is known while the lines are read.
struct Reader<'a> {
    root: &'a Path,
    records: Vec<Record>,
    inodes: HashMap<PathBuf, usize>,
    next_inode: usize,
    sizes: HashMap<usize, usize>,
    /// Where the next plain write of a descriptor goes.
    positions: HashMap<u32, usize>,
}

/// Reads the output of `strace -f -qq -xx -y`, as far as it is about what is below `root`.
pub(crate) fn read_trace(text: &str, root: &Path) -> Vec<Record> {
    let mut reader = Reader {
        root,
        records: Vec::new(),
        inodes: HashMap::new(),
        next_inode: 0,
        sizes: HashMap::new(),
        positions: HashMap::new(),
    };
    let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
    for (line_number, line) in text.lines().enumerate() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (line_number, begun.to_owned()));
        } else if let Some(resumed) = call.strip_prefix("<... ") {
            let rest = resumed.split_once(" resumed>").map(|(_, rest)| rest).unwrap_or_default();
            if let Some((start, begun)) = unfinished.remove(process) {
                reader.call(&format!("{begun}{rest}"), start, line_number);
            }
        } else {
            reader.call(call, line_number, line_number);
        }
    }
    reader.records
}

impl Reader<'_> {
    fn call(&mut self, call: &str, start: usize, end: usize) {
        let Some((head, result)) = call.rsplit_once(" = ") else { return };
        let Some((name, arguments)) = head.trim_end().trim_end_matches(')').split_once('(') else { return };
        if result.starts_with('-') {
            return;
        }
        let mut push = |actions: Vec<Action>| {
            self.records.extend(actions.into_iter().map(|action| Record { start, end, action }));
        };
        let strings = quoted(arguments);
        let path = |text: &Vec<u8>| PathBuf::from(String::from_utf8_lossy(text).into_owned());
        let inside = |path: &Path| path.starts_with(self.root);
        match name {
            "openat" => {
                let opened = descriptor(result);
                if let Some((number, place)) = opened.filter(|(_, place)| inside(place)) {
                    let actions = self.opened(number, place, arguments);
                    self.records.extend(actions.into_iter().map(|action| Record { start, end, action }));
                }
            }
            "write" | "pwrite64" => {
                let found = descriptor(arguments)
                    .and_then(|(number, place)| Some((number, *self.inodes.get(&place)?)));
                if let (Some((number, inode)), Some(bytes)) = (found, strings.first()) {
                    let written: usize = result.trim().parse().expect("strace tells how much was written");
                    let position = self.positions.entry(number).or_default();
                    let offset = match name {
                        "write" => std::mem::replace(position, *position + written),
                        _ => arguments
                            .rsplit(", ")
                            .next()
                            .and_then(|last| last.parse().ok())
                            .expect("pwrite64 ends with its offset"),
                    };
                    let size = self.sizes.entry(inode).or_default();
                    *size = (*size).max(offset + written);
                    let bytes = bytes[..written].to_vec();
                    push(vec![Action::Change(Operation::Write { inode, offset, bytes })]);
                }
            }
            "fsync" | "fdatasync" => {
                if let Some((_, place)) = descriptor(arguments).filter(|(_, place)| inside(place)) {
                    let target = match self.inodes.get(&place) {
                        Some(inode) => Target::Content {
                            inode: *inode,
                            name: place.to_string_lossy().into_owned(),
                            bytes: self.sizes.get(inode).copied().unwrap_or(0),
                        },
                        None => Target::Names { folder: place },
                    };
                    push(vec![Action::Sync(target)]);
                }
            }
            "rename" | "renameat2" => {
                let (from, to) = (path(&strings[0]), path(&strings[1]));
                if let Some(inode) = self.inodes.remove(&from) {
                    self.inodes.insert(to.clone(), inode);
                    push(vec![
                        Action::Change(Operation::Name { path: to, inode }),
                        Action::Change(Operation::Unname { path: from }),
                    ]);
                } else {
                    assert!(!inside(&from), "a folder was renamed, which a first fetch does not do");
                }
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let folder = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
                let place = path(&unescaped(folder.map(|(folder, _)| folder).unwrap_or_default()));
                // An absolute path takes the place of the folder.
                let target = place.join(path(&strings[0]));
                if inside(&target) {
                    let removed = self.inodes.remove(&target);
                    push(vec![Action::Change(match removed {
                        Some(_) => Operation::Unname { path: target },
                        None => Operation::RemoveFolder { path: target },
                    })]);
                }
            }
            "mkdir" => {
                let place = path(&strings[0]);
                if inside(&place) {
                    push(vec![Action::Change(Operation::Folder { path: place })]);
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, number: u32, place: PathBuf, arguments: &str) -> Vec<Action> {
        self.positions.insert(number, 0);
        match self.inodes.get(&place) {
            Some(inode) if arguments.contains("O_TRUNC") => {
                vec![Action::Change(Operation::Truncate { inode: *inode })]
            }
            None if arguments.contains("O_CREAT") => {
                self.next_inode += 1;
                self.inodes.insert(place.clone(), self.next_inode);
                vec![Action::Change(Operation::Name { path: place, inode: self.next_inode })]
            }
            _ => Vec::new(),
        }
    }
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
