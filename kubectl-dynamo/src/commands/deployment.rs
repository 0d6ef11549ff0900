//! From flags to the objects of a deployment: what `up`, `render` and `diff` share.

use super::serving_flags::{Defaults, ServingFlags};
use super::summary;
use crate::cluster::{ClaimFacts, Cluster, Kind, Platform};
use crate::error::{Exit, Explain, Result};
use crate::intent::name::{self, NameBudget};
use crate::intent::{AccessMode, Backend, Cache, IntentError, ServingIntent, Word};
use crate::plan::{FetchPlacement, Logging, ModelPlace, ServingPlan, Surroundings, plan};
use crate::release::{self, OperatorGeneration, Release};
use crate::resources::{self, GraphApi, RELEASE_ANNOTATION, Resource};

/// A deployment as it will be applied.
pub(super) struct Deployment {
    pub plan: ServingPlan,
    pub graph_api: GraphApi,
    /// Where the release came from: `flag`, `live object`, `image`, `detected` or `default`.
    pub release_source: &'static str,
    pub resources: Vec<Resource>,
    /// What is already there and differs from what was asked.
    pub warnings: Vec<String>,
}

/// What can be known without a cluster.
pub(super) struct Offline<'a> {
    pub namespace: &'a str,
    pub graph_api: GraphApi,
    pub budget: NameBudget,
}

/// The deployment that these flags mean where nothing can be asked.
pub(super) fn offline(flags: &ServingFlags, known: &Offline<'_>) -> Result<Deployment> {
    let (version, source) = flags.named_release().unwrap_or((release::DEFAULT.into(), "default"));
    let placement = match flags.access_mode {
        _ if flags.cache.is_some() => FetchPlacement::Job,
        AccessMode::ReadWriteMany => FetchPlacement::Job,
        AccessMode::ReadWriteOnce => FetchPlacement::InitContainersOnly,
    };
    let intent = intent(flags, known.namespace, known.budget)?;
    let surroundings = ModelPlace::Volume(placement).into();
    finish(&intent, &version, source, known.namespace, known.graph_api, surroundings)
}

/// The deployment that these flags mean on a cluster.
///
/// `token_follows` says that the Secret of the token will be written before anything reads it.
pub(super) async fn on_cluster(
    flags: &ServingFlags,
    cluster: &Cluster,
    platform: &Platform,
    token_follows: bool,
) -> Result<Deployment> {
    let intent = intent(flags, &cluster.namespace, budget(platform))?;
    let live = cluster.get(Kind::Graph(platform.graph_api), &intent.name).await?;
    let live_release =
        live.as_ref().and_then(|graph| graph["metadata"]["annotations"][RELEASE_ANNOTATION].as_str());
    let (version, source) = match (flags.named_release(), live_release) {
        (Some(named), _) => named,
        (None, Some(version)) => (version.to_owned(), "live object"),
        (None, None) => (detected_release(platform).to_owned(), "detected"),
    };
    if let Some(secret) = intent.token_secret.as_ref().filter(|_| !token_follows) {
        check_secret(cluster, &secret.name, &secret.key).await?;
    }
    let claim = cluster.claim(intent.cache.claim()).await?;
    let placement = fetch_placement(&intent.cache, claim.as_ref(), &cluster.namespace)?;
    let surroundings =
        Surroundings { model: ModelPlace::Volume(placement), logging: logging(live.as_ref(), platform) };
    let mut deployment =
        finish(&intent, &version, source, &cluster.namespace, platform.graph_api, surroundings)?;
    if live.as_ref().and_then(summary::intent).is_some_and(|live| live.model == intent.model) {
        drop_job_that_is_over(cluster, &mut deployment).await?;
    }
    deployment.warnings = claim.map(|claim| claim_differences(&intent.cache, &claim)).unwrap_or_default();
    Ok(deployment)
}

/// A graph that is there has fetched its model. Its Job may never have been (the claim was unbound then and is
/// bound now) or may have been cleaned up: neither is a reason to make one.
async fn drop_job_that_is_over(cluster: &Cluster, deployment: &mut Deployment) -> Result<()> {
    if let Some(job) = deployment.resources.iter().find(|resource| resource.kind() == "Job")
        && cluster.get(Kind::Job, job.name()).await?.is_none()
    {
        deployment.resources.retain(|resource| resource.kind() != "Job");
    }
    Ok(())
}

fn intent(flags: &ServingFlags, namespace: &str, budget: NameBudget) -> Result<ServingIntent> {
    if !name::is_object_label(namespace) {
        return Err(IntentError::ObjectName { flag: "--namespace", given: namespace.into() }.into());
    }
    let components = flags.component_names();
    let name_length = budget.longest_name(namespace, &components);
    let intent = flags.intent(Defaults { model: None, backend: Backend::Vllm, name_length })?;
    budget.check(&intent.name, namespace, &components)?;
    Ok(intent)
}

fn finish(
    intent: &ServingIntent,
    version: &str,
    release_source: &'static str,
    namespace: &str,
    graph_api: GraphApi,
    surroundings: Surroundings,
) -> Result<Deployment> {
    let plan = plan(intent, Release::find(version)?, version, surroundings)?;
    let resources = resources::render(&plan, namespace, graph_api);
    Ok(Deployment { plan, graph_api, release_source, resources, warnings: Vec::new() })
}

/// The newest release that the platform is sure to run, told by what its CRDs serve.
pub(super) fn detected_release(platform: &Platform) -> &'static str {
    release::newest_for(match platform {
        Platform { graph_api: GraphApi::V1Beta1, .. } => OperatorGeneration::StoresBeta,
        Platform { serves_v1beta1_graph: true, .. } => OperatorGeneration::ServesBetaGraph,
        Platform { serves_v1beta1: true, .. } => OperatorGeneration::ServesBetaGroup,
        Platform { .. } => OperatorGeneration::AlphaOnly,
    })
}

/// What collects logs may have come after the graph, which goes on as it is: no pod moves for it.
fn logging(live: Option<&serde_json::Value>, platform: &Platform) -> Logging {
    match live {
        Some(graph) => resources::logging(graph),
        None if platform.pod_monitors => Logging::Json,
        None => Logging::Plain,
    }
}

/// How long names may be: Grove has its own limit, and 0.9.1's operator another than those after it.
pub(super) fn budget(platform: &Platform) -> NameBudget {
    match platform {
        Platform { grove: true, .. } => NameBudget::Grove,
        Platform { serves_v1beta1: true, .. } => NameBudget::DeploymentsWithHash,
        Platform { .. } => NameBudget::DeploymentsWithDebugServices,
    }
}

/// A Job may fetch where it cannot bind the volume to a node that workers will not run on. A claim that is there
/// says itself how it binds, whatever was asked for.
fn fetch_placement(cache: &Cache, live: Option<&ClaimFacts>, namespace: &str) -> Result<FetchPlacement> {
    match (cache, live) {
        (_, Some(facts)) if facts.bound || facts.many_nodes => Ok(FetchPlacement::Job),
        (_, Some(_)) => Ok(FetchPlacement::InitContainersOnly),
        (Cache::Made { access_mode: AccessMode::ReadWriteMany, .. }, None) => Ok(FetchPlacement::Job),
        (Cache::Made { .. }, None) => Ok(FetchPlacement::InitContainersOnly),
        (Cache::Existing { claim }, None) => {
            Err(PreflightError::AbsentClaim { claim: claim.clone(), namespace: namespace.into() }.into())
        }
    }
}

/// Where a claim that is there differs from what was asked for, defaults aside. It is kept as it is.
fn claim_differences(cache: &Cache, live: &ClaimFacts) -> Vec<String> {
    let Cache::Made { claim, size, storage_class, access_mode } = cache else { return Vec::new() };
    let asked = [
        ("size", Some(size.as_str()).filter(|size| *size != Cache::DEFAULT_SIZE), live.size.as_str()),
        ("storage class", storage_class.as_deref(), live.storage_class.as_str()),
        (
            "access mode",
            Some(access_mode.as_str()).filter(|_| *access_mode != AccessMode::ReadWriteMany),
            live.access_modes.as_str(),
        ),
    ];
    asked
        .into_iter()
        .filter_map(|(what, asked, found)| {
            asked.filter(|asked| *asked != found).map(|asked| (what, asked, found))
        })
        .map(|(what, asked, found)| format!("pvc/{claim} is kept: its {what} is {found}, not {asked}"))
        .collect()
}

async fn check_secret(cluster: &Cluster, name: &str, key: &str) -> Result<()> {
    let (secret, namespace) = (name.to_owned(), cluster.namespace.clone());
    match cluster.secret_has_key(name, key).await {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false)) => Err(PreflightError::KeylessSecret { secret, key: key.into(), namespace }.into()),
        Ok(None) => Err(PreflightError::AbsentSecret { secret, key: key.into(), namespace }.into()),
        // Who may not read Secrets may still use one; then the kubelet finds out.
        Err(crate::cluster::ClusterError::Forbidden { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is missing before anything can be applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreflightError {
    #[error("claim {claim} does not exist in namespace {namespace}")]
    AbsentClaim { claim: String, namespace: String },
    #[error("secret {secret} does not exist in namespace {namespace}")]
    AbsentSecret { secret: String, key: String, namespace: String },
    #[error("secret {secret} in namespace {namespace} has no key {key}")]
    KeylessSecret { secret: String, key: String, namespace: String },
}

impl Explain for PreflightError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::AbsentClaim { .. } => "KD0411",
            Self::AbsentSecret { .. } | Self::KeylessSecret { .. } => "KD0412",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::AbsentClaim { namespace, .. } => {
                format!("see what is there: kubectl get pvc -n {namespace}; without --cache one is made")
            }
            Self::AbsentSecret { secret, key, .. } | Self::KeylessSecret { secret, key, .. } => {
                format!(
                    "create it from a file: add --hf-token-secret {secret}/{key} --hf-token-stdin < token.txt"
                )
            }
        })
    }

    fn exit(&self) -> Exit {
        Exit::Model
    }
}
