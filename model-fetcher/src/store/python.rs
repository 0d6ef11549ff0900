//! huggingface_hub's own records, so that it takes a folder of ours as complete and works offline on it.
//!
//! `.cache/huggingface/download/<path>.metadata` has three lines: commit, ETag, seconds since 1970.
//! `.cache/huggingface/trees/<commit>.json` lists the commit. Formats of huggingface_hub 2.4.0, `_local_folder.py`.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::create_folders;
use crate::contract::{Checksum, Listing, Receipt, RemoteFile};
use crate::error::Error;

const RECORDS: &str = ".cache/huggingface";

/// Writes the records of every file of `receipt`.
pub(crate) fn write_records(folder: &Path, receipt: &Receipt, listing: &Listing) -> Result<(), Error> {
    let records = folder.join(RECORDS);
    write(&records, receipt, listing).map_err(|error| Error::disk("write", records, error))
}

fn write(records: &Path, receipt: &Receipt, listing: &Listing) -> io::Result<()> {
    create_folders(&records.join("download"))?;
    create_folders(&records.join("trees"))?;
    fs::write(records.join(".gitignore"), "*")?;
    for file in &receipt.files {
        let place = records.join("download").join(format!("{}.metadata", file.path));
        create_folders(place.parent().unwrap_or(records))?;
        // A record is void when its file is more than a second younger.
        let seconds = file.modified as f64 / 1e9;
        let etag = file.checksum.digits();
        fs::write(place, format!("{}\n{etag}\n{seconds:.6}\n", receipt.commit))?;
    }
    let tree = json!({ "format_version": 1, "files": tree(&listing.files) });
    fs::write(records.join("trees").join(format!("{}.json", receipt.commit)), tree.to_string())
}

fn tree(files: &[RemoteFile]) -> Map<String, Value> {
    files.iter().map(|file| (file.path.clone(), tree_entry(file))).collect()
}

fn tree_entry(file: &RemoteFile) -> Value {
    let mut entry = json!({ "size": file.size, "blob_id": file.blob_id });
    if let Checksum::Sha256(digits) = &file.checksum {
        entry["lfs_sha256"] = json!(digits);
        entry["lfs_size"] = json!(file.size);
    }
    if let Some(xet_hash) = &file.xet_hash {
        entry["xet_hash"] = json!(xet_hash);
    }
    entry
}
