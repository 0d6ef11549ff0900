//! A model folder: final names, the receipt, and the order of syncs that survives a power failure.
//!
//! A file's data is synced before it is renamed, the rename is synced before the receipt is written, and the
//! receipt is renamed into place last. This module makes no network request.

pub(crate) mod hf_metadata;
pub(crate) mod staging;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::FetcherError;
use crate::source::tree::{is_commit, validate_path};
use model_fetcher_contract::{RECEIPT_FILE, RECEIPT_FORMAT, Receipt, ReceiptFile, required_space};

/// Chosen: each `remove` removes the organization's folder once.
const MAX_PREPARE_RETRIES: usize = 10;

/// The folder of one model.
#[derive(Debug, Clone)]
pub(crate) struct ModelStore {
    folder: PathBuf,
}

impl ModelStore {
    /// Creates a store for `folder` without touching the disk.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder and checks whether this user can write to it.
    pub(crate) fn prepare(&self) -> Result<(), FetcherError> {
        let mut prepared = self.create_writable();
        // A `remove` of another model can remove the empty organization's folder in between.
        for _ in 0..MAX_PREPARE_RETRIES {
            match prepared {
                Err(ref error) if error.kind() == io::ErrorKind::NotFound => {
                    prepared = self.create_writable()
                }
                _ => break,
            }
        }
        prepared.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => self.not_writable(&error),
            _ => FetcherError::disk("create", &self.folder, error),
        })
    }

    fn create_writable(&self) -> io::Result<()> {
        create_folders(&self.folder)?;
        self.check_writable()
    }

    fn check_writable(&self) -> io::Result<()> {
        let probe = self.folder.join(format!(".model-fetcher.probe-{}", std::process::id()));
        File::create(&probe)?;
        fs::remove_file(&probe)
    }

    /// Returns whether this volume is case-insensitive.
    pub(crate) fn is_case_insensitive(&self) -> Result<bool, FetcherError> {
        let name = format!(".model-fetcher.probe-{}", std::process::id());
        let (probe, other) = (self.folder.join(&name), self.folder.join(name.to_uppercase()));
        let probed = File::create(&probe).and_then(|_| {
            let is_insensitive = other.exists();
            fs::remove_file(&probe).map(|()| is_insensitive)
        });
        probed.map_err(|error| FetcherError::disk("create", probe, error))
    }

    fn not_writable(&self, error: &io::Error) -> FetcherError {
        let existing = self.folder.ancestors().find(|folder| folder.exists()).unwrap_or(&self.folder);
        let reason = match fs::metadata(existing) {
            Ok(metadata) => format!(
                "{error}; {} belongs to uid {} gid {} with mode {:o}",
                existing.display(),
                metadata.uid(),
                metadata.gid(),
                metadata.mode() & 0o7777
            ),
            Err(_) => error.to_string(),
        };
        FetcherError::NotWritable {
            folder: self.folder.clone(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            reason,
        }
    }

    /// Returns an error if `missing` bytes and their overhead do not fit on the volume.
    pub(crate) fn require_space(&self, missing: u64) -> Result<(), FetcherError> {
        let status = rustix::fs::statvfs(&self.folder)
            .map_err(|error| FetcherError::disk("read the free space of", &self.folder, error.into()))?;
        let available = status.f_bavail.saturating_mul(status.f_frsize);
        let needed = required_space(missing);
        if missing > 0 && available < needed {
            return Err(FetcherError::NoSpace { folder: self.folder.clone(), needed, available });
        }
        Ok(())
    }

    /// Returns the final path of `path` in the repository.
    pub(crate) fn path_of(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Returns the metadata of `path` if it is a regular file. A symbolic link on the way is an error.
    pub(crate) fn file_metadata(&self, path: &str) -> Result<Option<fs::Metadata>, FetcherError> {
        let mut current = self.folder.clone();
        let mut file_metadata = None;
        for part in path.split('/') {
            current.push(part);
            match fs::symlink_metadata(&current) {
                Ok(metadata) if metadata.is_symlink() => {
                    return Err(FetcherError::SymbolicLink { path: current });
                }
                Ok(metadata) => file_metadata = Some(metadata),
                // A parent is a file, so `path` does not exist.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(FetcherError::disk("read metadata of", current, error)),
            }
        }
        Ok(file_metadata.filter(fs::Metadata::is_file))
    }

    /// Renames a finished file to its final name. Its data must be synced already.
    pub(crate) fn commit(&self, partial: &Path, path: &str) -> Result<(), FetcherError> {
        self.file_metadata(path)?;
        let final_path = self.path_of(path);
        let parent = final_path.parent().unwrap_or(&self.folder);
        create_folders(parent).map_err(|error| FetcherError::disk("create", parent, error))?;
        fs::rename(partial, &final_path)
            .map_err(|error| FetcherError::disk("rename a file to", &final_path, error))?;
        sync_folder(parent).map_err(|error| FetcherError::disk("sync", parent, error))
    }

    /// Removes `path` and the folders that become empty. Does not follow symbolic links.
    pub(crate) fn remove(&self, path: &str) -> Result<(), FetcherError> {
        let file_path = self.path_of(path);
        if self.file_metadata(path)?.is_some() {
            fs::remove_file(&file_path).map_err(|error| FetcherError::disk("remove", &file_path, error))?;
        }
        let parents = file_path.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        // Stops at the first folder that is not empty.
        let _ = parents.map(fs::remove_dir).take_while(Result::is_ok).count();
        Ok(())
    }

    /// Reads the receipt. Returns `None` if it is missing, invalid, or lists files outside this folder.
    pub(crate) fn read_receipt(&self) -> Result<Option<Receipt>, FetcherError> {
        Ok(self.read_receipt_json()?.and_then(|json| parse_receipt(&json)))
    }

    /// Reads the receipt's text, if there is a receipt.
    pub(crate) fn read_receipt_json(&self) -> Result<Option<Vec<u8>>, FetcherError> {
        let receipt_path = self.folder.join(RECEIPT_FILE);
        match fs::read(&receipt_path) {
            Ok(json) => Ok(Some(json)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(FetcherError::disk("read", receipt_path, error)),
        }
    }

    /// Deletes the receipt before the files in it change.
    pub(crate) fn delete_receipt(&self) -> Result<(), FetcherError> {
        let receipt_path = self.folder.join(RECEIPT_FILE);
        match fs::remove_file(&receipt_path) {
            Ok(()) => {
                sync_folder(&self.folder).map_err(|error| FetcherError::disk("sync", &self.folder, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FetcherError::disk("remove", receipt_path, error)),
        }
    }

    /// Writes the receipt through `staging`, which does not exist anymore if another fetcher took over the
    /// folder.
    pub(crate) fn write_receipt(&self, receipt: &Receipt, staging: &Path) -> Result<(), FetcherError> {
        let json = serde_json::to_vec_pretty(receipt).map_err(|error| {
            FetcherError::disk("write", self.folder.join(RECEIPT_FILE), io::Error::other(error))
        })?;
        let receipt_path = self.folder.join(RECEIPT_FILE);
        write_synced(staging, &json)
            .and_then(|()| fs::rename(staging, &receipt_path))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|error| FetcherError::disk("write", receipt_path, error))
    }
}

/// Parses a receipt. Returns `None` for one that is invalid or lists files outside its folder; the folder is
/// then treated as if it did not have a receipt.
pub(crate) fn parse_receipt(json: &[u8]) -> Option<Receipt> {
    let receipt: Receipt = serde_json::from_slice(json).ok()?;
    let is_inside = |file: &ReceiptFile| validate_path(&file.path).is_ok();
    let is_known = receipt.format == RECEIPT_FORMAT && is_commit(&receipt.commit);
    (is_known && receipt.files.iter().all(is_inside)).then_some(receipt)
}

/// Returns the modification time in nanoseconds since the Unix epoch, as in receipts.
pub(crate) fn modified_nanoseconds(metadata: &fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Returns whether the file is unchanged since it was verified, by size and modification time.
pub(crate) fn is_unchanged(file: &ReceiptFile, metadata: &fs::Metadata) -> bool {
    metadata.len() == file.size && modified_nanoseconds(metadata) == file.modified
}

/// Returns whether this is the first process of a container and `folder` is in the container's own layer.
pub(crate) fn is_in_container_layer(folder: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    std::process::id() == 1 && device(folder) == device(Path::new("/"))
}

/// Writes a file and syncs its data.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Syncs the directory entries of `folder`.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems sync names on their own and reject fsync on a folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

/// Creates `folder` and its parents, and syncs each new name.
pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_fetcher_contract::Checksum;

    fn receipt() -> Receipt {
        Receipt {
            format: RECEIPT_FORMAT,
            repository: "org/model".into(),
            endpoint: "https://hub".into(),
            revision: "main".into(),
            commit: "c".repeat(40),
            files: vec![ReceiptFile {
                path: "a/b".into(),
                size: 1,
                checksum: Checksum::GitSha1("0".repeat(40)),
                modified: 5,
            }],
            excluded: vec!["x.bin".into()],
            completed_at: "2026-01-01T00:00:00Z".into(),
            fetcher: "model-fetcher 0.1.0".into(),
        }
    }

    #[test]
    fn receipt_round_trips() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::at(folder.path());
        assert_eq!(store.read_receipt().unwrap(), None);
        store.write_receipt(&receipt(), &folder.path().join("staging")).unwrap();
        assert_eq!(store.read_receipt().unwrap(), Some(receipt()));
        store.delete_receipt().unwrap();
        assert_eq!(store.read_receipt().unwrap(), None);
    }

    #[test]
    fn invalid_receipt_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let mut outside = receipt();
        outside.files[0].path = "../elsewhere".into();
        let outside = serde_json::to_string(&outside).unwrap();
        let no_commit = Receipt { commit: "../../é".into(), ..receipt() };
        let no_commit = serde_json::to_string(&no_commit).unwrap();
        for content in ["", "{", "[]", r#"{"format":99}"#, &outside, &no_commit] {
            fs::write(folder.path().join(RECEIPT_FILE), content).unwrap();
            assert_eq!(ModelStore::at(folder.path()).read_receipt().unwrap(), None, "{content}");
        }
    }

    #[test]
    fn writing_receipt_without_staging_folder_fails() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::at(folder.path());
        let error = store.write_receipt(&receipt(), &folder.path().join("gone/receipt")).unwrap_err();
        assert_eq!(error.exit_code(), 12);
        assert_eq!(store.read_receipt().unwrap(), None);
    }

    #[test]
    fn commit_rejects_symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("partial"), "x").unwrap();
        let store = ModelStore::at(folder.path());
        let error = store.commit(&folder.path().join("partial"), "sub/file").unwrap_err();
        assert!(matches!(error, FetcherError::SymbolicLink { .. }), "{error}");
        assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    }

    #[test]
    fn remove_rejects_symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
        let error = ModelStore::at(folder.path()).remove("sub/file").unwrap_err();
        assert!(matches!(error, FetcherError::SymbolicLink { .. }), "{error}");
        assert!(elsewhere.path().join("file").exists());
    }

    #[test]
    fn insufficient_space_error_reports_free_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::at(folder.path());
        store.require_space(0).unwrap();
        let error = store.require_space(u64::MAX / 2).unwrap_err();
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().contains("bytes free"), "{error}");
    }

    #[test]
    fn remove_deletes_empty_parent_folders() {
        let folder = tempfile::tempdir().unwrap();
        let store = ModelStore::at(folder.path());
        create_folders(&folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "x").unwrap();
        store.remove("a/b/file").unwrap();
        assert!(!folder.path().join("a").exists());
        assert!(folder.path().exists());
    }
}
