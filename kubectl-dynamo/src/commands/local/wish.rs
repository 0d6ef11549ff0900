//! What a command line wants of this machine: the wish, the release, and the GPUs there are.

use crate::commands::asked::{Asked, Wanted, wanted};
use crate::commands::configuration;
use crate::commands::up::{DryRun, UpArgs};
use crate::error::Result;
use crate::intent::request::Found;
use crate::intent::{Backend, Fallback, IntentError, ModelRef, ServingIntent, Word, resolve};
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
    let asked = match wanted(&args.serving)? {
        Wanted::Request(asked) => asked,
        Wanted::Objects(_) => return Err(LocalError::ClusterFlag { flag: "-f with a graph".into() }.into()),
    };
    refuse_cluster_flags(args, &asked)?;
    if let Some(given) = &asked.existing {
        return Err(IntentError::BareWord { given: given.clone() }.into());
    }
    let said = asked.merged();
    let wanted = said.get("backend").map(Found::text);
    let wanted = Backend::ALL.iter().find(|known| Some(known.as_str()) == wanted).copied();
    let named = said.get("model").is_some();
    let gpus = match (wanted, named) {
        (Some(Backend::Vllm), _) => gpus::count().await?,
        (None, true) => gpus::count().await.unwrap_or(0),
        (Some(Backend::Mocker), _) | (None, false) => 0,
    };
    let backend = wanted.unwrap_or(if gpus > 0 { Backend::Vllm } else { Backend::Mocker });
    // The built-in model has no weights for a real engine to load.
    let model = (backend == Backend::Mocker).then_some(ModelRef::BuiltIn);
    let mut intent = resolve(&said, &Fallback { model, backend, name_length: NAME_LENGTH })?;
    if let ModelRef::Folder { path } = &intent.model {
        let folder = model::given(path)?;
        intent.model = ModelRef::Folder { path: folder };
        if said.get("servedModelName").is_none() {
            intent.served_model_name = intent.model.default_served_name();
        }
    }
    configuration::check_kept(&intent)?;
    let needed = intent.topology.groups().iter().map(|(_, group)| group.gpus()).sum();
    if backend == Backend::Vllm && needed > gpus {
        return Err(LocalError::TooFewGpus { needed, found: gpus }.into());
    }
    let given = said.get("release").map_or(DEFAULT, Found::text);
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

/// What shapes Kubernetes objects would be lost here without a word.
fn refuse_cluster_flags(args: &UpArgs, asked: &Asked) -> Result<()> {
    const OF_A_CLUSTER: &[&str] = &[
        "hfTokenSecret",
        "cache.claim",
        "cache.storageClass",
        "image",
        "fetcherImage",
        "registryMirror",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "priorityClass",
        "serviceAccount",
        "labels",
        "annotations",
        "sharedMemory",
        "kvOffload.cpu",
    ];
    if let Some(flag) = asked.says_one_of(OF_A_CLUSTER) {
        return Err(LocalError::ClusterFlag { flag }.into());
    }
    let given = [
        ("--hf-token-stdin", args.hf_token_stdin),
        ("--dry-run", args.dry_run != DryRun::None),
        ("--force-conflicts", args.force_conflicts),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(LocalError::ClusterFlag { flag: (*flag).into() }.into()),
        None => Ok(()),
    }
}
