//! Repositories: folders as revisions, with the hashes a hub knows of their files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Files of these kinds, and files above [`LARGE_BYTES`], are in large file storage.
const LARGE_KINDS: [&str; 7] = ["safetensors", "bin", "gguf", "pth", "pt", "onnx", "h5"];
const LARGE_BYTES: u64 = 10 << 20;

/// A model of the hub.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `org/name`.
    pub id: String,
    pub access: Access,
    /// Branches and tags.
    pub references: BTreeMap<String, String>,
    /// Files of each commit.
    pub commits: BTreeMap<String, Vec<HubFile>>,
}

/// Who may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Public,
    /// Listed for all, given to this token only.
    Gated {
        token: String,
    },
    /// Shown to this token only.
    Private {
        token: String,
    },
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    pub path: String,
    pub place: PathBuf,
    pub size: u64,
    /// Git's id of the blob: of the pointer for a large file.
    pub blob_id: String,
    /// The content's hash, for a large file.
    pub sha256: Option<String>,
    /// The content's id in xet storage, where it is there.
    pub xet_hash: Option<String>,
}

impl Repository {
    /// A public repository whose `main` is `folder`.
    pub fn from_folder(id: &str, folder: &Path) -> io::Result<Self> {
        let mut repository = Self {
            id: id.to_owned(),
            access: Access::Public,
            references: BTreeMap::new(),
            commits: BTreeMap::new(),
        };
        repository.add_revision("main", folder)?;
        Ok(repository)
    }

    /// Points `reference` at a commit of what is in `folder` now; returns the commit.
    pub fn add_revision(&mut self, reference: &str, folder: &Path) -> io::Result<String> {
        let mut paths = Vec::new();
        collect(folder, folder, &mut paths)?;
        paths.sort();
        let files = paths.iter().map(|path| hub_file(folder, path)).collect::<io::Result<Vec<_>>>()?;
        Ok(self.add_files(reference, files))
    }

    /// Points `reference` at a commit of `files`, whatever their paths and hashes are.
    pub fn add_files(&mut self, reference: &str, files: Vec<HubFile>) -> String {
        let mut hasher = Sha1::new();
        for file in &files {
            hasher.update(format!("{} {}\n", file.blob_id, file.path));
        }
        let commit = hexadecimal(&hasher.finalize());
        self.references.insert(reference.to_owned(), commit.clone());
        self.commits.insert(commit.clone(), files);
        commit
    }

    /// Says of the file `path` of every commit that xet storage has it as `xet_hash`.
    pub fn with_xet(mut self, path: &str, xet_hash: &str) -> Self {
        let files = self.commits.values_mut().flatten().filter(|file| file.path == path);
        files.for_each(|file| file.xet_hash = Some(xet_hash.to_owned()));
        self
    }

    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The commit a branch, tag or commit stands for.
    pub fn resolve(&self, revision: &str) -> Option<(&str, &[HubFile])> {
        let commit = self.references.get(revision).map(String::as_str).unwrap_or(revision);
        self.commits.get_key_value(commit).map(|(commit, files)| (commit.as_str(), files.as_slice()))
    }
}

fn collect(root: &Path, folder: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let place = entry?.path();
        if place.is_dir() {
            collect(root, &place, paths)?;
        } else if let Some(path) = place.strip_prefix(root).ok().and_then(Path::to_str) {
            paths.push(path.to_owned());
        }
    }
    Ok(())
}

fn hub_file(folder: &Path, path: &str) -> io::Result<HubFile> {
    let place = folder.join(path);
    let size = std::fs::metadata(&place)?.len();
    let kind = path.rsplit('.').next().unwrap_or_default();
    let large = size > LARGE_BYTES || LARGE_KINDS.contains(&kind);
    let (blob_id, sha256) = if large {
        let digits = hexadecimal(&hash::<Sha256>(&place, Sha256::new())?);
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digits}\nsize {size}\n");
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0{pointer}", pointer.len()));
        (hexadecimal(&hasher.finalize()), Some(digits))
    } else {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {size}\0"));
        (hexadecimal(&hash::<Sha1>(&place, hasher)?), None)
    };
    Ok(HubFile { path: path.to_owned(), place, size, blob_id, sha256, xet_hash: None })
}

fn hash<D: Digest>(place: &Path, mut hasher: D) -> io::Result<Vec<u8>> {
    let mut file = File::open(place)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finalize().to_vec()),
            length => hasher.update(&block[..length]),
        }
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
