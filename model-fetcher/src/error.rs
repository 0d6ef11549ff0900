//! Every error that ends a fetch without a complete folder: one variant for each kind of problem that a user
//! can fix.
//!
//! A message names the object and the problem; the hint describes the fix. `program.rs` prints both.

mod hint;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use model_fetcher_contract::{FailureReason, exit};

/// Why a file cannot be fetched through xet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XetUnavailable {
    /// Disabled by `--xet never` or HF_HUB_DISABLE_XET.
    Forbidden,
    /// This build does not include xet.
    NotBuiltIn,
    /// The listing does not have an xet hash for the file.
    NotStored,
}

/// An error that ends a fetch.
#[derive(Debug, Error)]
pub enum FetcherError {
    /// An argument or option is invalid.
    #[error("{what}")]
    Usage { what: String, hint: String },

    /// `check` or `verify` found a missing or changed file.
    #[error("{} is not complete: {reason}", .folder.display())]
    NotComplete { folder: PathBuf, reason: String },

    /// The folder contains another revision, complete.
    #[error("{} holds revision {found}, not {requested}", .folder.display())]
    OtherRevision { folder: PathBuf, repository: String, found: String, commit: String, requested: String },

    /// The hub does not show the repository to this caller: it is private, gated, or does not exist.
    #[error("repository \"{repository}\" at {endpoint} is private, or it does not exist: {message}")]
    Unauthorized { repository: String, endpoint: String, message: String, has_token: bool },

    /// The token cannot be sent.
    #[error("the hub token {problem}")]
    InvalidToken { problem: &'static str },

    /// The owner of the token has not accepted the repository's license.
    #[error("repository \"{repository}\" is gated: {message}")]
    Gated { repository: String, endpoint: String, message: String, has_token: bool },

    /// The repository does not exist.
    #[error("repository \"{repository}\" not found at {endpoint}")]
    RepositoryNotFound { repository: String, endpoint: String },

    /// The revision does not exist.
    #[error("revision \"{revision}\" of repository \"{repository}\" not found")]
    RevisionNotFound { repository: String, revision: String, endpoint: String },

    /// A listed file was not found.
    #[error("file \"{path}\" of repository \"{repository}\" not found at commit {commit}")]
    FileNotFound { repository: String, path: String, commit: String },

    /// The filters select no file.
    #[error("no file of repository \"{repository}\" matches {patterns}")]
    NothingSelected { repository: String, patterns: String },

    /// The hub returned a response that this program does not understand.
    #[error("{endpoint} returned {status} for {what}: {message}")]
    UnexpectedResponse { endpoint: String, what: String, status: u16, message: String },

    /// A proxy requires a user name and a password.
    #[error("the proxy requires authentication: {message}")]
    ProxyAuthentication { message: String },

    /// The listing contains an invalid entry or a file that must not be written.
    #[error("invalid file listing of repository \"{repository}\": {reason}")]
    BadListing { repository: String, reason: String },

    /// The listing ends early, or an index names a file that the repository lacks.
    #[error("repository \"{repository}\" is not complete at {endpoint}: {reason}")]
    IncompleteListing { repository: String, endpoint: String, reason: String },

    /// The hub, or more likely a mirror, lacks something that is needed to fetch and verify.
    #[error("cannot fetch repository \"{repository}\" from {endpoint}: {reason}")]
    UnsuitableHub { repository: String, endpoint: String, reason: String },

    /// The hub returns something else than the content of a file.
    #[error("{endpoint} returned {what} for {path}")]
    WrongContent { endpoint: String, path: String, what: String },

    /// A file system operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Disk { action: &'static str, path: PathBuf, source: io::Error },

    /// The volume has less free space than the model needs.
    #[error("not enough space in {}: {needed} bytes needed, {available} bytes free", .folder.display())]
    NoSpace { folder: PathBuf, needed: u64, available: u64 },

    /// This user cannot write to the folder.
    #[error("cannot write to {} as uid {uid} gid {gid}: {reason}", .folder.display())]
    NotWritable { folder: PathBuf, uid: u32, gid: u32, reason: String },

    /// A symbolic link is in the place of a file or folder of the model.
    #[error("{} is a symbolic link; model files are not written through symbolic links", .path.display())]
    SymbolicLink { path: PathBuf },

    /// No data arrived for the stall timeout.
    #[error("no data from {endpoint}{}: {last}", format_stall(.stalled))]
    Stalled { endpoint: String, stalled: Duration, last: String },

    /// A server's certificate is not signed by a trusted authority.
    #[error("certificate of {endpoint} is not trusted: {reason}")]
    Untrusted { endpoint: String, reason: String },

    /// Network access is disabled and the folder is not complete.
    #[error("{} is not complete and network access is disabled: {reason}", .folder.display())]
    Offline { folder: PathBuf, reason: String },

    /// A file's content did not match its hash twice.
    #[error("{path} does not match its hash: expected {expected}, got {found}")]
    HashMismatch { path: String, expected: String, found: String },

    /// Another fetcher held the lock for longer than the lock timeout.
    #[error("timed out waiting for {} after {}: locked by {holder}", .folder.display(), format_seconds(.waited))]
    Locked { folder: PathBuf, holder: String, waited: Duration },

    /// Another fetcher works in the folder that is to be removed.
    #[error("{} is in use by {holder}", .folder.display())]
    InUse { folder: PathBuf, holder: String },

    /// The folder or its lock was deleted while this fetcher held it.
    #[error("{} or its lock was deleted during the fetch", .folder.display())]
    LockDeleted { folder: PathBuf },

    /// Another fetcher took over the folder while this one was unresponsive.
    #[error("{} was taken over by {holder}", .folder.display())]
    LeaseLost { folder: PathBuf, holder: String },

    /// A file above the plain-HTTP limit that is only available through xet.
    #[error("{path} ({size} bytes) is only available through xet at {endpoint}")]
    NeedsXet { repository: String, path: String, size: u64, endpoint: String, why: XetUnavailable },

    /// The HTTP client or a task of the fetch failed.
    #[error("HTTP client failed: {reason}")]
    Client { reason: String },
}

/// How long no data arrived, as a part of a sentence. The first answer can already end a fetch, for example if it asks
/// for a longer wait than the limit.
fn format_stall(stalled: &Duration) -> String {
    if stalled.as_secs() == 0 { String::new() } else { format!(" for {}", format_seconds(stalled)) }
}

fn format_seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl FetcherError {
    pub(crate) fn disk(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        FetcherError::Disk { action, path: path.into(), source }
    }

    /// Returns whether a file or folder is missing that should exist.
    pub(crate) fn is_not_found_on_disk(&self) -> bool {
        matches!(self, FetcherError::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Returns the exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self.reason() {
            FailureReason::OtherRevision | FailureReason::NotComplete => exit::NOT_COMPLETE,
            FailureReason::Usage => exit::USAGE,
            FailureReason::Access => exit::ACCESS,
            FailureReason::NotFound => exit::NOT_FOUND,
            FailureReason::Disk => exit::DISK,
            FailureReason::Content => exit::CONTENT,
            FailureReason::Locked => exit::LOCKED,
            FailureReason::Interrupted => exit::INTERRUPTED,
            FailureReason::Network | FailureReason::Unknown => exit::NETWORK,
        }
    }

    /// Returns the machine-readable reason.
    pub fn reason(&self) -> FailureReason {
        match self {
            FetcherError::Usage { .. } => FailureReason::Usage,
            FetcherError::OtherRevision { .. } => FailureReason::OtherRevision,
            FetcherError::NotComplete { .. } | FetcherError::Offline { .. } => FailureReason::NotComplete,
            FetcherError::Unauthorized { .. }
            | FetcherError::InvalidToken { .. }
            | FetcherError::Gated { .. } => FailureReason::Access,
            FetcherError::RepositoryNotFound { .. }
            | FetcherError::RevisionNotFound { .. }
            | FetcherError::FileNotFound { .. }
            | FetcherError::NothingSelected { .. } => FailureReason::NotFound,
            FetcherError::Disk { .. }
            | FetcherError::NoSpace { .. }
            | FetcherError::NotWritable { .. }
            | FetcherError::SymbolicLink { .. } => FailureReason::Disk,
            FetcherError::UnexpectedResponse { .. }
            | FetcherError::ProxyAuthentication { .. }
            | FetcherError::Stalled { .. }
            | FetcherError::Untrusted { .. }
            | FetcherError::Client { .. } => FailureReason::Network,
            FetcherError::BadListing { .. }
            | FetcherError::IncompleteListing { .. }
            | FetcherError::UnsuitableHub { .. }
            | FetcherError::WrongContent { .. }
            | FetcherError::HashMismatch { .. }
            | FetcherError::NeedsXet { .. } => FailureReason::Content,
            FetcherError::Locked { .. }
            | FetcherError::InUse { .. }
            | FetcherError::LockDeleted { .. }
            | FetcherError::LeaseLost { .. } => FailureReason::Locked,
        }
    }
}
