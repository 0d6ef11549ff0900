//! The status of components and their pods, as `status` and `up` show it. It reads only the given objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use serde_json::Value;

use super::COMPONENT_LABEL;
use super::pod_fields::{
    container_statuses, count, is_running, last_termination, main_containers, node_name, pod_is_ready,
    pod_phase, ready_after_seconds,
};
use super::problem::{CRASH_LOOP_RESTARTS, Problem, crash, pod_problem, unscheduled_condition};
use crate::graph::{GPU_RESOURCE, GraphView};
use crate::object::{ObjectFields, ObservedObject};

/// The label that a Deployment sets on its pods. Pods of one template have the same value.
const TEMPLATE_LABEL: &str = "pod-template-hash";

/// The status of one component: the desired and the ready number of pods, and each pod.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentStatus {
    pub name: String,
    pub desired: u64,
    pub ready: u64,
    pub pods: Vec<PodStatus>,
}

/// What a pod does, for decisions; its text for screens is separate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    Ready,
    /// It has no node, or its node does not respond.
    Unassigned,
    /// An init container runs.
    Initializing,
    /// It is assigned to a node, which has not reported its containers yet.
    Pending,
    /// It waits for volumes, images, or containers.
    CreatingContainers,
    /// Its containers run and are not ready.
    Starting,
    /// It failed, is restarting after a failure, or has completed.
    Stopped,
}

/// The status of one pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodStatus {
    pub name: String,
    pub ready: bool,
    pub state: PodState,
    /// Short text on what the pod does or waits for.
    pub status_text: String,
    pub node: Option<String>,
    pub restarts: u64,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Seconds from creation to readiness, both by the server's clock.
    pub ready_after_seconds: Option<u64>,
    pub gpus: u64,
    pub problem: Option<Problem>,
    /// Whether a container of the pod has exited with an error, now or before its last restart.
    pub has_failed_run: bool,
    /// Whether the pod has an older template than the component's newest pod and will be replaced by it.
    pub superseded: bool,
    uid: String,
    template: String,
    total_restarts: u64,
}

impl PodStatus {
    /// Returns whether the pod has crashed so often that its next run, which may be the current one, is
    /// expected to crash.
    pub fn is_crash_looping(&self) -> bool {
        self.restarts >= CRASH_LOOP_RESTARTS
    }

    /// Returns whether the pod's problem predates a change: no container has restarted since `restart_counts`
    /// was taken.
    pub(super) fn predates_change(&self, restart_counts: &BTreeMap<String, u64>) -> bool {
        restart_counts.get(&self.uid) == Some(&self.total_restarts)
    }
}

/// Returns the total number of container restarts by pod UID.
pub fn restart_counts(pods: &[ObservedObject<Pod>]) -> BTreeMap<String, u64> {
    pods.iter().map(|pod| pod_status(pod)).map(|pod| (pod.uid, pod.total_restarts)).collect()
}

/// Returns the status of the graph's components in the order of the spec, the frontend first.
pub fn components(graph: &Value, pods: &[ObservedObject<Pod>]) -> Vec<ComponentStatus> {
    desired_replicas(graph)
        .into_iter()
        .map(|(name, desired)| {
            let mut pods: Vec<PodStatus> = pods
                .iter()
                .filter(|pod| pod.label(COMPONENT_LABEL) == Some(&name) && !pod.is_terminating())
                .map(|pod| pod_status(pod))
                .collect();
            let newest = pods.iter().max_by(|a, b| a.created.cmp(&b.created)).map(|pod| pod.template.clone());
            for pod in &mut pods {
                pod.superseded = newest.as_ref() != Some(&pod.template);
            }
            let ready = pods.iter().filter(|pod| pod.ready).count() as u64;
            ComponentStatus { name, desired, ready, pods }
        })
        .collect()
}

/// Returns component names and desired replicas of a graph, the frontend first.
fn desired_replicas(graph: &Value) -> Vec<(String, u64)> {
    let components = GraphView::new(graph).components();
    let mut desired: Vec<(String, u64)> =
        components.iter().map(|component| (component.name.to_owned(), component.replicas())).collect();
    desired.sort_by_key(|(name, _)| !name.eq_ignore_ascii_case("frontend"));
    desired
}

/// Returns the status of a pod, without the comparison to other pods of its component.
pub fn pod_status(pod: &Pod) -> PodStatus {
    let restarts_of = |status: &ContainerStatus| count(status.restart_count);
    let problem = pod_problem(pod);
    let (state, status_text) = pod_state(pod, problem.as_ref());
    PodStatus {
        name: pod.name().to_owned(),
        ready: pod_is_ready(pod),
        state,
        status_text,
        node: node_name(pod).map(ToOwned::to_owned),
        restarts: main_containers(pod).map(restarts_of).sum(),
        created: pod.created(),
        ready_after_seconds: pod_is_ready(pod).then(|| ready_after_seconds(pod)).flatten(),
        gpus: gpus(pod),
        problem,
        has_failed_run: main_containers(pod).any(|container| failed_run(container).is_some()),
        superseded: false,
        uid: pod.uid().to_owned(),
        template: pod.label(TEMPLATE_LABEL).unwrap_or_default().to_owned(),
        total_restarts: container_statuses(pod).map(restarts_of).sum(),
    }
}

/// The last run of a container that exited with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    pub pod: String,
    pub container: String,
    pub container_id: String,
    /// Whether the container runs again, so that the log of the failed run is the previous one.
    pub restarted: bool,
    pub problem: Problem,
}

/// Returns the terminated state of a container's last run if it exited with an error, and whether the container runs
/// again.
fn failed_run(container: &ContainerStatus) -> Option<(&ContainerStateTerminated, bool)> {
    let current = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let restarted = current.is_none() && is_running(container);
    let terminated = last_termination(container).filter(|terminated| terminated.exit_code > 0)?;
    Some((terminated, restarted))
}

/// Returns the failed container runs of the graph's pods that are not ready. Superseded pods and pods that did not
/// restart since a change are ignored.
pub fn failed_runs(
    graph: &Value,
    pods: &[ObservedObject<Pod>],
    restart_counts: &BTreeMap<String, u64>,
) -> Vec<FailedRun> {
    let components = components(graph, pods);
    let is_relevant = |name: &str| {
        let mut statuses = components.iter().flat_map(|component| &component.pods);
        statuses.any(|pod| {
            pod.name == name && !pod.ready && !pod.superseded && !pod.predates_change(restart_counts)
        })
    };
    let mut runs = Vec::new();
    for pod in pods.iter().filter(|pod| is_relevant(pod.name())) {
        for status in main_containers(pod) {
            let Some((terminated, restarted)) = failed_run(status) else { continue };
            runs.push(FailedRun {
                pod: pod.name().to_owned(),
                container: status.name.clone(),
                container_id: terminated.container_id.clone().unwrap_or_default(),
                restarted,
                problem: crash(pod.name(), pod.namespace(), status, Some(terminated)),
            });
        }
    }
    runs
}

/// Returns what a pod with this problem does, and the text for screens.
fn pod_state(pod: &Pod, problem: Option<&Problem>) -> (PodState, String) {
    if pod_is_ready(pod) {
        return (PodState::Ready, "ready".into());
    }
    if let Some(scheduled) = unscheduled_condition(pod) {
        let reason = scheduled.message.as_deref().unwrap_or("no reason given");
        return (PodState::Unassigned, format!("not scheduled: {reason}"));
    }
    if let Some(Problem::Node { node, .. }) = problem {
        return (PodState::Unassigned, format!("node \"{node}\" is not responding"));
    }
    let status = pod.status.as_ref();
    let mut init_containers =
        status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    if let Some(container) = init_containers.find(|container| is_running(container)) {
        return (PodState::Initializing, format!("init container {}", container.name));
    }
    let waiting_reason = |state: &ContainerState| state.waiting.as_ref()?.reason.clone();
    let waiting = container_statuses(pod)
        .find_map(|container| container.state.as_ref().and_then(waiting_reason))
        .filter(|reason| reason != "PodInitializing");
    match waiting {
        Some(reason) if reason == "ContainerCreating" => (PodState::CreatingContainers, reason),
        Some(reason) => (PodState::Stopped, reason),
        None if container_statuses(pod).any(is_running) => {
            (PodState::Starting, "starting, not ready yet".into())
        }
        None => match pod_phase(pod).unwrap_or("Pending") {
            "Pending" => (PodState::Pending, "Pending".into()),
            phase => (PodState::Stopped, phase.to_owned()),
        },
    }
}

fn gpus(pod: &Pod) -> u64 {
    let limits = pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|container| {
        container.resources.as_ref()?.limits.as_ref()?.get(GPU_RESOURCE)?.0.parse::<u64>().ok()
    });
    limits.sum()
}
