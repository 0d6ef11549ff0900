//! What a command line wants of this machine: the wish, the release, and the GPUs there are.

use crate::commands::serving_flags::{Defaults, ServingFlags};
use crate::commands::up::{DryRun, UpArgs};
use crate::error::Result;
use crate::intent::{Backend, ModelRef, ServingIntent};
use crate::local::{LocalError, gpus, model};
use crate::release::{DEFAULT, Release};

/// Longest default name: logs and lists stay narrow.
const NAME_LENGTH: usize = 40;

/// What is wanted, as far as flags and this machine's GPUs say it.
pub(super) struct Wish {
    pub(super) intent: ServingIntent,
    pub(super) release: &'static Release,
    /// As PyPI knows it.
    pub(super) version: String,
    /// GPUs of this machine, where they matter.
    pub(super) gpus: u32,
}

/// Works out the wish.
///
/// # Errors
/// Flags that contradict each other or mean a cluster, no such model folder, too few GPUs.
pub(super) async fn wish(args: &UpArgs) -> Result<Wish> {
    refuse_cluster_flags(args)?;
    let flags = &args.serving;
    let named = flags.model.is_some() || flags.model_id.is_some();
    let gpus = match (flags.backend, named) {
        (Some(Backend::Vllm), _) => gpus::count().await?,
        (None, true) => gpus::count().await.unwrap_or(0),
        (Some(Backend::Mocker), _) | (None, false) => 0,
    };
    let backend = flags.backend.unwrap_or(if gpus > 0 { Backend::Vllm } else { Backend::Mocker });
    // The built-in model has no weights for a real engine to load.
    let model = (backend == Backend::Mocker).then_some(ModelRef::BuiltIn);
    let mut intent = flags.intent(Defaults { model, backend, name_length: NAME_LENGTH })?;
    if let ModelRef::Folder { path } = &intent.model {
        let folder = model::given(path)?;
        intent.model = ModelRef::Folder { path: folder };
        if flags.served_model_name.is_none() {
            intent.served_model_name = intent.model.default_served_name();
        }
    }
    let needed = intent.topology.groups().iter().map(|(_, group)| group.gpus()).sum();
    if backend == Backend::Vllm && needed > gpus {
        return Err(LocalError::TooFewGpus { needed, found: gpus }.into());
    }
    let given = flags.release.as_deref().unwrap_or(DEFAULT);
    let release = Release::find(given)?;
    Ok(Wish { intent, release, version: package_version(given, release), gpus })
}

/// The version as PyPI knows it: without an image's prefix and suffix, and whole.
fn package_version(given: &str, release: &Release) -> String {
    let bare = given.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    match bare.split('.').count() {
        3 => bare.to_owned(),
        _ => release.version.to_owned(),
    }
}

/// Flags that shape Kubernetes objects would be lost here without a word.
fn refuse_cluster_flags(args: &UpArgs) -> Result<()> {
    let ServingFlags { hf_token_secret, cache, storage_class, image, fetcher_image, .. } = &args.serving;
    let ServingFlags { image_pull_secret, node_selector, service_account, label, shared_memory, .. } =
        &args.serving;
    let given = [
        ("--hf-token-secret", hf_token_secret.is_some()),
        ("--hf-token-stdin", args.hf_token_stdin),
        ("--cache", cache.is_some()),
        ("--storage-class", storage_class.is_some()),
        ("--image", image.is_some()),
        ("--fetcher-image", fetcher_image.is_some()),
        ("--image-pull-secret", !image_pull_secret.is_empty()),
        ("--node-selector", !node_selector.is_empty()),
        ("--service-account", service_account.is_some()),
        ("--label", !label.is_empty()),
        ("--shared-memory", shared_memory.is_some()),
        ("--dry-run", args.dry_run != DryRun::None),
        ("--force-conflicts", args.force_conflicts),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(LocalError::ClusterFlag { flag }.into()),
        None => Ok(()),
    }
}
