//! Three-way merge of an intent change into an adopted DynamoGraphDeployment.
//!
//! The intent is rendered before and after the change. Fields that differ between the two are changed in the
//! adopted graph, and all other fields of that graph are preserved.

use serde_json::{Map, Value};

use super::import::{role, topology_mode};
use crate::graph::{GraphView, component_mut};
use crate::intent::request::TopologyMode;
use crate::object::ObjectView;
use crate::resources::{SPEC_HASH_ANNOTATION, update_spec_hash};

/// Applies the difference between `before` and `after` to `applied` and returns the merged graph.
///
/// # Errors
/// The paths of the fields that cannot be merged, because `applied` does not contain what kubectl-dynamo
/// would render.
pub fn three_way_merge(applied: &Value, before: &Value, after: &Value) -> Result<Value, Vec<String>> {
    let mut graph = applied.clone();
    let mut conflicts = Vec::new();
    if let Some(metadata) = graph.get_mut("metadata").and_then(Value::as_object_mut) {
        merge_fields(
            metadata,
            &labels_and_annotations(before),
            &labels_and_annotations(after),
            "metadata",
            &mut conflicts,
        );
    }
    let applied_components = GraphView::new(applied).components();
    let mode = topology_mode(&applied_components);
    let names: Vec<(String, Option<_>)> =
        applied_components.iter().map(|one| (one.name.to_owned(), role(one, mode))).collect();
    let old = GraphView::new(before).components();
    for new in GraphView::new(after).components() {
        // A role of disaggregated workers shows the mode without the other components.
        let new_mode = match new.role() {
            "prefill" | "decode" => TopologyMode::Disaggregated,
            _ => TopologyMode::Aggregated,
        };
        let desired_role = role(&new, new_mode);
        let matching = names.iter().find(|(_, role)| role.is_some() && *role == desired_role);
        let old_component = old.iter().find(|one| one.name == new.name);
        let (Some((name, _)), Some(old_component)) = (matching, old_component) else {
            conflicts.push(format!("component \"{}\"", new.name));
            continue;
        };
        if let Some(target) = component_mut(&mut graph, name) {
            merge(
                target,
                &without_spec_hash(old_component.document()),
                &without_spec_hash(new.document()),
                name,
                &mut conflicts,
            );
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    // Set the spec hash only if a field changed, so that an empty change does not modify the graph.
    if graph != *applied {
        update_spec_hash(&mut graph);
    }
    Ok(graph)
}

/// Returns the labels and annotations of a graph.
fn labels_and_annotations(graph: &Value) -> Map<String, Value> {
    let Some(metadata) = ObjectView::new(graph).map("/metadata") else { return Map::new() };
    let fields = ["labels", "annotations"].into_iter();
    fields.filter_map(|field| Some((field.to_owned(), metadata.get(field)?.clone()))).collect()
}

/// Returns a component without its spec hash annotation, which differs after every change.
fn without_spec_hash(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(annotations) = spec.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(SPEC_HASH_ANNOTATION);
    }
    spec
}

/// Applies the change from `before` to `after` to `target` and collects the paths that cannot be merged.
fn merge(target: &mut Value, before: &Value, after: &Value, path: &str, conflicts: &mut Vec<String>) {
    if before == after || target == after {
        return;
    }
    if target == before {
        *target = after.clone();
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) if target.is_object() || target.is_null() => {
            let mut fields = target.as_object().cloned().unwrap_or_default();
            merge_fields(&mut fields, before, after, path, conflicts);
            *target = Value::Object(fields);
        }
        // In a list of named items, such as environment variables, keep the items that only `target` has.
        (before, after)
            if items_by_name(target).is_some()
                && items_by_name(before).is_some()
                && items_by_name(after).is_some() =>
        {
            let (mut items, before, after) =
                (items_by_name(target), items_by_name(before), items_by_name(after));
            if let (Some(items), Some(before), Some(after)) = (&mut items, before, after) {
                merge_fields(items, &before, &after, path, conflicts);
                *target = ordered_items(target, items);
            }
        }
        _ => conflicts.push(path.into()),
    }
}

fn merge_fields(
    fields: &mut Map<String, Value>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    path: &str,
    conflicts: &mut Vec<String>,
) {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let value_of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
        let mut value = value_of(fields);
        merge(&mut value, &value_of(before), &value_of(after), &format!("{path}.{name}"), conflicts);
        match value {
            Value::Null => {
                fields.remove(name);
            }
            value => {
                fields.insert(name.clone(), value);
            }
        }
    }
}

/// Returns the items in their previous order, followed by the new ones.
fn ordered_items(before: &Value, items: &Map<String, Value>) -> Value {
    let names =
        before.as_array().into_iter().flatten().filter_map(|item| ObjectView::new(item).text("/name"));
    let names: Vec<&str> = names.collect();
    let old = names.iter().filter_map(|name| items.get(*name));
    let new = items.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(_, item)| item);
    old.chain(new).cloned().collect()
}

/// Returns the items of a list by name, or `None` if an item does not have a name. A missing list counts as
/// empty.
fn items_by_name(list: &Value) -> Option<Map<String, Value>> {
    match list {
        Value::Null => Some(Map::new()),
        Value::Array(items) => items
            .iter()
            .map(|item| Some((ObjectView::new(item).text("/name")?.to_owned(), item.clone())))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A graph as kubectl-dynamo renders it, with the given replicas, environment, and arguments.
    fn rendered_graph(replicas: u32, env: Value, args: Value) -> Value {
        json!({ "metadata": { "annotations": { "intent": replicas.to_string() } }, "spec": { "components": [
            { "name": "frontend", "type": "frontend", "replicas": 1 },
            { "name": "worker", "type": "worker", "replicas": replicas, "env": env, "args": args },
        ] } })
    }

    fn adopted_graph() -> Value {
        json!({ "metadata": { "annotations": { "intent": "1" } }, "spec": { "components": [
            { "name": "Web", "type": "frontend", "replicas": 1, "other": true },
            { "name": "VllmWorker", "type": "worker", "replicas": 1, "env": [{ "name": "X", "value": "y" }],
              "args": ["--of", "theirs"] },
        ] } })
    }

    #[test]
    fn applies_only_requested_changes() {
        let (no_env, args) = (Value::Null, json!(["--of", "ours"]));
        let env = json!([{ "name": "A", "value": "b" }]);
        let graph = three_way_merge(
            &adopted_graph(),
            &rendered_graph(1, no_env, args.clone()),
            &rendered_graph(2, env, args),
        )
        .expect("the change merges");
        let mut expected = adopted_graph();
        expected["metadata"]["annotations"]["intent"] = "2".into();
        let worker = &mut expected["spec"]["components"][1];
        worker["replicas"] = 2.into();
        worker["env"] = json!([{ "name": "X", "value": "y" }, { "name": "A", "value": "b" }]);
        assert_eq!(graph, expected);
    }

    #[test]
    fn reports_conflicting_fields_without_changing_them() {
        let (before, after) =
            (rendered_graph(1, json!(null), json!(["--a"])), rendered_graph(1, json!(null), json!(["--b"])));
        assert_eq!(three_way_merge(&adopted_graph(), &before, &after), Err(vec!["VllmWorker.args".into()]));
    }

    #[test]
    fn mode_change_is_a_conflict() {
        let mut after = rendered_graph(1, json!(null), json!([]));
        after["spec"]["components"][1] = json!({ "name": "decode", "type": "decode", "replicas": 1 });
        let result = three_way_merge(&adopted_graph(), &rendered_graph(1, json!(null), json!([])), &after);
        assert_eq!(result, Err(vec!["component \"decode\"".into()]));
    }
}
