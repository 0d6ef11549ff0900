//! Collects everything that a diagnosis needs about one deployment: objects, events, and logs. A missing
//! permission must not stop it; the kinds that cannot be listed are recorded.

mod support_bundle;

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use serde_json::Value;

use crate::workflow::cache_jobs;
use crate::workflow::object_reader::ObjectReader;
pub(crate) use crate::workflow::snapshot::support_bundle::{BundleFile, bundle_files, save, unique_name};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, LogOptions, TypedKind};
use kubectl_dynamo_core::diagnosis::{ContainerLog, Snapshot};
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject, event_time};
use kubectl_dynamo_core::readiness::{
    DeploymentObjects, GRAPH_LABEL, JOB_LABEL, Observation, Workload, container_statuses, is_owned,
    pod_is_ready,
};
use kubectl_dynamo_core::resources::{GraphApi, object_at};

/// The containers whose logs are read, and how much of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogScope {
    /// Containers that are not ready.
    NotReady,
    /// All containers: every pod is ready, but the deployment is not serving.
    All,
    /// All containers, with more lines, because the reader of a support bundle cannot query more.
    Bundle,
}

impl LogScope {
    /// Returns the number of log lines to read per container, each from before and after a restart.
    fn tail_lines(self) -> i64 {
        match self {
            Self::NotReady | Self::All => 400,
            Self::Bundle => 4000,
        }
    }

    /// Returns the maximum number of pods whose logs are read.
    fn max_pods(self) -> usize {
        match self {
            Self::NotReady | Self::All => 24,
            Self::Bundle => 100,
        }
    }
}

/// The collected objects, events, and logs, and the kinds that could not be listed.
pub(crate) struct DeploymentSnapshot {
    pub evidence: Snapshot,
    /// The fetch Jobs of the model, if the diagnosis is about them.
    pub jobs: Vec<ObservedObject<Job>>,
    pub unlisted: Vec<UnlistedKind>,
}

/// A kind whose objects could not be listed.
pub(crate) struct UnlistedKind {
    pub kind: Kind,
    pub error: ClusterError,
}

impl DeploymentSnapshot {
    /// Returns the index of an unlisted kind that a verdict requires: the components of a v1alpha1 graph.
    pub(crate) fn position_of_required_kind(&self) -> Option<usize> {
        let is_required = |one: &UnlistedKind| one.kind == Kind::ComponentDeployment(GraphApi::V1Alpha1);
        self.unlisted.iter().position(is_required)
    }

    /// Merges another snapshot into this one.
    pub(crate) fn merge(&mut self, other: Self) {
        let (evidence, more) = (&mut self.evidence, other.evidence);
        add_new(&mut evidence.observation.pods, more.observation.pods);
        add_new(&mut evidence.pvcs, more.pvcs);
        add_new(&mut evidence.events, more.events);
        add_new(&mut self.jobs, other.jobs);
        evidence.events.sort_by_key(|event| event_time(event));
        evidence.logs.extend(more.logs);
        let unlisted = other.unlisted.into_iter();
        let existing: Vec<Kind> = self.unlisted.iter().map(|one| one.kind).collect();
        self.unlisted.extend(unlisted.filter(|one| !existing.contains(&one.kind)));
    }

    /// Returns the errors of the kinds that could not be listed, for a screen that prints them. They are
    /// marked as reported, so that the verb does not print them again when it ends.
    pub(crate) fn skipped_messages(&self, cluster: &Cluster) -> Vec<String> {
        let report_error = |one: &UnlistedKind| {
            cluster.mark_reported(&one.error);
            one.error.to_string()
        };
        self.unlisted.iter().map(report_error).collect()
    }
}

/// Adds the objects whose UIDs are not in the list yet.
fn add_new<T: TypedKind>(objects: &mut Vec<ObservedObject<T>>, more: Vec<ObservedObject<T>>) {
    let existing: BTreeSet<String> = objects.iter().map(|object| object.uid().to_owned()).collect();
    objects.extend(more.into_iter().filter(|object| !existing.contains(object.uid())));
}

/// Collects a graph and its child objects for a verdict.
///
/// # Errors
/// A missing permission to list the components of a v1alpha1 graph: only they show to which spec its status
/// belongs.
pub(crate) async fn gather(
    reader: impl Into<ObjectReader<'_>>,
    graph: Value,
    api: GraphApi,
    log_scope: LogScope,
) -> std::result::Result<DeploymentSnapshot, ClusterError> {
    let mut snapshot = gather_permitted(reader, graph, api, log_scope).await;
    match snapshot.position_of_required_kind() {
        Some(index) => Err(snapshot.unlisted.swap_remove(index).error),
        None => Ok(snapshot),
    }
}

/// Collects a graph and those of its child objects that can be listed.
pub(crate) async fn gather_permitted(
    reader: impl Into<ObjectReader<'_>>,
    graph: Value,
    api: GraphApi,
    log_scope: LogScope,
) -> DeploymentSnapshot {
    let reader = reader.into();
    let cluster = reader.cluster;
    let name = GraphView::new(&graph).name().to_owned();
    let events = list_typed::<Event>(cluster, "");
    let (owned, events) = futures::join!(list_owned_objects(reader, &name, Some(graph), api), events);
    let OwnedObjects { observation, pvcs, mut unlisted } = owned;
    let events = objects_or_record_error(events, &mut unlisted);
    let events = related_events(events, &DeploymentObjects::new(&observation, &pvcs, &[]));
    let logs = container_logs(cluster, &observation.pods, log_scope).await;
    let evidence = Snapshot { observation, job: None, pvcs, events, logs };
    DeploymentSnapshot { evidence, jobs: Vec::new(), unlisted }
}

/// The objects that belong to a deployment.
pub(crate) struct OwnedObjects {
    pub observation: Observation,
    /// The PVCs that its pods mount.
    pub pvcs: Vec<ObservedObject<PersistentVolumeClaim>>,
    pub unlisted: Vec<UnlistedKind>,
}

/// Lists all objects of a deployment that the permissions allow.
pub(crate) async fn list_owned_objects(
    reader: impl Into<ObjectReader<'_>>,
    name: &str,
    graph: Option<Value>,
    api: GraphApi,
) -> OwnedObjects {
    let reader = reader.into();
    let cluster = reader.cluster;
    let graph_selector = format!("{GRAPH_LABEL}={name}");
    let list = async |kind| (kind, cluster.list(kind, "").await);
    let (components, deployments, sets, cliques, pods, pvcs) = futures::join!(
        reader.components(api, name),
        list_typed::<Deployment>(cluster, &graph_selector),
        list(Kind::LeaderWorkerSet),
        list(Kind::PodCliqueSet),
        reader.pods(name),
        list_typed::<PersistentVolumeClaim>(cluster, ""),
    );
    let mut unlisted = Vec::new();
    let components = (Kind::ComponentDeployment(api), components);
    let components = objects_or_record_error(components, &mut unlisted);
    let deployments = objects_or_record_error(deployments, &mut unlisted);
    let mut workloads: Vec<Workload> = deployments.into_iter().map(Workload::from).collect();
    let parents = || components.iter().chain(&graph);
    for (kind, sets) in [("LeaderWorkerSet", sets), ("PodCliqueSet", cliques)] {
        let mut sets = objects_or_record_error(sets, &mut unlisted);
        sets.retain(|one| parents().any(|parent| is_owned(one, parent)));
        workloads.extend(sets.into_iter().map(|set| Workload::Custom(with_kind(set, kind))));
    }
    let pods = objects_or_record_error((Kind::Pod, pods), &mut unlisted);
    let pvcs = mounted_pvcs(objects_or_record_error(pvcs, &mut unlisted), &pods);
    let observed = Observation { components, pods, workloads, graph, ..Observation::default() };
    OwnedObjects { observation: observed, pvcs, unlisted }
}

/// Collects the objects of a deployment whose graph does not exist yet: its fetch Jobs and their pods.
///
/// # Errors
/// A failure to list Jobs, such as a missing permission.
pub(crate) async fn gather_fetch(
    reader: impl Into<ObjectReader<'_>>,
    name: &str,
    log_scope: LogScope,
) -> std::result::Result<DeploymentSnapshot, ClusterError> {
    let reader = reader.into();
    let (cluster, jobs) = (reader.cluster, reader.fetch_jobs(name).await?);
    let (pods, pvcs, events) = futures::join!(
        list_typed::<Pod>(cluster, JOB_LABEL),
        list_typed::<PersistentVolumeClaim>(cluster, ""),
        list_typed::<Event>(cluster, "")
    );
    let mut unlisted = Vec::new();
    let mut pods = objects_or_record_error(pods, &mut unlisted);
    pods.retain(|pod| jobs.iter().any(|job| pod.label(JOB_LABEL) == Some(job.name())));
    let pvcs = mounted_pvcs(objects_or_record_error(pvcs, &mut unlisted), &pods);
    let events = objects_or_record_error(events, &mut unlisted);
    let observed = Observation { pods, ..Observation::default() };
    let events = related_events(events, &DeploymentObjects::new(&observed, &pvcs, &jobs));
    let logs = container_logs(cluster, &observed.pods, log_scope).await;
    Ok(DeploymentSnapshot {
        evidence: Snapshot { observation: observed, job: jobs.last().cloned(), pvcs, events, logs },
        jobs,
        unlisted,
    })
}

/// Returns the listed objects. An error is recorded in `unlisted`, and the result is empty.
fn objects_or_record_error<T>(
    (kind, listed): (Kind, std::result::Result<Vec<T>, ClusterError>),
    unlisted: &mut Vec<UnlistedKind>,
) -> Vec<T> {
    match listed {
        Ok(objects) => objects,
        // A kind that the cluster does not serve does not have objects.
        Err(ClusterError::NotFound { .. } | ClusterError::DynamoNotInstalled { .. }) => Vec::new(),
        Err(error) => {
            unlisted.push(UnlistedKind { kind, error });
            Vec::new()
        }
    }
}

async fn list_typed<T: TypedKind>(
    cluster: &Cluster,
    labels: &str,
) -> (Kind, std::result::Result<Vec<ObservedObject<T>>, ClusterError>) {
    (T::OBJECT_KIND, cluster.list_objects::<T>(labels).await)
}

/// Sets `kind`, which the API server omits for objects in a list.
fn with_kind(mut object: Value, kind: &str) -> Value {
    object_at(&mut object, &[]).insert("kind".into(), kind.into());
    object
}

/// Returns the PVCs that these pods mount.
fn mounted_pvcs(
    mut pvcs: Vec<ObservedObject<PersistentVolumeClaim>>,
    pods: &[ObservedObject<Pod>],
) -> Vec<ObservedObject<PersistentVolumeClaim>> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let names: BTreeSet<&str> = specs.flat_map(cache_jobs::mounted_pvcs).collect();
    pvcs.retain(|pvc| names.contains(pvc.name()));
    pvcs
}

/// Returns the events of a deployment's objects, oldest first.
pub(crate) fn related_events(
    mut events: Vec<ObservedObject<Event>>,
    objects: &DeploymentObjects,
) -> Vec<ObservedObject<Event>> {
    events.retain(|event| objects.has_event(event));
    events.sort_by_key(|event| event_time(event));
    events
}

/// Reads the last log lines of containers. Logs that cannot be read are empty.
async fn container_logs(
    cluster: &Cluster,
    pods: &[ObservedObject<Pod>],
    scope: LogScope,
) -> Vec<ContainerLog> {
    let all = scope != LogScope::NotReady;
    let waiting = pods.iter().filter(|pod| all || !pod_is_ready(pod)).take(scope.max_pods());
    let containers = waiting.flat_map(|pod| {
        container_statuses(pod)
            .filter(|status| status.container_id.is_some() && (all || !status.ready))
            .map(move |status| (pod.name(), status))
    });
    join_all(containers.map(async |(pod, status)| {
        let (pod, container) = (pod.to_owned(), status.name.clone());
        let mut lines = Vec::new();
        if status.restart_count > 0 {
            lines.extend(tail_log(cluster, &pod, &container, ContainerRun::Previous, scope).await);
        }
        lines.extend(tail_log(cluster, &pod, &container, ContainerRun::Current, scope).await);
        ContainerLog { pod, container, lines }
    }))
    .await
}

/// A run of a container: the current one, or the one before its last restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContainerRun {
    Current,
    Previous,
}

/// Returns the last lines of one run of a container. Empty if the log cannot be read.
pub(crate) async fn tail_log(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    run: ContainerRun,
    log_scope: LogScope,
) -> Vec<String> {
    let previous = run == ContainerRun::Previous;
    let options = LogOptions { previous, tail: Some(log_scope.tail_lines()), ..LogOptions::default() };
    let mut lines = Vec::new();
    if let Ok(mut log) = cluster.log(pod, Some(container), &options).await {
        while let Ok(Some(line)) = log.next().await {
            lines.push(line);
        }
    }
    lines
}
