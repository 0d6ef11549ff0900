//! Builds the receipt of a finished fetch, and removes what belongs to the previous revision.

use std::collections::HashSet;

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::store::{ModelStore, is_unchanged};
use model_fetcher_contract::{Checksum, Listing, RECEIPT_FORMAT, Receipt, ReceiptFile};

/// Returns the receipt of `files`. Everything else in the listing is excluded, also entries that cannot be fetched: an
/// index may name them.
pub(super) fn build_receipt(
    options: &FetchOptions,
    listing: &Listing,
    mut files: Vec<ReceiptFile>,
) -> Receipt {
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let is_present = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let mut excluded: Vec<String> =
        listing.paths().filter(|path| !is_present(path)).map(str::to_owned).collect();
    excluded.sort();
    Receipt {
        format: RECEIPT_FORMAT,
        repository: options.repository.clone(),
        endpoint: options.hub.endpoint.to_string(),
        revision: options.revision.clone(),
        commit: listing.commit.clone(),
        excluded,
        files,
        completed_at: jiff::Timestamp::now().to_string(),
        fetcher: concat!("model-fetcher ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Returns the files of an earlier fetch of this commit with other filters that are unchanged. Two deployments can
/// share a folder and load different copies of the weights.
pub(super) fn still_present(
    store: &ModelStore,
    previous: Option<&Receipt>,
    listing: &Listing,
    present: &[ReceiptFile],
) -> Result<Vec<ReceiptFile>, FetcherError> {
    let same_commit = previous.filter(|previous| previous.commit == listing.commit);
    let present: HashSet<&str> = present.iter().map(|file| file.path.as_str()).collect();
    let listed: HashSet<(&str, &Checksum)> =
        listing.files.iter().map(|file| (file.path.as_str(), &file.checksum)).collect();
    let mut files = Vec::new();
    for file in same_commit.iter().flat_map(|previous| &previous.files) {
        let path = file.path.as_str();
        if present.contains(path) || !listed.contains(&(path, &file.checksum)) {
            continue;
        }
        if store.file_metadata(&file.path)?.is_some_and(|metadata| is_unchanged(file, &metadata)) {
            files.push(file.clone());
        }
    }
    Ok(files)
}

/// Removes files of the previous revision that are not part of this one. Other files are kept.
pub(super) fn remove_outdated_files(
    store: &ModelStore,
    previous: Option<&Receipt>,
    current: &Receipt,
) -> Result<(), FetcherError> {
    let Some(previous) = previous.filter(|previous| previous.commit != current.commit) else {
        return Ok(());
    };
    let is_in_current = |path: &str| current.files.iter().any(|file| file.path == path);
    previous
        .files
        .iter()
        .filter(|file| !is_in_current(&file.path))
        .try_for_each(|file| store.remove(&file.path))
}
