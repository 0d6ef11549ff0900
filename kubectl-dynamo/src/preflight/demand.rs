//! What the pods of a graph ask for, read from the rendered object, so that a graph of a file is looked at like our own.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Subject;
use crate::plan::Quantity;

/// The pods of one component that will start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentDemand {
    pub name: String,
    /// The graph it is of.
    pub graph: String,
    /// How many, all nodes of a replica counted.
    pub pods: u64,
    /// Nodes that one replica spans.
    pub nodes: u64,
    /// GPUs of each pod.
    pub gpus: u64,
    /// What each container asks for at least and may use at most, in Kubernetes' words.
    pub requests: BTreeMap<String, String>,
    pub limits: BTreeMap<String, String>,
    /// Labels that its node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Its tolerations as the pod has them.
    pub tolerations: Vec<Value>,
    /// Image of its main container.
    pub image: String,
    /// Whether it says its runtime version apart from the image.
    pub says_version: bool,
    /// The claims it mounts.
    pub claims: Vec<String>,
}

impl ComponentDemand {
    /// GPUs of all its pods.
    pub fn all_gpus(&self) -> u64 {
        self.pods * self.gpus
    }
}

/// The components of the graph among the objects, with the pods of each that will start.
pub fn demand(subject: &Subject<'_>) -> Vec<ComponentDemand> {
    let graph = subject.resources.iter().find(|resource| resource.kind() == "DynamoGraphDeployment");
    let Some(graph) = graph else { return Vec::new() };
    let spec = &graph.object["spec"];
    let listed = spec["components"].as_array().into_iter().flatten();
    let listed = listed.map(|one| (one["name"].as_str().unwrap_or_default(), one, beta_parts(one)));
    let keyed = spec["services"].as_object().into_iter().flatten();
    let keyed = keyed.map(|(name, one)| (name.as_str(), one, alpha_parts(one)));
    listed
        .chain(keyed)
        .map(|(name, one, parts)| component(graph.name(), name, one, &parts, subject))
        .collect()
}

/// Where each shape keeps what matters here.
struct Parts<'a> {
    pod: &'a Value,
    container: &'a Value,
    resources: &'a Value,
    mounts: &'a Value,
}

fn beta_parts(component: &Value) -> Parts<'_> {
    let pod = &component["podTemplate"]["spec"];
    let containers = pod["containers"].as_array();
    let main =
        containers.and_then(|all| all.iter().find(|one| one["name"] == "main")).unwrap_or(&Value::Null);
    Parts { pod, container: main, resources: &main["resources"], mounts: &Value::Null }
}

fn alpha_parts(service: &Value) -> Parts<'_> {
    let pod = &service["extraPodSpec"];
    Parts {
        pod,
        container: &pod["mainContainer"],
        resources: &service["resources"],
        mounts: &service["volumeMounts"],
    }
}

fn component(
    graph: &str,
    name: &str,
    component: &Value,
    parts: &Parts<'_>,
    subject: &Subject<'_>,
) -> ComponentDemand {
    let nodes = component["multinode"]["nodeCount"].as_u64().unwrap_or(1).max(1);
    let replicas = match subject.starts {
        None => component["replicas"].as_u64().unwrap_or(1),
        Some(starts) => starts.iter().find(|(one, _)| one == name).map_or(0, |(_, pods)| *pods),
    };
    let limits = amounts(&parts.resources["limits"]);
    let volumes = parts.pod["volumes"].as_array().into_iter().flatten();
    let claims = volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    // v1alpha1 makes a volume of each mount's name.
    let mounted = parts.mounts.as_array().into_iter().flatten().filter_map(|mount| mount["name"].as_str());
    ComponentDemand {
        name: name.into(),
        graph: graph.into(),
        pods: replicas * nodes,
        nodes,
        gpus: limits.get(GPU).and_then(|gpus| gpus.parse().ok()).unwrap_or(0),
        requests: amounts(&parts.resources["requests"]),
        limits,
        node_selector: texts(&parts.pod["nodeSelector"]),
        tolerations: parts.pod["tolerations"].as_array().cloned().unwrap_or_default(),
        image: parts.container["image"].as_str().unwrap_or_default().into(),
        says_version: component["runtimeVersionOverride"].is_string(),
        claims: claims.chain(mounted).map(Into::into).collect(),
    }
}

/// The resource that pods ask GPUs by.
pub(super) const GPU: &str = "nvidia.com/gpu";

/// Amounts by resource; v1alpha1's `gpu` is the resource of that name with its vendor.
fn amounts(value: &Value) -> BTreeMap<String, String> {
    let amounts = texts(value).into_iter();
    amounts.map(|(name, amount)| (if name == "gpu" { GPU.into() } else { name }, amount)).collect()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// An amount of anything as thousandths, so that cores and bytes are added alike.
pub(super) fn thousandths(amount: &str) -> Option<u128> {
    match amount.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => Quantity::parse(amount).map(|quantity| u128::from(quantity.bytes) * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Resource;
    use serde_json::json;

    #[test]
    fn both_shapes_ask_for_the_same() {
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
        let of = |object: &Value| {
            let resources = [Resource { object: object.clone() }];
            demand(&Subject { resources: &resources, ..Subject::default() })
        };
        assert_eq!(of(&beta), of(&alpha));
        let worker = of(&beta).remove(0);
        assert_eq!((worker.pods, worker.nodes, worker.gpus, worker.all_gpus()), (4, 2, 4, 16));
        assert_eq!(worker.claims, ["c"]);
    }

    #[test]
    fn an_update_starts_some_pods_alone() {
        let graph = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [
            { "name": "prefill", "replicas": 2 }, { "name": "decode", "replicas": 3 },
        ] } });
        let resources = [Resource { object: graph }];
        let starts = [("decode".to_owned(), 1)];
        let subject = Subject { resources: &resources, starts: Some(&starts), ..Subject::default() };
        let pods: Vec<u64> = demand(&subject).iter().map(|one| one.pods).collect();
        assert_eq!(pods, [0, 1]);
    }

    #[test]
    fn amounts_of_any_kind_are_added_alike() {
        for (amount, expected) in [("500m", 500), ("2", 2000), ("1Ki", 1_024_000)] {
            assert_eq!(thousandths(amount), Some(expected), "{amount}");
        }
        assert_eq!(thousandths("x"), None);
    }
}
