//! Removes a model. Its folder is renamed first: from then on it does not exist for other processes, and no
//! heartbeat is needed while it is deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::FetcherError;
use crate::lease::{LOCK_POLL_INTERVAL, Lease, LockAttempt, LockMonitor};
use crate::options::FetchOptions;
use crate::store::sync_folder;
use model_fetcher_contract::{LOCK_FILE, ProgressEvent};

/// Start of the name of a renamed folder, next to the model's folder.
const REMOVED_PREFIX: &str = ".model-fetcher.removed.";

/// Removes the folder of a model and returns the event that reports it. A missing folder is not an error.
///
/// # Errors
/// A fetcher is using the folder, or the folder cannot be removed.
pub fn remove(options: &FetchOptions) -> Result<ProgressEvent, FetcherError> {
    options.validate()?;
    let folder = options.folder();
    match fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FetcherError::disk("read metadata of", &folder, error)),
        Ok(found) if found.is_symlink() => return Err(FetcherError::SymbolicLink { path: folder }),
        Ok(_) => rename_under_lease(options, &folder)?,
    }
    let existed = delete_renamed(&folder)?;
    // Remove the organization's folder if it is empty.
    if let Some(organization) = folder.parent().filter(|parent| *parent != options.into) {
        let _ = fs::remove_dir(organization);
    }
    Ok(ProgressEvent::Removed { folder, existed })
}

/// Renames the folder while no other process may write to it. The lock moves with it.
fn rename_under_lease(options: &FetchOptions, folder: &Path) -> Result<(), FetcherError> {
    let lease = match acquire_lock(options, folder) {
        Ok(Some(lease)) => Some(lease),
        // Another `remove` was faster.
        Ok(None) => return Ok(()),
        // A full volume has no space for a lock, and removing a model is how to free some. Other processes cannot
        // create a lock either.
        Err(error) if is_full(&error) && !folder.join(LOCK_FILE).exists() => None,
        Err(error) => return Err(error),
    };
    let token = lease.as_ref().map_or("unlocked", Lease::token);
    let renamed = folder.with_file_name(format!("{}{token}", renamed_prefix(folder)));
    let parent = folder.parent().unwrap_or(folder);
    fs::rename(folder, &renamed)
        .and_then(|()| sync_folder(parent))
        .map_err(|error| FetcherError::disk("remove", folder, error))
}

/// Waits until the lock is free or its lease expires. Returns `None` if the folder does not exist anymore.
///
/// # Errors
/// A fetcher that is alive holds the lock.
fn acquire_lock(options: &FetchOptions, folder: &Path) -> Result<Option<Lease>, FetcherError> {
    let mut monitor = LockMonitor::default();
    loop {
        match Lease::try_acquire(folder, options.lease_timeout, &mut monitor, Instant::now())? {
            LockAttempt::Acquired(lease) => return Ok(Some(lease)),
            LockAttempt::NoFolder => return Ok(None),
            LockAttempt::Held { holder, is_alive: true } => {
                return Err(FetcherError::InUse { folder: folder.to_owned(), holder: holder.to_string() });
            }
            LockAttempt::Held { is_alive: false, .. } => std::thread::sleep(LOCK_POLL_INTERVAL),
        }
    }
}

fn is_full(error: &FetcherError) -> bool {
    matches!(error, FetcherError::Disk { source, .. }
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

fn renamed_prefix(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("{REMOVED_PREFIX}{name}.")
}

/// Deletes the renamed folders of a model, also those of a `remove` that was killed. Returns whether there was one.
fn delete_renamed(folder: &Path) -> Result<bool, FetcherError> {
    let parent = folder.parent().unwrap_or(folder);
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FetcherError::disk("read", parent, error)),
    };
    let prefix = renamed_prefix(folder);
    // A model whose name starts with this one and a dot has a dot in the rest, too.
    let is_renamed = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().strip_prefix(&prefix).is_some_and(|rest| !rest.contains('.'))
    };
    let renamed: Vec<PathBuf> = entries.flatten().filter(is_renamed).map(|entry| entry.path()).collect();
    for path in &renamed {
        match fs::remove_dir_all(path) {
            Ok(()) => {}
            // Another `remove` deletes it too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FetcherError::disk("remove", path, error)),
        }
    }
    Ok(!renamed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(into: &std::path::Path) -> FetchOptions {
        FetchOptions::new("org/model", into)
    }

    #[test]
    fn removes_model_and_retains_sibling() {
        let into = tempfile::tempdir().unwrap();
        for model in ["org/model", "org/other"] {
            fs::create_dir_all(into.path().join(model)).unwrap();
            fs::write(into.path().join(model).join("config.json"), "{}").unwrap();
        }
        let event = remove(&options(into.path())).unwrap();
        assert!(matches!(event, ProgressEvent::Removed { existed: true, .. }));
        assert!(!into.path().join("org/model").exists());
        assert!(into.path().join("org/other/config.json").exists());
    }

    #[test]
    fn remains_of_a_model_with_a_longer_name_are_kept() {
        let into = tempfile::tempdir().unwrap();
        let remains = |name: &str| into.path().join("org").join(format!("{REMOVED_PREFIX}{name}"));
        for name in ["model.1a2b", "model.v2.3c4d"] {
            fs::create_dir_all(remains(name)).unwrap();
        }
        remove(&options(into.path())).unwrap();
        assert!(!remains("model.1a2b").exists() && remains("model.v2.3c4d").exists());
    }

    #[test]
    fn removing_missing_model_succeeds() {
        let into = tempfile::tempdir().unwrap();
        let event = remove(&options(into.path())).unwrap();
        assert!(matches!(event, ProgressEvent::Removed { existed: false, .. }));
    }
}
