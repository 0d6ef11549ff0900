//! Why the listing of a source, or one of its entries, cannot be used. It describes only the content: the error that
//! contains it names the repository.

/// Why a listing cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    #[error("the tree is not a JSON list of entries: {0}")]
    Tree(serde_json::Error),
    #[error("it is not the JSON of a revision: {0}")]
    Revision(serde_json::Error),
    #[error("it does not report the commit of a revision")]
    NoCommit,
    #[error("it reports {0:?} as the commit of a revision")]
    InvalidCommit(String),
    #[error("a path is listed twice")]
    DuplicatePath,
    #[error("{0:?} is both a file and a folder")]
    FileAndFolder(String),
    #[error("the sizes of its files add up to more than 64 PiB")]
    TooLarge,
}

/// Why an entry of a listing cannot be fetched.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{path:?} is listed without a hash, so it cannot be verified")]
    MissingHash { path: String },
    #[error("{path:?} has the hash {digits:?}, not {length} hexadecimal digits")]
    InvalidHash { path: String, digits: String, length: usize },
    /// The receipt of a mirror does not have the hash of a file.
    #[error("{path:?} does not have a hash")]
    MissingHashInReceipt { path: String },
}

/// A path that cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {path:?} {reason}")]
pub(crate) struct PathError {
    pub(crate) path: String,
    pub(crate) reason: &'static str,
}
