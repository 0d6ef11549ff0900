//! Admission rules of the operators, applied to graphs without a cluster: those of the test operator's
//! webhooks, and those of releases that it does not implement.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::api_client::{list, text};
use super::{v1alpha1, v1beta1};

/// Returns the violations of a new v1alpha1 graph according to 0.9.1 and later operators.
pub fn v1alpha1_violations(graph: &Value) -> Vec<String> {
    let mut violations = messages(&v1alpha1::validate(graph, None).response());
    let services = graph["spec"]["services"].as_object();
    for (name, service) in services.into_iter().flatten() {
        let nodes = service.pointer("/multinode/nodeCount").and_then(Value::as_i64);
        violations.extend(name_length_violation(graph, name, nodes));
        violations.extend(first_duplicate(list(service, "/envs"), &format!("spec.services[{name}].envs")));
    }
    for pvc in list(graph, "/spec/pvcs") {
        if pvc["create"] == false && pvc["size"] != "0" {
            violations.push("spec.pvcs: the operator adds size \"0\" and owns the list from then on".into());
        }
    }
    violations
}

/// Returns the violations of a new v1beta1 graph according to 1.4 and later operators.
pub fn v1beta1_violations(graph: &Value) -> Vec<String> {
    let mut violations = messages(&v1beta1::validate(graph, None).response());
    violations.extend(v1beta1::mutate(graph, true).err().iter().flat_map(messages));
    let components = list(graph, "/spec/components");
    let names: Vec<String> =
        components.iter().map(|component| text(component, "/name").to_lowercase()).collect();
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        violations.push("component names must be unique case-insensitively".into());
    }
    for component in components {
        let nodes = component.pointer("/multinode/nodeCount").and_then(Value::as_i64);
        violations.extend(name_length_violation(graph, text(component, "/name"), nodes));
        violations.extend(multinode_violation(component, nodes));
        for container in list(component, "/podTemplate/spec/initContainers") {
            if text(container, "/name") == "runtime" {
                violations.push("init container `runtime` is reserved from 1.6 on".into());
            }
        }
        for container in list(component, "/podTemplate/spec/containers") {
            violations.extend(first_duplicate(list(container, "/env"), text(component, "/name")));
        }
    }
    violations
}

/// Grove's rule, which is the strictest: the graph's name and the component's share 45 characters.
fn name_length_violation(graph: &Value, component: &str, nodes: Option<i64>) -> Option<String> {
    let name = text(graph, "/metadata/name").len();
    let length = match nodes {
        Some(2..) => name + component.len() + component.len() + "-ldr".len(),
        _ => name + component.len(),
    };
    (length > 45)
        .then(|| format!("combined resource name length {length} exceeds 45-character limit of {component}"))
}

/// The operator recognizes tensor and pipeline sizes only as long flags with a separate value. If they do not
/// exceed a pod's GPUs, it starts a copy of the model on every node.
fn multinode_violation(component: &Value, nodes: Option<i64>) -> Option<String> {
    let nodes = nodes?;
    let main = list(component, "/podTemplate/spec/containers").first()?;
    let args: Vec<&str> = list(main, "/args").iter().filter_map(Value::as_str).collect();
    let size = |flag: &str| {
        let at = args.iter().position(|arg| *arg == flag);
        at.and_then(|at| args.get(at + 1)).and_then(|size| size.parse::<i64>().ok()).unwrap_or(1)
    };
    let world =
        size("--tensor-parallel-size") * size("--pipeline-parallel-size") * size("--data-parallel-size");
    let gpus = text(main, "/resources/limits/nvidia.com~1gpu").parse::<i64>().unwrap_or(0);
    (world != nodes * gpus).then(|| format!("{world} ranks on {nodes} nodes of {gpus} GPUs"))
}

/// Returns the first duplicate name in a list that server-side apply merges by name.
fn first_duplicate(entries: &[Value], path: &str) -> Option<String> {
    let mut names = BTreeSet::new();
    let duplicate = entries.iter().find(|entry| !names.insert(text(entry, "/name").to_owned()))?;
    Some(format!("{path}: duplicate entry {}", text(duplicate, "/name")))
}

fn messages(response: &Value) -> Vec<String> {
    let message = text(response, "/status/message");
    message.lines().map(ToOwned::to_owned).collect()
}
