//! How to fix each error. A hint is an imperative, and names a command or a setting that can be pasted.
//! It must not depend on anything but the error.

use std::io;

use super::{FetcherError, XetUnavailable};

impl FetcherError {
    /// Returns how to fix it: an imperative with a command that can be pasted.
    pub fn hint(&self) -> Option<String> {
        match self {
            FetcherError::Usage { hint, .. } => Some(hint.clone()),
            FetcherError::NotComplete { .. } => {
                Some("run `model-fetcher fetch` with the same arguments".into())
            }
            FetcherError::OtherRevision { repository, commit, requested, .. } => Some(format!(
                "use the present revision with `--revision {commit}`, or replace it with \
                 `model-fetcher fetch {repository} --revision {requested} --update`"
            )),
            FetcherError::InvalidToken { .. } => Some(
                "set HF_TOKEN, or the file that HF_TOKEN_PATH names, to one token such as hf_… and nothing else"
                    .into(),
            ),
            FetcherError::Unauthorized { repository, endpoint, has_token, .. } => Some(if *has_token {
                format!(
                    "check the name at {endpoint}/{repository}, and that the token in HF_TOKEN grants \
                     access"
                )
            } else {
                format!(
                    "check the name at {endpoint}/{repository}; if it is private, set HF_TOKEN to a token \
                     with access"
                )
            }),
            FetcherError::Gated { repository, endpoint, has_token, .. } => Some(if *has_token {
                format!(
                    "accept the license at {endpoint}/{repository} with the account of the token in HF_TOKEN"
                )
            } else {
                format!(
                    "accept the license at {endpoint}/{repository}, then set HF_TOKEN to a token of that \
                     account"
                )
            }),
            FetcherError::RepositoryNotFound { repository, endpoint } => {
                Some(format!(
                    "check the name at {endpoint}/{repository}; it is case-sensitive. If this is a mirror, check \
                     that it serves the hub's API at {endpoint}/api/models"
                ))
            }
            FetcherError::RevisionNotFound { repository, endpoint, .. } => {
                Some(format!("choose a branch, tag, or commit of {endpoint}/{repository}/commits/main"))
            }
            FetcherError::FileNotFound { .. } => Some(
                "use a hub or mirror that has all files of this commit: --endpoint https://huggingface.co; if this is \
                 the hub, choose another revision"
                    .into(),
            ),
            FetcherError::NothingSelected { .. } => Some("relax --include or --exclude".into()),
            FetcherError::UnexpectedResponse { .. } => {
                Some("run the same command again later; partial files were kept".into())
            }
            FetcherError::ProxyAuthentication { .. } => {
                Some("set HTTPS_PROXY to http://USER:PASSWORD@PROXY:PORT, or list the hub in NO_PROXY".into())
            }
            FetcherError::BadListing { .. } => {
                Some("skip the file with fetch --exclude, or report it to the owner of the repository or mirror".into())
            }
            FetcherError::IncompleteListing { endpoint, .. } => Some(format!(
                "report it to the operator of {endpoint} or to the repository's owner, or use another hub: --endpoint \
                 https://huggingface.co"
            )),
            FetcherError::UnsuitableHub { .. } => {
                Some("use another mirror, or the hub itself: --endpoint https://huggingface.co".into())
            }
            FetcherError::WrongContent { .. } => Some(
                "check the login, the proxy, and the storage of the mirror, then run the same command to resume"
                    .into(),
            ),
            FetcherError::Disk { source, .. } => disk_hint(source),
            FetcherError::NoSpace { needed, available, .. } => Some(format!(
                "free {} bytes, enlarge the volume, or fetch less with --exclude",
                needed.saturating_sub(*available)
            )),
            FetcherError::NotWritable { gid, .. } => Some(format!(
                "set `securityContext.fsGroup: {gid}` in the pod, or run the container as the folder owner with \
                 `runAsUser`"
            )),
            FetcherError::SymbolicLink { path } => Some(format!("remove it: rm {}", path.display())),
            FetcherError::Stalled { .. } => {
                Some("check the network and the proxy, then run the same command to resume".into())
            }
            FetcherError::Untrusted { .. } => {
                Some("set SSL_CERT_FILE to a file with the CA certificates of the hub or the proxy".into())
            }
            FetcherError::Offline { .. } => {
                Some("run it once with network access, without --offline and HF_HUB_OFFLINE".into())
            }
            FetcherError::HashMismatch { .. } => Some(
                "check the proxy and the mirror, which may alter the file, or use another one: --endpoint \
                 https://huggingface.co"
                    .into(),
            ),
            FetcherError::Locked { .. } => {
                Some("wait for the other fetcher, or increase the limit with --lock-timeout 2h".into())
            }
            FetcherError::InUse { .. } => {
                Some("wait until that fetcher is done, or stop it, then run the same command again".into())
            }
            FetcherError::LockDeleted { .. } => {
                Some("run the same command again, and do not change the folder meanwhile".into())
            }
            FetcherError::LeaseLost { .. } => {
                Some("wait for the other fetcher, then run the same command again".into())
            }
            FetcherError::NeedsXet { repository, path, why, .. } => Some(match why {
                XetUnavailable::Forbidden => "remove `--xet never` and HF_HUB_DISABLE_XET".into(),
                XetUnavailable::NotBuiltIn => format!(
                    "run `hf download {repository} {path} --local-dir FOLDER` for the model folder, then run \
                     the same command: it verifies the existing files"
                ),
                XetUnavailable::NotStored => "ask the repository owner to split the file".into(),
            }),
            FetcherError::Client { .. } => Some("check HTTPS_PROXY and SSL_CERT_FILE".into()),
        }
    }
}

fn disk_hint(source: &io::Error) -> Option<String> {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free space or enlarge the volume, then run the same command to resume".into())
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("mount the volume writable, without `readOnly: true`".into())
        }
        io::ErrorKind::PermissionDenied => {
            Some("set `securityContext.fsGroup` or `runAsUser` so that the volume is writable".into())
        }
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            Some("move it out of the model folder, then run the same command".into())
        }
        _ => Some("check the volume, then run the same command to resume".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_fetcher_contract::exit;
    use std::path::PathBuf;

    #[test]
    fn gated_hint_links_to_license_page() {
        let error = FetcherError::Gated {
            repository: "meta/llama".into(),
            endpoint: "https://huggingface.co".into(),
            message: "access is restricted".into(),
            has_token: false,
        };
        assert_eq!(error.exit_code(), 10);
        let hint = error.hint().unwrap();
        assert!(hint.starts_with("accept the license at https://huggingface.co/meta/llama"), "{hint}");
    }

    #[test]
    fn full_disk_returns_disk_exit_code() {
        let error = FetcherError::disk("write", "/opt/models/x", io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().starts_with("cannot write /opt/models/x: "), "{error}");
        assert!(error.hint().unwrap().starts_with("free space"));
    }

    /// A Job does not retry these, so a user must act before the same command can succeed.
    #[test]
    fn hints_of_permanent_errors_name_an_action() {
        let text = String::new;
        let (repository, endpoint, path) = ("org/model".to_owned(), "https://mirror".to_owned(), text());
        let disk = |kind: io::ErrorKind| FetcherError::disk("write", "/x", kind.into());
        let errors = [
            FetcherError::InvalidToken { problem: "is empty" },
            FetcherError::RepositoryNotFound { repository: text(), endpoint: text() },
            FetcherError::RevisionNotFound { repository: text(), revision: text(), endpoint: text() },
            FetcherError::FileNotFound { repository: repository.clone(), path: text(), commit: text() },
            FetcherError::NothingSelected { repository: text(), patterns: text() },
            FetcherError::BadListing { repository: text(), reason: text() },
            FetcherError::IncompleteListing {
                repository: text(),
                endpoint: endpoint.clone(),
                reason: text(),
            },
            FetcherError::UnsuitableHub { repository, endpoint: text(), reason: text() },
            FetcherError::WrongContent { endpoint, path: text(), what: text() },
            FetcherError::HashMismatch { path, expected: text(), found: text() },
            FetcherError::NoSpace { folder: PathBuf::new(), needed: 1, available: 0 },
            disk(io::ErrorKind::StorageFull),
            disk(io::ErrorKind::ReadOnlyFilesystem),
            disk(io::ErrorKind::Other),
        ];
        for error in errors {
            assert!(exit::PERMANENT.contains(&error.exit_code()), "{error:?}");
            let hint = error.hint().unwrap();
            assert!(!hint.starts_with("run the same command"), "{error:?}: {hint}");
        }
    }
}
