//! Merges the settings of a request with the live values and resolves them to an intent with its release.
//! It must not access a cluster.

use serde_json::Value;

use super::images;
use crate::workflow::resolve::images::RuntimeVersion;
use crate::workflow::sources::RequestLayers;
use crate::workflow::{model_config, summary};
use kubectl_dynamo_cluster::Platform;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::name::{self, NameBudget, NamedComponent};
use kubectl_dynamo_core::intent::request::{
    MergedSettings, ResolvedSetting, Setting, SettingSource, SettingsLayer, find_field, live_layer,
};
use kubectl_dynamo_core::intent::{
    Backend, Fallback, IntentError, ServingIntent, Topology, WorkerRole, resolve,
};
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation, plan};
use kubectl_dynamo_core::resources::RELEASE_ANNOTATION;

/// Returns a toleration for the taint of EKS Auto Mode nodes; only for new graphs, so that no pod restarts.
pub(super) fn eks_auto_mode_toleration(platform: &Platform) -> Option<SettingsLayer> {
    const TAINT: &str = "eks.amazonaws.com/compute-type=auto:NoSchedule";
    let tolerations = find_field("tolerations").expect("`tolerations` is in the field table");
    let toleration = Setting { field: tolerations, key: Some(TAINT.into()), value: TAINT.into() };
    platform
        .eks_auto_mode
        .then(|| SettingsLayer { source: SettingSource::Detected, settings: vec![toleration] })
}

/// Returns the stored intent of a live managed graph, with every value that was resolved when it was applied.
pub(super) fn live_settings(graph: &Value) -> Option<SettingsLayer> {
    let intent = summary::stored_intent(graph)?;
    Some(live_layer(&intent, GraphView::new(graph).annotation(RELEASE_ANNOTATION)))
}

/// Merges all layers with the live values and the default release and fetcher image.
pub(super) fn merge_layers(
    layers: &RequestLayers,
    live: Option<SettingsLayer>,
    release: &str,
    source: SettingSource,
) -> MergedSettings {
    MergedSettings::from_layers(
        layers.layers.iter().cloned().chain(live).chain(images::defaults(release, source)),
    )
}

/// A resolved intent with its release.
pub(super) struct ResolvedIntent {
    pub intent: ServingIntent,
    pub version: RuntimeVersion,
}

pub(super) fn check_namespace(namespace: &str) -> Result<()> {
    if name::is_dns1123_label(namespace) {
        return Ok(());
    }
    Err(IntentError::ObjectName { flag: "--namespace".into(), given: namespace.into() }.into())
}

pub(super) fn fallback(settings: &MergedSettings, namespace: &str, budget: NameBudget) -> Fallback {
    let roles: &[(WorkerRole, &str)] = match settings.get("mode").map(ResolvedSetting::text) {
        Some("disagg") => &[(WorkerRole::Prefill, "prefill.nodes"), (WorkerRole::Decode, "decode.nodes")],
        _ => &[(WorkerRole::Aggregated, "worker.nodes")],
    };
    let is_multi_node =
        |path: &str| settings.get(path).is_some_and(|found| found.setting.value.as_u64() > Some(1));
    let mut components = vec![NamedComponent::single_node(WorkerRole::Frontend.component_name())];
    components.extend(roles.iter().map(|(role, nodes)| NamedComponent {
        name: role.component_name(),
        spans_nodes: is_multi_node(nodes) || is_multi_node("worker.nodes"),
    }));
    Fallback {
        model: None,
        backend: Backend::Vllm,
        max_name_length: budget.max_name_length(namespace, &components),
    }
}

pub(super) fn resolve_intent(
    settings: &MergedSettings,
    namespace: &str,
    budget: NameBudget,
) -> Result<ResolvedIntent> {
    check_namespace(namespace)?;
    let mut intent = resolve(settings, &fallback(settings, namespace, budget))?;
    budget.check(&intent.name, namespace, &named_parts(&intent.topology))?;
    let version = images::resolve_version(settings)?;
    images::resolve_images(&mut intent, settings, &version);
    Ok(ResolvedIntent { intent, version })
}

/// Checks that the requested release and the model's configuration support the intent.
pub(crate) fn check_plan(mut intent: ServingIntent, settings: &MergedSettings) -> Result<()> {
    let version = images::resolve_version(settings)?;
    images::resolve_images(&mut intent, settings, &version);
    let model_place = ModelLocation::Volume(FetchPlacement::Job);
    plan(&intent, version.release, &version.text, model_place)?;
    model_config::check_cached_config(&intent)
}

/// Returns the component names of a topology, for the name limits.
pub(crate) fn named_parts(topology: &Topology) -> Vec<NamedComponent<'static>> {
    let workers = topology
        .groups()
        .into_iter()
        .map(|(role, group)| NamedComponent { name: role.component_name(), spans_nodes: group.nodes > 1 });
    std::iter::once(NamedComponent::single_node(WorkerRole::Frontend.component_name()))
        .chain(workers)
        .collect()
}

/// Returns the name limits of the platform, which differ for Grove, the 0.9.1 operator, and later operators.
pub(crate) fn name_budget(platform: &Platform) -> NameBudget {
    match platform {
        Platform { grove: true, .. } => NameBudget::Grove,
        Platform { serves_v1beta1: true, .. } => NameBudget::DeploymentsWithHash,
        Platform { .. } => NameBudget::DeploymentsWithDebugServices,
    }
}
