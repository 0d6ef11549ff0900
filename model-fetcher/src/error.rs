//! Everything that can end a fetch without a complete folder: one variant for each thing a person can act on.
//!
//! A message names the thing; the hint says what to do. Both are printed in one place, `report.rs`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::contract::exit;

/// Why a file cannot go through xet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoXet {
    /// `--xet never` or HF_HUB_DISABLE_XET.
    Forbidden,
    /// This build has no xet.
    NotBuiltIn,
    /// The listing names no place of it in xet storage.
    NotStored,
}

/// Why a folder is not complete.
#[derive(Debug, Error)]
pub enum Error {
    /// A value of the command line or of the options cannot be used.
    #[error("{what}")]
    Usage { what: String, hint: String },

    /// `check` or `verify` found the folder wanting.
    #[error("{} is not complete: {reason}", .folder.display())]
    NotComplete { folder: PathBuf, reason: String },

    /// The folder holds another revision, complete.
    #[error("{} holds revision {found}, not {wanted}", .folder.display())]
    OtherRevision { folder: PathBuf, repository: String, found: String, wanted: String },

    /// The hub does not show the repository to this caller: it is private, gated or absent.
    #[error("{repository} at {endpoint} cannot be read: {message}")]
    Unauthorized { repository: String, endpoint: String, message: String, token_given: bool },

    /// The repository's licence was not accepted by the token's owner.
    #[error("{repository} is gated: {message}")]
    Gated { repository: String, endpoint: String, message: String, token_given: bool },

    /// The repository does not exist.
    #[error("{repository} does not exist at {endpoint}")]
    RepositoryNotFound { repository: String, endpoint: String },

    /// The revision does not exist.
    #[error("{repository} has no revision {revision}")]
    RevisionNotFound { repository: String, revision: String, endpoint: String },

    /// A listed file is not there.
    #[error("{repository} has no file {path} at commit {commit}")]
    FileNotFound { repository: String, path: String, commit: String },

    /// Nothing of the listing is left after the filters.
    #[error("no file of {repository} matches {patterns}")]
    NothingSelected { repository: String, patterns: String },

    /// The hub answered something this program does not understand.
    #[error("{endpoint} answered {status} for {what}: {message}")]
    Refused { endpoint: String, what: String, status: u16, message: String },

    /// The listing names something that must not be written.
    #[error("the listing of {repository} is refused: {reason}")]
    BadListing { repository: String, reason: String },

    /// A file system operation did not work.
    #[error("{action} {}: {source}", .path.display())]
    Disk { action: &'static str, path: PathBuf, source: io::Error },

    /// There is less room than the model needs.
    #[error("{} has {available} bytes free, {needed} are needed", .folder.display())]
    NoSpace { folder: PathBuf, needed: u64, available: u64 },

    /// The folder cannot be written by this user.
    #[error("{} cannot be written by uid {uid} gid {gid}: {reason}", .folder.display())]
    NotWritable { folder: PathBuf, uid: u32, gid: u32, reason: String },

    /// A symbolic link stands where a file or folder of the model belongs.
    #[error("{} is a symbolic link; a model's files are never written through one", .path.display())]
    SymbolicLink { path: PathBuf },

    /// Nothing arrived for too long.
    #[error("{endpoint} gave nothing for {}: {last}", seconds(.stalled))]
    Stalled { endpoint: String, stalled: Duration, last: String },

    /// A server's certificate leads to no trusted root.
    #[error("{endpoint} shows a certificate that is not trusted: {reason}")]
    Untrusted { endpoint: String, reason: String },

    /// Offline, and the folder is not complete.
    #[error("{} is not complete and the network is not to be used: {reason}", .folder.display())]
    Offline { folder: PathBuf, reason: String },

    /// A file's content is wrong twice.
    #[error("{path} does not match its hash: expected {expected}, got {found}")]
    Content { path: String, expected: String, found: String },

    /// Another fetcher works in the folder for too long.
    #[error("{} is locked by {holder} for {}", .folder.display(), seconds(.waited))]
    Locked { folder: PathBuf, holder: String, waited: Duration },

    /// Another fetcher took the folder over while this one was stopped.
    #[error("{} was taken over by {holder}", .folder.display())]
    LeaseLost { folder: PathBuf, holder: String },

    /// A file above the plain-HTTP limit that only xet can give.
    #[error("{path} has {size} bytes and {endpoint} gives such files through xet only")]
    NeedsXet { repository: String, path: String, size: u64, endpoint: String, why: NoXet },

    /// The TLS or HTTP client cannot be made.
    #[error("no HTTP client: {reason}")]
    Client { reason: String },
}

fn seconds(duration: &Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl Error {
    pub(crate) fn disk(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Disk { action, path: path.into(), source }
    }

    /// The code the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } => exit::USAGE,
            Error::NotComplete { .. } | Error::OtherRevision { .. } | Error::Offline { .. } => {
                exit::NOT_COMPLETE
            }
            Error::Unauthorized { .. } | Error::Gated { .. } => exit::ACCESS,
            Error::RepositoryNotFound { .. }
            | Error::RevisionNotFound { .. }
            | Error::FileNotFound { .. }
            | Error::NothingSelected { .. } => exit::NOT_FOUND,
            Error::Disk { .. }
            | Error::NoSpace { .. }
            | Error::NotWritable { .. }
            | Error::SymbolicLink { .. } => exit::DISK,
            Error::Refused { .. }
            | Error::Stalled { .. }
            | Error::Untrusted { .. }
            | Error::Client { .. } => exit::NETWORK,
            Error::BadListing { .. } | Error::Content { .. } | Error::NeedsXet { .. } => exit::CONTENT,
            Error::Locked { .. } | Error::LeaseLost { .. } => exit::LOCKED,
        }
    }

    /// What to do about it, starting with a verb; a command in it can be pasted.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Usage { hint, .. } => Some(hint.clone()),
            Error::NotComplete { .. } => Some("run `model-fetcher fetch` with the same arguments".into()),
            Error::OtherRevision { repository, found, wanted, .. } => Some(format!(
                "ask for the one that is there with `--revision {found}`, or replace it with \
                 `model-fetcher fetch {repository} --revision {wanted} --update`"
            )),
            Error::Unauthorized { repository, endpoint, token_given, .. } => Some(if *token_given {
                format!(
                    "check the name at {endpoint}/{repository}, and that the owner of the token in HF_TOKEN may read it"
                )
            } else {
                format!(
                    "check the name at {endpoint}/{repository}; if it is private, set HF_TOKEN to a token that may read it"
                )
            }),
            Error::Gated { repository, endpoint, token_given, .. } => Some(if *token_given {
                format!(
                    "accept the licence at {endpoint}/{repository} with the account the token in HF_TOKEN belongs to"
                )
            } else {
                format!(
                    "accept the licence at {endpoint}/{repository}, then set HF_TOKEN to a token of that account"
                )
            }),
            Error::RepositoryNotFound { repository, endpoint } => {
                Some(format!("check the name at {endpoint}/{repository}; capital letters count"))
            }
            Error::RevisionNotFound { repository, endpoint, .. } => {
                Some(format!("choose a branch, tag or commit of {endpoint}/{repository}/commits/main"))
            }
            Error::FileNotFound { .. } => Some("run the same command again: the repository changed".into()),
            Error::NothingSelected { .. } => Some("relax --include or --exclude".into()),
            Error::Refused { .. } => Some("run the same command again later; what is here is kept".into()),
            Error::BadListing { .. } => {
                Some("leave the file out with --exclude, or report it to the repository's owner".into())
            }
            Error::Disk { source, .. } => disk_hint(source),
            Error::NoSpace { needed, available, .. } => Some(format!(
                "free {} bytes, enlarge the volume, or fetch less with --exclude",
                needed.saturating_sub(*available)
            )),
            Error::NotWritable { gid, .. } => Some(format!(
                "set `securityContext.fsGroup: {gid}` in the pod, or run the container as the folder's owner with \
                 `runAsUser`"
            )),
            Error::SymbolicLink { path } => Some(format!("remove it: rm {}", path.display())),
            Error::Stalled { .. } => {
                Some("check the network and the proxy, then run the same command: it continues".into())
            }
            Error::Untrusted { .. } => Some(
                "set SSL_CERT_FILE to a file with the certificates of the hub's or the proxy's authority"
                    .into(),
            ),
            Error::Offline { .. } => {
                Some("run it once where the hub can be reached, without --offline and HF_HUB_OFFLINE".into())
            }
            Error::Content { .. } => Some(
                "run the same command again; if it stays wrong, the hub or a proxy on the way alters files"
                    .into(),
            ),
            Error::Locked { .. } => {
                Some("wait for the other one, or allow more time with --lock-timeout 2h".into())
            }
            Error::LeaseLost { .. } => {
                Some("let the other one finish, then run the same command again".into())
            }
            Error::NeedsXet { repository, path, why, .. } => Some(match why {
                NoXet::Forbidden => "leave out `--xet never` and HF_HUB_DISABLE_XET".into(),
                NoXet::NotBuiltIn => format!(
                    "run `hf download {repository} {path} --local-dir FOLDER` for the model's folder, then the same \
                     command: it hashes what is there"
                ),
                NoXet::NotStored => "ask the repository's owner for smaller files".into(),
            }),
            Error::Client { .. } => Some("check HTTPS_PROXY and SSL_CERT_FILE".into()),
        }
    }
}

fn disk_hint(source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free space or enlarge the volume, then run the same command: it continues".into())
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("mount the volume for writing, without `readOnly: true`".into())
        }
        io::ErrorKind::PermissionDenied => {
            Some("set `securityContext.fsGroup` or `runAsUser` so that the volume can be written".into())
        }
        _ => Some("check the volume, then run the same command: it continues".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gated_repository_names_the_page_of_its_licence() {
        let error = Error::Gated {
            repository: "meta/llama".into(),
            endpoint: "https://huggingface.co".into(),
            message: "access is restricted".into(),
            token_given: false,
        };
        assert_eq!(error.exit_code(), 10);
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("accept the licence at https://huggingface.co/meta/llama"), "{hint}");
    }

    #[test]
    fn a_full_disk_ends_with_the_disk_code() {
        let error = Error::disk("write", "/opt/models/x", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().starts_with("write /opt/models/x: "), "{error}");
        assert!(error.hint().unwrap().starts_with("free space"));
    }
}
