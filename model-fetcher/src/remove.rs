//! Removing a model: the receipt first, so that nobody takes what is left for complete, then its folder.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::contract::{ProgressEvent, RECEIPT_FILE};
use crate::error::Error;
use crate::lease::{Attempt, Lease, Watch};
use crate::options::FetchOptions;

/// Removes the folder of a model and answers what was done. A folder that is not there is removed already.
///
/// # Errors
/// A fetcher that works in the folder; a folder that cannot be removed.
pub fn remove(options: &FetchOptions) -> Result<ProgressEvent, Error> {
    options.validate()?;
    let folder = options.folder();
    let removed = match fs::symlink_metadata(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::disk("look at", &folder, error)),
        Ok(found) if found.is_symlink() => return Err(Error::SymbolicLink { path: folder }),
        Ok(_) => {
            remove_under_lease(options, &folder)?;
            true
        }
    };
    Ok(ProgressEvent::Removed { folder, was_there: removed })
}

fn remove_under_lease(options: &FetchOptions, folder: &PathBuf) -> Result<(), Error> {
    let attempt = Lease::attempt(folder, options.lease_timeout, &mut Watch::default(), Instant::now())?;
    let lease = match attempt {
        Attempt::Held(lease) => lease,
        Attempt::Busy(holder) => {
            return Err(Error::Locked {
                folder: folder.clone(),
                holder: holder.to_string(),
                waited: Duration::ZERO,
            });
        }
    };
    let receipt = folder.join(RECEIPT_FILE);
    match fs::remove_file(&receipt) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::disk("remove", &receipt, error)),
    }
    fs::remove_dir_all(folder).map_err(|error| Error::disk("remove", folder, error))?;
    drop(lease);
    // The organisation's folder goes with its last model; one that holds others stays.
    if let Some(organisation) = folder.parent().filter(|parent| *parent != options.into) {
        let _ = fs::remove_dir(organisation);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(into: &std::path::Path) -> FetchOptions {
        FetchOptions::new("org/model", into)
    }

    #[test]
    fn a_model_goes_and_its_neighbour_stays() {
        let place = tempfile::tempdir().unwrap();
        for model in ["org/model", "org/other"] {
            fs::create_dir_all(place.path().join(model)).unwrap();
            fs::write(place.path().join(model).join("config.json"), "{}").unwrap();
        }
        let event = remove(&options(place.path())).unwrap();
        assert!(matches!(event, ProgressEvent::Removed { was_there: true, .. }));
        assert!(!place.path().join("org/model").exists());
        assert!(place.path().join("org/other/config.json").exists());
    }

    #[test]
    fn what_is_not_there_is_removed_already() {
        let place = tempfile::tempdir().unwrap();
        let event = remove(&options(place.path())).unwrap();
        assert!(matches!(event, ProgressEvent::Removed { was_there: false, .. }));
    }
}
