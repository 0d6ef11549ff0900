//! Everything that a diagnosis needs of one deployment, gathered in one pass. It works with fewer rights: what may
//! not be seen is named, and the rest is used.

mod save;

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, Kind, LogOptions};
use crate::diagnosis::{ContainerLog, Evidence};
use crate::error::Result;
use crate::readiness::{GRAPH_LABEL, JOB_LABEL, Observation, is_owned, pod_is_ready};
use crate::resources::GraphApi;
pub(super) use save::{KeptFile, files, save, unique_name};

/// Whose logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    /// Of containers that are not ready.
    OfWaiting,
    /// Of all: nothing waits, and yet it does not serve.
    OfAll,
    /// Of all, and further back: whoever reads them cannot look for more.
    ForReport,
}

impl Logs {
    /// How many lines of a container's log are read, before its restart and after.
    fn lines(self) -> i64 {
        match self {
            Self::OfWaiting | Self::OfAll => 400,
            Self::ForReport => 4000,
        }
    }

    /// Of how many pods: the first ones.
    fn pods(self) -> usize {
        match self {
            Self::OfWaiting | Self::OfAll => 24,
            Self::ForReport => 100,
        }
    }
}

/// What was gathered, and what could not be.
pub(super) struct Gathered {
    pub evidence: Evidence,
    /// The Jobs that fetch the model, where they are what it is about.
    pub jobs: Vec<Value>,
    pub unseen: Vec<Unseen>,
}

/// A kind of objects that may not be listed.
pub(super) struct Unseen {
    pub kind: Kind,
    pub error: ClusterError,
}

impl Gathered {
    /// Where among the unseen is what a verdict cannot do without: the components of a v1alpha1 graph.
    pub(super) fn hides_the_verdict(&self) -> Option<usize> {
        let decides = |one: &Unseen| one.kind == Kind::ComponentDeployment(GraphApi::V1Alpha1);
        self.unseen.iter().position(decides)
    }

    /// Takes in what another look found.
    pub(super) fn join(&mut self, other: Self) {
        let (evidence, more) = (&mut self.evidence, other.evidence);
        for (objects, more) in [
            (&mut evidence.seen.pods, more.seen.pods),
            (&mut evidence.claims, more.claims),
            (&mut evidence.events, more.events),
            (&mut self.jobs, other.jobs),
        ] {
            let uid = |object: &Value| object["metadata"]["uid"].clone();
            let known: Vec<Value> = objects.iter().map(uid).collect();
            objects.extend(more.into_iter().filter(|object| !known.contains(&uid(object))));
        }
        evidence.events.sort_by_key(event_time);
        evidence.logs.extend(more.logs);
        let unseen = other.unseen.into_iter();
        let known: Vec<Kind> = self.unseen.iter().map(|one| one.kind).collect();
        self.unseen.extend(unseen.filter(|one| !known.contains(&one.kind)));
    }

    /// What could not be seen, for a screen that tells it: then it is not told again at the verb's end.
    pub(super) fn skipped(&self, cluster: &Cluster) -> Vec<String> {
        let tell = |one: &Unseen| {
            cluster.is_told(&one.error);
            one.error.to_string()
        };
        self.unseen.iter().map(tell).collect()
    }
}

/// Gathers everything below a graph, for a verdict on it.
///
/// # Errors
/// Of a v1alpha1 graph, that its components may not be listed: only they tell which spec its status belongs to.
pub(super) async fn gather(cluster: &Cluster, graph: Value, api: GraphApi, wanted: Logs) -> Result<Gathered> {
    let mut gathered = gather_what_is_allowed(cluster, graph, api, wanted).await;
    match gathered.hides_the_verdict() {
        Some(place) => Err(gathered.unseen.swap_remove(place).error.into()),
        None => Ok(gathered),
    }
}

/// Gathers everything below a graph that may be seen.
pub(super) async fn gather_what_is_allowed(
    cluster: &Cluster,
    graph: Value,
    api: GraphApi,
    wanted: Logs,
) -> Gathered {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let events = async { (Kind::Event, cluster.list(Kind::Event, "", false).await) };
    let (tree, events) = futures::join!(tree(cluster, &name, Some(graph), api), events);
    let Tree { seen, claims, mut unseen } = tree;
    let events = events_of(objects(events, &mut unseen), &seen, &claims, &[]);
    let logs = logs(cluster, &seen.pods, wanted).await;
    Gathered { evidence: Evidence { seen, claims, events, logs }, jobs: Vec::new(), unseen }
}

/// The objects of a deployment.
pub(super) struct Tree {
    pub seen: Observation,
    /// Those that its pods mount.
    pub claims: Vec<Value>,
    pub unseen: Vec<Unseen>,
}

/// Lists all objects of a deployment that may be seen.
pub(super) async fn tree(cluster: &Cluster, name: &str, graph: Option<Value>, api: GraphApi) -> Tree {
    let of_graph = format!("{GRAPH_LABEL}={name}");
    let list = async |kind, labels: &str| (kind, cluster.list(kind, labels, false).await);
    let (components, deployments, sets, cliques, pods, claims) = futures::join!(
        list(Kind::ComponentDeployment(api), &of_graph),
        list(Kind::Deployment, &of_graph),
        list(Kind::LeaderWorkerSet, ""),
        list(Kind::PodCliqueSet, ""),
        list(Kind::Pod, &of_graph),
        list(Kind::Claim, ""),
    );
    let mut unseen = Vec::new();
    let mut seen = |listed| objects(listed, &mut unseen);
    let components = seen(components);
    let mut workloads = stamped(seen(deployments), "Deployment");
    let parents = || components.iter().chain(&graph);
    let own = |objects: Vec<Value>| -> Vec<Value> {
        objects.into_iter().filter(|one| parents().any(|parent| is_owned(one, parent))).collect()
    };
    workloads.extend(own(stamped(seen(sets), "LeaderWorkerSet")));
    workloads.extend(own(stamped(seen(cliques), "PodCliqueSet")));
    let pods = seen(pods);
    let claims = mounted(seen(claims), &pods);
    let seen = Observation { components, pods, workloads, graph, ..Observation::default() };
    Tree { seen, claims, unseen }
}

/// Gathers what there is of a deployment before its graph is: the Jobs that fetch its model, and their pods.
///
/// # Errors
/// That Jobs may not be listed.
pub(super) async fn gather_fetch(
    cluster: &Cluster,
    name: &str,
    wanted: Logs,
) -> std::result::Result<Gathered, ClusterError> {
    let jobs = super::frontend::fetch_jobs(cluster, name).await?;
    let named = |job: &Value| job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let list = async |kind, labels: &str| (kind, cluster.list(kind, labels, false).await);
    let (pods, claims, events) =
        futures::join!(list(Kind::Pod, JOB_LABEL), list(Kind::Claim, ""), list(Kind::Event, ""));
    let mut unseen = Vec::new();
    let mut seen = |listed| objects(listed, &mut unseen);
    let of_job =
        |pod: &Value| jobs.iter().any(|job| pod["metadata"]["labels"][JOB_LABEL] == named(job).as_str());
    let pods: Vec<Value> = seen(pods).into_iter().filter(of_job).collect();
    let claims = mounted(seen(claims), &pods);
    let events = seen(events);
    let seen = Observation { pods, ..Observation::default() };
    let events = events_of(events, &seen, &claims, &jobs);
    let logs = logs(cluster, &seen.pods, wanted).await;
    Ok(Gathered { evidence: Evidence { seen, claims, events, logs }, jobs, unseen })
}

/// The objects that were listed; none where they may not be, which is kept.
fn objects(
    (kind, listed): (Kind, std::result::Result<Vec<Value>, ClusterError>),
    unseen: &mut Vec<Unseen>,
) -> Vec<Value> {
    match listed {
        Ok(objects) => objects,
        // A kind that the cluster does not serve has no objects.
        Err(ClusterError::NotFound { .. } | ClusterError::NoPlatform { .. }) => Vec::new(),
        Err(error) => {
            unseen.push(Unseen { kind, error });
            Vec::new()
        }
    }
}

fn stamped(mut objects: Vec<Value>, kind: &str) -> Vec<Value> {
    for object in &mut objects {
        object["kind"] = kind.into();
    }
    objects
}

/// The claims that these pods mount.
fn mounted(claims: Vec<Value>, pods: &[Value]) -> Vec<Value> {
    let volumes = pods.iter().flat_map(|pod| pod["spec"]["volumes"].as_array().into_iter().flatten());
    let names: BTreeSet<&str> =
        volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).collect();
    let is_mounted =
        |claim: &Value| claim["metadata"]["name"].as_str().is_some_and(|name| names.contains(name));
    claims.into_iter().filter(is_mounted).collect()
}

/// The events about objects of the tree, oldest first. Pods and ReplicaSets that are gone are known by the names
/// of what made them.
pub(super) fn events_of(
    events: Vec<Value>,
    seen: &Observation,
    claims: &[Value],
    jobs: &[Value],
) -> Vec<Value> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let makers: Vec<String> = seen.components.iter().chain(&seen.workloads).chain(jobs).map(name).collect();
    let all = seen.graph.iter().chain(&seen.pods).chain(claims);
    let names: BTreeSet<String> = all.map(name).chain(makers.iter().cloned()).collect();
    let of_tree = |event: &Value| {
        let about = event["involvedObject"]["name"].as_str().unwrap_or_default();
        names.contains(about) || makers.iter().any(|maker| about.starts_with(&format!("{maker}-")))
    };
    let mut events: Vec<Value> = events.into_iter().filter(of_tree).collect();
    events.sort_by_key(event_time);
    events
}

/// When an event was last seen: the field depends on who wrote it.
pub(super) fn event_time(event: &Value) -> Option<jiff::Timestamp> {
    [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["firstTimestamp"],
        &event["metadata"]["creationTimestamp"],
    ]
    .into_iter()
    .find_map(|time| time.as_str()?.parse().ok())
}

/// The last lines of containers; what cannot be read is left out.
async fn logs(cluster: &Cluster, pods: &[Value], wanted: Logs) -> Vec<ContainerLog> {
    let all = wanted != Logs::OfWaiting;
    let waiting = pods.iter().filter(|pod| all || !pod_is_ready(pod)).take(wanted.pods());
    let containers = waiting.flat_map(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        ["initContainerStatuses", "containerStatuses"]
            .into_iter()
            .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
            .filter(|status| status["containerID"].is_string() && (all || status["ready"] != true))
            .map(move |status| (name.clone(), status))
    });
    join_all(containers.map(async |(pod, status)| {
        let container = status["name"].as_str().unwrap_or_default().to_owned();
        let mut lines = Vec::new();
        if status["restartCount"].as_u64().unwrap_or(0) > 0 {
            lines.extend(last_lines(cluster, &pod, &container, true, wanted).await);
        }
        lines.extend(last_lines(cluster, &pod, &container, false, wanted).await);
        ContainerLog { pod, container, lines }
    }))
    .await
}

async fn last_lines(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    previous: bool,
    wanted: Logs,
) -> Vec<String> {
    let options = LogOptions { previous, tail: Some(wanted.lines()), ..LogOptions::default() };
    let mut lines = Vec::new();
    if let Ok(mut log) = cluster.log(pod, Some(container), &options).await {
        while let Ok(Some(line)) = log.next().await {
            lines.push(line);
        }
    }
    lines
}
