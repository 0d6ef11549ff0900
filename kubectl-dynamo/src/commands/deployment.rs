//! From what was asked to the objects of a deployment: what `up`, `render` and `diff` share.

mod as_is;
mod error;
mod model_alone;
mod version;

use serde_json::Value;

use super::asked::Asked;
use super::{configuration, summary};
use crate::change::{applied, carried};
use crate::cluster::{ClaimFacts, Cluster, Kind, Platform, claim_facts};
use crate::error::Result;
use crate::intent::name::{self, NameBudget, NamedPart};
use crate::intent::request::{Found, Layer, Leaf, Merged, Source, find, intent_leaves};
use crate::intent::{
    AccessMode, Backend, Cache, Fallback, IntentError, ServingIntent, Topology, Word, WorkerRole, meant_name,
    resolve, sources,
};
use crate::plan::{FetchPlacement, Logging, ModelPlace, PlanWarning, ServingPlan, Surroundings, plan};
use crate::readiness::is_going;
use crate::release::{self, OperatorGeneration};
use crate::resources::{self, ADOPTED_ANNOTATION, GraphApi, MANAGER, RELEASE_ANNOTATION, Resource};
pub(super) use as_is::{as_is, as_is_offline};
use error::PreflightError;
pub(super) use model_alone::{intent_of_model, to_fetch};
use version::Version;

/// A deployment as it will be applied.
pub(super) struct Deployment {
    pub name: String,
    /// What the objects were rendered from; a file's own objects have none.
    pub plan: Option<ServingPlan>,
    pub graph_api: GraphApi,
    /// Where the release came from: `flag`, `live object`, `image`, `detected` or `default`.
    pub release_source: String,
    pub resources: Vec<Resource>,
    /// What is already there and differs from what was asked.
    pub warnings: Vec<String>,
    /// What the live deployment keeps although a setting or a default says otherwise.
    pub kept: Vec<String>,
    /// Every value with who said it.
    pub values: Vec<(String, Value, Source)>,
    /// Whether the graph is on the cluster already.
    pub exists: bool,
    /// The claim for models, where it is there already.
    pub claim: Option<ClaimFacts>,
    /// Claim and Job as they were read on the way here.
    pub read: Vec<Value>,
}

impl Deployment {
    /// Objects as they are, the graph last.
    pub(super) fn of_objects(
        name: &str,
        graph_api: GraphApi,
        resources: Vec<Resource>,
        exists: bool,
    ) -> Self {
        Self {
            name: name.into(),
            plan: None,
            graph_api,
            release_source: String::new(),
            resources,
            warnings: Vec::new(),
            kept: Vec::new(),
            values: Vec::new(),
            exists,
            claim: None,
            read: Vec::new(),
        }
    }

    /// What the plan warns of.
    pub(super) fn plan_warnings(&self) -> impl Iterator<Item = &PlanWarning> {
        self.plan.iter().flat_map(|plan| &plan.warnings)
    }
}

/// What can be known without a cluster.
pub(super) struct Offline<'a> {
    pub namespace: &'a str,
    pub graph_api: GraphApi,
    pub budget: NameBudget,
}

/// The deployment that is meant where nothing can be asked.
pub(super) fn offline(asked: &Asked, known: &Offline<'_>) -> Result<Deployment> {
    if let Some(given) = &asked.existing {
        return Err(IntentError::BareWord { given: given.clone() }.into());
    }
    let said = together(asked, None, release::DEFAULT, Source::Default);
    let meant = meant(&said, known.namespace, known.budget)?;
    let placement = match &meant.intent.cache {
        Cache::Made { access_mode: AccessMode::ReadWriteOnce, .. } => FetchPlacement::InitContainersOnly,
        Cache::Existing { .. } | Cache::Made { .. } => FetchPlacement::Job,
    };
    let surroundings = ModelPlace::Volume(placement).into();
    finish(meant, &said, known.namespace, known.graph_api, surroundings)
}

/// The deployment that is meant on a cluster.
///
/// `token_follows` says that the Secret of the token will be written before anything reads it.
pub(super) async fn on_cluster(
    asked: &Asked,
    cluster: &Cluster,
    platform: &Platform,
    token_follows: bool,
) -> Result<Deployment> {
    check_namespace(&cluster.namespace)?;
    let fallback = fallback(&asked.merged(), &cluster.namespace, budget(platform));
    let name = meant_name(&asked.merged(), &fallback)?;
    // One that is being deleted is waited for, and then there is none.
    let live = cluster.get(Kind::Graph(platform.graph_api), &name).await?.filter(|graph| !is_going(graph));
    let remembered = live.as_ref().and_then(live_layer);
    match (&asked.existing, &live, &remembered) {
        (Some(given), None, _) => return Err(IntentError::BareWord { given: given.clone() }.into()),
        (Some(_), Some(_), None) => {
            return Err(PreflightError::NotOurs { name, namespace: cluster.namespace.clone() }.into());
        }
        _ => {}
    }
    let own_taint = live.is_none().then(|| taint_of(platform)).flatten();
    let said = together(asked, remembered.or(own_taint), detected_release(platform), Source::Detected);
    let meant = meant(&said, &cluster.namespace, budget(platform))?;
    let intent = meant.intent.clone();
    if let Some(secret) = intent.token_secret.as_ref().filter(|_| !token_follows) {
        check_secret(cluster, &secret.name, &secret.key).await?;
    }
    let live_claim = cluster.get(Kind::Claim, intent.cache.claim()).await?;
    let claim = live_claim.as_ref().map(claim_facts);
    let placement = fetch_placement(&intent.cache, claim.as_ref(), &cluster.namespace)?;
    let surroundings =
        Surroundings { model: ModelPlace::Volume(placement), logging: logging(live.as_ref(), platform) };
    let mut deployment = finish(meant, &said, &cluster.namespace, platform.graph_api, surroundings.clone())?;
    deployment.exists = live.is_some();
    if let Some(graph) = live.as_ref().filter(|graph| is_adopted(graph)) {
        let weaker = asked.layers.iter().filter(|layer| !layer.source.is_of_this_deployment()).cloned();
        let before = Asked { layers: weaker.collect(), existing: None };
        let said = together(&before, live_layer(graph), detected_release(platform), Source::Detected);
        let before = self::meant(&said, &cluster.namespace, budget(platform))?;
        let before = finish(before, &said, &cluster.namespace, platform.graph_api, surroundings)?;
        return carried_over(graph, &before, Deployment { claim, ..deployment });
    }
    if live.as_ref().and_then(summary::intent).is_some_and(|live| live.model == intent.model) {
        let job = drop_job_that_is_over(cluster, &mut deployment).await?;
        deployment.read.extend(job);
    }
    deployment.read.extend(live_claim);
    deployment.warnings =
        claim.as_ref().map(|claim| claim_differences(&intent.cache, claim)).unwrap_or_default();
    deployment.claim = claim;
    Ok(deployment)
}

fn is_adopted(graph: &Value) -> bool {
    graph["metadata"]["annotations"][ADOPTED_ANNOTATION].is_string()
}

/// What was asked of a graph that somebody else wrote: the change alone, in the graph as it is. Claim and Job are
/// whoever's they were.
fn carried_over(live: &Value, before: &Deployment, mut after: Deployment) -> Result<Deployment> {
    let own = applied(live, MANAGER).unwrap_or_default();
    let graph = |deployment: &Deployment| deployment.resources.last().map(|one| one.object.clone());
    let (was, becomes) = (graph(before).unwrap_or_default(), graph(&after).unwrap_or_default());
    let object = carried(&own, &was, &becomes)
        .map_err(|fields| PreflightError::KeptAsItIs { name: after.name.clone(), fields })?;
    after.resources = vec![Resource { object }];
    Ok(after)
}

/// A wish that was read from a graph, with its release.
pub(super) struct Wish {
    pub intent: ServingIntent,
    pub release: String,
}

/// The wish that a graph of somebody else's says, with what it leaves open filled in.
pub(super) fn understood_wish(layer: Layer, namespace: &str, platform: &Platform) -> Result<Wish> {
    let nothing = Asked { layers: Vec::new(), existing: None };
    let said = together(&nothing, Some(layer), detected_release(platform), Source::Detected);
    let Meant { intent, version } = meant(&said, namespace, budget(platform))?;
    Ok(Wish { intent, release: version.text })
}

/// EKS Auto Mode may taint its nodes so, as the starter kit expects. A graph that is there goes on without: no pod moves.
fn taint_of(platform: &Platform) -> Option<Layer> {
    const TAINT: &str = "eks.amazonaws.com/compute-type=auto:NoSchedule";
    let tolerations = find("tolerations").expect("the table has it");
    let leaf = Leaf { field: tolerations, key: Some(TAINT.into()), value: TAINT.into() };
    platform.eks_auto_mode.then(|| Layer { source: Source::Detected, leaves: vec![leaf] })
}

/// What a live graph of ours was asked to be, with every value that was filled in then.
fn live_layer(graph: &Value) -> Option<Layer> {
    let intent = summary::intent(graph)?;
    let leaf = |path: &str, value: &str| Leaf {
        field: find(path).expect("a path of the table"),
        key: None,
        value: value.into(),
    };
    let mut leaves = intent_leaves(&intent);
    // It follows the model, which may be asked to change.
    if intent.served_model_name == intent.model.default_served_name() {
        leaves.retain(|leaf| leaf.field.path != "servedModelName");
    }
    let annotations = &graph["metadata"]["annotations"];
    leaves.extend(annotations[RELEASE_ANNOTATION].as_str().map(|release| leaf("release", release)));
    Some(Layer { source: Source::Live(intent.name), leaves })
}

/// Everything that is said, with what is taken where nothing is.
fn together(asked: &Asked, live: Option<Layer>, release: &str, source: Source) -> Merged {
    Merged::of(asked.layers.iter().cloned().chain(live).chain(version::unsaid(release, source)))
}

/// A wish with its release.
struct Meant {
    intent: ServingIntent,
    version: Version,
}

fn check_namespace(namespace: &str) -> Result<()> {
    if name::is_object_label(namespace) {
        return Ok(());
    }
    Err(IntentError::ObjectName { flag: "--namespace".into(), given: namespace.into() }.into())
}

fn fallback(said: &Merged, namespace: &str, budget: NameBudget) -> Fallback {
    let roles: &[(WorkerRole, &str)] = match said.get("mode").map(Found::text) {
        Some("disagg") => &[(WorkerRole::Prefill, "prefill.nodes"), (WorkerRole::Decode, "decode.nodes")],
        _ => &[(WorkerRole::Combined, "worker.nodes")],
    };
    let spans = |path: &str| said.get(path).is_some_and(|found| found.leaf.value.as_u64() > Some(1));
    let mut components = vec![NamedPart::alone(WorkerRole::Frontend.component_name())];
    components.extend(roles.iter().map(|(role, nodes)| NamedPart {
        name: role.component_name(),
        spans_nodes: spans(nodes) || spans("worker.nodes"),
    }));
    Fallback { model: None, backend: Backend::Vllm, name_length: budget.longest_name(namespace, &components) }
}

fn meant(said: &Merged, namespace: &str, budget: NameBudget) -> Result<Meant> {
    check_namespace(namespace)?;
    let mut intent = resolve(said, &fallback(said, namespace, budget))?;
    budget.check(&intent.name, namespace, &named_parts(&intent.topology))?;
    let version = version::version(said)?;
    version::settle_images(&mut intent, said, &version);
    Ok(Meant { intent, version })
}

/// Whether a wish can be planned at all for the release that is said.
pub(super) fn check_plan(mut intent: ServingIntent, said: &Merged) -> Result<()> {
    let version = version::version(said)?;
    version::settle_images(&mut intent, said, &version);
    let anywhere = ModelPlace::Volume(FetchPlacement::Job);
    plan(&intent, version.release, &version.text, anywhere)?;
    configuration::check_kept(&intent)
}

/// The components of a shape, as far as names go.
pub(super) fn named_parts(topology: &Topology) -> Vec<NamedPart<'static>> {
    let workers = topology
        .groups()
        .into_iter()
        .map(|(role, group)| NamedPart { name: role.component_name(), spans_nodes: group.nodes > 1 });
    std::iter::once(NamedPart::alone(WorkerRole::Frontend.component_name())).chain(workers).collect()
}

/// A graph that is there has fetched its model. Its Job may never have been (the claim was unbound then and is
/// bound now) or may have been cleaned up: neither is a reason to make one. Answers the Job where it is there.
async fn drop_job_that_is_over(cluster: &Cluster, deployment: &mut Deployment) -> Result<Option<Value>> {
    let Some(job) = deployment.resources.iter().find(|resource| resource.kind() == "Job") else {
        return Ok(None);
    };
    let job = cluster.get(Kind::Job, job.name()).await?;
    if job.is_none() {
        deployment.resources.retain(|resource| resource.kind() != "Job");
    }
    Ok(job)
}

fn finish(
    Meant { intent, version }: Meant,
    said: &Merged,
    namespace: &str,
    graph_api: GraphApi,
    surroundings: Surroundings,
) -> Result<Deployment> {
    let mut values = sources(said, &intent);
    let release = Value::from(version.text.clone());
    configuration::check_kept(&intent)?;
    let said_by = if version.source == "image" { "image" } else { "release" };
    let release_source = said.get(said_by).filter(|found| said_by == "image" || found.leaf.value == release);
    let release_source = release_source.map_or(Source::Default, |found| found.source.clone());
    values.insert(1, ("release".into(), release, release_source));
    let plan = plan(&intent, version.release, &version.text, surroundings)?;
    let resources = resources::render(&plan, namespace, graph_api);
    let kept = said.kept().into_iter().map(|(kept, other)| {
        let shown = |found: &Found| {
            found.leaf.value.as_str().map_or_else(|| found.leaf.value.to_string(), Into::into)
        };
        format!("{} {} as it is; {} says {}", kept.leaf.path(), shown(kept), other.source, shown(other))
    });
    Ok(Deployment {
        name: plan.name.clone(),
        plan: Some(plan),
        graph_api,
        release_source: version.source,
        resources,
        warnings: Vec::new(),
        kept: kept.collect(),
        values,
        exists: false,
        claim: None,
        read: Vec::new(),
    })
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
