//! Fields of a graph that cannot change after it was created. Dynamo's webhooks reject such a change of a
//! graph, or 0.9.1 without webhooks leaves pods of removed components running for ever.

use serde_json::Value;

use crate::graph::{ComponentView, GraphView};

/// Returns one text for each requested change that the operator does not allow for an existing graph: other
/// components, another engine, or a component on one node that shall span several, or the reverse.
///
/// Source: admission of the operators 0.9.1, 1.4, and 1.5.
pub fn immutable_changes(live: &Value, desired: &Value) -> Vec<String> {
    let (live, desired) = (GraphView::new(live), GraphView::new(desired));
    let (before, after) = (live.components(), desired.components());
    let mut changes = Vec::new();
    let names = |components: &[ComponentView<'_>]| {
        let mut names: Vec<&str> = components.iter().map(|one| one.name).collect();
        names.sort_unstable();
        names.join(", ")
    };
    let (old_names, new_names) = (names(&before), names(&after));
    if old_names != new_names {
        changes.push(format!("its components are {old_names}, and the request needs {new_names}"));
    }
    let engine = |graph: GraphView<'_>| graph.text("/spec/backendFramework").unwrap_or("not set").to_owned();
    let (old_engine, new_engine) = (engine(live), engine(desired));
    if old_engine != new_engine {
        changes.push(format!("its backendFramework is {old_engine}, and the request needs {new_engine}"));
    }
    for old in &before {
        let new = after.iter().find(|new| new.name == old.name);
        if new.is_some_and(|new| new.is_multinode() != old.is_multinode()) {
            let (is, needs) =
                if old.is_multinode() { ("several nodes", "one node") } else { ("one node", "several") };
            changes
                .push(format!("its component \"{}\" runs on {is}, and the request needs {needs}", old.name));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(components: &[&str]) -> Value {
        let components: Vec<Value> = components.iter().map(|name| json!({ "name": name })).collect();
        json!({ "spec": { "backendFramework": "vllm", "components": components } })
    }

    #[test]
    fn other_components_are_not_allowed() {
        let (live, desired) = (graph(&["frontend", "worker"]), graph(&["frontend", "prefill", "decode"]));
        assert_eq!(
            immutable_changes(&live, &desired),
            ["its components are frontend, worker, and the request needs decode, frontend, prefill"]
        );
        assert_eq!(immutable_changes(&live, &graph(&["worker", "frontend"])), [""; 0]);
    }

    #[test]
    fn other_engine_and_number_of_nodes_are_not_allowed() {
        let live = graph(&["worker"]);
        let mut desired = live.clone();
        desired["spec"]["components"][0]["multinode"] = json!({ "nodeCount": 2 });
        desired["spec"]["components"][0]["replicas"] = 2.into();
        assert_eq!(
            immutable_changes(&live, &desired),
            [r#"its component "worker" runs on one node, and the request needs several"#]
        );
        let mut more_nodes = desired.clone();
        more_nodes["spec"]["components"][0]["multinode"]["nodeCount"] = 4.into();
        assert_eq!(immutable_changes(&desired, &more_nodes), [""; 0]);
        assert_eq!(immutable_changes(&desired, &live).len(), 1);
        desired = live.clone();
        desired["spec"]["backendFramework"] = "sglang".into();
        assert_eq!(
            immutable_changes(&live, &desired),
            ["its backendFramework is vllm, and the request needs sglang"]
        );
        let keyed = json!({ "spec": { "backendFramework": "vllm", "services": { "worker": {} } } });
        assert_eq!(immutable_changes(&keyed, &live), [""; 0]);
    }
}
