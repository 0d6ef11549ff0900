//! Whether a folder is complete: by its receipt alone, by its hashes, or, without a receipt, by the structure of its
//! safetensors. Asks no network and needs no runtime.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::contract::{Checksum, Listing, Receipt, ReceiptFile};
use crate::digest::Hasher;
use crate::error::Error;
use crate::filter::Filter;
use crate::options::FetchOptions;
use crate::safetensors;
use crate::store::{Store, is_unchanged};

const READ_BYTES: usize = 1 << 20;

/// What a look at the folder came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The receipt satisfies the revision and the filters, and its files are as they were verified.
    Complete(Receipt),
    /// The receipt is whole, but for another revision.
    OtherRevision(Receipt),
    /// Something is missing or changed; the receipt may still tell which files are right.
    Incomplete { reason: String, receipt: Option<Receipt> },
}

/// Looks at the receipt and at the size and time of every file it names.
pub(crate) fn look(store: &Store, options: &FetchOptions) -> Result<Verdict, Error> {
    let filter = Filter::new(&options.include, &options.exclude)?;
    let Some(receipt) = store.receipt()? else {
        let reason = match safetensors::problem_in(store.folder()) {
            Some(problem) => problem,
            None => "it has no receipt".into(),
        };
        return Ok(Verdict::Incomplete { reason, receipt: None });
    };
    if receipt.repository != options.repository {
        let reason = format!("its receipt is for {}", receipt.repository);
        return Ok(Verdict::Incomplete { reason, receipt: None });
    }
    if let Some(reason) = changed_file(store, &receipt)? {
        return Ok(Verdict::Incomplete { reason, receipt: Some(receipt) });
    }
    if options.revision != receipt.revision && options.revision != receipt.commit {
        return Ok(Verdict::OtherRevision(receipt));
    }
    match unwanted_gap(&receipt, &filter) {
        Some(path) => {
            let reason = format!("{path} was left out when it was fetched");
            Ok(Verdict::Incomplete { reason, receipt: Some(receipt) })
        }
        None => Ok(Verdict::Complete(receipt)),
    }
}

fn changed_file(store: &Store, receipt: &Receipt) -> Result<Option<String>, Error> {
    for file in &receipt.files {
        let reason = match store.present(&file.path)? {
            None => format!("{} is missing", file.path),
            Some(found) if found.len() != file.size => {
                format!("{} has {} bytes, not {}", file.path, found.len(), file.size)
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

/// A file that these filters want and the earlier ones left out.
fn unwanted_gap(receipt: &Receipt, filter: &Filter) -> Option<String> {
    let left_out: HashSet<&str> = receipt.left_out.iter().map(String::as_str).collect();
    let all = receipt.files.iter().map(|file| file.path.as_str()).chain(left_out.iter().copied());
    filter.select(all).into_iter().filter(|path| left_out.contains(path)).min().map(str::to_owned)
}

/// `check`: the receipt if the folder is complete.
pub fn check(options: &FetchOptions) -> Result<Receipt, Error> {
    options.validate()?;
    let store = Store::at(options.folder());
    match look(&store, options)? {
        Verdict::Complete(receipt) => Ok(receipt),
        Verdict::OtherRevision(receipt) => Err(other_revision(options, &receipt)),
        Verdict::Incomplete { reason, .. } => Err(Error::NotComplete { folder: options.folder(), reason }),
    }
}

/// `verify`: hashes every file of the receipt again. `hashed` is told each path and its bytes.
pub fn verify(options: &FetchOptions, hashed: &mut dyn FnMut(&str, u64)) -> Result<Receipt, Error> {
    options.validate()?;
    let store = Store::at(options.folder());
    let not_complete = |reason: String| Error::NotComplete { folder: options.folder(), reason };
    let receipt = match look(&store, options)? {
        Verdict::Complete(receipt) => receipt,
        Verdict::OtherRevision(receipt) => return Err(other_revision(options, &receipt)),
        // A file with another time may still be right; its hash decides.
        Verdict::Incomplete { receipt: Some(receipt), .. } => receipt,
        Verdict::Incomplete { reason, receipt: None } => return Err(not_complete(reason)),
    };
    for file in &receipt.files {
        if let Some(reason) = mismatch(&store, file)? {
            return Err(not_complete(reason));
        }
        hashed(&file.path, file.size);
    }
    Ok(receipt)
}

/// `verify --online`: hashes every file of the receipt against a listing of the hub.
pub(crate) fn verify_against(options: &FetchOptions, listing: &Listing) -> Result<Receipt, Error> {
    let not_complete = |reason: String| Error::NotComplete { folder: options.folder(), reason };
    let store = Store::at(options.folder());
    let receipt = store.receipt()?.ok_or_else(|| not_complete("it has no receipt".into()))?;
    if receipt.commit != listing.commit {
        return Err(other_revision(options, &receipt));
    }
    for file in &receipt.files {
        let listed = listing.files.iter().find(|listed| listed.path == file.path);
        let listed = listed.ok_or_else(|| not_complete(format!("{} is not listed", file.path)))?;
        let claimed = ReceiptFile { size: listed.size, checksum: listed.checksum.clone(), ..file.clone() };
        if let Some(reason) = mismatch(&store, &claimed)? {
            return Err(not_complete(reason));
        }
    }
    Ok(receipt)
}

fn mismatch(store: &Store, file: &ReceiptFile) -> Result<Option<String>, Error> {
    let Some(found) = store.present(&file.path)? else {
        return Ok(Some(format!("{} is missing", file.path)));
    };
    if found.len() != file.size {
        return Ok(Some(format!("{} has {} bytes, not {}", file.path, found.len(), file.size)));
    }
    let digits = hash_file(&store.place(&file.path), &file.checksum, file.size, &mut |_| {})?;
    let expected = file.checksum.digits();
    Ok((digits != expected)
        .then(|| format!("{} does not match its hash: expected {expected}, got {digits}", file.path)))
}

/// The digits of a file on disk; `hashed` is told of every block.
pub(crate) fn hash_file(
    place: &Path,
    checksum: &Checksum,
    size: u64,
    hashed: &mut dyn FnMut(u64),
) -> Result<String, Error> {
    let mut read = || {
        let mut file = File::open(place)?;
        let mut hasher = Hasher::new(checksum, size);
        let mut block = vec![0; READ_BYTES];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(hasher.digits()),
                length => {
                    hasher.update(&block[..length]);
                    hashed(length as u64);
                }
            }
        }
    };
    read().map_err(|error| Error::disk("read", place, error))
}

pub(crate) fn other_revision(options: &FetchOptions, receipt: &Receipt) -> Error {
    let found = match receipt.revision == receipt.commit {
        true => receipt.commit.clone(),
        false => format!("{} ({})", receipt.revision, receipt.commit),
    };
    Error::OtherRevision {
        folder: options.folder(),
        repository: options.repository.clone(),
        found,
        wanted: options.revision.clone(),
    }
}
