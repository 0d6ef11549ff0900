//! Compares the listing with the existing files and decides what to do for each file. This module is pure.
//! It must not access the disk or the network.

use std::collections::HashMap;

use crate::options::ExistingFilePolicy;
use model_fetcher_contract::{Receipt, ReceiptFile, RemoteFile};

/// A selected file and its action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchPlan {
    pub(crate) files: Vec<PlannedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedFile {
    pub(crate) remote: RemoteFile,
    pub(crate) action: FileAction,
}

/// What to do for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileAction {
    /// Nothing: it was verified before or is trusted.
    Reuse(ReceiptFile),
    /// The file exists with the right size; its hash decides.
    Verify,
    /// The file is missing or has another size.
    Fetch,
}

/// Size and modification time of a regular file with its final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExistingFile {
    pub(crate) size: u64,
    pub(crate) modified: i64,
}

/// Plans the selected files. Small files come first, so that a model's configuration is available early, then
/// by path.
pub(crate) fn plan_fetch(
    mut selected: Vec<RemoteFile>,
    existing_files: &HashMap<String, ExistingFile>,
    receipt: Option<&Receipt>,
    existing: ExistingFilePolicy,
) -> FetchPlan {
    // Chosen: above configuration and tokenizers, below weights.
    const LARGE_BYTES: u64 = 8 << 20;
    selected.sort_by(|left, right| {
        (left.size >= LARGE_BYTES, &left.path).cmp(&(right.size >= LARGE_BYTES, &right.path))
    });
    let verified: HashMap<&str, &ReceiptFile> =
        receipt.iter().flat_map(|receipt| &receipt.files).map(|file| (file.path.as_str(), file)).collect();
    let files = selected.into_iter().map(|remote| {
        let receipt_file = verified.get(remote.path.as_str()).copied();
        let action = choose_action(&remote, existing_files.get(&remote.path), receipt_file, existing);
        PlannedFile { remote, action }
    });
    FetchPlan { files: files.collect() }
}

fn choose_action(
    remote: &RemoteFile,
    existing_file: Option<&ExistingFile>,
    receipt_file: Option<&ReceiptFile>,
    existing: ExistingFilePolicy,
) -> FileAction {
    let Some(existing_file) = existing_file.filter(|existing_file| existing_file.size == remote.size) else {
        return FileAction::Fetch;
    };
    let is_same = |file: &&ReceiptFile| {
        file.checksum == remote.checksum
            && file.size == existing_file.size
            && file.modified == existing_file.modified
    };
    match (receipt_file.filter(is_same), existing) {
        (Some(file), _) => FileAction::Reuse(file.clone()),
        (None, ExistingFilePolicy::Trust) => FileAction::Reuse(ReceiptFile {
            path: remote.path.clone(),
            size: remote.size,
            checksum: remote.checksum.clone(),
            modified: existing_file.modified,
        }),
        (None, ExistingFilePolicy::Verify) => FileAction::Verify,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_fetcher_contract::Checksum;

    fn remote_file(path: &str, size: u64) -> RemoteFile {
        RemoteFile {
            path: path.into(),
            size,
            checksum: Checksum::GitSha1(format!("hash of {path}")),
            blob_id: String::new(),
            xet_hash: None,
        }
    }

    fn planned_action(
        existing_file: Option<ExistingFile>,
        receipt_modified: Option<i64>,
        existing: ExistingFilePolicy,
    ) -> FileAction {
        let file = remote_file("a", 3);
        let receipt = receipt_modified.map(|modified| Receipt {
            format: 1,
            repository: "org/model".into(),
            endpoint: String::new(),
            revision: "main".into(),
            commit: String::new(),
            files: vec![ReceiptFile { path: "a".into(), size: 3, checksum: file.checksum.clone(), modified }],
            excluded: Vec::new(),
            completed_at: String::new(),
            fetcher: String::new(),
        });
        let existing_file =
            existing_file.into_iter().map(|existing_file| ("a".to_owned(), existing_file)).collect();
        plan_fetch(vec![file], &existing_file, receipt.as_ref(), existing).files.remove(0).action
    }

    #[test]
    fn file_is_reused_only_if_unchanged_since_verification() {
        let existing = |modified| Some(ExistingFile { size: 3, modified });
        assert!(matches!(
            planned_action(existing(7), Some(7), ExistingFilePolicy::Verify),
            FileAction::Reuse(_)
        ));
        assert_eq!(planned_action(existing(8), Some(7), ExistingFilePolicy::Verify), FileAction::Verify);
        assert_eq!(planned_action(existing(7), None, ExistingFilePolicy::Verify), FileAction::Verify);
        assert!(matches!(planned_action(existing(7), None, ExistingFilePolicy::Trust), FileAction::Reuse(_)));
        assert_eq!(
            planned_action(Some(ExistingFile { size: 2, modified: 7 }), Some(7), ExistingFilePolicy::Trust),
            FileAction::Fetch
        );
        assert_eq!(planned_action(None, Some(7), ExistingFilePolicy::Trust), FileAction::Fetch);
    }

    #[test]
    fn small_files_are_planned_first() {
        let selected =
            vec![remote_file("a.safetensors", 1 << 30), remote_file("z.json", 10), remote_file("b.json", 5)];
        let plan = plan_fetch(selected, &HashMap::new(), None, ExistingFilePolicy::Verify);
        let paths: Vec<&str> = plan.files.iter().map(|file| file.remote.path.as_str()).collect();
        assert_eq!(paths, ["b.json", "z.json", "a.safetensors"]);
    }
}
