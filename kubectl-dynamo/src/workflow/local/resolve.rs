//! Resolves the command line of `up --local`: the intent, the release, and the GPUs of this machine. It
//! rejects flags that only apply to a cluster.

use crate::local::{LocalError, gpus, model};
use crate::workflow::model_config;
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, RequestLayers, collect_input};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{MergedSettings, ResolvedSetting};
use kubectl_dynamo_core::intent::{
    Backend, Fallback, IntentError, ModelRef, ServingIntent, StringEnum, resolve,
};
use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};

/// Maximum length of a default name in characters, so that logs and lists stay narrow.
const MAX_NAME_LENGTH: usize = 40;

/// The resolved request of a local deployment.
pub(crate) struct LocalIntent {
    pub(crate) intent: ServingIntent,
    /// The settings of the request.
    pub(crate) settings: MergedSettings,
    pub(crate) release: &'static Release,
    /// Version of the Dynamo package on PyPI.
    pub(crate) version: String,
    /// Number of GPUs of this machine; 0 if the backend does not use them.
    pub(crate) gpus: u32,
}

/// Resolves the request from the flags and the GPUs of this machine.
///
/// # Errors
/// Returns an error for contradictory or cluster-only flags, a missing model folder, or too few GPUs.
pub(crate) async fn resolve_local_intent(
    serving: &ServingInput,
    cluster_flags: &[(&'static str, bool)],
) -> Result<LocalIntent> {
    let request = match collect_input(serving)? {
        RequestInput::Request(request) => request,
        RequestInput::Manifest(_) => {
            return Err(LocalError::ClusterOnlyFlag { flag: "-f with a manifest".into() }.into());
        }
    };
    refuse_cluster_flags(cluster_flags, &request)?;
    if let Some(name) = &request.existing_name {
        return Err(IntentError::UnknownDeployment { given: name.clone() }.into());
    }
    let settings = request.merged();
    let backend_name = settings.get("backend").map(ResolvedSetting::text);
    let requested_backend =
        Backend::ALL.iter().find(|backend| Some(backend.as_str()) == backend_name).copied();
    let has_model = settings.get("model").is_some();
    let gpus = match (requested_backend, has_model) {
        (Some(Backend::Vllm), _) => gpus::count().await?,
        (None, true) => gpus::count().await.unwrap_or(0),
        (Some(Backend::Mocker), _) | (None, false) => 0,
    };
    let backend = requested_backend.unwrap_or(if gpus > 0 { Backend::Vllm } else { Backend::Mocker });
    // The built-in model does not have weights, so only the mocker can serve it.
    let model = (backend == Backend::Mocker).then_some(ModelRef::BuiltIn);
    let mut intent = resolve(&settings, &Fallback { model, backend, max_name_length: MAX_NAME_LENGTH })?;
    if let ModelRef::Folder { path } = &intent.model {
        let folder = model::check_folder(path)?;
        intent.model = ModelRef::Folder { path: folder };
        if settings.get("servedModelName").is_none() {
            intent.served_model_name = intent.model.default_served_name();
        }
    }
    model_config::check_cached_config(&intent)?;
    let needed = intent.topology.groups().iter().map(|(_, group)| group.gpus()).sum();
    if backend == Backend::Vllm && needed > gpus {
        return Err(LocalError::TooFewGpus { needed, found: gpus }.into());
    }
    let requested_release = settings.get("release").map_or(DEFAULT_RELEASE, ResolvedSetting::text);
    let release = Release::find(requested_release)?;
    let version = package_version(requested_release, release);
    Ok(LocalIntent { intent, settings, release, version, gpus })
}

/// Returns the PyPI version: without the prefix and suffix of an image tag, and with three parts.
fn package_version(requested: &str, release: &Release) -> String {
    let version = requested.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    match version.split('.').count() {
        3 => version.to_owned(),
        _ => release.version.to_owned(),
    }
}

/// Rejects flags that only change Kubernetes objects. They would have no effect here.
fn refuse_cluster_flags(cluster_flags: &[(&'static str, bool)], request: &RequestLayers) -> Result<()> {
    const CLUSTER_ONLY_FIELDS: &[&str] = &[
        "hfTokenSecret",
        "cache.claim",
        "cache.size",
        "cache.storageClass",
        "cache.accessMode",
        "image",
        "fetcherImage",
        "registryMirror",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "priorityClass",
        "serviceAccount",
        "podSecurity",
        "labels",
        "annotations",
        "fetcherEnv",
        "caBundle",
        "sharedMemory",
        "kvOffload.cpu",
    ];
    if let Some(flag) = request.first_set_of(CLUSTER_ONLY_FIELDS) {
        return Err(LocalError::ClusterOnlyFlag { flag }.into());
    }
    match cluster_flags.iter().find(|(_, is_set)| *is_set) {
        Some((flag, _)) => Err(LocalError::ClusterOnlyFlag { flag: (*flag).into() }.into()),
        None => Ok(()),
    }
}
