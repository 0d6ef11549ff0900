//! The objects that an operator creates for a graph and for each component, besides the pod template.
//! It does not access the API server.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api_client::{owner_references, text};
use super::names;
use super::pod_template;
use super::workload::ComponentWorkload;
use crate::kubernetes::definitions::GraphGeneration;

/// Returns the objects that a graph's pods need for discovery. Some of them have no owner and remain.
pub(super) fn discovery_objects(graph: &Value, generation: GraphGeneration) -> Vec<Value> {
    let (name, namespace) = (text(graph, "/metadata/name"), text(graph, "/metadata/namespace"));
    let account = format!("{name}-k8s-service-discovery");
    // The label repeats the account's name, which limits a graph's name to 41 characters in 0.9.1.
    let labels = match generation {
        GraphGeneration::V1Alpha1 => json!({"app.kubernetes.io/name": account}),
        GraphGeneration::V1Beta1 => json!({}),
    };
    let metadata = |name: &str| json!({"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owner_references(graph)});
    let read_verbs = ["get", "list", "watch"];
    let pods: &[&str] = match generation {
        GraphGeneration::V1Alpha1 => &["endpoints"],
        GraphGeneration::V1Beta1 => &["endpoints", "pods"],
    };
    let (role, binding) = (format!("{account}-role"), format!("{account}-binding"));
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(&account)}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata(&role),
            "rules": [
                {"apiGroups": [""], "resources": pods, "verbs": read_verbs},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read_verbs},
                {"apiGroups": [names::API_GROUP], "resources": ["dynamoworkermetadatas"], "verbs": ["*"]},
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata(&binding),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }),
    ]
}

/// Returns the objects that an operator creates once per namespace and never removes: they have no owner.
pub(super) fn planner_objects(namespace: &str) -> Vec<Value> {
    let account = "planner-serviceaccount";
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "planner-serviceaccount-binding", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dynamo-planner"},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }),
    ]
}

/// Returns the component's Deployment.
pub(super) fn deployment(workload: &ComponentWorkload, owner: &Value, generation: GraphGeneration) -> Value {
    let template = pod_template::build(workload, generation);
    let mut annotations = workload.annotations.clone();
    annotations.insert(names::LAST_APPLIED_GENERATION.to_owned(), json!("1"));
    annotations.insert(names::LAST_APPLIED_HASH.to_owned(), json!(digest(&template)));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": component_object_labels(workload),
            "annotations": annotations,
            "ownerReferences": owner_references(owner),
        },
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": {names::SELECTOR_LABEL: workload.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": template,
        },
    })
}

/// Returns the component's Services: one in 1.5, three in 0.9.1. The third selects nothing.
pub(super) fn services(
    workload: &ComponentWorkload,
    owner: &Value,
    generation: GraphGeneration,
) -> Vec<Value> {
    let name = workload.name.replace('.', "-");
    let plain = service(workload, owner, &name, generation);
    match generation {
        GraphGeneration::V1Beta1 => vec![plain],
        GraphGeneration::V1Alpha1 => {
            let production = service(workload, owner, &format!("{name}-p"), generation);
            let mut debug = service(workload, owner, &format!("{name}-d"), generation);
            debug["spec"]["selector"][names::DEPLOYMENT_TARGET] = json!("debug");
            vec![plain, production, debug]
        }
    }
}

fn service(workload: &ComponentWorkload, owner: &Value, name: &str, generation: GraphGeneration) -> Value {
    let (port, port_name) = if workload.is_frontend() { (8000, "http") } else { (9090, "system") };
    let mut selector = json!({});
    for (label, value) in pod_template::component_labels(workload) {
        selector[label] = json!(value);
    }
    let mut labels = component_object_labels(workload);
    labels[names::DISCOVERY_BACKEND] = json!("kubernetes");
    labels[names::DISCOVERY_ENABLED] = json!("true");
    if let (Some(kind), GraphGeneration::V1Beta1) = (&workload.sub_type, generation) {
        labels[names::SUB_COMPONENT_TYPE_LABEL] = json!(kind);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": workload.namespace,
            "labels": labels,
            "ownerReferences": owner_references(owner),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP"}],
        },
    })
}

fn component_object_labels(workload: &ComponentWorkload) -> Value {
    let mut labels = json!({
        names::COMPONENT_LABEL: workload.component,
        names::GRAPH_LABEL: workload.graph,
        names::DYNAMO_NAMESPACE_LABEL: workload.dynamo_namespace(),
    });
    if let Some(hash) = &workload.hash {
        labels[names::WORKER_HASH_LABEL] = json!(hash);
    }
    labels
}

/// Returns the sha256 of an object's JSON with sorted keys, in hexadecimal.
pub(super) fn digest(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}
