//! Repositories: folders as revisions, with the hashes that a hub stores for their files.
//! It must not use code of the fetcher.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Files with these extensions, and files above [`LARGE_BYTES`], are in LFS storage.
const LARGE_KINDS: [&str; 7] = ["safetensors", "bin", "gguf", "pth", "pt", "onnx", "h5"];
const LARGE_BYTES: u64 = 10 << 20;

/// A model on the hub.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `org/name`.
    pub id: String,
    pub access: RepositoryAccess,
    /// Branches and tags.
    pub references: BTreeMap<String, String>,
    /// Files of each commit.
    pub commits: BTreeMap<String, Vec<HubFile>>,
}

/// Who may read the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepositoryAccess {
    Public,
    /// Listed for everyone, content only with this token.
    Gated {
        token: String,
    },
    /// Visible only with this token.
    Private {
        token: String,
    },
}

/// One file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    pub path: String,
    pub disk_path: PathBuf,
    pub size: u64,
    /// Git blob ID, of the pointer for a large file.
    pub blob_id: String,
    /// Hash of the content, for a large file.
    pub sha256: Option<String>,
    /// ID of the content in xet storage, if it is stored there.
    pub xet_hash: Option<String>,
}

impl Repository {
    /// Creates a public repository whose `main` is `folder`.
    pub fn from_folder(id: &str, folder: &Path) -> io::Result<Self> {
        let mut repository = Self {
            id: id.to_owned(),
            access: RepositoryAccess::Public,
            references: BTreeMap::new(),
            commits: BTreeMap::new(),
        };
        repository.add_revision("main", folder)?;
        Ok(repository)
    }

    /// Points `reference` to a commit of the current files in `folder`; returns the commit.
    pub fn add_revision(&mut self, reference: &str, folder: &Path) -> io::Result<String> {
        let mut paths = Vec::new();
        collect_paths(folder, folder, &mut paths)?;
        paths.sort();
        let files = paths.iter().map(|path| hub_file(folder, path)).collect::<io::Result<Vec<_>>>()?;
        Ok(self.add_files(reference, files))
    }

    /// Points `reference` to a commit of `files`, with any paths and hashes.
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

    /// Marks the file `path` of every commit as stored in xet storage as `xet_hash`.
    pub fn with_xet_hash(mut self, path: &str, xet_hash: &str) -> Self {
        let files = self.commits.values_mut().flatten().filter(|file| file.path == path);
        files.for_each(|file| file.xet_hash = Some(xet_hash.to_owned()));
        self
    }

    pub fn with_access(mut self, access: RepositoryAccess) -> Self {
        self.access = access;
        self
    }

    /// Resolves a branch, tag, or commit.
    pub fn resolve(&self, revision: &str) -> Option<(&str, &[HubFile])> {
        let commit = self.references.get(revision).map(String::as_str).unwrap_or(revision);
        self.commits.get_key_value(commit).map(|(commit, files)| (commit.as_str(), files.as_slice()))
    }
}

fn collect_paths(root: &Path, folder: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let disk_path = entry?.path();
        if disk_path.is_dir() {
            collect_paths(root, &disk_path, paths)?;
        } else if let Some(path) = disk_path.strip_prefix(root).ok().and_then(Path::to_str) {
            paths.push(path.to_owned());
        }
    }
    Ok(())
}

fn hub_file(folder: &Path, path: &str) -> io::Result<HubFile> {
    let disk_path = folder.join(path);
    let size = std::fs::metadata(&disk_path)?.len();
    let kind = path.rsplit('.').next().unwrap_or_default();
    let large = size > LARGE_BYTES || LARGE_KINDS.contains(&kind);
    let (blob_id, sha256) = if large {
        let digits = hexadecimal(&hash_file::<Sha256>(&disk_path, Sha256::new())?);
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{digits}\nsize {size}\n");
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0{pointer}", pointer.len()));
        (hexadecimal(&hasher.finalize()), Some(digits))
    } else {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {size}\0"));
        (hexadecimal(&hash_file::<Sha1>(&disk_path, hasher)?), None)
    };
    Ok(HubFile { path: path.to_owned(), disk_path, size, blob_id, sha256, xet_hash: None })
}

fn hash_file<D: Digest>(disk_path: &Path, mut hasher: D) -> io::Result<Vec<u8>> {
    let mut file = File::open(disk_path)?;
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
