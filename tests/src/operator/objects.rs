//! The objects that an operator creates for a graph and for each component, besides the pod template.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::access::{owned_by, text};
use super::pods;
use super::words;
use super::workload::Workload;
use crate::kubernetes::definitions::GraphGeneration;

/// What a graph's pods need to find each other; and what stays behind, which belongs to no one.
pub(super) fn discovery(graph: &Value, generation: GraphGeneration) -> Vec<Value> {
    let (name, namespace) = (text(graph, "/metadata/name"), text(graph, "/metadata/namespace"));
    let account = format!("{name}-k8s-service-discovery");
    // The label repeats the account's name, which is what limits a graph's name to 41 characters in 0.9.1.
    let labels = match generation {
        GraphGeneration::V1Alpha1 => json!({"app.kubernetes.io/name": account}),
        GraphGeneration::V1Beta1 => json!({}),
    };
    let metadata = |name: &str| json!({"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owned_by(graph)});
    let read = ["get", "list", "watch"];
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
                {"apiGroups": [""], "resources": pods, "verbs": read},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
                {"apiGroups": [words::GROUP], "resources": ["dynamoworkermetadatas"], "verbs": ["*"]},
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

/// What an operator leaves once in a namespace and never takes away: it has no owner.
pub(super) fn left_behind(namespace: &str) -> Vec<Value> {
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

/// The component's Deployment.
pub(super) fn deployment(workload: &Workload, owner: &Value, generation: GraphGeneration) -> Value {
    let template = pods::template(workload, generation);
    let mut annotations = workload.annotations.clone();
    annotations.insert(words::LAST_APPLIED_GENERATION.to_owned(), json!("1"));
    annotations.insert(words::LAST_APPLIED_HASH.to_owned(), json!(digest(&template)));
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": own_labels(workload),
            "annotations": annotations,
            "ownerReferences": owned_by(owner),
        },
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": {words::SELECTOR: workload.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": template,
        },
    })
}

/// The component's Services: one in 1.5, three in 0.9.1, whose third selects nothing.
pub(super) fn services(workload: &Workload, owner: &Value, generation: GraphGeneration) -> Vec<Value> {
    let name = workload.name.replace('.', "-");
    let plain = service(workload, owner, &name, generation);
    match generation {
        GraphGeneration::V1Beta1 => vec![plain],
        GraphGeneration::V1Alpha1 => {
            let production = service(workload, owner, &format!("{name}-p"), generation);
            let mut debug = service(workload, owner, &format!("{name}-d"), generation);
            debug["spec"]["selector"][words::DEPLOYMENT_TARGET] = json!("debug");
            vec![plain, production, debug]
        }
    }
}

fn service(workload: &Workload, owner: &Value, name: &str, generation: GraphGeneration) -> Value {
    let (port, port_name) = if workload.is_frontend() { (8000, "http") } else { (9090, "system") };
    let mut selector = json!({});
    for (label, value) in pods::component_labels(workload) {
        selector[label] = json!(value);
    }
    let mut labels = own_labels(workload);
    labels[words::DISCOVERY_BACKEND] = json!("kubernetes");
    labels[words::DISCOVERY_ENABLED] = json!("true");
    if let (Some(kind), GraphGeneration::V1Beta1) = (&workload.sub_type, generation) {
        labels[words::SUB_COMPONENT_TYPE] = json!(kind);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": workload.namespace,
            "labels": labels,
            "ownerReferences": owned_by(owner),
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": port_name, "port": port, "targetPort": port_name, "protocol": "TCP"}],
        },
    })
}

fn own_labels(workload: &Workload) -> Value {
    let mut labels = json!({
        words::COMPONENT: workload.component,
        words::GRAPH: workload.graph,
        words::DYNAMO_NAMESPACE: workload.dynamo_namespace(),
    });
    if let Some(hash) = &workload.hash {
        labels[words::WORKER_HASH] = json!(hash);
    }
    labels
}

/// The sha256 of an object's JSON, whose keys are sorted, in hexadecimal.
pub(super) fn digest(value: &Value) -> String {
    Sha256::digest(value.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}
