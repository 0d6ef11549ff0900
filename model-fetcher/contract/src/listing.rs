//! The files of one commit, as a hub or a mirror lists them.

use crate::Checksum;

/// The files of one commit, as the source lists them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The commit that the revision resolves to.
    pub commit: String,
    /// All files, sorted by path.
    pub files: Vec<RemoteFile>,
    /// Entries that cannot be fetched. They are an error only if they are selected.
    pub unusable: Vec<UnusableFile>,
}

impl Listing {
    /// Returns the total size of all files in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().fold(0, |total, file| total.saturating_add(file.size))
    }

    /// Returns the paths of all entries.
    pub fn paths(&self) -> impl Iterator<Item = &str> + Clone {
        let unusable = self.unusable.iter().map(|file| file.path.as_str());
        self.files.iter().map(|file| file.path.as_str()).chain(unusable)
    }
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path inside the repository, separated by `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Expected checksum of the content.
    pub checksum: Checksum,
    /// Git blob ID of the content, or of the pointer file for LFS files.
    pub blob_id: String,
    /// ID of the content in xet storage, if it is stored there.
    pub xet_hash: Option<String>,
}

/// An entry that cannot be written or verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableFile {
    /// Path as listed.
    pub path: String,
    /// Why it cannot be fetched.
    pub reason: String,
}
