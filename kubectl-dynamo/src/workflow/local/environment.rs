//! The environment of local deployments: folders, the path of this executable, the Dynamo variables that
//! processes do not inherit, and the fetch settings that the user set in variables.

use std::path::PathBuf;

use model_fetcher::FetchOptions;
use model_fetcher_contract::{DEFAULT_ENDPOINT, environment, user_agent};

use crate::local::{Folders, LocalError, LocalFeature};
use crate::settings::folders::FolderKind;

/// Returns the cache and state folders.
///
/// # Errors
/// Returns [`LocalError::NoHomeDirectory`] if the user does not have a home folder.
pub(crate) fn folders() -> Result<Folders, LocalError> {
    let find = |kind: FolderKind| {
        let path = kind.path().ok_or(LocalError::NoHomeDirectory)?;
        std::path::absolute(&path).map_err(|source| LocalError::File { action: "find", path, source })
    };
    Ok(Folders { cache: find(FolderKind::Cache)?, state: find(FolderKind::State)? })
}

/// Returns the cache and state folders for a feature that needs Linux.
///
/// # Errors
/// Returns [`LocalError::UnsupportedSystem`] on another operating system.
pub(crate) fn folders_for(feature: LocalFeature) -> Result<Folders, LocalError> {
    feature.check_system(std::env::consts::OS)?;
    folders()
}

/// Returns the folder of the benchmark runs: `bench` in the user's data folder.
///
/// # Errors
/// Returns [`LocalError::NoHomeDirectory`] if the user does not have a home folder.
pub(crate) fn bench_folder() -> Result<PathBuf, LocalError> {
    Ok(FolderKind::Data.path().ok_or(LocalError::NoHomeDirectory)?.join("bench"))
}

/// Returns the path of this executable, which starts again as the supervisor.
///
/// # Errors
/// Returns an error if the system does not report the path.
pub(crate) fn current_executable() -> Result<PathBuf, LocalError> {
    std::env::current_exe().map_err(|source| LocalError::File {
        action: "find",
        path: PathBuf::from("kubectl-dynamo"),
        source,
    })
}

/// Returns the names of Dynamo's own variables in this environment. Processes do not inherit them, because a
/// cluster deployment does not see them either. Use `--env` to set one.
pub(crate) fn dynamo_variables() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("DYN_") || ["ETCD_ENDPOINTS", "NATS_SERVER"].contains(&name.as_str()))
        .collect()
}

/// Returns the options of a fetch into the local cache, with the hub's usual variables (`HF_HUB_OFFLINE`, …)
/// applied.
pub(crate) fn fetch_options(repository: &str, revision: Option<&str>, folders: &Folders) -> FetchOptions {
    let mut options = FetchOptions::new(repository, folders.models());
    options.apply_variables(|name| std::env::var(name).ok());
    options.user_agent = user_agent("kubectl-dynamo", env!("CARGO_PKG_VERSION"));
    if let Some(revision) = revision {
        options.revision = revision.into();
    }
    options
}

/// Returns the hub endpoint that only this machine uses: its `HF_ENDPOINT`, which pods do not get.
pub(crate) fn local_hub_endpoint() -> Option<String> {
    let endpoint = std::env::var(environment::HF_ENDPOINT).ok()?;
    let endpoint = endpoint.trim().trim_end_matches('/');
    (!endpoint.is_empty() && endpoint != DEFAULT_ENDPOINT).then(|| endpoint.to_owned())
}
