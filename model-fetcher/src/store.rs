//! A model's folder: final names, the receipt, and the order of syncs that makes a power cut harmless.
//!
//! A file's data is synced before it is renamed, the rename is synced before the receipt is written, and the
//! receipt is renamed into place last. Nothing here asks the network.

pub(crate) mod python;
pub(crate) mod work;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::contract::{RECEIPT_FILE, RECEIPT_FORMAT, Receipt, ReceiptFile};
use crate::error::Error;
use crate::source::tree::validate_path;

/// Room asked for beyond the missing bytes: file system overhead, records and the receipt.
const OVERHEAD_DIVISOR: u64 = 50;
const OVERHEAD_BYTES: u64 = 256 << 10;

/// The folder of one model.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store at `folder`; nothing is created.
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder and finds out whether this user can write there.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        create_folders(&self.folder).and_then(|()| self.probe()).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => self.not_writable(&error),
            _ => Error::disk("create", &self.folder, error),
        })
    }

    fn probe(&self) -> io::Result<()> {
        let probe = self.folder.join(format!(".model-fetcher.probe-{}", std::process::id()));
        File::create(&probe)?;
        fs::remove_file(&probe)
    }

    /// Whether this volume takes names that differ in case only for one.
    pub(crate) fn folds_case(&self) -> Result<bool, Error> {
        let name = format!(".model-fetcher.probe-{}", std::process::id());
        let (probe, other) = (self.folder.join(&name), self.folder.join(name.to_uppercase()));
        let probed = File::create(&probe).and_then(|_| {
            let folds = other.exists();
            fs::remove_file(&probe).map(|()| folds)
        });
        probed.map_err(|error| Error::disk("create", probe, error))
    }

    fn not_writable(&self, error: &io::Error) -> Error {
        let existing = self.folder.ancestors().find(|folder| folder.exists()).unwrap_or(&self.folder);
        let reason = match fs::metadata(existing) {
            Ok(found) => format!(
                "{error}; {} belongs to uid {} gid {} with mode {:o}",
                existing.display(),
                found.uid(),
                found.gid(),
                found.mode() & 0o7777
            ),
            Err(_) => error.to_string(),
        };
        Error::NotWritable {
            folder: self.folder.clone(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            reason,
        }
    }

    /// Refuses to start when `missing` bytes and their overhead do not fit.
    pub(crate) fn require_space(&self, missing: u64) -> Result<(), Error> {
        let status = rustix::fs::statvfs(&self.folder)
            .map_err(|error| Error::disk("ask for the free space of", &self.folder, error.into()))?;
        let available = status.f_bavail.saturating_mul(status.f_frsize);
        let needed = missing.saturating_add(missing / OVERHEAD_DIVISOR).saturating_add(OVERHEAD_BYTES);
        if missing > 0 && available < needed {
            return Err(Error::NoSpace { folder: self.folder.clone(), needed, available });
        }
        Ok(())
    }

    /// Where `path` of the repository belongs.
    pub(crate) fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Whether `path` is there as a plain file, with its metadata; a symbolic link on the way is an error.
    pub(crate) fn present(&self, path: &str) -> Result<Option<fs::Metadata>, Error> {
        let mut place = self.folder.clone();
        let mut found = None;
        for part in path.split('/') {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(metadata) if metadata.is_symlink() => return Err(Error::SymbolicLink { path: place }),
                Ok(metadata) => found = Some(metadata),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::disk("look at", place, error)),
            }
        }
        Ok(found.filter(fs::Metadata::is_file))
    }

    /// Gives a finished file its final name. Its data must be synced already.
    pub(crate) fn commit(&self, partial: &Path, path: &str) -> Result<(), Error> {
        self.present(path)?;
        let place = self.place(path);
        let parent = place.parent().unwrap_or(&self.folder);
        create_folders(parent).map_err(|error| Error::disk("create", parent, error))?;
        fs::rename(partial, &place).map_err(|error| Error::disk("rename to", &place, error))?;
        sync_folder(parent).map_err(|error| Error::disk("sync", parent, error))
    }

    /// Removes `path` and the folders that are empty afterwards; nothing through a symbolic link.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Error> {
        let place = self.place(path);
        if self.present(path)?.is_some() {
            fs::remove_file(&place).map_err(|error| Error::disk("remove", &place, error))?;
        }
        let above = place.ancestors().skip(1).take_while(|folder| *folder != self.folder);
        // The first folder that still holds something ends this.
        let _ = above.map(fs::remove_dir).take_while(Result::is_ok).count();
        Ok(())
    }

    /// The receipt, if there is one that can be read and names files of this folder alone.
    pub(crate) fn receipt(&self) -> Result<Option<Receipt>, Error> {
        Ok(self.receipt_json()?.and_then(|json| read_receipt(&json)))
    }

    /// The receipt's text, if there is one.
    pub(crate) fn receipt_json(&self) -> Result<Option<Vec<u8>>, Error> {
        let place = self.folder.join(RECEIPT_FILE);
        match fs::read(&place) {
            Ok(json) => Ok(Some(json)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(Error::disk("read", place, error)),
        }
    }

    /// Removes the receipt before the files it describes change.
    pub(crate) fn void_receipt(&self) -> Result<(), Error> {
        let place = self.folder.join(RECEIPT_FILE);
        match fs::remove_file(&place) {
            Ok(()) => sync_folder(&self.folder).map_err(|error| Error::disk("sync", &self.folder, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::disk("remove", place, error)),
        }
    }

    /// Writes the receipt by way of `staging`, which is gone when another fetcher took this folder over.
    pub(crate) fn write_receipt(&self, receipt: &Receipt, staging: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(receipt)
            .map_err(|error| Error::disk("write", self.folder.join(RECEIPT_FILE), io::Error::other(error)))?;
        let place = self.folder.join(RECEIPT_FILE);
        write_synced(staging, &json)
            .and_then(|()| fs::rename(staging, &place))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|error| Error::disk("write", place, error))
    }
}

/// A receipt from its JSON. One that cannot be read, or that names files outside its folder, proves nothing: the folder
/// is looked at as if there were none.
pub(crate) fn read_receipt(json: &[u8]) -> Option<Receipt> {
    let receipt: Receipt = serde_json::from_slice(json).ok()?;
    let stays_inside = |file: &ReceiptFile| validate_path(&file.path).is_ok();
    (receipt.format == RECEIPT_FORMAT && receipt.files.iter().all(stays_inside)).then_some(receipt)
}

/// Modification time in nanoseconds since 1970, as receipts hold it.
pub(crate) fn modified(metadata: &fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Whether the file is still the one that was verified, by size and time.
pub(crate) fn is_unchanged(file: &ReceiptFile, metadata: &fs::Metadata) -> bool {
    metadata.len() == file.size && modified(metadata) == file.modified
}

/// Writes a file whole and syncs its data.
pub(crate) fn write_synced(place: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(place)?;
    file.write_all(content)?;
    file.sync_data()
}

/// Makes the names in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems sync names by themselves and refuse to be told.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

/// Creates `folder` and what is above it, each new name synced.
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
    use crate::contract::Checksum;

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
            left_out: vec!["x.bin".into()],
            completed_at: "2026-01-01T00:00:00Z".into(),
            fetcher: "model-fetcher 0.1.0".into(),
        }
    }

    #[test]
    fn a_receipt_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        assert_eq!(store.receipt().unwrap(), None);
        store.write_receipt(&receipt(), &folder.path().join("staging")).unwrap();
        assert_eq!(store.receipt().unwrap(), Some(receipt()));
        store.void_receipt().unwrap();
        assert_eq!(store.receipt().unwrap(), None);
    }

    #[test]
    fn a_damaged_receipt_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut outside = receipt();
        outside.files[0].path = "../elsewhere".into();
        let outside = serde_json::to_string(&outside).unwrap();
        for content in ["", "{", "[]", r#"{"format":99}"#, &outside] {
            fs::write(folder.path().join(RECEIPT_FILE), content).unwrap();
            assert_eq!(Store::at(folder.path()).receipt().unwrap(), None, "{content}");
        }
    }

    #[test]
    fn a_receipt_cannot_be_written_through_a_folder_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let error = store.write_receipt(&receipt(), &folder.path().join("gone/receipt")).unwrap_err();
        assert_eq!(error.exit_code(), 12);
        assert_eq!(store.receipt().unwrap(), None);
    }

    #[test]
    fn nothing_is_written_through_a_symbolic_link() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("partial"), "x").unwrap();
        let store = Store::at(folder.path());
        let error = store.commit(&folder.path().join("partial"), "sub/file").unwrap_err();
        assert!(matches!(error, Error::SymbolicLink { .. }), "{error}");
        assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
    }

    #[test]
    fn nothing_is_removed_through_a_symbolic_link() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
        let error = Store::at(folder.path()).remove("sub/file").unwrap_err();
        assert!(matches!(error, Error::SymbolicLink { .. }), "{error}");
        assert!(elsewhere.path().join("file").exists());
    }

    #[test]
    fn more_than_the_volume_holds_is_refused_with_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.require_space(0).unwrap();
        let error = store.require_space(u64::MAX / 2).unwrap_err();
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().contains("bytes free"), "{error}");
    }

    #[test]
    fn removing_a_file_takes_its_empty_folders_along() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        create_folders(&folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "x").unwrap();
        store.remove("a/b/file").unwrap();
        assert!(!folder.path().join("a").exists());
        assert!(folder.path().exists());
    }
}
