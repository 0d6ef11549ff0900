//! Components and their pods, as `status` and `up` show them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::trouble::{CRASHES, Trouble, pod_trouble, without_node};
use super::{COMPONENT_LABEL, condition, holds};

/// A Deployment's own label: pods of one template carry one value.
const TEMPLATE_LABEL: &str = "pod-template-hash";

/// One component: how many pods are wanted, how many are ready, and each of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentStanding {
    pub name: String,
    pub wanted: u64,
    pub ready: u64,
    pub pods: Vec<PodStanding>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq)]
pub struct PodStanding {
    pub name: String,
    pub ready: bool,
    /// A few words on what it does or waits for.
    pub doing: String,
    pub node: Option<String>,
    pub restarts: u64,
    /// RFC 3339.
    pub created: String,
    /// From its creation until it was ready, both by the server's clock.
    pub ready_after_seconds: Option<u64>,
    pub gpus: u64,
    pub trouble: Option<Trouble>,
    /// Whether it belongs to an earlier template than the component's newest pod, and goes when that one is ready.
    pub superseded: bool,
    uid: String,
    template: String,
    attempts: u64,
}

impl PodStanding {
    /// Whether it crashed so often that its next run, which it may be in just now, ends no better.
    pub fn crashes_again(&self) -> bool {
        self.restarts >= CRASHES
    }

    /// Whether its trouble dates from before a change: nothing was tried anew since it had `attempts`.
    pub(super) fn is_as_before(&self, attempts: &BTreeMap<String, u64>) -> bool {
        attempts.get(&self.uid) == Some(&self.attempts)
    }
}

/// How often containers of these pods were started again, by the pods' uids.
pub fn attempts(pods: &[Value]) -> BTreeMap<String, u64> {
    pods.iter().map(pod_standing).map(|pod| (pod.uid, pod.attempts)).collect()
}

/// The components of a graph in the order of its spec, with the pods that were seen of each.
pub fn components(graph: &Value, pods: &[Value]) -> Vec<ComponentStanding> {
    wanted(graph)
        .into_iter()
        .map(|(name, wanted)| {
            let mut pods: Vec<PodStanding> = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"][COMPONENT_LABEL] == name.as_str())
                .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
                .map(pod_standing)
                .collect();
            let newest = pods.iter().max_by(|a, b| a.created.cmp(&b.created)).map(|pod| pod.template.clone());
            for pod in &mut pods {
                pod.superseded = newest.as_ref() != Some(&pod.template);
            }
            let ready = pods.iter().filter(|pod| pod.ready).count() as u64;
            ComponentStanding { name, wanted, ready, pods }
        })
        .collect()
}

/// Names and replicas in either shape; the frontend first.
fn wanted(graph: &Value) -> Vec<(String, u64)> {
    let replicas = |component: &Value| component["replicas"].as_u64().unwrap_or(1);
    let mut wanted: Vec<(String, u64)> = match (&graph["spec"]["components"], &graph["spec"]["services"]) {
        (Value::Array(components), _) => components
            .iter()
            .map(|component| (component["name"].as_str().unwrap_or_default().to_owned(), replicas(component)))
            .collect(),
        (_, Value::Object(services)) => {
            services.iter().map(|(name, service)| (name.clone(), replicas(service))).collect()
        }
        _ => Vec::new(),
    };
    wanted.sort_by_key(|(name, _)| !name.eq_ignore_ascii_case("frontend"));
    wanted
}

/// Whether a pod's own readiness condition is true and it is not on its way out.
pub fn pod_is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && holds(pod, "Ready")
}

/// One pod by itself.
pub fn pod_standing(pod: &Value) -> PodStanding {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let statuses = |field: &str| pod["status"][field].as_array().cloned().unwrap_or_default();
    let containers = statuses("containerStatuses");
    let init_containers = statuses("initContainerStatuses");
    let restarts =
        |containers: &[Value]| containers.iter().filter_map(|one| one["restartCount"].as_u64()).sum::<u64>();
    PodStanding {
        name: text(&pod["metadata"]["name"]),
        ready: pod_is_ready(pod),
        doing: doing(pod, &init_containers, &containers),
        node: pod["spec"]["nodeName"].as_str().map(ToOwned::to_owned),
        restarts: restarts(&containers),
        created: text(&pod["metadata"]["creationTimestamp"]),
        ready_after_seconds: pod_is_ready(pod).then(|| ready_after_seconds(pod)).flatten(),
        gpus: gpus(pod),
        trouble: pod_trouble(pod),
        superseded: false,
        uid: text(&pod["metadata"]["uid"]),
        template: text(&pod["metadata"]["labels"][TEMPLATE_LABEL]),
        attempts: restarts(&containers) + restarts(&init_containers),
    }
}

fn ready_after_seconds(pod: &Value) -> Option<u64> {
    let time = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    let created = time(&pod["metadata"]["creationTimestamp"])?;
    let ready = time(&condition(pod, "Ready")["lastTransitionTime"])?;
    u64::try_from(ready.duration_since(created).as_secs()).ok()
}

fn doing(pod: &Value, init_containers: &[Value], containers: &[Value]) -> String {
    if pod_is_ready(pod) {
        return "ready".into();
    }
    if let Some(scheduled) = without_node(pod) {
        return format!("not scheduled: {}", scheduled["message"].as_str().unwrap_or("no reason given"));
    }
    if let Some(Trouble::Node { node, .. }) = pod_trouble(pod) {
        return format!("node {node} does not answer");
    }
    let running_init = init_containers.iter().find(|container| container["state"]["running"].is_object());
    if let Some(container) = running_init {
        return format!("init container {}", container["name"].as_str().unwrap_or_default());
    }
    let waiting = init_containers
        .iter()
        .chain(containers)
        .find_map(|container| container["state"]["waiting"]["reason"].as_str())
        .filter(|reason| *reason != "PodInitializing");
    match waiting {
        Some(reason) => reason.to_owned(),
        None if containers.iter().any(|container| container["state"]["running"].is_object()) => {
            "starting, not ready yet".into()
        }
        None => pod["status"]["phase"].as_str().unwrap_or("Pending").to_owned(),
    }
}

fn gpus(pod: &Value) -> u64 {
    pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| {
            container["resources"]["limits"]["nvidia.com/gpu"].as_str()?.parse::<u64>().ok()
        })
        .sum()
}
