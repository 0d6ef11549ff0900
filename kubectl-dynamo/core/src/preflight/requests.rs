//! Resource requests of a graph's pods: GPUs, CPU, memory, node selectors, tolerations, and PVCs.
//!
//! They are read from the rendered object, so that graphs from manifests are checked like rendered ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::PreflightInput;
use crate::graph::{ComponentView, GPU_RESOURCE, GraphView};
use crate::quantity::ExactQuantity;

/// The pods of one component that will start, and what each pod requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentRequests {
    pub name: String,
    /// Name of the graph.
    pub graph: String,
    /// Number of pods, one per node of each replica.
    pub pods: u64,
    /// Number of nodes that one replica spans.
    pub nodes: u64,
    /// Number of GPUs per pod.
    pub gpus: u64,
    /// Resource requests of the main container, as Kubernetes quantities.
    pub requests: BTreeMap<String, String>,
    /// Resource limits of the main container, as Kubernetes quantities.
    pub limits: BTreeMap<String, String>,
    /// Labels that the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of the pod, as Kubernetes objects.
    pub tolerations: Vec<Value>,
    /// Image of the main container.
    pub image: String,
    /// Whether the component sets its runtime version explicitly instead of through the image tag.
    pub has_runtime_version: bool,
    /// Names of the PVCs that the pod mounts.
    pub pvcs: Vec<String>,
}

impl ComponentRequests {
    /// Returns the number of GPUs of all pods.
    pub fn total_gpus(&self) -> u64 {
        self.pods.saturating_mul(self.gpus)
    }
}

/// Returns the resource requests of each component of the graph, with the number of pods that will start.
pub fn component_requests(input: &PreflightInput<'_>) -> Vec<ComponentRequests> {
    let graph = input.resources.iter().find(|resource| resource.kind() == "DynamoGraphDeployment");
    let Some(graph) = graph else { return Vec::new() };
    let components = GraphView::new(&graph.object).components();
    components.iter().map(|component| requests_of(graph.name(), component, input)).collect()
}

fn requests_of(graph: &str, component: &ComponentView, input: &PreflightInput<'_>) -> ComponentRequests {
    let nodes = component.nodes().max(1);
    let replicas = match input.starting_pods {
        None => component.replicas(),
        Some(starting_pods) => {
            starting_pods.iter().find(|(one, _)| one == component.name).map_or(0, |(_, pods)| *pods)
        }
    };
    let limits = component.limits();
    ComponentRequests {
        name: component.name.into(),
        graph: graph.into(),
        pods: replicas.saturating_mul(nodes),
        nodes,
        gpus: limits.get(GPU_RESOURCE).and_then(|gpus| gpus.parse().ok()).unwrap_or(0),
        requests: with_default_requests(component.requests(), &limits),
        limits,
        node_selector: component.node_selector(),
        tolerations: component.tolerations(),
        image: component.main_container().image().unwrap_or_default().into(),
        has_runtime_version: component.runtime_version().is_some(),
        pvcs: component.pvcs().into_iter().map(Into::into).collect(),
    }
}

/// Adds the limits as requests where a request is missing, as Kubernetes does.
fn with_default_requests(
    mut requests: BTreeMap<String, String>,
    limits: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    for (resource, limit) in limits {
        requests.entry(resource.clone()).or_insert_with(|| limit.clone());
    }
    requests
}

/// Parses a quantity into thousandths of its unit, so that cores and bytes can be added the same way.
pub(super) fn parse_milli(amount: &str) -> Option<u128> {
    ExactQuantity::parse(amount)?.thousandths()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resource;
    use serde_json::json;

    #[test]
    fn both_api_versions_yield_the_same_requests() {
        let beta = json!({ "kind": "DynamoGraphDeployment", "metadata": { "name": "g" }, "spec": { "components": [{
            "name": "worker", "replicas": 2, "multinode": { "nodeCount": 2 },
            "podTemplate": { "spec": {
                "nodeSelector": { "pool": "a" },
                "tolerations": [{ "key": "t", "operator": "Exists" }],
                "volumes": [{ "name": "c", "persistentVolumeClaim": { "claimName": "c" } }],
                "containers": [{ "name": "main", "image": "r:1", "resources": {
                    "requests": { "cpu": "500m" }, "limits": { "nvidia.com/gpu": "4" } } }],
            } },
        }] } });
        let alpha = json!({ "kind": "DynamoGraphDeployment", "metadata": { "name": "g" }, "spec": { "services": { "worker": {
            "replicas": 2, "multinode": { "nodeCount": 2 },
            "resources": { "requests": { "cpu": "500m" }, "limits": { "gpu": "4" } },
            "volumeMounts": [{ "name": "c", "mountPoint": "/m" }],
            "extraPodSpec": {
                "nodeSelector": { "pool": "a" },
                "tolerations": [{ "key": "t", "operator": "Exists" }],
                "mainContainer": { "image": "r:1" },
            },
        } } } });
        let requests_of = |object: &Value| {
            let resources = [Resource { object: object.clone() }];
            component_requests(&PreflightInput { resources: &resources, ..PreflightInput::default() })
        };
        assert_eq!(requests_of(&beta), requests_of(&alpha));
        let worker = requests_of(&beta).remove(0);
        assert_eq!((worker.pods, worker.nodes, worker.gpus, worker.total_gpus()), (4, 2, 4, 16));
        assert_eq!(worker.pvcs, ["c"]);
    }

    #[test]
    fn counts_only_starting_pods_of_an_update() {
        let graph = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [
            { "name": "prefill", "replicas": 2 }, { "name": "decode", "replicas": 3 },
        ] } });
        let resources = [Resource { object: graph }];
        let starting_pods = [("decode".to_owned(), 1)];
        let input = PreflightInput {
            resources: &resources,
            starting_pods: Some(&starting_pods),
            ..PreflightInput::default()
        };
        let pods: Vec<u64> = component_requests(&input).iter().map(|one| one.pods).collect();
        assert_eq!(pods, [0, 1]);
    }

    #[test]
    fn limit_is_the_default_request() {
        let graph = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [{
            "name": "worker", "podTemplate": { "spec": { "containers": [{ "name": "main", "resources": {
                "requests": { "cpu": "1" }, "limits": { "cpu": "2", "memory": "8Gi" } } }] } } }] } });
        let resources = [Resource { object: graph }];
        let worker =
            component_requests(&PreflightInput { resources: &resources, ..PreflightInput::default() })
                .remove(0);
        assert_eq!((worker.requests["cpu"].as_str(), worker.requests["memory"].as_str()), ("1", "8Gi"));
    }

    #[test]
    fn parses_quantities_to_milli_units() {
        for (amount, expected) in
            [("500m", 500), ("0.5", 500), ("1.5m", 2), ("2", 2000), ("1Ki", 1_024_000), ("100u", 1)]
        {
            assert_eq!(parse_milli(amount), Some(expected), "{amount}");
        }
        assert_eq!(parse_milli("x"), None);
    }
}
