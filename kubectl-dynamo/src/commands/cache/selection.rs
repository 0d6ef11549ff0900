//! Selects the model and the PVC that a `cache` verb works on, from the flags and settings, and otherwise
//! from the inventory. It must not change anything on the cluster.

use clap::Args;

use super::error::CacheError;
use super::inventory::{self, CacheInventory, CachedModel, PermissionPolicy};
use crate::commands::serving_flags::FetchFlags;
use crate::workflow::cache_jobs::pod_of_job;
use crate::workflow::resolve::resolve_model_intent;
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{RequestInput, RequestLayers, collect_input};
use kubectl_dynamo_cluster::{Cluster, NamespaceScope};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::find_field;
use kubectl_dynamo_core::intent::{Cache, IntentError, ModelRef, ServingIntent};

/// The model argument and the flags that its fetch Job depends on.
#[derive(Args)]
pub(in crate::commands) struct CacheModelArgs {
    /// Model ID on the hub: ORG/NAME, optionally with @REVISION
    pub model: String,
    #[command(flatten)]
    pub fetch: FetchFlags,
}

impl CacheModelArgs {
    /// Collects all settings layers, from these flags and from the settings.
    ///
    /// # Errors
    /// Settings that cannot be read, and a model that is not a hub ID.
    pub(super) fn into_layers(self) -> Result<RequestLayers> {
        let mut flags: ServingInput = self.fetch.0;
        match ModelRef::parse_path_or_hub_id(&self.model)? {
            ModelRef::Hub { .. } => {}
            ModelRef::Folder { .. } | ModelRef::BuiltIn => {
                return Err(IntentError::InvalidModelId { given: self.model }.into());
            }
        }
        flags.add(find_field("model").expect("`model` is a field"), vec![self.model]);
        match collect_input(&flags)? {
            RequestInput::Request(layers) => Ok(layers),
            RequestInput::Manifest(_) => unreachable!("a cache verb does not have a flag for a file"),
        }
    }
}

/// A model on a PVC, with the intent from which its Jobs are rendered.
pub(super) struct CacheTarget {
    pub intent: ServingIntent,
    pub inventory: CacheInventory,
    /// The inventory's entries for this model on this PVC.
    pub models: Vec<CachedModel>,
}

impl CacheTarget {
    pub(super) fn pvc(&self) -> &str {
        self.intent.cache.pvc()
    }

    pub(super) fn model(&self) -> String {
        self.intent.model.to_string()
    }
}

/// Selects the model and the PVC that the arguments name.
///
/// # Errors
/// A model on several PVCs, a PVC that does not exist, and missing permissions.
pub(super) async fn find_model(
    args: CacheModelArgs,
    cluster: &Cluster,
    permissions: PermissionPolicy,
) -> Result<CacheTarget> {
    let layers = args.into_layers()?;
    let intent = resolve_model_intent(&layers, &cluster.namespace)?;
    let inventory = inventory::gather(cluster, NamespaceScope::OneNamespace, permissions).await?;
    let merged = layers.merged();
    let requested_pvc = merged.get("cache.claim").map(|found| found.text().to_owned());
    let image = match merged.get("fetcherImage") {
        Some(_) => FetcherImage::Requested,
        None => FetcherImage::FromFetchJob,
    };
    let target = resolve_target(intent, inventory, requested_pvc, image)?;
    // A Job whose PVC does not exist would wait without end.
    let pvc = target.pvc();
    match cluster.pvc_facts(pvc).await? {
        Some(_) => Ok(target),
        None => Err(CacheError::PvcNotFound { pvc: pvc.into(), namespace: cluster.namespace.clone() }.into()),
    }
}

/// Selects a model of the inventory.
///
/// # Errors
/// Settings that cannot be read.
pub(super) fn select_cached(
    model: &CachedModel,
    cluster: &Cluster,
    inventory: CacheInventory,
) -> Result<CacheTarget> {
    let layers = CacheModelArgs { model: model.name(), fetch: FetchFlags::default() }.into_layers()?;
    let intent = resolve_model_intent(&layers, &cluster.namespace)?;
    resolve_target(intent, inventory, Some(model.pvc.clone()), FetcherImage::FromFetchJob)
}

/// Where the image of the Job that checks or removes a model comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FetcherImage {
    /// The user or a setting names it.
    Requested,
    /// The Job that fetched the model, if it still exists.
    FromFetchJob,
}

fn resolve_target(
    mut intent: ServingIntent,
    inventory: CacheInventory,
    requested_pvc: Option<String>,
    image: FetcherImage,
) -> Result<CacheTarget> {
    let ModelRef::Hub { repository, revision } = intent.model.clone() else {
        unreachable!("only hub IDs are accepted");
    };
    let is_requested = |one: &&CachedModel| {
        one.repository == repository
            && revision.as_ref().is_none_or(|revision| one.revision == *revision)
            && requested_pvc.as_ref().is_none_or(|pvc| one.pvc == *pvc)
    };
    let models: Vec<CachedModel> = inventory.models.iter().filter(is_requested).cloned().collect();
    let mut pvcs: Vec<&str> = models.iter().map(|one| one.pvc.as_str()).collect();
    pvcs.dedup();
    if pvcs.len() > 1 {
        return Err(CacheError::AmbiguousPvc { model: repository, pvcs: pvcs.join(",") }.into());
    }
    let pvc = requested_pvc.clone().or(pvcs.first().map(|pvc| (*pvc).to_owned()));
    intent.cache = Cache::Existing { pvc: pvc.unwrap_or_else(|| intent.cache.pvc().to_owned()) };
    if let [one] = models.as_slice() {
        intent.model = intent.model.without_revision().with_revision(&one.revision)?;
    }
    // Use the image and pull secrets of the fetch Job: the cluster could pull that image before.
    let job = models.iter().flat_map(|one| &one.jobs).find_map(|name| inventory.job(name));
    if let Some(pod) = job.and_then(pod_of_job).filter(|_| image == FetcherImage::FromFetchJob) {
        let image = pod.containers.first().and_then(|container| container.image.clone());
        intent.placement.fetcher_image = image.or(intent.placement.fetcher_image);
        let secrets = pod.image_pull_secrets.iter().flatten().map(|secret| secret.name.clone());
        intent.placement.image_pull_secrets.extend(secrets.filter(|name| !name.is_empty()));
    }
    Ok(CacheTarget { intent, inventory, models })
}
