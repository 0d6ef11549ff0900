//! Checks whether a folder is complete: by its receipt, by its hashes, or, without a receipt, by the
//! structure of its safetensors files. It makes no network request and needs no runtime.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::digest::Hasher;
use crate::error::FetcherError;
use crate::filter::Filter;
use crate::options::FetchOptions;
use crate::safetensors;
use crate::store::{ModelStore, is_unchanged};
use model_fetcher_contract::weights::{LoadFormat, WeightIndex, is_weight_index};
use model_fetcher_contract::{Checksum, Listing, Receipt, ReceiptFile};

const READ_BYTES: usize = 1 << 20;

/// State of a model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderState {
    /// The receipt matches the revision and the filters, and its files are unchanged since they were
    /// verified.
    Complete(Receipt),
    /// The receipt belongs to another revision. Its files may have changed since.
    OtherRevision(Receipt),
    /// A file is missing, changed, or was excluded. The receipt is of this revision if there is one: its files can be
    /// hashed.
    Incomplete { reason: String, receipt: Option<Receipt> },
}

/// Inspects the receipt and the size and modification time of every file in it.
pub(crate) fn inspect(store: &ModelStore, options: &FetchOptions) -> Result<FolderState, FetcherError> {
    let filter = Filter::new(options)?;
    let Some(receipt) = store.read_receipt()? else {
        let reason = match safetensors::find_problem_in_folder(store.folder()) {
            Some(problem) => problem,
            None => "receipt not found".into(),
        };
        return Ok(FolderState::Incomplete { reason, receipt: None });
    };
    if receipt.repository != options.repository {
        let reason = format!("the receipt is for repository \"{}\"", receipt.repository);
        return Ok(FolderState::Incomplete { reason, receipt: None });
    }
    // Compared first: a file that changed later must not hide that the folder holds another revision.
    if options.revision != receipt.revision && options.revision != receipt.commit {
        return Ok(FolderState::OtherRevision(receipt));
    }
    if let Some(reason) = find_changed_file(store, &receipt)? {
        return Ok(FolderState::Incomplete { reason, receipt: Some(receipt) });
    }
    if let Some(reason) = find_unlisted_shard(store, &receipt, options.load_format) {
        return Ok(FolderState::Incomplete { reason, receipt: None });
    }
    match missing_selected_file(&receipt, &filter) {
        Some(path) => {
            let reason = format!("{path} was excluded from the fetch");
            Ok(FolderState::Incomplete { reason, receipt: Some(receipt) })
        }
        None => Ok(FolderState::Complete(receipt)),
    }
}

fn find_changed_file(store: &ModelStore, receipt: &Receipt) -> Result<Option<String>, FetcherError> {
    for file in &receipt.files {
        let reason = match store.file_metadata(&file.path)? {
            None => format!("{} is missing", file.path),
            Some(found) if found.len() != file.size => {
                format!("{} has {} bytes, expected {}", file.path, found.len(), file.size)
            }
            Some(found) if !is_unchanged(file, &found) => {
                format!("{} changed after it was verified", file.path)
            }
            Some(_) => continue,
        };
        return Ok(Some(reason));
    }
    Ok(None)
}

/// Returns a problem if an index names a shard that the receipt does not know: it was written from an incomplete
/// listing. An index that cannot be read is left to the engine.
fn find_unlisted_shard(store: &ModelStore, receipt: &Receipt, format: LoadFormat) -> Option<String> {
    let known: Vec<&str> = receipt.paths().collect();
    let indexes = receipt.files.iter().filter(|file| is_weight_index(&file.path));
    indexes.into_iter().find_map(|file| {
        let json = std::fs::read(store.path_of(&file.path)).ok()?;
        let index = WeightIndex::parse(&file.path, &json).ok()?;
        let shard = index.missing_shard(&known, format)?;
        Some(format!("{} names {shard:?}, which is missing", file.path))
    })
}

/// Returns a file that these filters select and the fetch excluded.
fn missing_selected_file(receipt: &Receipt, filter: &Filter) -> Option<String> {
    let excluded: HashSet<&str> = receipt.excluded.iter().map(String::as_str).collect();
    filter.select(receipt.paths()).into_iter().filter(|path| excluded.contains(path)).min().map(str::to_owned)
}

/// `check`: returns the receipt if the folder is complete.
///
/// # Errors
/// [`FetcherError::NotComplete`], [`FetcherError::OtherRevision`], an invalid option, or a folder that cannot be read.
pub fn check(options: &FetchOptions) -> Result<Receipt, FetcherError> {
    options.validate()?;
    let store = ModelStore::at(options.folder());
    match inspect(&store, options)? {
        FolderState::Complete(receipt) => Ok(receipt),
        FolderState::OtherRevision(receipt) => Err(other_revision_error(options, &receipt)),
        FolderState::Incomplete { reason, .. } => {
            Err(FetcherError::NotComplete { folder: options.folder(), reason })
        }
    }
}

/// `verify`: hashes every file of the receipt again. Calls `on_hashed` with the path and the size of each file that
/// matches.
///
/// # Errors
/// As for [`check`], and a file that does not match its hash.
pub fn verify(options: &FetchOptions, on_hashed: &mut dyn FnMut(&str, u64)) -> Result<Receipt, FetcherError> {
    options.validate()?;
    let store = ModelStore::at(options.folder());
    let not_complete = |reason: String| FetcherError::NotComplete { folder: options.folder(), reason };
    let receipt = match inspect(&store, options)? {
        FolderState::Complete(receipt) => receipt,
        FolderState::OtherRevision(receipt) => return Err(other_revision_error(options, &receipt)),
        // A file with another modification time may still be valid, so its hash decides. Excluded files do not
        // count: `verify` does not have filters.
        FolderState::Incomplete { receipt: Some(receipt), .. } => receipt,
        FolderState::Incomplete { reason, receipt: None } => return Err(not_complete(reason)),
    };
    for file in &receipt.files {
        if let Some(reason) = find_mismatch(&store, file)? {
            return Err(not_complete(reason));
        }
        on_hashed(&file.path, file.size);
    }
    Ok(receipt)
}

/// `verify --online`: hashes every file of the receipt and compares it with the hub's listing.
pub(crate) fn verify_against(options: &FetchOptions, listing: &Listing) -> Result<Receipt, FetcherError> {
    let not_complete = |reason: String| FetcherError::NotComplete { folder: options.folder(), reason };
    let store = ModelStore::at(options.folder());
    let receipt = store.read_receipt()?.ok_or_else(|| not_complete("receipt not found".into()))?;
    if receipt.commit != listing.commit {
        return Err(other_revision_error(options, &receipt));
    }
    let known: HashSet<&str> = receipt.paths().collect();
    if let Some(file) = listing.files.iter().find(|file| !known.contains(file.path.as_str())) {
        return Err(not_complete(format!("{} is not in the receipt", file.path)));
    }
    for file in &receipt.files {
        let listed = listing.files.iter().find(|listed| listed.path == file.path);
        let listed = listed.ok_or_else(|| not_complete(format!("{} is not in the listing", file.path)))?;
        let expected_file =
            ReceiptFile { size: listed.size, checksum: listed.checksum.clone(), ..file.clone() };
        if let Some(reason) = find_mismatch(&store, &expected_file)? {
            return Err(not_complete(reason));
        }
    }
    Ok(receipt)
}

fn find_mismatch(store: &ModelStore, file: &ReceiptFile) -> Result<Option<String>, FetcherError> {
    let Some(found) = store.file_metadata(&file.path)? else {
        return Ok(Some(format!("{} is missing", file.path)));
    };
    if found.len() != file.size {
        return Ok(Some(format!("{} has {} bytes, expected {}", file.path, found.len(), file.size)));
    }
    let digits = hash_file(&store.path_of(&file.path), &file.checksum, file.size, &mut |_| {})?;
    let expected = file.checksum.digits();
    Ok((digits != expected)
        .then(|| format!("{} does not match its hash: expected {expected}, got {digits}", file.path)))
}

/// Hashes a file and returns the hexadecimal digits. Calls `on_hashed` with the bytes of every block.
pub(crate) fn hash_file(
    path: &Path,
    checksum: &Checksum,
    size: u64,
    on_hashed: &mut dyn FnMut(u64),
) -> Result<String, FetcherError> {
    let mut hash = || {
        let mut file = File::open(path)?;
        let mut hasher = Hasher::new(checksum, size);
        let mut block = vec![0; READ_BYTES];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(hasher.into_digits()),
                length => {
                    hasher.update(&block[..length]);
                    on_hashed(length as u64);
                }
            }
        }
    };
    hash().map_err(|error| FetcherError::disk("read", path, error))
}

pub(crate) fn other_revision_error(options: &FetchOptions, receipt: &Receipt) -> FetcherError {
    let found = match receipt.revision == receipt.commit {
        true => receipt.commit.clone(),
        false => format!("{} ({})", receipt.revision, receipt.commit),
    };
    FetcherError::OtherRevision {
        folder: options.folder(),
        repository: options.repository.clone(),
        found,
        commit: receipt.commit.clone(),
        requested: options.revision.clone(),
    }
}
