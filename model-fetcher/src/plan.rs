//! Listing and what is in the folder to what has to be done, with a reason for each file. Pure.

use std::collections::HashMap;

use crate::contract::{Receipt, ReceiptFile, RemoteFile};
use crate::options::Existing;

/// What is done for each wanted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchPlan {
    pub(crate) files: Vec<PlannedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) remote: RemoteFile,
    pub(crate) action: Action,
}

/// What one file needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing: it was verified before, or is trusted.
    Keep(ReceiptFile),
    /// It is there with the right size; its hash decides.
    Verify,
    /// It is missing, or has another size.
    Fetch,
}

/// A plain file found under a final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) size: u64,
    pub(crate) modified: i64,
}

/// Plans `wanted`: small files first, so that a model's configuration is there early, then by path.
pub(crate) fn plan(
    mut wanted: Vec<RemoteFile>,
    found: &HashMap<String, Found>,
    receipt: Option<&Receipt>,
    existing: Existing,
) -> FetchPlan {
    const LARGE_BYTES: u64 = 8 << 20;
    wanted.sort_by(|left, right| {
        (left.size >= LARGE_BYTES, &left.path).cmp(&(right.size >= LARGE_BYTES, &right.path))
    });
    let verified: HashMap<&str, &ReceiptFile> =
        receipt.iter().flat_map(|receipt| &receipt.files).map(|file| (file.path.as_str(), file)).collect();
    let files = wanted.into_iter().map(|remote| {
        let earlier = verified.get(remote.path.as_str()).copied();
        let action = action(&remote, found.get(&remote.path), earlier, existing);
        PlannedFile { remote, action }
    });
    FetchPlan { files: files.collect() }
}

fn action(
    remote: &RemoteFile,
    found: Option<&Found>,
    earlier: Option<&ReceiptFile>,
    existing: Existing,
) -> Action {
    let Some(found) = found.filter(|found| found.size == remote.size) else {
        return Action::Fetch;
    };
    let same = |file: &&ReceiptFile| {
        file.checksum == remote.checksum && file.size == found.size && file.modified == found.modified
    };
    match (earlier.filter(same), existing) {
        (Some(file), _) => Action::Keep(file.clone()),
        (None, Existing::Trust) => Action::Keep(ReceiptFile {
            path: remote.path.clone(),
            size: remote.size,
            checksum: remote.checksum.clone(),
            modified: found.modified,
        }),
        (None, Existing::Verify) => Action::Verify,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Checksum;

    fn remote(path: &str, size: u64) -> RemoteFile {
        RemoteFile {
            path: path.into(),
            size,
            checksum: Checksum::GitSha1(format!("hash of {path}")),
            blob_id: String::new(),
            xet_hash: None,
        }
    }

    fn actions(found: Option<Found>, receipt_modified: Option<i64>, existing: Existing) -> Action {
        let file = remote("a", 3);
        let receipt = receipt_modified.map(|modified| Receipt {
            format: 1,
            repository: "org/model".into(),
            endpoint: String::new(),
            revision: "main".into(),
            commit: String::new(),
            files: vec![ReceiptFile { path: "a".into(), size: 3, checksum: file.checksum.clone(), modified }],
            left_out: Vec::new(),
            completed_at: String::new(),
            fetcher: String::new(),
        });
        let found = found.into_iter().map(|found| ("a".to_owned(), found)).collect();
        plan(vec![file], &found, receipt.as_ref(), existing).files.remove(0).action
    }

    #[test]
    fn a_file_is_kept_only_as_it_was_verified() {
        let found = |modified| Some(Found { size: 3, modified });
        assert!(matches!(actions(found(7), Some(7), Existing::Verify), Action::Keep(_)));
        assert_eq!(actions(found(8), Some(7), Existing::Verify), Action::Verify);
        assert_eq!(actions(found(7), None, Existing::Verify), Action::Verify);
        assert!(matches!(actions(found(7), None, Existing::Trust), Action::Keep(_)));
        assert_eq!(actions(Some(Found { size: 2, modified: 7 }), Some(7), Existing::Trust), Action::Fetch);
        assert_eq!(actions(None, Some(7), Existing::Trust), Action::Fetch);
    }

    #[test]
    fn small_files_come_first() {
        let wanted = vec![remote("a.safetensors", 1 << 30), remote("z.json", 10), remote("b.json", 5)];
        let plan = plan(wanted, &HashMap::new(), None, Existing::Verify);
        let paths: Vec<&str> = plan.files.iter().map(|file| file.remote.path.as_str()).collect();
        assert_eq!(paths, ["b.json", "z.json", "a.safetensors"]);
    }
}
