//! Finds what is benchmarked: a local deployment or a URL, its served model, and the folder with the tokenizer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BenchError, BenchResult};
use crate::chat::{Endpoint, EndpointKind};
use crate::local::aiperf::ServerKey;
use crate::workflow::local::lookup;
use kubectl_dynamo_core::bench::{BenchDeployment, BenchTarget};
use kubectl_dynamo_core::diagnosis::redact_object;
use kubectl_dynamo_core::error::Result;

/// How the user names what is benchmarked.
pub(crate) enum BenchTargetName {
    /// What AIPerf on this machine reaches.
    Direct(DirectTarget),
    /// A deployment of a cluster, which is measured from a Job.
    Cluster(Box<ClusterRunOptions>),
}

/// What AIPerf on this machine reaches.
pub(crate) enum DirectTarget {
    /// A deployment on this machine; `None` if it is the only one.
    Local(Option<String>),
    Url {
        url: String,
        key: Option<ServerKey>,
    },
}

impl DirectTarget {
    pub(super) fn key(&self) -> Option<&ServerKey> {
        match self {
            Self::Local(_) => None,
            Self::Url { key, .. } => key.as_ref(),
        }
    }
}

/// Options of a run on a cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterRunOptions {
    pub deployment: String,
    /// The image with AIPerf; `None` for NVIDIA's.
    pub image: Option<String>,
    pub registry_mirror: Option<String>,
    /// A PVC for all files of AIPerf.
    pub results_pvc: Option<String>,
    /// The CPU request of the pod in thousandths of a core; `None` for the one that AIPerf's workers need.
    pub millicpu: Option<u32>,
    /// How long the Job may run.
    pub deadline: Duration,
    pub waiting: JobWaiting,
}

/// Whether a command waits for the end of the Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobWaiting {
    Follow,
    Detach,
}

impl JobWaiting {
    /// Converts the value of `--detach`.
    pub(crate) fn from_detach_flag(detach: bool) -> Self {
        if detach { Self::Detach } else { Self::Follow }
    }
}

/// What the user set about the model.
pub(crate) struct ModelOptions {
    /// Selects a model if the server lists several.
    pub(crate) model: Option<String>,
    pub(crate) tokenizer: Option<PathBuf>,
}

/// Finds the target. The served name is always one that the server lists.
///
/// # Errors
/// The deployment is not running, the server does not list the model, or the tokenizer is missing.
pub(super) async fn find(name: &DirectTarget, options: &ModelOptions) -> Result<BenchTarget> {
    match name {
        DirectTarget::Local(name) => find_local(name.as_deref(), options).await,
        DirectTarget::Url { url, .. } if url.contains('@') => Err(BenchError::CredentialsInUrl.into()),
        DirectTarget::Url { url, key } => {
            let Some(tokenizer) = &options.tokenizer else {
                return Err(BenchError::NoTokenizer { url: url.clone() }.into());
            };
            let tokenizer = tokenizer_folder(tokenizer)?;
            let key = key.as_ref().map(|key| key.value.clone());
            let endpoint = Endpoint::new(url, EndpointKind::OpenAiCompatible, key)?;
            let model = endpoint.choose_model(options.model.as_deref()).await?;
            Ok(BenchTarget { url: url.clone(), model, tokenizer, deployment: None })
        }
    }
}

async fn find_local(name: Option<&str>, options: &ModelOptions) -> Result<BenchTarget> {
    let found = lookup::find_running(name)?.spec;
    let url = found.base_url();
    let requested = options.model.as_deref().unwrap_or(&found.intent.served_model_name);
    let model = Endpoint::new(&url, EndpointKind::Dynamo, None)?.choose_model(Some(requested)).await?;
    let tokenizer = tokenizer_folder(options.tokenizer.as_deref().unwrap_or(&found.model_folder))?;
    let deployment = BenchDeployment {
        gpus: found.intent.gpus(),
        // Values of --env can be confidential.
        intent: redact_object(&serde_json::to_value(&found.intent).unwrap_or_default()),
        name: found.name,
        place: "local".into(),
        namespace: None,
        revision: None,
        generation: None,
        images: Vec::new(),
        gpus_by_model: BTreeMap::new(),
        version: found.version,
    };
    Ok(BenchTarget { url, model, tokenizer, deployment: Some(deployment) })
}

/// Returns the absolute path of a folder with a tokenizer.
fn tokenizer_folder(path: &Path) -> BenchResult<String> {
    let not_found = || BenchError::TokenizerNotFound { path: path.to_owned() };
    let folder = path.canonicalize().map_err(|_| not_found())?;
    let names = ["tokenizer.json", "tokenizer.model", "tiktoken.model"];
    match names.iter().any(|name| folder.join(name).is_file()) {
        true => Ok(folder.display().to_string()),
        false => Err(not_found()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenizer_folder_needs_a_tokenizer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(tokenizer_folder(folder.path()), Err(BenchError::TokenizerNotFound { .. })));
        std::fs::write(folder.path().join("tokenizer.json"), "{}").expect("writable");
        assert!(tokenizer_folder(folder.path()).is_ok_and(|path| path.starts_with('/')));
    }
}
