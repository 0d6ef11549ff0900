//! Writes huggingface_hub's records, so that it accepts a fetched folder as complete and works offline on it.
//!
//! `.cache/huggingface/download/<path>.metadata` has three lines: commit, ETag, seconds since the Unix epoch.
//! `.cache/huggingface/trees/<commit>.json` lists the commit. Formats of huggingface_hub 2.4.0,
//! `_local_folder.py`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::create_folders;
use crate::error::FetcherError;
use model_fetcher_contract::{Checksum, Listing, Receipt, ReceiptFile, RemoteFile};

/// Folder of the records in a model folder.
pub(crate) const RECORDS_FOLDER: &str = ".cache/huggingface";

/// Writes the records of every file of `receipt`. The model is complete without them, so a record that cannot
/// be created is skipped. Returns a warning about missing records.
pub(crate) fn write_records(
    folder: &Path,
    receipt: &Receipt,
    listing: &Listing,
) -> Result<Option<String>, FetcherError> {
    let records = folder.join(RECORDS_FOLDER);
    // A user's link leads to a folder that is not part of the model, such as the cache of their home folder.
    if let Some(link) = find_link(folder, RECORDS_FOLDER) {
        return Ok(Some(format!(
            "cannot write huggingface_hub records, so Python downloads the model again: {} is a symbolic link",
            link.display()
        )));
    }
    match write_all_records(&records, receipt, listing) {
        Ok(left_out) => Ok(left_out.warning()),
        Err(error) if is_about_names(&error) => Ok(Some(format!(
            "cannot write huggingface_hub records, so Python downloads the model again: {}: {error}",
            records.display()
        ))),
        Err(error) => Err(FetcherError::disk("write", records, error)),
    }
}

/// Files without a record.
#[derive(Default)]
struct LeftOut {
    count: usize,
    first: Option<(String, io::Error)>,
}

impl LeftOut {
    fn warning(self) -> Option<String> {
        let (path, error) = self.first?;
        let files = if self.count == 1 { "1 file".to_owned() } else { format!("{} files", self.count) };
        Some(format!(
            "cannot write huggingface_hub records of {files}, so Python downloads them again: {path}: {error}"
        ))
    }
}

/// Returns the first symbolic link on the way from `folder` to `path`, including `path` itself.
fn find_link(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut current = folder.to_owned();
    path.split('/').find_map(|part| {
        current.push(part);
        let is_link = fs::symlink_metadata(&current).is_ok_and(|metadata| metadata.is_symlink());
        is_link.then(|| current.clone())
    })
}

/// Writes a record in `records` and creates its folder, but not through a symbolic link.
fn write_inside(records: &Path, path: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
    if find_link(records, path).is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a symbolic link is in its place"));
    }
    let record = records.join(path);
    create_folders(record.parent().unwrap_or(records))?;
    fs::write(record, content)
}

/// Returns whether a record cannot be created: its name is too long or taken, or its folder belongs to
/// another user.
fn is_about_names(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory, PermissionDenied};
    matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory | PermissionDenied)
}

fn write_all_records(records: &Path, receipt: &Receipt, listing: &Listing) -> io::Result<LeftOut> {
    for name in ["download", "trees"] {
        create_folders(&records.join(name))?;
    }
    write_inside(records, ".gitignore", "*")?;
    let mut left_out = LeftOut::default();
    for file in &receipt.files {
        match write_record(records, &receipt.commit, file) {
            Err(error) if is_about_names(&error) => {
                left_out.count += 1;
                left_out.first.get_or_insert_with(|| (file.path.clone(), error));
            }
            other => other?,
        }
    }
    let tree = json!({ "format_version": 1, "files": tree_records(&listing.files) });
    write_inside(records, &format!("trees/{}.json", receipt.commit), tree.to_string())?;
    Ok(left_out)
}

fn write_record(records: &Path, commit: &str, file: &ReceiptFile) -> io::Result<()> {
    let path = format!("download/{}.metadata", file.path);
    // huggingface_hub ignores a record if its file is more than a second newer.
    let seconds = file.modified as f64 / 1e9;
    let etag = file.checksum.digits();
    write_inside(records, &path, format!("{commit}\n{etag}\n{seconds:.6}\n"))
}

/// Removes the records if the model has a file in place of their folder. They are optional. Nothing behind a
/// symbolic link is removed.
pub(crate) fn remove_records(folder: &Path) -> io::Result<()> {
    if find_link(folder, RECORDS_FOLDER).is_some() {
        return Ok(());
    }
    match fs::remove_dir_all(folder.join(RECORDS_FOLDER)) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// A file of a commit, in the format of huggingface_hub.
#[derive(Serialize)]
struct TreeRecord<'a> {
    blob_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    xet_hash: Option<&'a str>,
}

impl<'a> TreeRecord<'a> {
    fn new(file: &'a RemoteFile) -> Self {
        let lfs_sha256 = match &file.checksum {
            Checksum::Sha256(digits) => Some(digits.as_str()),
            Checksum::GitSha1(_) => None,
        };
        Self {
            blob_id: &file.blob_id,
            lfs_sha256,
            lfs_size: lfs_sha256.map(|_| file.size),
            size: file.size,
            xet_hash: file.xet_hash.as_deref(),
        }
    }
}

fn tree_records(files: &[RemoteFile]) -> BTreeMap<&str, TreeRecord<'_>> {
    files.iter().map(|file| (file.path.as_str(), TreeRecord::new(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_not_written_or_removed_through_symbolic_links() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(elsewhere.path().join("huggingface/hub")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(".cache")).unwrap();
        let receipt = Receipt {
            format: 1,
            repository: "org/model".into(),
            endpoint: String::new(),
            revision: "main".into(),
            commit: "c".repeat(40),
            files: Vec::new(),
            excluded: Vec::new(),
            completed_at: String::new(),
            fetcher: String::new(),
        };
        let warning = write_records(folder.path(), &receipt, &Listing::default()).unwrap().unwrap();
        assert!(warning.contains(".cache is a symbolic link"), "{warning}");
        remove_records(folder.path()).unwrap();
        let names = |path: &Path| -> Vec<_> {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(&elsewhere.path().join("huggingface")), ["hub"]);
        // A link below the records is not followed either.
        fs::remove_file(folder.path().join(".cache")).unwrap();
        fs::create_dir_all(folder.path().join(RECORDS_FOLDER)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(RECORDS_FOLDER).join("trees"))
            .unwrap();
        assert!(write_records(folder.path(), &receipt, &Listing::default()).unwrap().is_some());
        assert_eq!(names(elsewhere.path()), ["huggingface"]);
    }
}
