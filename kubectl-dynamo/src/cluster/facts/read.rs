//! From Kubernetes' objects to facts: of each only what a check goes by. Nodes and pods, of which there may be ten
//! thousand, are read as such and not as whole objects.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::preflight::{
    Authorizer, LimitRange, Node as NodeFacts, Operator, PodUse, Quota, Rule, StorageClass, Taint, Volume,
    Webhook,
};
use crate::readiness::GRAPH_LABEL;

const GPU: &str = "nvidia.com/gpu";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// A node, as far as it matters.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Node {
    metadata: Metadata,
    spec: NodeSpec,
    status: NodeStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeSpec {
    taints: Vec<NodeTaint>,
    unschedulable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeTaint {
    key: String,
    value: String,
    effect: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct NodeStatus {
    allocatable: BTreeMap<String, String>,
    conditions: Vec<Condition>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Node {
    pub(super) fn facts(self) -> NodeFacts {
        let allocatable = &self.status.allocatable;
        let offers = |amount: &str| amount != "0";
        NodeFacts {
            name: self.metadata.name,
            labels: self.metadata.labels,
            taints: self
                .spec
                .taints
                .into_iter()
                .map(|NodeTaint { key, value, effect }| Taint { key, value, effect })
                .collect(),
            ready: self.status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True"),
            cordoned: self.spec.unschedulable,
            gpus: gpus(allocatable),
            // Network operators and clouds name these each in their own way.
            rdma: allocatable.iter().any(|(name, amount)| {
                offers(amount)
                    && ["rdma/", "/rdma", "/efa", "/hca", "/ib", "/roce"]
                        .iter()
                        .any(|part| name.contains(part))
            }),
        }
    }
}

fn gpus(amounts: &BTreeMap<String, String>) -> u64 {
    amounts.get(GPU).and_then(|amount| amount.parse().ok()).unwrap_or(0)
}

/// A pod, as far as it matters.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Pod {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodSpec {
    node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    volumes: Vec<PodVolume>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    resources: Resources,
    restart_policy: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resources {
    requests: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct PodVolume {
    persistent_volume_claim: Option<ClaimSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaimSource {
    claim_name: String,
}

impl Pod {
    pub(super) fn facts(mut self) -> PodUse {
        let claims = self.spec.volumes.into_iter().filter_map(|volume| volume.persistent_volume_claim);
        let (sidecars, initial): (Vec<&Container>, Vec<&Container>) =
            self.spec.init_containers.iter().partition(|one| one.restart_policy.is_some());
        let of = |one: &Container| gpus(&one.resources.requests);
        let beside: u64 = sidecars.into_iter().map(of).sum();
        let running = self.spec.containers.iter().map(of).sum::<u64>() + beside;
        PodUse {
            gpus: running.max(initial.into_iter().map(of).max().unwrap_or(0)),
            namespace: self.metadata.namespace,
            name: self.metadata.name,
            node: self.spec.node_name,
            claims: claims.map(|claim| claim.claim_name).collect(),
            graph: self.metadata.labels.remove(GRAPH_LABEL),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn amounts(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(name, amount)| (name.clone(), text(amount))).collect()
}

/// The status of a SelfSubjectRulesReview. A rule for single objects counts as one for all: which they are does not
/// tell whether the one that matters is among them.
pub(super) fn rights(status: &Value) -> Authorizer {
    let rule = |rule: &Value| Rule {
        verbs: texts(&rule["verbs"]),
        groups: texts(&rule["apiGroups"]),
        resources: texts(&rule["resources"]),
    };
    Authorizer {
        rules: status["resourceRules"].as_array().into_iter().flatten().map(rule).collect(),
        incomplete: status["incomplete"] == true,
    }
}

/// A Deployment, if it is one of a Dynamo operator.
pub(super) fn operator(deployment: &Value) -> Option<Operator> {
    let metadata = &deployment["metadata"];
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array()?;
    let images: Vec<&str> = containers.iter().filter_map(|one| one["image"].as_str()).collect();
    let own =
        |image: &&&str| ["dynamo-operator", "kubernetes-operator"].iter().any(|name| image.contains(name));
    let image = images.iter().find(own);
    let labelled = metadata["labels"]["app.kubernetes.io/name"]
        .as_str()
        .is_some_and(|name| name.contains("dynamo-operator"));
    (labelled || image.is_some()).then(|| Operator {
        deployment: format!("{}/{}", text(&metadata["namespace"]), text(&metadata["name"])),
        version: image
            .and_then(|image| image.split('@').next()?.rsplit_once(':'))
            .map(|(_, tag)| tag.to_owned())
            .or_else(|| metadata["labels"]["app.kubernetes.io/version"].as_str().map(Into::into)),
        ready: deployment["status"]["readyReplicas"].as_u64().unwrap_or(0),
        wanted: deployment["spec"]["replicas"].as_u64().unwrap_or(1),
    })
}

/// The webhooks for graphs in a configuration.
pub(super) fn webhooks(configuration: &Value) -> Vec<Webhook> {
    let about_graphs = |webhook: &&Value| {
        webhook["rules"].as_array().into_iter().flatten().any(|rule| {
            texts(&rule["apiGroups"]).iter().any(|group| group == "nvidia.com")
                && texts(&rule["resources"]).iter().any(|name| name == "dynamographdeployments")
        })
    };
    let one = |webhook: &Value| {
        let service = &webhook["clientConfig"]["service"];
        let service = service
            .is_object()
            .then(|| format!("{}/{}", text(&service["namespace"]), text(&service["name"])));
        Webhook {
            name: text(&webhook["name"]),
            service,
            must_answer: webhook["failurePolicy"] != "Ignore",
            ..Webhook::default()
        }
    };
    configuration["webhooks"].as_array().into_iter().flatten().filter(about_graphs).map(one).collect()
}

/// How many addresses of an EndpointSlice are ready; one that does not say is.
pub(super) fn ready_addresses(slice: &Value) -> usize {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false).count()
}

pub(super) fn quota(quota: &Value) -> Quota {
    // What is used stands in the status alone, and what is allowed is the spec's until the status follows.
    let hard = match &quota["status"]["hard"] {
        Value::Null => &quota["spec"]["hard"],
        hard => hard,
    };
    Quota {
        name: text(&quota["metadata"]["name"]),
        hard: amounts(hard),
        used: amounts(&quota["status"]["used"]),
        scoped: quota["spec"]["scopes"].is_array() || quota["spec"]["scopeSelector"].is_object(),
    }
}

pub(super) fn limit_range(range: &Value) -> LimitRange {
    let limits = range["spec"]["limits"].as_array().into_iter().flatten();
    let of_containers = limits.filter(|limit| limit["type"] == "Container");
    let mut found = LimitRange { name: text(&range["metadata"]["name"]), ..LimitRange::default() };
    for limit in of_containers {
        found.max.extend(amounts(&limit["max"]));
        found.min.extend(amounts(&limit["min"]));
        found.default_limit.extend(amounts(&limit["default"]));
    }
    found
}

pub(super) fn storage_class(class: &Value) -> StorageClass {
    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
    StorageClass {
        name: text(&class["metadata"]["name"]),
        is_default: class["metadata"]["annotations"][DEFAULT] == "true",
        binds_late: class["volumeBindingMode"] == "WaitForFirstConsumer",
    }
}

/// A volume that a new claim may get.
pub(super) fn volume(volume: &Value) -> Option<Volume> {
    let free = matches!(volume["status"]["phase"].as_str(), None | Some("Available" | "Pending"));
    free.then(|| Volume { class: text(&volume["spec"]["storageClassName"]) })
}

/// The keys of a Secret that hold something.
pub(super) fn keys(secret: &Value) -> Vec<String> {
    let data = secret["data"].as_object().into_iter().flatten();
    data.filter(|(_, value)| value.as_str().is_some_and(|value| !value.is_empty()))
        .map(|(key, _)| key.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_what_matters_of_it() {
        let node: Node = serde_json::from_value(json!({
            "metadata": { "name": "n", "labels": { "pool": "a" } },
            "spec": { "unschedulable": true, "taints": [{ "key": "t", "effect": "NoSchedule", "timeAdded": "x" }] },
            "status": {
                "allocatable": { "nvidia.com/gpu": "8", "rdma/hca_shared_devices_a": "63" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        }))
        .expect("a node");
        let facts = node.facts();
        assert!(facts.ready && facts.cordoned && facts.rdma);
        assert_eq!((facts.gpus, facts.taints[0].key.as_str(), facts.labels["pool"].as_str()), (8, "t", "a"));
    }

    #[test]
    fn a_pod_holds_what_its_containers_ask_for_at_once() {
        let gpu = |count: &str| json!({ "resources": { "requests": { "nvidia.com/gpu": count } } });
        let mut sidecar = gpu("1");
        sidecar["restartPolicy"] = "Always".into();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { GRAPH_LABEL: "g" } },
            "spec": {
                "nodeName": "gpu-01",
                "containers": [gpu("2"), gpu("1")],
                "initContainers": [gpu("3"), sidecar],
                "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }, { "name": "e" }],
            },
        }))
        .expect("a pod");
        let facts = pod.facts();
        assert_eq!((facts.gpus, facts.node.as_str(), facts.graph.as_deref()), (4, "gpu-01", Some("g")));
        assert_eq!(facts.claims, ["c"]);
    }

    #[test]
    fn an_operator_is_told_by_its_image_or_its_label() {
        let deployment = |name: &str, image: &str| {
            json!({
                "metadata": { "name": "op", "namespace": "d", "labels": { "app.kubernetes.io/name": name } },
                "spec": { "template": { "spec": { "containers": [{ "image": "proxy:1" }, { "image": image }] } } },
                "status": { "readyReplicas": 1 },
            })
        };
        let by_image = operator(&deployment("other", "nvcr.io/nvidia/ai-dynamo/kubernetes-operator:1.5.1"));
        assert_eq!(by_image.and_then(|one| one.version).as_deref(), Some("1.5.1"));
        let by_label = operator(&deployment("dynamo-operator", "mirror/own:2"));
        assert_eq!(by_label.map(|one| (one.deployment, one.ready, one.wanted)), Some(("d/op".into(), 1, 1)));
        assert_eq!(operator(&deployment("gpu-operator", "nvidia/gpu-operator:1")), None);
    }

    #[test]
    fn webhooks_for_graphs_alone_count() {
        let rule = |resource: &str| json!([{ "apiGroups": ["nvidia.com"], "resources": [resource] }]);
        let configuration = json!({ "webhooks": [
            { "name": "a", "rules": rule("dynamographdeployments"), "failurePolicy": "Fail",
              "clientConfig": { "service": { "namespace": "d", "name": "s" } } },
            { "name": "b", "rules": rule("dynamomodels") },
        ] });
        let found = webhooks(&configuration);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].service.as_deref(), found[0].must_answer), (Some("d/s"), true));
    }

    #[test]
    fn quotas_and_ranges_are_read() {
        let found = quota(&json!({ "metadata": { "name": "q" }, "spec": { "hard": { "pods": "1" } } }));
        assert_eq!(found.hard["pods"], "1");
        let found = limit_range(&json!({ "spec": { "limits": [
            { "type": "Pod", "max": { "cpu": "1" } },
            { "type": "Container", "max": { "cpu": "2" }, "default": { "memory": "1Gi" } },
        ] } }));
        assert_eq!((found.max["cpu"].as_str(), found.default_limit["memory"].as_str()), ("2", "1Gi"));
    }
}
