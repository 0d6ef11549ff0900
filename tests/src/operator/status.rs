//! What a graph's status says, from its component deployments.

use serde_json::{Value, json};

use super::access::{list, text};
use super::component_controller::condition;
use super::graph::Graph;
use crate::kubernetes::definitions::GraphGeneration;

/// Where a graph stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Ready,
    /// Texts of what is not ready, sorted.
    Waiting(Vec<String>),
    Rolling,
    /// The operator itself could not go on: a reason and a message.
    Failed(&'static str, String),
}

/// Where the graph stands with these component deployments, its own by name.
pub(super) fn standing(graph: &Graph, children: &[Value]) -> Standing {
    let mut waiting: Vec<String> = graph
        .components
        .iter()
        .filter_map(|component| {
            let child = children.iter().find(|child| text(child, "/metadata/name") == component.child);
            not_ready(child, graph.generation).map(|why| format!("{}: {why}", component.child))
        })
        .collect();
    waiting.sort();
    if waiting.is_empty() { Standing::Ready } else { Standing::Waiting(waiting) }
}

/// Why a component deployment is not ready, unless it is.
fn not_ready(child: Option<&Value>, generation: GraphGeneration) -> Option<String> {
    let wanted = child.map(|child| child["metadata"]["generation"].as_i64().unwrap_or(1)).unwrap_or(1);
    let observed = child.and_then(|child| child["status"]["observedGeneration"].as_i64()).unwrap_or(0);
    if generation == GraphGeneration::V1Beta1 && observed < wanted {
        return Some(format!("spec not yet processed: generation={wanted}, observedGeneration={observed}"));
    }
    let available = child.is_some_and(|child| {
        list(child, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
    });
    (!available).then(|| "Component deployment not ready - Available condition not true".to_owned())
}

/// The whole status; `rolling_update` is 1.5's account of the last rollout.
pub(super) fn status(
    graph: &Graph,
    standing: &Standing,
    children: &[Value],
    rolling_update: Option<Value>,
) -> Value {
    let (state, ready, reason, message) = match standing {
        Standing::Ready => {
            ("successful", "True", "all_resources_are_ready", "All resources are ready".to_owned())
        }
        Standing::Waiting(waiting) => (
            "pending",
            "False",
            "some_resources_are_not_ready",
            format!("Resources not ready: {}", waiting.join("; ")),
        ),
        Standing::Rolling => {
            ("pending", "False", "rolling_update_in_progress", "Rolling update in progress".to_owned())
        }
        Standing::Failed(reason, message) => ("failed", "False", *reason, message.clone()),
    };
    let mut condition = condition(&graph.object, "Ready", ready, reason, &message);
    let mut status = json!({"state": state});
    if graph.generation == GraphGeneration::V1Beta1 {
        let generation = &graph.object["metadata"]["generation"];
        condition["observedGeneration"] = generation.clone();
        if state != "failed" {
            status["observedGeneration"] = generation.clone();
        }
    }
    status["conditions"] = json!([condition]);
    let counted = counted(graph, children);
    if counted.as_object().is_some_and(|counted| !counted.is_empty()) {
        let field = match graph.generation {
            GraphGeneration::V1Alpha1 => "services",
            GraphGeneration::V1Beta1 => "components",
        };
        status[field] = counted;
    }
    if let Some(restart) = &graph.restart.status {
        status["restart"] = restart.clone();
    }
    if let Some(rolling_update) = rolling_update {
        status["rollingUpdate"] = rolling_update;
    }
    status
}

/// The replicas of each component; during a rollout those of the old and the new together.
fn counted(graph: &Graph, children: &[Value]) -> Value {
    let field = match graph.generation {
        GraphGeneration::V1Alpha1 => "/status/service",
        GraphGeneration::V1Beta1 => "/status/component",
    };
    let mut counted = json!({});
    for component in &graph.components {
        let label = super::words::COMPONENT;
        let mut own: Vec<&Value> = children
            .iter()
            .filter(|child| child["metadata"]["labels"][label].as_str() == Some(&component.name))
            .filter(|child| child.pointer(field).is_some())
            .collect();
        own.sort_by_key(|child| text(child, "/metadata/name"));
        let Some(newest) =
            own.iter().find(|child| text(child, "/metadata/name") == component.child).or(own.first())
        else {
            continue;
        };
        let mut sum = newest.pointer(field).cloned().unwrap_or_default();
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            let total: i64 = own.iter().filter_map(|child| child.pointer(field)?[count].as_i64()).sum();
            sum[count] = json!(total);
        }
        if graph.generation == GraphGeneration::V1Beta1 {
            let names: Vec<&str> = own.iter().map(|child| text(child, "/metadata/name")).collect();
            sum["componentNames"] = json!(names);
        }
        counted[&component.name] = sum;
    }
    counted
}
