//! Parses the hub's tree of a commit into [`RemoteFile`]s. Every path and hash is validated before use.
//! An entry that cannot be used is kept with its reason: only a selected one is an error.
//! This module must not access the disk or the network.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::listing_error::{EntryError, ListingError, PathError};
use model_fetcher_contract::{Checksum, Listing, RECEIPT_FILE, RemoteFile, UnusableFile};

/// One entry as the hub sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct TreeEntry {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) oid: String,
    #[serde(default)]
    pub(super) size: u64,
    pub(super) lfs: Option<LargeFile>,
    #[serde(rename = "xetHash")]
    pub(super) xet_hash: Option<String>,
}

/// A file in LFS storage. Some mirrors use the keys of `?blobs=true`.
#[derive(Debug, Deserialize)]
pub(crate) struct LargeFile {
    #[serde(alias = "sha256")]
    oid: String,
    size: u64,
}

/// Entries of a page: those that can be fetched, and the others.
pub(crate) type PageFiles = (Vec<RemoteFile>, Vec<UnusableFile>);

/// Parses one page of `GET /api/models/{id}/tree/{commit}?recursive=true`. Folders and the hub's records are
/// skipped.
pub(crate) fn parse_page(json: &[u8]) -> Result<PageFiles, ListingError> {
    let entries: Vec<TreeEntry> = serde_json::from_slice(json).map_err(ListingError::Tree)?;
    Ok(convert_entries(entries.into_iter()))
}

/// Converts the files among `entries`.
pub(super) fn convert_entries(entries: impl Iterator<Item = TreeEntry>) -> PageFiles {
    let mut page = PageFiles::default();
    for entry in entries.filter(|entry| entry.kind == "file" && !is_hub_record(&entry.path)) {
        let path = entry.path.clone();
        match remote_file(entry) {
            Ok(file) => page.0.push(file),
            Err(error) => page.1.push(UnusableFile { path, reason: error.to_string() }),
        }
    }
    page
}

fn remote_file(entry: TreeEntry) -> Result<RemoteFile, EntryError> {
    validate_path(&entry.path)?;
    let (checksum, size) = match entry.lfs {
        Some(large) => {
            // The API returns bare digits; the pointer file prefixes them with the name of the hash.
            let digits = large.oid.strip_prefix("sha256:").unwrap_or(&large.oid);
            (Checksum::Sha256(parse_hash(digits, 64, &entry.path)?), large.size)
        }
        None => (Checksum::GitSha1(parse_hash(&entry.oid, 40, &entry.path)?), entry.size),
    };
    Ok(RemoteFile { path: entry.path, size, checksum, blob_id: entry.oid, xet_hash: entry.xet_hash })
}

fn parse_hash(digits: &str, length: usize, path: &str) -> Result<String, EntryError> {
    if digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    let path = path.to_owned();
    Err(match digits.is_empty() {
        true => EntryError::MissingHash { path },
        false => EntryError::InvalidHash { path, digits: digits.to_owned(), length },
    })
}

/// Returns whether the path is in the folder of huggingface_hub's records. A repository can contain them because
/// someone uploaded a whole download folder.
pub(crate) fn is_hub_record(path: &str) -> bool {
    path.starts_with(".cache/huggingface/")
}

/// Rejects paths that leave the folder, that no file system can store, or that collide with this program's files.
pub(crate) fn validate_path(path: &str) -> Result<(), PathError> {
    let invalid = |reason| Err(PathError { path: path.to_owned(), reason });
    if path.is_empty() || path.len() >= MAX_PATH_BYTES {
        return invalid("is empty or too long");
    }
    if path.contains('\0') {
        return invalid("has a zero byte");
    }
    if path.starts_with('/') {
        return invalid("is absolute");
    }
    for part in path.split('/') {
        if part.is_empty() {
            return invalid("has an empty part");
        }
        if matches!(part, "." | "..") {
            return invalid("leaves the model's folder");
        }
        if part.len() > 255 {
            return invalid("has a part longer than 255 bytes");
        }
    }
    let first = path.split('/').next().unwrap_or_default();
    if first.starts_with(RECEIPT_FILE.trim_end_matches(".json")) {
        return invalid("is reserved for model-fetcher");
    }
    if is_hub_record(path) {
        return invalid("is reserved for huggingface_hub");
    }
    Ok(())
}

/// Linux's limit for a whole path.
const MAX_PATH_BYTES: usize = 4096;

/// Rejects paths that another operating system cannot store or reads differently.
pub(crate) fn validate_portable_path(path: &str) -> Result<(), PathError> {
    let invalid = |reason| Err(PathError { path: path.to_owned(), reason });
    if path.chars().any(char::is_control) {
        return invalid("has a control character");
    }
    if path.contains(['\\', ':', '<', '>', '"', '|', '?', '*']) {
        return invalid("has a character with a meaning on Windows");
    }
    if path.split('/').any(|part| is_windows_device(part) || part.ends_with(['.', ' '])) {
        return invalid("has a name that Windows does not store");
    }
    Ok(())
}

/// Returns whether a revision is a commit ID: 40 digits, or 64 in a repository with sha256. Other revisions, and
/// invalid ones, are not safe in a file name.
pub(crate) fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64)
        && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_windows_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_uppercase();
    let is_numbered_device = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|number| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || is_numbered_device("COM")
        || is_numbered_device("LPT")
}

/// Returns the first two paths that differ only in case: a case-insensitive volume stores only one of them.
pub(crate) fn find_case_conflict(files: &[RemoteFile]) -> Option<(&str, &str)> {
    let mut paths_by_lowercase: HashMap<String, &str> = HashMap::new();
    files.iter().find_map(|file| {
        let previous = paths_by_lowercase.insert(file.path.to_lowercase(), &file.path)?;
        Some((previous, file.path.as_str()))
    })
}

/// Rejects duplicate paths, and a file where another one needs a folder.
pub(crate) fn validate_paths(files: &[RemoteFile]) -> Result<(), ListingError> {
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    if paths.len() != files.len() {
        return Err(ListingError::DuplicatePath);
    }
    for file in files {
        let folders = file.path.match_indices('/').map(|(end, _)| &file.path[..end]);
        if let Some(folder) = folders.into_iter().find(|folder| paths.contains(folder)) {
            return Err(ListingError::FileAndFolder(folder.to_owned()));
        }
    }
    Ok(())
}

/// Limit of the size of a model: far above the largest volume, and small enough to calculate with.
const MAX_TOTAL_BYTES: u64 = 1 << 56;

/// Rejects sizes that add up to more than any volume holds.
pub(crate) fn validate_sizes(files: &[RemoteFile]) -> Result<(), ListingError> {
    let total = files.iter().try_fold(0u64, |total, file| total.checked_add(file.size));
    match total.filter(|total| *total <= MAX_TOTAL_BYTES) {
        Some(_) => Ok(()),
        None => Err(ListingError::TooLarge),
    }
}

/// Creates the listing of a commit from its entries. An entry that a page repeats is listed once.
pub(crate) fn build_listing(commit: String, (mut files, mut unusable): PageFiles) -> Listing {
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files.dedup();
    unusable.sort_by(|left, right| left.path.cmp(&right.path));
    Listing { commit, files, unusable }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    #[test]
    fn parses_sha256_of_large_files_and_blob_id_of_small_files() {
        let sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
        let json = format!(
            r#"[{{"type":"directory","oid":"x","size":0,"path":"onnx"}},
                {{"type":"file","oid":"{SHA1}","size":12,"path":"config.json"}},
                {{"type":"file","oid":"{SHA1}","size":9000,"path":"onnx/model.onnx","xetHash":"cafe",
                  "lfs":{{"oid":"{sha256}","size":9000,"pointerSize":134}}}}]"#
        );
        let (files, unusable) = parse_page(json.as_bytes()).unwrap();
        assert_eq!((files.len(), unusable.len()), (2, 0));
        assert_eq!(files[0].checksum, Checksum::GitSha1(SHA1.into()));
        assert_eq!(files[1].checksum, Checksum::Sha256(sha256.to_lowercase()));
        assert_eq!(files[1].size, 9000);
        assert_eq!(files[1].xet_hash.as_deref(), Some("cafe"));
    }

    #[test]
    fn rejects_unsafe_paths() {
        let invalid_paths = [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "a//b",
            "a/./b",
            "",
            "a\0b",
            ".model-fetcher.json",
            ".model-fetcher.partial/x",
            ".cache/huggingface/trees/x.json",
        ];
        for path in invalid_paths {
            assert!(validate_path(path).is_err(), "{path:?}");
        }
        for path in
            ["config.json", "a/b/c.txt", ".gitattributes", "..a", "console.log", "ünïcode.txt", "a b.json"]
        {
            assert!(validate_path(path).is_ok() && validate_portable_path(path).is_ok(), "{path:?}");
        }
        // Linux stores these, other systems do not.
        let unportable =
            ["a\nb", "Icon\r", "a\\b", "C:/x", "12:34:56.txt", "con", "NUL.txt", "com1.bin", "a./b", "b "];
        for path in unportable {
            assert!(validate_path(path).is_ok() && validate_portable_path(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn records_of_the_hub_are_skipped() {
        let json =
            format!(r#"[{{"type":"file","oid":"{SHA1}","size":1,"path":".cache/huggingface/.gitignore"}}]"#);
        assert_eq!(parse_page(json.as_bytes()).unwrap(), PageFiles::default());
    }

    #[test]
    fn rejects_invalid_hashes() {
        let json = r#"[{"type":"file","oid":"short","size":1,"path":"x"}]"#;
        let (files, unusable) = parse_page(json.as_bytes()).unwrap();
        assert_eq!((files.len(), unusable[0].path.as_str()), (0, "x"));
        assert!(unusable[0].reason.contains("hexadecimal"), "{unusable:?}");
        assert!(parse_page(b"{}").is_err());
    }

    fn file(path: &str) -> RemoteFile {
        RemoteFile {
            path: path.into(),
            size: 0,
            checksum: Checksum::GitSha1(SHA1.into()),
            blob_id: SHA1.into(),
            xet_hash: None,
        }
    }

    #[test]
    fn rejects_sizes_that_no_volume_holds() {
        let files = |sizes: &[u64]| -> Vec<RemoteFile> {
            sizes.iter().map(|size| RemoteFile { size: *size, ..file("a") }).collect()
        };
        assert!(validate_sizes(&files(&[1 << 55, 1 << 55])).is_ok());
        for sizes in [&[1 << 56, 1][..], &[u64::MAX], &[1 << 63, 1 << 63]] {
            assert!(matches!(validate_sizes(&files(sizes)), Err(ListingError::TooLarge)), "{sizes:?}");
        }
    }

    #[test]
    fn rejects_duplicate_and_conflicting_paths() {
        assert!(validate_paths(&[file("a"), file("b/c"), file("b/d")]).is_ok());
        assert_eq!(find_case_conflict(&[file("a/B"), file("A/c"), file("a/c")]), Some(("A/c", "a/c")));
        assert_eq!(find_case_conflict(&[file("a"), file("b")]), None);
        assert!(matches!(validate_paths(&[file("a"), file("a")]), Err(ListingError::DuplicatePath)));
        assert!(matches!(validate_paths(&[file("a"), file("a/b")]), Err(ListingError::FileAndFolder(_))));
        assert!(validate_paths(&[file("a"), file("a-b"), file("a/b")]).is_err());
    }
}
