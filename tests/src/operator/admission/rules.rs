//! The admission rules of the operators as a checker of graphs that nobody applied: those of the stand-in's webhooks,
//! and those of releases that it does not play.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{list, text};
use super::{v1alpha1, v1beta1};

/// What 0.9.1 and the operators after it refuse of a new v1alpha1 graph.
pub fn broken_v1alpha1(graph: &Value) -> Vec<String> {
    let mut broken = messages(&v1alpha1::validate(graph, None).response());
    let services = graph["spec"]["services"].as_object();
    for (name, service) in services.into_iter().flatten() {
        let nodes = service.pointer("/multinode/nodeCount").and_then(Value::as_i64);
        broken.extend(length(graph, name, nodes));
        broken.extend(duplicates(list(service, "/envs"), &format!("spec.services[{name}].envs")));
    }
    for claim in list(graph, "/spec/pvcs") {
        if claim["create"] == false && claim["size"] != "0" {
            broken.push("spec.pvcs: the operator adds size \"0\" and owns the list from then on".into());
        }
    }
    broken
}

/// What 1.4 and later refuse of a new v1beta1 graph.
pub fn broken_v1beta1(graph: &Value) -> Vec<String> {
    let mut broken = messages(&v1beta1::validate(graph, None).response());
    broken.extend(v1beta1::mutate(graph, true).err().iter().flat_map(messages));
    let components = list(graph, "/spec/components");
    let names: Vec<String> =
        components.iter().map(|component| text(component, "/name").to_lowercase()).collect();
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        broken.push("component names must be unique case-insensitively".into());
    }
    for component in components {
        let nodes = component.pointer("/multinode/nodeCount").and_then(Value::as_i64);
        broken.extend(length(graph, text(component, "/name"), nodes));
        broken.extend(multinode(component, nodes));
        for container in list(component, "/podTemplate/spec/initContainers") {
            if text(container, "/name") == "runtime" {
                broken.push("init container `runtime` is reserved from 1.6 on".into());
            }
        }
        for container in list(component, "/podTemplate/spec/containers") {
            broken.extend(duplicates(list(container, "/env"), text(component, "/name")));
        }
    }
    broken
}

/// Grove's rule, which is the tightest: the graph's name and the component's share 45 characters.
fn length(graph: &Value, component: &str, nodes: Option<i64>) -> Option<String> {
    let name = text(graph, "/metadata/name").len();
    let length = match nodes {
        Some(2..) => name + component.len() + component.len() + "-ldr".len(),
        _ => name + component.len(),
    };
    (length > 45)
        .then(|| format!("combined resource name length {length} exceeds 45-character limit of {component}"))
}

/// The operator tells tensor and pipeline sizes only by their long names, apart from the value, and starts a copy of
/// the model on every node where they do not exceed a pod's GPUs.
fn multinode(component: &Value, nodes: Option<i64>) -> Option<String> {
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

/// Names that stand twice in a list that server-side apply merges by name.
fn duplicates(entries: &[Value], place: &str) -> Option<String> {
    let mut names = BTreeSet::new();
    let twice = entries.iter().find(|entry| !names.insert(text(entry, "/name").to_owned()))?;
    Some(format!("{place}: duplicate entry {}", text(twice, "/name")))
}

fn messages(response: &Value) -> Vec<String> {
    let message = text(response, "/status/message");
    message.lines().map(ToOwned::to_owned).collect()
}
