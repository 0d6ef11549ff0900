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
pub(super) use save::save;

/// How many lines of a container's log are read, before its restart and after.
const LINES: i64 = 400;
/// Of how many pods logs are read: the first ones.
const PODS: usize = 24;

/// Whose logs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logs {
    /// Of containers that are not ready.
    OfWaiting,
    /// Of all: nothing waits, and yet it does not serve.
    OfAll,
}

/// What was gathered, and what could not be.
pub(super) struct Gathered {
    pub evidence: Evidence,
    /// The Jobs that fetch the model, where they are what it is about.
    pub jobs: Vec<Value>,
    pub unseen: Vec<ClusterError>,
}

impl Gathered {
    /// What could not be seen, for a screen that tells it: then it is not told again at the verb's end.
    pub(super) fn skipped(&self, cluster: &Cluster) -> Vec<String> {
        let tell = |error: &ClusterError| {
            cluster.is_told(error);
            error.to_string()
        };
        self.unseen.iter().map(tell).collect()
    }
}

/// Gathers everything below a graph.
pub(super) async fn gather(cluster: &Cluster, graph: Value, api: GraphApi, wanted: Logs) -> Result<Gathered> {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let of_graph = format!("{GRAPH_LABEL}={name}");
    let list = async |kind, labels: &str| cluster.list(kind, labels, false).await;
    let (components, deployments, sets, cliques, pods, claims, events) = futures::join!(
        list(Kind::ComponentDeployment(api), &of_graph),
        list(Kind::Deployment, &of_graph),
        list(Kind::LeaderWorkerSet, ""),
        list(Kind::PodCliqueSet, ""),
        list(Kind::Pod, &of_graph),
        list(Kind::Claim, ""),
        list(Kind::Event, ""),
    );
    let mut unseen = Vec::new();
    let mut seen = |listed: std::result::Result<Vec<Value>, ClusterError>| match listed {
        Ok(objects) => objects,
        // A kind that the cluster does not serve has no objects.
        Err(ClusterError::NotFound { .. } | ClusterError::NoPlatform { .. }) => Vec::new(),
        Err(error) => {
            unseen.push(error);
            Vec::new()
        }
    };
    let components = match (components, api) {
        // Only they tell which spec a v1alpha1 status belongs to.
        (Err(error), GraphApi::V1Alpha1) => return Err(error.into()),
        (components, _) => seen(components),
    };
    let mut workloads = stamped(seen(deployments), "Deployment");
    let parents = || components.iter().chain([&graph]);
    let own = |objects: Vec<Value>| -> Vec<Value> {
        objects.into_iter().filter(|one| parents().any(|parent| is_owned(one, parent))).collect()
    };
    workloads.extend(own(stamped(seen(sets), "LeaderWorkerSet")));
    workloads.extend(own(stamped(seen(cliques), "PodCliqueSet")));
    let pods = seen(pods);
    let claims = mounted(seen(claims), &pods);
    let events = seen(events);
    let seen = Observation { components, pods, workloads, graph: Some(graph), ..Observation::default() };
    let events = events_of(events, &seen, &claims, &[]);
    let logs = logs(cluster, &seen.pods, wanted).await;
    Ok(Gathered { evidence: Evidence { seen, claims, events, logs }, jobs: Vec::new(), unseen })
}

/// Gathers what there is of a deployment before its graph is: the Jobs that fetch its model, and their pods.
pub(super) async fn gather_fetch(cluster: &Cluster, name: &str) -> Result<Gathered> {
    let jobs = super::frontend::fetch_jobs(cluster, name).await?;
    let named = |job: &Value| job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let (pods, claims, events) = futures::join!(
        cluster.list(Kind::Pod, JOB_LABEL, false),
        cluster.list(Kind::Claim, "", false),
        cluster.list(Kind::Event, "", false),
    );
    let of_job =
        |pod: &Value| jobs.iter().any(|job| pod["metadata"]["labels"][JOB_LABEL] == named(job).as_str());
    let pods: Vec<Value> = pods.unwrap_or_default().into_iter().filter(of_job).collect();
    let claims = mounted(claims.unwrap_or_default(), &pods);
    let seen = Observation { pods, ..Observation::default() };
    let events = events_of(events.unwrap_or_default(), &seen, &claims, &jobs);
    let logs = logs(cluster, &seen.pods, Logs::OfAll).await;
    Ok(Gathered { evidence: Evidence { seen, claims, events, logs }, jobs, unseen: Vec::new() })
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
    let all = wanted == Logs::OfAll;
    let waiting = pods.iter().filter(|pod| all || !pod_is_ready(pod)).take(PODS);
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
            lines.extend(last_lines(cluster, &pod, &container, true).await);
        }
        lines.extend(last_lines(cluster, &pod, &container, false).await);
        ContainerLog { pod, container, lines }
    }))
    .await
}

async fn last_lines(cluster: &Cluster, pod: &str, container: &str, previous: bool) -> Vec<String> {
    let options = LogOptions { previous, tail: Some(LINES), ..LogOptions::default() };
    let mut lines = Vec::new();
    if let Ok(mut log) = cluster.log(pod, Some(container), &options).await {
        while let Ok(Some(line)) = log.next().await {
            lines.push(line);
        }
    }
    lines
}
