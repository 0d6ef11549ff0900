//! Resolves a model on its PVC without a deployment that serves it, for the `cache` verbs.
//! The result must not contain a graph.

use crate::workflow::resolve::{
    ResolvedDeployment, ResolvedIntent, build, check_secret, fetch_placement, merge_layers, pvc_differences,
    resolve_intent,
};
use crate::workflow::sources::RequestLayers;
use kubectl_dynamo_cluster::Cluster;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::ServingIntent;
use kubectl_dynamo_core::intent::name::NameBudget;
use kubectl_dynamo_core::intent::request::SettingSource;
use kubectl_dynamo_core::plan::ModelLocation;
use kubectl_dynamo_core::release;
use kubectl_dynamo_core::resources::{self, GraphApi};

/// Resolves the intent of a `cache` verb for a model on its PVC, with every image resolved.
pub(crate) fn resolve_model_intent(layers: &RequestLayers, namespace: &str) -> Result<ServingIntent> {
    let settings = merge_layers(layers, None, release::DEFAULT_RELEASE, SettingSource::Default);
    let ResolvedIntent { intent, .. } =
        resolve_intent(&settings, namespace, NameBudget::DeploymentsWithHash)?;
    Ok(intent)
}

/// What a fetch does with a folder that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompleteFolder {
    /// The fetch ends without a request to the hub.
    Keep,
    /// The fetch asks the hub for a newer commit of the revision, and replaces the folder by it.
    Update,
}

/// Resolves only the PVC and the Job with which `up` would fetch the model. With [`CompleteFolder::Update`], it is
/// another Job.
pub(crate) async fn resolve_fetch(
    layers: &RequestLayers,
    complete_folder: CompleteFolder,
    cluster: &Cluster,
) -> Result<ResolvedDeployment> {
    let settings = merge_layers(layers, None, release::DEFAULT_RELEASE, SettingSource::Default);
    let resolved = resolve_intent(&settings, &cluster.namespace, NameBudget::DeploymentsWithHash)?;
    let intent_cache = resolved.intent.cache.clone();
    if let Some(secret) = &resolved.intent.token_secret {
        check_secret(cluster, &secret.name, &secret.key).await?;
    }
    let pvc = cluster.pvc_facts(intent_cache.pvc()).await?;
    let placement = fetch_placement(&intent_cache, pvc.as_ref(), &cluster.namespace)?;
    let environment = ModelLocation::Volume(placement).into();
    let mut deployment = build(resolved, &settings, &cluster.namespace, GraphApi::V1Beta1, environment)?;
    let cache = deployment.plan.as_mut().and_then(|plan| plan.cache.as_mut());
    if let (CompleteFolder::Update, Some(cache)) = (complete_folder, cache) {
        cache.fetch.args.push("--update".into());
    }
    if let Some(plan) = deployment.plan.as_ref().filter(|_| complete_folder == CompleteFolder::Update) {
        deployment.resources = resources::render(plan, &cluster.namespace, GraphApi::V1Beta1);
    }
    deployment.resources.retain(|one| ["PersistentVolumeClaim", "Job"].contains(&one.kind()));
    deployment.warn_if_unreleased(&settings);
    deployment.warnings = pvc.map(|pvc| pvc_differences(&intent_cache, &pvc)).unwrap_or_default();
    Ok(deployment)
}
