//! The hub's tree of a commit: JSON to [`RemoteFile`]s, with every path and hash checked before it is used.

use std::collections::HashMap;

use serde::Deserialize;

use crate::contract::{Checksum, RECEIPT_FILE, RemoteFile};

/// One entry as the hub sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<LargeFile>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

/// Reads one page of `GET /api/models/{id}/tree/{commit}?recursive=true`; folders are left out.
pub(crate) fn read_page(json: &[u8]) -> Result<Vec<RemoteFile>, String> {
    let entries: Vec<TreeEntry> = serde_json::from_slice(json)
        .map_err(|error| format!("the tree is no JSON list of entries: {error}"))?;
    entries.into_iter().filter(|entry| entry.kind == "file").map(remote_file).collect()
}

fn remote_file(entry: TreeEntry) -> Result<RemoteFile, String> {
    validate_path(&entry.path)?;
    let (checksum, size) = match entry.lfs {
        Some(large) => {
            // The API gives bare digits; the pointer file's own spelling has the name of the hash in front.
            let digits = large.oid.strip_prefix("sha256:").unwrap_or(&large.oid);
            (Checksum::Sha256(hexadecimal(digits, 64, &entry.path)?), large.size)
        }
        None => (Checksum::GitSha1(hexadecimal(&entry.oid, 40, &entry.path)?), entry.size),
    };
    Ok(RemoteFile { path: entry.path, size, checksum, blob_id: entry.oid, xet_hash: entry.xet_hash })
}

fn hexadecimal(digits: &str, length: usize, path: &str) -> Result<String, String> {
    if digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err(format!("{path:?} has the hash {digits:?}, not {length} hexadecimal digits"))
}

/// Refuses what would leave the folder, hide in our own files, or mean something else on another system.
pub(crate) fn validate_path(path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("the path {path:?} {why}"));
    if path.is_empty() || path.len() > 1024 {
        return refused("is empty or too long");
    }
    if path.chars().any(|character| character.is_control() || character == '\\') {
        return refused("has a control character or a backslash");
    }
    if path.starts_with('/') {
        return refused("is absolute");
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return refused("leaves the model's folder");
        }
        if part.len() > 255 {
            return refused("has a part longer than 255 bytes");
        }
        if is_windows_device(part) || part.contains(':') {
            return refused("is a device or a drive on Windows");
        }
    }
    let first = path.split('/').next().unwrap_or_default();
    if first.starts_with(RECEIPT_FILE.trim_end_matches(".json")) {
        return refused("belongs to this program");
    }
    if path.starts_with(".cache/huggingface/") {
        return refused("belongs to huggingface_hub's own records");
    }
    Ok(())
}

fn is_windows_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// The first two paths that differ in case only: a volume that folds case holds one of them.
pub(crate) fn case_clash(files: &[RemoteFile]) -> Option<(&str, &str)> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    files.iter().find_map(|file| {
        let earlier = seen.insert(file.path.to_lowercase(), &file.path)?;
        Some((earlier, file.path.as_str()))
    })
}

/// Refuses two files with one path, and a file where another needs a folder. `files` are in order of path.
pub(crate) fn validate_paths(files: &[RemoteFile]) -> Result<(), String> {
    let paths: std::collections::HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    if paths.len() != files.len() {
        return Err("a path is listed twice".into());
    }
    for file in files {
        let folders = file.path.match_indices('/').map(|(end, _)| &file.path[..end]);
        if let Some(folder) = folders.into_iter().find(|folder| paths.contains(folder)) {
            return Err(format!("{folder:?} is both a file and a folder"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    #[test]
    fn large_files_keep_their_sha256_and_small_ones_their_blob_id() {
        let sha256 = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
        let json = format!(
            r#"[{{"type":"directory","oid":"x","size":0,"path":"onnx"}},
                {{"type":"file","oid":"{SHA1}","size":12,"path":"config.json"}},
                {{"type":"file","oid":"{SHA1}","size":9000,"path":"onnx/model.onnx","xetHash":"cafe",
                  "lfs":{{"oid":"{sha256}","size":9000,"pointerSize":134}}}}]"#
        );
        let files = read_page(json.as_bytes()).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].checksum, Checksum::GitSha1(SHA1.into()));
        assert_eq!(files[1].checksum, Checksum::Sha256(sha256.to_lowercase()));
        assert_eq!(files[1].size, 9000);
        assert_eq!(files[1].xet_hash.as_deref(), Some("cafe"));
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        let refused = [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "a//b",
            "a/./b",
            "",
            "a\0b",
            "a\nb",
            "a\\b",
            "C:/x",
            "con",
            "NUL.txt",
            "com1.bin",
            ".model-fetcher.json",
            ".model-fetcher.partial/x",
            ".cache/huggingface/trees/x.json",
        ];
        for path in refused {
            assert!(validate_path(path).is_err(), "{path:?}");
        }
        for path in
            ["config.json", "a/b/c.txt", ".gitattributes", "..a", "console.log", "ünïcode.txt", "a b.json"]
        {
            assert!(validate_path(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn hashes_that_are_none_are_refused() {
        let json = r#"[{"type":"file","oid":"short","size":1,"path":"x"}]"#;
        assert!(read_page(json.as_bytes()).unwrap_err().contains("hexadecimal"));
        assert!(read_page(b"{}").is_err());
    }

    #[test]
    fn one_path_is_one_file() {
        let file = |path: &str| RemoteFile {
            path: path.into(),
            size: 0,
            checksum: Checksum::GitSha1(SHA1.into()),
            blob_id: SHA1.into(),
            xet_hash: None,
        };
        assert!(validate_paths(&[file("a"), file("b/c"), file("b/d")]).is_ok());
        assert_eq!(case_clash(&[file("a/B"), file("A/c"), file("a/c")]), Some(("A/c", "a/c")));
        assert_eq!(case_clash(&[file("a"), file("b")]), None);
        assert!(validate_paths(&[file("a"), file("a")]).unwrap_err().contains("twice"));
        assert!(validate_paths(&[file("a"), file("a/b")]).unwrap_err().contains("folder"));
        assert!(validate_paths(&[file("a"), file("a-b"), file("a/b")]).is_err());
    }
}
