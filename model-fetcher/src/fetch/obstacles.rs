//! Removes or rejects what blocks a file of the model, before the first byte is transferred.
//!
//! A revision can have a file where the previous one has a folder, and the other way round.

use std::collections::HashSet;
use std::fs;
use std::io;

use crate::error::FetcherError;
use crate::store::{ModelStore, hf_metadata};
use model_fetcher_contract::{Receipt, RemoteFile};

/// Makes way for `missing`: removes files of the previous revision, huggingface_hub's records, and empty
/// folders.
///
/// # Errors
/// Something else blocks a file. It may belong to a user, so it is kept.
pub(super) fn clear(
    store: &ModelStore,
    earlier: Option<&Receipt>,
    missing: &[RemoteFile],
) -> Result<(), FetcherError> {
    let files: HashSet<&str> = missing.iter().map(|file| file.path.as_str()).collect();
    let folders: HashSet<&str> = files.iter().copied().flat_map(folders_above).collect();
    let is_in_the_way =
        |path: &str| folders.contains(path) || folders_above(path).any(|folder| files.contains(folder));
    let outdated = earlier.into_iter().flat_map(|receipt| &receipt.files);
    outdated.filter(|file| is_in_the_way(&file.path)).try_for_each(|file| store.remove(&file.path))?;
    if is_in_the_way(hf_metadata::RECORDS_FOLDER) || files.contains(hf_metadata::RECORDS_FOLDER) {
        let place = store.folder().join(hf_metadata::RECORDS_FOLDER);
        hf_metadata::remove_records(store.folder())
            .map_err(|error| FetcherError::disk("remove", place, error))?;
    }
    missing.iter().try_for_each(|file| refuse_obstacle(store, &file.path))
}

/// Returns the parent folders of a path: `a` and `a/b` for `a/b/c`.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

fn refuse_obstacle(store: &ModelStore, path: &str) -> Result<(), FetcherError> {
    let obstacle =
        |place: &str, kind: io::ErrorKind| FetcherError::disk("write", store.path_of(place), kind.into());
    for folder in folders_above(path) {
        match fs::symlink_metadata(store.path_of(folder)) {
            Ok(found) if !found.is_dir() => return Err(obstacle(folder, io::ErrorKind::NotADirectory)),
            Ok(_) => {}
            // The parent does not exist, so its children do not either.
            Err(_) => return Ok(()),
        }
    }
    let is_folder = fs::symlink_metadata(store.path_of(path)).is_ok_and(|found| found.is_dir());
    // An empty folder can be removed safely.
    match is_folder && fs::remove_dir(store.path_of(path)).is_err() {
        true => Err(obstacle(path, io::ErrorKind::IsADirectory)),
        false => Ok(()),
    }
}
