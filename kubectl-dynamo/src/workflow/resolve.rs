//! Resolves a request to the objects of a deployment, for `up`, `render`, `diff`, and `check`.
//! It reads from the cluster, but must not write to it.

mod adopted;
mod error;
pub(crate) mod images;
mod immutable;
mod intent;
mod manifest;
mod model_only;
mod parsers;
mod placement;
mod supported_release;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use crate::report::Report;
use crate::workflow::resolve::error::ResolveError;
use crate::workflow::resolve::images::VersionSource;
use crate::workflow::resolve::manifest::from_manifest;
pub(crate) use crate::workflow::resolve::manifest::from_manifest_offline;
pub(crate) use crate::workflow::resolve::model_only::{CompleteFolder, resolve_fetch, resolve_model_intent};
pub(crate) use crate::workflow::resolve::parsers::ParserDetection;
use crate::workflow::resolve::placement::{fetch_placement, pvc_differences};
pub(crate) use crate::workflow::resolve::supported_release::query_supported_release;
use crate::workflow::resolve::supported_release::{detected_release, query_operators, supported_release};
use crate::workflow::sources::{RequestInput, RequestLayers};
use crate::workflow::{model_config, summary};
use intent::{
    ResolvedIntent, check_namespace, eks_auto_mode_toleration, fallback, live_settings, merge_layers,
    resolve_intent,
};
pub(crate) use intent::{check_plan, name_budget, named_parts};
use kubectl_dynamo_cluster::{Cluster, Kind, Platform, PvcFacts, pvc_facts};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::name::NameBudget;
use kubectl_dynamo_core::intent::request::{MergedSettings, ResolvedSetting, SettingSource, SettingsLayer};
use kubectl_dynamo_core::intent::{AccessMode, Cache, IntentError, ServingIntent, resolve_name, sources};
use kubectl_dynamo_core::object::ObservedObject;
use kubectl_dynamo_core::plan::{
    FetchPlacement, Logging, ModelLocation, PlanWarning, RenderEnvironment, ServingPlan, plan,
};
use kubectl_dynamo_core::preflight::{Fact, ModelLookup, OperatorFacts};
use kubectl_dynamo_core::readiness::is_terminating;
use kubectl_dynamo_core::release;
use kubectl_dynamo_core::resources::{self, GraphApi, INTENT_ANNOTATION, Resource};

/// A resolved deployment, ready to be applied.
pub(crate) struct ResolvedDeployment {
    pub name: String,
    /// The plan from which the objects were rendered; `None` for the objects of a manifest.
    pub plan: Option<ServingPlan>,
    pub graph_api: GraphApi,
    /// The source of the release: `flag`, `live object`, `image`, `detected` or `default`.
    pub release_source: String,
    pub resources: Vec<Resource>,
    /// Differences between existing objects and the request.
    pub warnings: Vec<String>,
    /// Live values that are kept although a setting or a default differs.
    pub preserved: Vec<String>,
    /// The paths of values that were derived from the model, with the reasons.
    pub reasons: Vec<(&'static str, String)>,
    /// The hub's response for the model, if it was queried while resolving.
    pub model: Fact<ModelLookup>,
    /// Every resolved value with its source.
    pub values: Vec<(String, Value, SettingSource)>,
    /// Whether the graph exists on the cluster.
    pub exists: bool,
    /// The PVC for models, if it exists.
    pub pvc: Option<PvcFacts>,
    /// The live PVC and Job that were read while resolving.
    pub live_objects: Vec<Value>,
    /// The operators of the cluster, if they were read while resolving.
    pub operators: Fact<Vec<OperatorFacts>>,
}

impl ResolvedDeployment {
    /// Creates a deployment that does not exist yet from the unchanged objects of a manifest, with the graph last.
    pub(crate) fn from_objects(name: &str, graph_api: GraphApi, resources: Vec<Resource>) -> Self {
        Self {
            name: name.into(),
            plan: None,
            graph_api,
            release_source: String::new(),
            resources,
            warnings: Vec::new(),
            preserved: Vec::new(),
            reasons: Vec::new(),
            model: Fact::NotQueried,
            values: Vec::new(),
            exists: false,
            pvc: None,
            live_objects: Vec::new(),
            operators: Fact::NotQueried,
        }
    }

    /// Adds the warning of an unreleased build.
    fn warn_if_unreleased(&mut self, settings: &MergedSettings) {
        if let Some(plan) = &mut self.plan {
            plan.warnings.extend(images::unreleased_image_warning(settings));
        }
    }

    /// Returns the warnings of the plan.
    pub(crate) fn plan_warnings(&self) -> impl Iterator<Item = &PlanWarning> {
        self.plan.iter().flat_map(|plan| &plan.warnings)
    }
}

/// The facts that replace those of a cluster when none is queried.
pub(crate) struct ClusterAssumptions<'a> {
    pub namespace: &'a str,
    pub graph_api: GraphApi,
    pub budget: NameBudget,
}

/// Resolves the deployment without a cluster.
pub(crate) fn resolve_offline(
    layers: &RequestLayers,
    assumptions: &ClusterAssumptions<'_>,
) -> Result<ResolvedDeployment> {
    if let Some(name) = &layers.existing_name {
        return Err(IntentError::UnknownDeployment { given: name.clone() }.into());
    }
    let settings = merge_layers(layers, None, release::DEFAULT_RELEASE, SettingSource::Default);
    let resolved = resolve_intent(&settings, assumptions.namespace, assumptions.budget)?;
    let placement = match &resolved.intent.cache {
        Cache::Managed { access_mode: AccessMode::ReadWriteOnce, .. } => FetchPlacement::InitContainersOnly,
        Cache::Existing { .. } | Cache::Managed { .. } => FetchPlacement::Job,
    };
    let environment = ModelLocation::Volume(placement).into();
    let detection = ParserDetection::offline(&resolved.intent, &settings);
    let mut deployment =
        build(resolved, &settings, assumptions.namespace, assumptions.graph_api, environment)?;
    detection.report_in(&mut deployment);
    deployment.warn_if_unreleased(&settings);
    Ok(deployment)
}

/// Whether the Secret with the hub token must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenSecretCheck {
    Required,
    /// The Secret is created later, from the token that the user typed.
    Skipped,
}

impl TokenSecretCheck {
    /// Skips the check if the user typed a token.
    pub(crate) fn for_token(token: Option<&str>) -> Self {
        if token.is_some() { Self::Skipped } else { Self::Required }
    }
}

/// Resolves the deployment of a request or of a manifest on a cluster.
pub(crate) async fn resolve_input(
    input: &RequestInput,
    cluster: &Cluster,
    platform: &Platform,
    token_check: TokenSecretCheck,
    report: &Report,
) -> Result<ResolvedDeployment> {
    match input {
        // On the heap: its future takes several KB.
        RequestInput::Request(layers) => {
            Box::pin(resolve_on_cluster(layers, cluster, platform, token_check, report)).await
        }
        RequestInput::Manifest(objects) => from_manifest(objects, cluster, platform).await,
    }
}

/// Resolves the deployment of a request on a cluster.
pub(crate) async fn resolve_on_cluster(
    layers: &RequestLayers,
    cluster: &Cluster,
    platform: &Platform,
    token_check: TokenSecretCheck,
    report: &Report,
) -> Result<ResolvedDeployment> {
    check_namespace(&cluster.namespace)?;
    let requested = layers.merged();
    let fallback = fallback(&requested, &cluster.namespace, name_budget(platform));
    let name = resolve_name(&requested, &fallback)?;
    // A graph that is being deleted does not count: `up` waits until it is deleted.
    let live =
        cluster.get(Kind::Graph(platform.graph_api), &name).await?.filter(|graph| !is_terminating(graph));
    let stored_settings = live.as_ref().and_then(live_settings);
    match (&layers.existing_name, &live, &stored_settings) {
        (Some(given_name), None, _) => {
            return Err(IntentError::UnknownDeployment { given: given_name.clone() }.into());
        }
        (Some(_), Some(_), None) => {
            return Err(ResolveError::NotManaged { name, namespace: cluster.namespace.clone() }.into());
        }
        _ => {}
    }
    let auto_mode_toleration = live.is_none().then(|| eks_auto_mode_toleration(platform)).flatten();
    // A stored or requested release is kept, so only other deployments need the version of the operator.
    let operators = match stored_settings.is_none() && requested.get("release").is_none() {
        true => query_operators(cluster).await?,
        false => Fact::NotQueried,
    };
    let settings = merge_layers(
        layers,
        stored_settings.or(auto_mode_toleration),
        supported_release(platform, &operators),
        SettingSource::Detected,
    );
    let mut resolved = resolve_intent(&settings, &cluster.namespace, name_budget(platform))?;
    let detection = ParserDetection::on_cluster(&mut resolved, &settings, live.as_ref(), report).await;
    let intent = resolved.intent.clone();
    if let Some(secret) = intent.token_secret.as_ref().filter(|_| token_check == TokenSecretCheck::Required) {
        check_secret(cluster, &secret.name, &secret.key).await?;
    }
    let live_pvc = cluster.get_object::<PersistentVolumeClaim>(intent.cache.pvc()).await?;
    let pvc = live_pvc.as_ref().map(|pvc| pvc_facts(pvc));
    let placement = fetch_placement(&intent.cache, pvc.as_ref(), &cluster.namespace)?;
    let environment = RenderEnvironment {
        model: ModelLocation::Volume(placement),
        logging: logging_mode(live.as_ref(), platform),
    };
    let mut deployment =
        build(resolved, &settings, &cluster.namespace, platform.graph_api, environment.clone())?;
    deployment.exists = live.is_some();
    deployment.operators = operators;
    detection.report_in(&mut deployment);
    if live.is_none() {
        deployment.warn_if_unreleased(&settings);
    }
    if let Some(graph) = live.as_ref().filter(|graph| adopted::is_adopted(graph)) {
        let weaker_layers =
            layers.layers.iter().filter(|layer| !layer.source.is_deployment_specific()).cloned();
        let before = RequestLayers { layers: weaker_layers.collect(), existing_name: None };
        let settings =
            merge_layers(&before, live_settings(graph), detected_release(platform), SettingSource::Detected);
        let before = resolve_intent(&settings, &cluster.namespace, name_budget(platform))?;
        let before = build(before, &settings, &cluster.namespace, platform.graph_api, environment)?;
        let after = ResolvedDeployment { pvc, ..deployment };
        return adopted::merge_change(cluster, graph, &before, after).await;
    }
    if let Some(live) = &live {
        let budget = name_budget(platform);
        let max_name_length = budget.max_name_length(&cluster.namespace, &named_parts(&intent.topology));
        let resources = &deployment.resources;
        immutable::check_immutable_fields(cluster, platform.graph_api, live, resources, max_name_length)
            .await?;
        let stored = summary::stored_intent(live);
        keep_stored_intent(&mut deployment, live, stored.as_ref());
        if stored.is_some_and(|stored| stored.model == intent.model) {
            let fetch_job = skip_finished_fetch_job(cluster, &mut deployment).await?;
            deployment.live_objects.extend(fetch_job);
        }
    }
    deployment.live_objects.extend(live_pvc.map(ObservedObject::into_document));
    deployment.warnings = pvc.as_ref().map(|pvc| pvc_differences(&intent.cache, pvc)).unwrap_or_default();
    deployment.pvc = pvc;
    Ok(deployment)
}

/// Keeps the live text of the intent annotation if it has the same meaning, because an earlier version may have
/// written the same values with other names. A different text would be a change without an effect.
fn keep_stored_intent(deployment: &mut ResolvedDeployment, live: &Value, stored: Option<&ServingIntent>) {
    let unchanged = deployment.plan.as_ref().map(|plan| &plan.intent) == stored;
    let text = GraphView::new(live).annotation(INTENT_ANNOTATION);
    if let (true, Some(text), Some(graph)) = (unchanged, text, deployment.resources.last_mut()) {
        resources::object_at(&mut graph.object, &["metadata", "annotations"])
            .insert(INTENT_ANNOTATION.into(), text.into());
    }
}

/// An intent that was imported from a graph, with its release.
pub(crate) struct ImportedIntent {
    pub intent: ServingIntent,
    pub release: String,
}

/// Resolves the settings that were imported from a foreign graph, with defaults for missing values.
pub(crate) fn resolve_imported(
    layer: SettingsLayer,
    namespace: &str,
    platform: &Platform,
) -> Result<ImportedIntent> {
    let no_layers = RequestLayers { layers: Vec::new(), existing_name: None };
    let settings = merge_layers(&no_layers, Some(layer), detected_release(platform), SettingSource::Detected);
    let ResolvedIntent { intent, version } = resolve_intent(&settings, namespace, name_budget(platform))?;
    Ok(ImportedIntent { intent, release: version.text })
}

/// Drops the fetch Job if it does not exist on the cluster, else returns it. A live graph already has its
/// model: its Job was deleted or never existed (the PVC was not bound), and must not be created now.
async fn skip_finished_fetch_job(
    cluster: &Cluster,
    deployment: &mut ResolvedDeployment,
) -> Result<Option<Value>> {
    let Some(job) = deployment.resources.iter().find(|resource| resource.kind() == "Job") else {
        return Ok(None);
    };
    let job = cluster.get(Kind::Job, job.name()).await?;
    if job.is_none() {
        deployment.resources.retain(|resource| resource.kind() != "Job");
    }
    Ok(job)
}

fn build(
    ResolvedIntent { intent, version }: ResolvedIntent,
    settings: &MergedSettings,
    namespace: &str,
    graph_api: GraphApi,
    environment: RenderEnvironment,
) -> Result<ResolvedDeployment> {
    let mut values = sources(settings, &intent);
    let release = Value::from(version.text.clone());
    model_config::check_cached_config(&intent)?;
    let release_source = match version.source {
        VersionSource::Image => settings.get("image"),
        VersionSource::Setting(_) => settings.get("release").filter(|found| found.setting.value == release),
    };
    let release_source = release_source.map_or(SettingSource::Default, |found| found.source.clone());
    values.insert(1, ("release".into(), release, release_source));
    let plan = plan(&intent, version.release, &version.text, environment)?;
    let resources = resources::render(&plan, namespace, graph_api);
    let display_value = |found: &ResolvedSetting| {
        found.setting.value.as_str().map_or_else(|| found.setting.value.to_string(), Into::into)
    };
    let unset = settings.not_applied().into_iter().map(|other| {
        format!("{} stays unset ({} sets {})", other.setting.path(), other.source, display_value(other))
    });
    let preserved = settings.conflicts().into_iter().map(|(preserved, overridden)| {
        format!(
            "{} keeps its live value {} ({} sets {})",
            preserved.setting.path(),
            display_value(preserved),
            overridden.source,
            display_value(overridden)
        )
    });
    Ok(ResolvedDeployment {
        name: plan.name.clone(),
        plan: Some(plan),
        graph_api,
        release_source: version.source.to_string(),
        resources,
        warnings: Vec::new(),
        preserved: preserved.chain(unset).collect(),
        reasons: Vec::new(),
        model: Fact::NotQueried,
        values,
        exists: false,
        pvc: None,
        live_objects: Vec::new(),
        operators: Fact::NotQueried,
    })
}

/// Returns the log format. A live graph keeps its format, because a change would restart its pods.
fn logging_mode(live: Option<&serde_json::Value>, platform: &Platform) -> Logging {
    match live {
        Some(graph) => resources::detect_logging(graph),
        None if platform.pod_monitors => Logging::Json,
        None => Logging::Plain,
    }
}

async fn check_secret(cluster: &Cluster, name: &str, key: &str) -> Result<()> {
    let (secret, namespace) = (name.to_owned(), cluster.namespace.clone());
    match cluster.secret_has_key(name, key).await {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err(ResolveError::SecretKeyNotFound { secret, key: key.into(), namespace }.into()),
        Ok(None) => Err(ResolveError::SecretNotFound { secret, key: key.into(), namespace }.into()),
        // A user without permission to read Secrets can still reference one; then the kubelet checks it.
        Err(kubectl_dynamo_cluster::ClusterError::Forbidden { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
