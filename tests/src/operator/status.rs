//! Computes a graph's status from its component deployments.
//! It does not access the API server.

use serde_json::{Value, json};

use super::api_client::{list, text};
use super::component_controller::condition;
use super::graph::OperatorGraph;
use crate::kubernetes::definitions::GraphGeneration;

/// State of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GraphState {
    Ready,
    /// Messages about what is not ready, sorted.
    Waiting(Vec<String>),
    Rolling,
    /// The operator itself failed: a reason and a message.
    Failed(&'static str, String),
}

/// Returns the state of the graph for these component deployments.
pub(super) fn graph_state(graph: &OperatorGraph, children: &[Value]) -> GraphState {
    let mut waiting: Vec<String> = graph
        .components
        .iter()
        .filter_map(|component| {
            let child = children.iter().find(|child| text(child, "/metadata/name") == component.child);
            not_ready_reason(child, graph.generation).map(|why| format!("{}: {why}", component.child))
        })
        .collect();
    waiting.sort();
    if waiting.is_empty() { GraphState::Ready } else { GraphState::Waiting(waiting) }
}

/// Returns why a component deployment is not ready, unless it is.
fn not_ready_reason(child: Option<&Value>, generation: GraphGeneration) -> Option<String> {
    let desired = child.map(|child| child["metadata"]["generation"].as_i64().unwrap_or(1)).unwrap_or(1);
    let observed = child.and_then(|child| child["status"]["observedGeneration"].as_i64()).unwrap_or(0);
    if generation == GraphGeneration::V1Beta1 && observed < desired {
        return Some(format!("spec not yet processed: generation={desired}, observedGeneration={observed}"));
    }
    let available = child.is_some_and(|child| {
        list(child, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
    });
    (!available).then(|| "Component deployment not ready - Available condition not true".to_owned())
}

/// Returns the complete status. `rolling_update` is the status of the last rollout in 1.5.
pub(super) fn graph_status(
    graph: &OperatorGraph,
    graph_state: &GraphState,
    children: &[Value],
    rolling_update: Option<Value>,
) -> Value {
    let (state, ready, reason, message) = match graph_state {
        GraphState::Ready => {
            ("successful", "True", "all_resources_are_ready", "All resources are ready".to_owned())
        }
        GraphState::Waiting(waiting) => (
            "pending",
            "False",
            "some_resources_are_not_ready",
            format!("Resources not ready: {}", waiting.join("; ")),
        ),
        GraphState::Rolling => {
            ("pending", "False", "rolling_update_in_progress", "Rolling update in progress".to_owned())
        }
        GraphState::Failed(reason, message) => ("failed", "False", *reason, message.clone()),
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
    let counted = component_counts(graph, children);
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

/// Returns the replicas of each component; during a rollout, those of the old and the new workers together.
fn component_counts(graph: &OperatorGraph, children: &[Value]) -> Value {
    let field = match graph.generation {
        GraphGeneration::V1Alpha1 => "/status/service",
        GraphGeneration::V1Beta1 => "/status/component",
    };
    let mut counted = json!({});
    for component in &graph.components {
        let label = super::names::COMPONENT_LABEL;
        let mut component_children: Vec<&Value> = children
            .iter()
            .filter(|child| child["metadata"]["labels"][label].as_str() == Some(&component.name))
            .filter(|child| child.pointer(field).is_some())
            .collect();
        component_children.sort_by_key(|child| text(child, "/metadata/name"));
        let Some(newest) = component_children
            .iter()
            .find(|child| text(child, "/metadata/name") == component.child)
            .or(component_children.first())
        else {
            continue;
        };
        let mut sum = newest.pointer(field).cloned().unwrap_or_default();
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            let total: i64 =
                component_children.iter().filter_map(|child| child.pointer(field)?[count].as_i64()).sum();
            sum[count] = json!(total);
        }
        if graph.generation == GraphGeneration::V1Beta1 {
            let names: Vec<&str> =
                component_children.iter().map(|child| text(child, "/metadata/name")).collect();
            sum["componentNames"] = json!(names);
        }
        counted[&component.name] = sum;
    }
    counted
}
