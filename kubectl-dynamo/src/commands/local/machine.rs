//! What the verbs know of this machine: its folders, this program, and what of the environment is not for Dynamo.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use model_fetcher::contract::environment;
use model_fetcher::{FetchOptions, HubAccess};

use crate::local::{Folders, LocalError};

/// Our folder's name below the user's own.
const OURS: &str = "kubectl-dynamo";

/// Where local deployments live: `KUBECTL_DYNAMO_CACHE` and `KUBECTL_DYNAMO_STATE`, else the user's XDG folders.
///
/// # Errors
/// A user without a home.
pub(in crate::commands) fn folders() -> Result<Folders, LocalError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (cache, state) = (set("KUBECTL_DYNAMO_CACHE"), set("KUBECTL_DYNAMO_STATE"));
    let users = etcetera::choose_base_strategy().map_err(|_| LocalError::NoHome);
    let cache = match cache {
        Some(cache) => cache,
        None => users.as_ref().map_err(|_| LocalError::NoHome)?.cache_dir().join(OURS),
    };
    let state = match state {
        Some(state) => state,
        None => {
            let users = users?;
            users.state_dir().unwrap_or_else(|| users.data_dir()).join(OURS)
        }
    };
    let whole = |path: PathBuf| {
        std::path::absolute(&path).map_err(|source| LocalError::File { action: "find", path, source })
    };
    Ok(Folders { cache: whole(cache)?, state: whole(state)? })
}

/// This program, to be started again as a supervisor.
///
/// # Errors
/// A system that does not say.
pub(super) fn this_program() -> Result<PathBuf, LocalError> {
    std::env::current_exe().map_err(|source| LocalError::File {
        action: "find",
        path: PathBuf::from("kubectl-dynamo"),
        source,
    })
}

/// Inherited settings of Dynamo: a cluster's plan would not see them either; `--env` sets what is wanted.
pub(super) fn dynamo_variables() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("DYN_") || ["ETCD_ENDPOINTS", "NATS_SERVER"].contains(&name.as_str()))
        .collect()
}

/// A fetch from the hub into the local cache, as the ecosystem's variables want it done.
pub(in crate::commands) fn fetch_options(
    repository: &str,
    revision: Option<&str>,
    folders: &Folders,
) -> FetchOptions {
    let variable = |name: &str| std::env::var(name).ok();
    let mut options = FetchOptions::new(repository, folders.models());
    options.hub = HubAccess::from_variables(variable);
    if let Some(revision) = revision {
        options.revision = revision.into();
    }
    let is_on = |name| {
        variable(name)
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()))
    };
    options.offline = is_on(environment::HF_HUB_OFFLINE) || is_on(environment::TRANSFORMERS_OFFLINE);
    if let Some(seconds) =
        variable(environment::HF_HUB_DOWNLOAD_TIMEOUT).and_then(|text| text.trim().parse().ok())
    {
        options.read_timeout = std::time::Duration::from_secs(seconds);
    }
    options
}
