//! The causal chain from a graph to the object or log line that shows why it is not serving.
//!
//! Each step has the status text of its object. The chain does not interpret the text; the rules do.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{RootCause, Snapshot, ready_condition_text, rules};
use crate::object::{ConditionView, ObjectFields, ObjectView};
use crate::readiness::{self, Workload, count, is_running, last_termination};

/// One object in the causal chain, or the log line at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainStep {
    /// A Kubernetes kind, `container`, or `log`.
    pub kind: String,
    pub name: String,
    pub detail: String,
}

/// Maximum length of the text of one step, in characters.
const MAX_DETAIL_LENGTH: usize = 300;

/// Returns the chain from the graph to `pod` and to the line of its log that shows the cause.
pub(super) fn chain(snapshot: &Snapshot, pod: Option<&str>, cause: Option<&RootCause>) -> Vec<ChainStep> {
    let Some(graph) = &snapshot.observation.graph else { return Vec::new() };
    let pod = pod.and_then(|name| snapshot.observation.pod(name));
    let pod_name = pod.map(|pod| pod.name());
    let status_text = ready_condition_text(graph);
    let graph = ObjectView::new(graph);
    let mut steps = vec![object_step("DynamoGraphDeployment", graph.name(), &status_text)];
    let component = component_of(snapshot, graph, pod_name, cause);
    if let Some(component) = component {
        let message = component.condition("Available").and_then(ConditionView::message);
        let message = message.unwrap_or("no condition yet");
        steps.push(object_step("DynamoComponentDeployment", component.name(), message));
    }
    if let Some(workload) = workload_of(snapshot, component, pod_name) {
        steps.push(object_step(workload.kind(), workload.name(), &workload_text(workload)));
    }
    if let Some(pod) = pod {
        steps.extend(pod_steps(snapshot, pod));
    }
    steps
}

fn object_step(kind: &str, name: &str, detail: &str) -> ChainStep {
    ChainStep { kind: kind.to_owned(), name: name.to_owned(), detail: truncate(detail) }
}

fn truncate(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_DETAIL_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Returns the component deployment whose name is a prefix of the pod's name. Without a pod, returns the
/// first component deployment that is not available.
fn component_of<'a>(
    snapshot: &'a Snapshot,
    graph: ObjectView<'_>,
    pod: Option<&str>,
    cause: Option<&RootCause>,
) -> Option<ObjectView<'a>> {
    let components = snapshot.observation.components.iter().map(ObjectView::new);
    let mut owned = components.filter(|one| one.is_owned_by(graph.uid()));
    match pod {
        Some(pod) => longest_prefix(owned, |one| one.name(), pod),
        None => owned.find(|one| cause.is_some() && !one.condition_is_true("Available")),
    }
}

/// Returns the workload of a pod or component. A Deployment has the name of its component, and pod names
/// start with the name of their Deployment.
fn workload_of<'a>(
    snapshot: &'a Snapshot,
    component: Option<ObjectView<'_>>,
    pod: Option<&str>,
) -> Option<&'a Workload> {
    let workloads = &snapshot.observation.workloads;
    match (pod, component) {
        (Some(pod), _) => longest_prefix(workloads.iter(), |one| one.name(), pod),
        (None, Some(component)) => workloads.iter().find(|one| one.name() == component.name()),
        (None, None) => None,
    }
}

/// Returns the object with the longest name that is a prefix of the pod's name.
fn longest_prefix<'a, T: Copy>(
    objects: impl Iterator<Item = T>,
    name: fn(T) -> &'a str,
    pod: &str,
) -> Option<T> {
    let is_prefix = |object: &T| pod.strip_prefix(name(*object)).is_some_and(|rest| rest.starts_with('-'));
    objects.filter(is_prefix).max_by_key(|object| name(*object).len())
}

fn workload_text(workload: &Workload) -> String {
    let (desired, available) = workload.replicas();
    let failure = workload.replica_failure().map(ToOwned::to_owned);
    failure.unwrap_or_else(|| format!("{available} of {desired} available"))
}

fn pod_steps(snapshot: &Snapshot, pod: &Pod) -> Vec<ChainStep> {
    let pod_status = readiness::pod_status(pod);
    let node = pod_status.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let name = pod.name();
    let mut steps = vec![object_step("Pod", name, &format!("{}{node}", pod_status.status_text))];
    for status in readiness::container_statuses(pod).filter(|status| !status.ready) {
        let container = status.name.as_str();
        let detail = container_text(status);
        if detail.is_empty() {
            continue;
        }
        steps.push(object_step("container", container, &detail));
        let log = snapshot.logs.iter().find(|log| log.pod == name && log.container == container);
        if let Some(line) = log.and_then(|log| matching_line(&log.lines)) {
            steps.push(object_step("log", container, &line));
        }
    }
    steps
}

fn container_text(status: &ContainerStatus) -> String {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    let message = waiting.and_then(|waiting| waiting.message.as_deref());
    let mut parts: Vec<String> = Vec::new();
    parts.extend(reason.filter(|reason| *reason != "PodInitializing").map(str::to_owned));
    if is_running(status) {
        parts.push("running, not ready".into());
    }
    let (restarts, exit_code) =
        (count(status.restart_count), last_termination(status).map_or(0, |ended| count(ended.exit_code)));
    parts.extend((restarts > 0).then(|| format!("{restarts} restarts")));
    parts.extend((exit_code > 0).then(|| format!("exit code {exit_code}")));
    parts.extend(message.filter(|text| !text.starts_with("back-off")).map(str::to_owned));
    parts.join(", ")
}

/// Returns the log line with a known cause, otherwise the last non-empty line.
fn matching_line(lines: &[String]) -> Option<String> {
    let matched = rules::matching_line(lines).map(str::to_owned);
    matched.or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()).cloned())
}
