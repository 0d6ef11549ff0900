//! The way from a graph to the place that tells why it does not serve: each object with what it says of itself.

use serde_json::Value;

use super::{Cause, Evidence, known, ready_words};
use crate::readiness::{self, condition, is_owned};

/// One object on the way, or a line of a log at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// A kind as Kubernetes names it, or `container`, or `log`.
    pub kind: String,
    pub name: String,
    pub says: String,
}

/// How much of a message one line of the chain shows.
const LONGEST: usize = 300;

/// From the graph to `pod`, and from there to its log where one line of it tells the cause.
pub(super) fn chain(evidence: &Evidence, pod: Option<&str>, cause: Option<&Cause>) -> Vec<Link> {
    let Some(graph) = &evidence.seen.graph else { return Vec::new() };
    let pod = pod.and_then(|name| named(&evidence.seen.pods, name));
    let mut links = vec![link("DynamoGraphDeployment", graph, ready_words(graph))];
    let component = component_of(evidence, graph, pod, cause);
    if let Some(component) = component {
        let said = condition(component, "Available")["message"].as_str().unwrap_or("no condition yet");
        links.push(link("DynamoComponentDeployment", component, said.to_owned()));
    }
    if let Some(workload) = workload_of(evidence, component, pod) {
        links.push(link(
            workload["kind"].as_str().unwrap_or("Deployment"),
            workload,
            workload_words(workload),
        ));
    }
    if let Some(pod) = pod {
        links.extend(pod_links(evidence, pod));
    }
    links
}

fn link(kind: &str, object: &Value, says: String) -> Link {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Link { kind: kind.to_owned(), name, says: shortened(&says) }
}

fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn named<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["metadata"]["name"] == name)
}

/// The component deployment that a pod is named after; without a pod the one that complains.
fn component_of<'a>(
    evidence: &'a Evidence,
    graph: &Value,
    pod: Option<&Value>,
    cause: Option<&Cause>,
) -> Option<&'a Value> {
    let mut own = evidence.seen.components.iter().filter(|one| is_owned(one, graph));
    match pod {
        Some(pod) => longest_prefix(own, pod),
        None => own.find(|one| cause.is_some() && condition(one, "Available")["status"] != "True"),
    }
}

/// Deployments carry their component's name, and pods begin with their Deployment's.
fn workload_of<'a>(
    evidence: &'a Evidence,
    component: Option<&Value>,
    pod: Option<&Value>,
) -> Option<&'a Value> {
    let workloads = &evidence.seen.workloads;
    match (pod, component) {
        (Some(pod), _) => longest_prefix(workloads.iter(), pod),
        (None, Some(component)) => {
            workloads.iter().find(|one| one["metadata"]["name"] == component["metadata"]["name"])
        }
        (None, None) => None,
    }
}

fn longest_prefix<'a>(objects: impl Iterator<Item = &'a Value>, pod: &Value) -> Option<&'a Value> {
    let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    objects.filter(|one| pod.starts_with(&format!("{}-", name(one)))).max_by_key(|one| name(one).len())
}

fn workload_words(workload: &Value) -> String {
    let refused = condition(workload, "ReplicaFailure");
    if refused["status"] == "True" {
        return refused["message"].as_str().unwrap_or_default().to_owned();
    }
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let wanted = workload["spec"]["replicas"].as_u64().unwrap_or(1);
    format!("{} of {wanted} available", count(&workload["status"]["availableReplicas"]))
}

fn pod_links(evidence: &Evidence, pod: &Value) -> Vec<Link> {
    let standing = readiness::pod_standing(pod);
    let node = standing.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let mut links = vec![link("Pod", pod, format!("{}{node}", standing.doing))];
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    for status in ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
        .filter(|status| status["ready"] != true)
    {
        let container = status["name"].as_str().unwrap_or_default();
        let says = container_words(status);
        if says.is_empty() {
            continue;
        }
        links.push(Link { kind: "container".into(), name: container.into(), says: shortened(&says) });
        let log = evidence.logs.iter().find(|log| log.pod == name && log.container == container);
        if let Some(line) = log.and_then(|log| telling_line(&log.lines)) {
            links.push(Link { kind: "log".into(), name: container.into(), says: shortened(&line) });
        }
    }
    links
}

fn container_words(status: &Value) -> String {
    let waiting = &status["state"]["waiting"];
    let ended = match &status["state"]["terminated"] {
        Value::Null => &status["lastState"]["terminated"],
        ended => ended,
    };
    let mut words: Vec<String> = Vec::new();
    words.extend(waiting["reason"].as_str().filter(|reason| *reason != "PodInitializing").map(str::to_owned));
    if status["state"]["running"].is_object() {
        words.push("running, not ready".into());
    }
    words.extend(
        status["restartCount"].as_u64().filter(|count| *count > 0).map(|count| format!("{count} restarts")),
    );
    words
        .extend(ended["exitCode"].as_u64().filter(|code| *code != 0).map(|code| format!("last exit {code}")));
    words.extend(waiting["message"].as_str().filter(|text| !text.starts_with("back-off")).map(str::to_owned));
    words.join(", ")
}

/// The line that tells the cause, or the last one that was written.
fn telling_line(lines: &[String]) -> Option<String> {
    let known = known::telling_line(lines).map(str::to_owned);
    known.or_else(|| lines.iter().rev().find(|line| !line.trim().is_empty()).cloned())
}
