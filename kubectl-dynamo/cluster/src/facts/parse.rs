//! Parses Kubernetes objects into facts, with only the fields that a preflight check uses.
//! A cluster may have ten thousand nodes and pods, so these are deserialized into small types. The other kinds
//! have the types of k8s-openapi.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhook;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{ResourceRule, SubjectRulesReviewStatus};
use k8s_openapi::api::core::v1::{LimitRange as LimitRangeObject, PersistentVolume, ResourceQuota, Secret};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::api::storage::v1::StorageClass as StorageClassObject;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::preflight::{
    Authorizer, LimitRange, Node as NodeFacts, OperatorFacts, PodUsage, PolicyRule, Quota, StorageClass,
    Taint, Volume, Webhook,
};
use kubectl_dynamo_core::readiness::GRAPH_LABEL;

const GPU: &str = "nvidia.com/gpu";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

/// The fields of a Node that the checks use.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct NodeObject {
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

impl NodeObject {
    pub(super) fn into_facts(self) -> NodeFacts {
        let allocatable = &self.status.allocatable;
        let is_available = |amount: &str| amount != "0";
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
            // Network operators and clouds use different names for RDMA resources.
            rdma: allocatable.iter().any(|(name, amount)| {
                is_available(amount)
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

/// The fields of a Pod that the checks use.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct PodObject {
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
    persistent_volume_claim: Option<PvcSource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PvcSource {
    claim_name: String,
}

impl PodObject {
    pub(super) fn into_facts(mut self) -> PodUsage {
        let pvcs = self.spec.volumes.into_iter().filter_map(|volume| volume.persistent_volume_claim);
        let (sidecars, init_containers): (Vec<&Container>, Vec<&Container>) =
            self.spec.init_containers.iter().partition(|one| one.restart_policy.is_some());
        let gpus_of = |one: &Container| gpus(&one.resources.requests);
        let sidecar_gpus: u64 = sidecars.into_iter().map(gpus_of).sum();
        let running_gpus = self.spec.containers.iter().map(gpus_of).sum::<u64>() + sidecar_gpus;
        PodUsage {
            gpus: running_gpus.max(init_containers.into_iter().map(gpus_of).max().unwrap_or(0)),
            namespace: self.metadata.namespace,
            name: self.metadata.name,
            node: self.spec.node_name,
            pvcs: pvcs.map(|pvc| pvc.claim_name).collect(),
            graph: self.metadata.labels.remove(GRAPH_LABEL),
        }
    }
}

fn amounts(amounts: Option<BTreeMap<String, Quantity>>) -> BTreeMap<String, String> {
    amounts.into_iter().flatten().map(|(name, amount)| (name, amount.0)).collect()
}

/// Parses the status of a SelfSubjectRulesReview. Resource names of a rule are ignored, so a rule for single
/// objects counts as a rule for all objects.
pub(super) fn permissions(status: SubjectRulesReviewStatus) -> Authorizer {
    let parse_rule = |rule: ResourceRule| PolicyRule {
        verbs: rule.verbs,
        groups: rule.api_groups.unwrap_or_default(),
        resources: rule.resources.unwrap_or_default(),
    };
    Authorizer {
        rules: status.resource_rules.into_iter().map(parse_rule).collect(),
        incomplete: status.incomplete,
    }
}

/// Parses a Deployment; `None` if it is not a Dynamo operator.
pub(super) fn operator(deployment: &Deployment) -> Option<OperatorFacts> {
    let spec = deployment.spec.as_ref()?;
    let containers = &spec.template.spec.as_ref()?.containers;
    let mut images = containers.iter().filter_map(|one| one.image.as_deref());
    let image = images
        .find(|image| ["dynamo-operator", "kubernetes-operator"].iter().any(|name| image.contains(name)));
    let has_operator_label =
        deployment.label("app.kubernetes.io/name").is_some_and(|name| name.contains("dynamo-operator"));
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    (has_operator_label || image.is_some()).then(|| OperatorFacts {
        deployment: format!("{}/{}", deployment.namespace(), deployment.name()),
        version: image
            .and_then(|image| image.split('@').next()?.rsplit_once(':'))
            .map(|(_, tag)| tag.to_owned())
            .or_else(|| deployment.label("app.kubernetes.io/version").map(Into::into)),
        ready: u64::try_from(ready).unwrap_or(0),
        desired: u64::try_from(spec.replicas.unwrap_or(1)).unwrap_or(1),
    })
}

/// A configuration of validating or mutating webhooks, with the fields that both have.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct WebhookConfiguration {
    webhooks: Vec<ValidatingWebhook>,
}

impl WebhookConfiguration {
    /// The webhooks for graphs.
    pub(super) fn into_facts(self) -> impl Iterator<Item = Webhook> {
        let contains = |list: &Option<Vec<String>>, name: &str| list.iter().flatten().any(|one| one == name);
        let matches_graphs = move |webhook: &ValidatingWebhook| {
            webhook.rules.iter().flatten().any(|rule| {
                contains(&rule.api_groups, "nvidia.com")
                    && contains(&rule.resources, "dynamographdeployments")
            })
        };
        self.webhooks.into_iter().filter(matches_graphs).map(|webhook| Webhook {
            name: webhook.name,
            service: webhook
                .client_config
                .service
                .map(|service| format!("{}/{}", service.namespace, service.name)),
            is_required: webhook.failure_policy.as_deref() != Some("Ignore"),
            ..Webhook::default()
        })
    }
}

/// The number of ready addresses of an EndpointSlice. An address without a `ready` condition counts as ready.
pub(super) fn ready_addresses(slice: &EndpointSlice) -> usize {
    let is_ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
    };
    slice.endpoints.iter().filter(is_ready).count()
}

pub(super) fn quota(quota: ResourceQuota) -> Quota {
    let name = quota.name().to_owned();
    let (spec, status) = (quota.spec.unwrap_or_default(), quota.status.unwrap_or_default());
    Quota {
        name,
        // Only the status has the usage. The limits are in the spec until the controller copies them to the
        // status.
        hard: amounts(status.hard.or(spec.hard)),
        used: amounts(status.used),
        scoped: spec.scopes.is_some() || spec.scope_selector.is_some(),
    }
}

pub(super) fn limit_range(range: LimitRangeObject) -> LimitRange {
    let mut limit_range = LimitRange { name: range.name().to_owned(), ..LimitRange::default() };
    let limits = range.spec.unwrap_or_default().limits.into_iter();
    for limit in limits.filter(|limit| limit.type_ == "Container") {
        limit_range.max.extend(amounts(limit.max));
        limit_range.min.extend(amounts(limit.min));
        limit_range.default_limit.extend(amounts(limit.default));
    }
    limit_range
}

pub(super) fn storage_class(class: StorageClassObject) -> StorageClass {
    const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
    StorageClass {
        name: class.name().to_owned(),
        is_default: class.annotation(DEFAULT) == Some("true"),
        binds_on_first_consumer: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
        provisioner: class.provisioner.clone(),
    }
}

/// Parses a PersistentVolume; `None` if a new PVC cannot bind to it.
pub(super) fn volume(volume: &PersistentVolume) -> Option<Volume> {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let class = volume.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default();
    matches!(phase, None | Some("Available" | "Pending")).then_some(Volume { class })
}

/// The keys of a Secret with a non-empty value.
pub(super) fn non_empty_keys(secret: &Secret) -> Vec<String> {
    let data = secret.data.iter().flatten();
    data.filter(|(_, value)| !value.0.is_empty()).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn typed<T: serde::de::DeserializeOwned>(document: Value) -> T {
        serde_json::from_value(document).expect("the object has the fields of its kind")
    }

    #[test]
    fn parses_node_facts() {
        let node: NodeObject = serde_json::from_value(json!({
            "metadata": { "name": "n", "labels": { "pool": "a" } },
            "spec": { "unschedulable": true, "taints": [{ "key": "t", "effect": "NoSchedule", "timeAdded": "x" }] },
            "status": {
                "allocatable": { "nvidia.com/gpu": "8", "rdma/hca_shared_devices_a": "63" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        }))
        .expect("a valid node");
        let facts = node.into_facts();
        assert!(facts.ready && facts.cordoned && facts.rdma);
        assert_eq!((facts.gpus, facts.taints[0].key.as_str(), facts.labels["pool"].as_str()), (8, "t", "a"));
    }

    #[test]
    fn pod_gpus_include_sidecars_and_init_containers() {
        let gpu = |count: &str| json!({ "resources": { "requests": { "nvidia.com/gpu": count } } });
        let mut sidecar = gpu("1");
        sidecar["restartPolicy"] = "Always".into();
        let pod: PodObject = serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { GRAPH_LABEL: "g" } },
            "spec": {
                "nodeName": "gpu-01",
                "containers": [gpu("2"), gpu("1")],
                "initContainers": [gpu("3"), sidecar],
                "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }, { "name": "e" }],
            },
        }))
        .expect("a valid pod");
        let facts = pod.into_facts();
        assert_eq!((facts.gpus, facts.node.as_str(), facts.graph.as_deref()), (4, "gpu-01", Some("g")));
        assert_eq!(facts.pvcs, ["c"]);
    }

    #[test]
    fn detects_operator_by_image_or_label() {
        let deployment = |name: &str, image: &str| {
            typed::<Deployment>(json!({
                "metadata": { "name": "op", "namespace": "d", "labels": { "app.kubernetes.io/name": name } },
                "spec": { "template": { "spec": { "containers": [{ "image": "proxy:1" }, { "image": image }] } } },
                "status": { "readyReplicas": 1 },
            }))
        };
        let by_image = operator(&deployment("other", "nvcr.io/nvidia/ai-dynamo/kubernetes-operator:1.5.1"));
        assert_eq!(by_image.and_then(|one| one.version).as_deref(), Some("1.5.1"));
        let by_label = operator(&deployment("dynamo-operator", "mirror/own:2"));
        assert_eq!(by_label.map(|one| (one.deployment, one.ready, one.desired)), Some(("d/op".into(), 1, 1)));
        assert_eq!(operator(&deployment("gpu-operator", "nvidia/gpu-operator:1")), None);
    }

    #[test]
    fn ignores_webhooks_for_other_resources() {
        let rule = |resource: &str| json!([{ "apiGroups": ["nvidia.com"], "resources": [resource] }]);
        let configuration = json!({ "webhooks": [
            { "name": "a", "rules": rule("dynamographdeployments"), "failurePolicy": "Fail",
              "clientConfig": { "service": { "namespace": "d", "name": "s" } } },
            { "name": "b", "rules": rule("dynamomodels") },
        ] });
        let found: Vec<Webhook> = typed::<WebhookConfiguration>(configuration).into_facts().collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].service.as_deref(), found[0].is_required), (Some("d/s"), true));
    }

    #[test]
    fn parses_quotas_and_limit_ranges() {
        let found = quota(typed(json!({ "metadata": { "name": "q" }, "spec": { "hard": { "pods": "1" } } })));
        assert_eq!(found.hard["pods"], "1");
        let found = limit_range(typed(json!({ "spec": { "limits": [
            { "type": "Pod", "max": { "cpu": "1" } },
            { "type": "Container", "max": { "cpu": "2" }, "default": { "memory": "1Gi" } },
        ] } })));
        assert_eq!((found.max["cpu"].as_str(), found.default_limit["memory"].as_str()), ("2", "1Gi"));
    }
}
