//! Performs the restart in a graph's `spec.restart.id`: components are restarted one after another by name,
//! with an annotation that changes the pod template.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api_client::{list, text};
use super::graph::{GraphComponent, OperatorGraph};
use super::names;
use crate::kubernetes::definitions::GraphGeneration;

/// Progress of a graph's restart.
#[derive(Debug, Clone, Default)]
pub(super) struct RestartProgress {
    /// `status.restart`; `None` if there was never a restart.
    pub(super) status: Option<Value>,
    /// The restart annotation of each component that has one, by name.
    pub(super) marks: BTreeMap<String, String>,
}

/// Returns whether the graph has, or ever had, a restart.
pub(super) fn has_restart(graph: &OperatorGraph) -> bool {
    ["/spec/restart", "/status/restart"].iter().any(|pointer| graph.object.pointer(pointer).is_some())
}

/// Performs the next step, if any, based on the current component deployments.
pub(super) fn advance(graph: &OperatorGraph, children: &[Value]) -> RestartProgress {
    let last = graph.object.pointer("/status/restart").cloned();
    let restart_id = text(&graph.object, "/spec/restart/id");
    let mut names: Vec<&str> = graph.components.iter().map(|component| component.name.as_str()).collect();
    names.sort_unstable();
    let current = last.as_ref().and_then(|last| Some(last["inProgress"][0].as_str()?.to_owned()));
    let restarts =
        |name: &str| json!({"observedID": restart_id, "phase": "Restarting", "inProgress": [name]});
    let status = match (&last, current) {
        _ if restart_id.is_empty() => last,
        (Some(last), _) if last["phase"] == "Completed" && last["observedID"] == restart_id => {
            Some(last.clone())
        }
        (Some(last), Some(current)) if last["observedID"] == restart_id => {
            let next = names.iter().find(|name| **name > current.as_str());
            match (has_restarted(graph, &current, children, restart_id), next) {
                (false, _) => Some(last.clone()),
                (true, Some(next)) => Some(restarts(next)),
                (true, None) => Some(json!({"observedID": restart_id, "phase": "Completed"})),
            }
        }
        _ => names.first().map(|first| restarts(first)),
    };
    let reached = |name: &str| match &status {
        Some(status) if status["phase"] == "Completed" => true,
        Some(status) => status["inProgress"][0].as_str().is_some_and(|current| name <= current),
        None => false,
    };
    let marks = names.iter().filter_map(|name| {
        let mark = if !restart_id.is_empty() && reached(name) {
            restart_id.to_owned()
        } else {
            read_mark(find_child(graph, name, children)?, graph.generation)?
        };
        Some(((*name).to_owned(), mark))
    });
    RestartProgress { marks: marks.collect(), status }
}

/// Writes the annotation to the place that each API version uses.
pub(super) fn write_mark(mark: &str, spec: &mut Value, generation: GraphGeneration) {
    match generation {
        GraphGeneration::V1Alpha1 => spec["annotations"][names::RESTART_AT] = json!(mark),
        GraphGeneration::V1Beta1 => {
            spec["podTemplate"]["metadata"]["annotations"][names::RESTART_AT] = json!(mark)
        }
    }
}

fn read_mark(child: &Value, generation: GraphGeneration) -> Option<String> {
    let annotations = match generation {
        GraphGeneration::V1Alpha1 => &child["spec"]["annotations"],
        GraphGeneration::V1Beta1 => &child["spec"]["podTemplate"]["metadata"]["annotations"],
    };
    annotations[names::RESTART_AT].as_str().map(str::to_owned)
}

fn find_child<'a>(graph: &OperatorGraph, name: &str, children: &'a [Value]) -> Option<&'a Value> {
    let is_match = |component: &&GraphComponent| component.name == name;
    let own = &graph.components.iter().find(is_match)?.child;
    children.iter().find(|child| text(child, "/metadata/name") == own)
}

/// Returns whether all pods of the component run with this annotation.
fn has_restarted(graph: &OperatorGraph, name: &str, children: &[Value], restart_id: &str) -> bool {
    find_child(graph, name, children).is_some_and(|child| {
        let mut conditions = list(child, "/status/conditions").iter();
        read_mark(child, graph.generation).as_deref() == Some(restart_id)
            && child["status"]["observedGeneration"] == child["metadata"]["generation"]
            && conditions.any(|one| one["type"] == "Available" && one["status"] == "True")
    })
}
