//! Parses the hub's description of a revision: its commit, and the names of all its files.
//! It must not send requests.

use hf_hub::repository::RepoSibling;
use serde::Deserialize;

use super::listing_error::ListingError;
use super::tree::{self, LargeFile, TreeEntry};
use model_fetcher_contract::{RemoteFile, UnusableFile};

/// `GET /api/models/{id}/revision/{revision}`. A mirror may leave out any part.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RevisionInfo {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
}

/// One file of a revision. Size and hashes are only present with `?blobs=true`. The hub client's type has the path and
/// the size; it has no git blob ID and not the LFS keys of mirrors.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    #[serde(flatten)]
    file: RepoSibling,
    blob_id: Option<String>,
    lfs: Option<LargeFile>,
}

impl RevisionInfo {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, ListingError> {
        serde_json::from_slice(json).map_err(ListingError::Revision)
    }

    /// Returns the commit in lowercase, or what the answer has instead of one.
    pub(crate) fn commit(&self) -> Result<String, ListingError> {
        let Some(sha) = &self.sha else { return Err(ListingError::NoCommit) };
        let commit = sha.to_ascii_lowercase();
        match tree::is_commit(&commit) {
            true => Ok(commit),
            false => Err(ListingError::InvalidCommit(sha.clone())),
        }
    }

    /// Returns a path of the revision for which `is_listed` is false, and the number of all of them.
    pub(crate) fn missing_path(&self, mut is_listed: impl FnMut(&str) -> bool) -> Option<(String, usize)> {
        let names = self.siblings.iter().flatten().map(|sibling| sibling.file.rfilename.as_str());
        let missing: Vec<&str> =
            names.filter(|name| !tree::is_hub_record(name) && !is_listed(name)).collect();
        Some((missing.iter().min()?.to_string(), missing.len()))
    }

    /// Returns whether the answer names the files of the revision.
    pub(crate) fn has_siblings(&self) -> bool {
        self.siblings.is_some()
    }

    /// Returns the files with their hashes. `None` if the answer does not have hashes.
    pub(crate) fn into_files(self) -> Option<(Vec<RemoteFile>, Vec<UnusableFile>)> {
        let siblings = self.siblings.filter(|siblings| !siblings.is_empty())?;
        if siblings.iter().all(|sibling| sibling.blob_id.is_none() && sibling.lfs.is_none()) {
            return None;
        }
        let entries = siblings.into_iter().map(|sibling| TreeEntry {
            kind: "file".into(),
            path: sibling.file.rfilename,
            oid: sibling.blob_id.unwrap_or_default(),
            size: sibling.file.size.unwrap_or_default(),
            lfs: sibling.lfs,
            xet_hash: None,
        });
        Some(tree::convert_entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";

    #[test]
    fn commit_has_40_or_64_digits() {
        let commit =
            |sha: &str| RevisionInfo::parse(format!(r#"{{"sha":{sha}}}"#).as_bytes()).unwrap().commit();
        assert_eq!(commit(&format!("\"{SHA}\"")).unwrap(), SHA);
        assert_eq!(commit(&format!("\"{}\"", SHA.to_uppercase())).unwrap(), SHA);
        assert_eq!(commit(&format!("\"{}\"", "ab".repeat(32))).unwrap(), "ab".repeat(32));
        assert!(commit("\"main\"").unwrap_err().to_string().contains("\"main\""));
        assert!(matches!(commit("null"), Err(ListingError::NoCommit)));
        assert!(RevisionInfo::parse(b"{}").unwrap().commit().is_err());
        assert!(RevisionInfo::parse(b"<html>").is_err());
    }

    #[test]
    fn missing_files_are_counted() {
        let json = r#"{"siblings":[{"rfilename":"c"},{"rfilename":"b"},{"rfilename":"a"},{"rfilename":".cache/huggingface/x"}]}"#;
        let info = RevisionInfo::parse(json.as_bytes()).unwrap();
        assert_eq!(info.missing_path(|path| path == "a"), Some(("b".into(), 2)));
        assert_eq!(info.missing_path(|_| true), None);
        assert!(info.has_siblings() && info.into_files().is_none());
        assert!(!RevisionInfo::parse(b"{}").unwrap().has_siblings());
    }

    #[test]
    fn files_have_hashes_with_blobs() {
        let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let json = format!(
            r#"{{"siblings":[{{"rfilename":"config.json","size":12,"blobId":"{SHA}"}},
                {{"rfilename":"m.safetensors","size":9,"blobId":"{SHA}","lfs":{{"sha256":"{sha256}","size":9,"pointerSize":134}}}},
                {{"rfilename":"no-hash.txt"}}]}}"#
        );
        let (files, unusable) = RevisionInfo::parse(json.as_bytes()).unwrap().into_files().unwrap();
        assert_eq!((files.len(), unusable.len()), (2, 1));
        assert_eq!(files[1].checksum.digits(), sha256);
        assert_eq!((unusable[0].path.as_str(), files[0].size), ("no-hash.txt", 12));
    }
}
