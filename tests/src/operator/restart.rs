//! Carries out a restart that a graph's `spec.restart.id` asks for: one component after another, by name, each marked by
//! an annotation that changes its pod template.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access::{list, text};
use super::graph::{Component, Graph};
use super::words;
use crate::kubernetes::definitions::GraphGeneration;

/// How far a graph's restart is.
#[derive(Debug, Clone, Default)]
pub(super) struct Restart {
    /// `status.restart`; nothing when none was ever asked for.
    pub(super) status: Option<Value>,
    /// The mark of each component that has one, by its name.
    pub(super) marks: BTreeMap<String, String>,
}

/// Whether there is, or ever was, a restart to carry out.
pub(super) fn was_asked_for(graph: &Graph) -> bool {
    ["/spec/restart", "/status/restart"].iter().any(|place| graph.object.pointer(place).is_some())
}

/// Takes one step where one is due, from the component deployments as they are.
pub(super) fn step(graph: &Graph, children: &[Value]) -> Restart {
    let last = graph.object.pointer("/status/restart").cloned();
    let asked = text(&graph.object, "/spec/restart/id");
    let mut names: Vec<&str> = graph.components.iter().map(|component| component.name.as_str()).collect();
    names.sort_unstable();
    let current = last.as_ref().and_then(|last| Some(last["inProgress"][0].as_str()?.to_owned()));
    let restarts = |name: &str| json!({"observedID": asked, "phase": "Restarting", "inProgress": [name]});
    let status = match (&last, current) {
        _ if asked.is_empty() => last,
        (Some(last), _) if last["phase"] == "Completed" && last["observedID"] == asked => Some(last.clone()),
        (Some(last), Some(current)) if last["observedID"] == asked => {
            let next = names.iter().find(|name| **name > current.as_str());
            match (has_restarted(graph, &current, children, asked), next) {
                (false, _) => Some(last.clone()),
                (true, Some(next)) => Some(restarts(next)),
                (true, None) => Some(json!({"observedID": asked, "phase": "Completed"})),
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
        let mark = if !asked.is_empty() && reached(name) {
            asked.to_owned()
        } else {
            mark(child(graph, name, children)?, graph.generation)?
        };
        Some(((*name).to_owned(), mark))
    });
    Restart { marks: marks.collect(), status }
}

/// Writes the mark to where each version has it.
pub(super) fn put(mark: &str, spec: &mut Value, generation: GraphGeneration) {
    match generation {
        GraphGeneration::V1Alpha1 => spec["annotations"][words::RESTART_AT] = json!(mark),
        GraphGeneration::V1Beta1 => {
            spec["podTemplate"]["metadata"]["annotations"][words::RESTART_AT] = json!(mark)
        }
    }
}

fn mark(child: &Value, generation: GraphGeneration) -> Option<String> {
    let annotations = match generation {
        GraphGeneration::V1Alpha1 => &child["spec"]["annotations"],
        GraphGeneration::V1Beta1 => &child["spec"]["podTemplate"]["metadata"]["annotations"],
    };
    annotations[words::RESTART_AT].as_str().map(str::to_owned)
}

fn child<'a>(graph: &Graph, name: &str, children: &'a [Value]) -> Option<&'a Value> {
    let is_it = |component: &&Component| component.name == name;
    let own = &graph.components.iter().find(is_it)?.child;
    children.iter().find(|child| text(child, "/metadata/name") == own)
}

/// Whether the component runs with this mark, wholly.
fn has_restarted(graph: &Graph, name: &str, children: &[Value], asked: &str) -> bool {
    child(graph, name, children).is_some_and(|child| {
        let mut conditions = list(child, "/status/conditions").iter();
        mark(child, graph.generation).as_deref() == Some(asked)
            && child["status"]["observedGeneration"] == child["metadata"]["generation"]
            && conditions.any(|one| one["type"] == "Available" && one["status"] == "True")
    })
}
