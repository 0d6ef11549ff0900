//! A change of a wish carried over to a graph that was not made from it: what differs between the graph before and
//! after, as this program would write both, is changed in the graph that is there; the rest of it stays.

use serde_json::{Map, Value};

use super::component::{component_mut, graph_components};
use super::understood::role;
use crate::resources::{SPEC_HASH_ANNOTATION, stamp};

/// The graph with the change, or the fields that cannot be changed because they are not what this program would have
/// written.
///
/// # Errors
/// The paths of those fields.
pub fn carried(applied: &Value, before: &Value, after: &Value) -> Result<Value, Vec<String>> {
    let mut graph = applied.clone();
    let mut kept = Vec::new();
    if let Some(metadata) = graph["metadata"].as_object_mut() {
        merge_fields(metadata, &marks(before), &marks(after), "metadata", &mut kept);
    }
    let is_apart = graph_components(applied).iter().any(|one| one.role() == "prefill");
    let names: Vec<(String, Option<_>)> =
        graph_components(applied).iter().map(|one| (one.name.to_owned(), role(one, is_apart))).collect();
    let old = graph_components(before);
    for new in graph_components(after) {
        let wanted = role(&new, new.role() == "prefill" || new.role() == "decode");
        let there = names.iter().find(|(_, role)| role.is_some() && *role == wanted);
        let was = old.iter().find(|one| one.name == new.name);
        let (Some((name, _)), Some(was)) = (there, was) else {
            kept.push(format!("component {}", new.name));
            continue;
        };
        if let Some(place) = component_mut(&mut graph, name) {
            merge(place, &unmarked(was.spec), &unmarked(new.spec), name, &mut kept);
        }
    }
    if !kept.is_empty() {
        return Err(kept);
    }
    // Where nothing changes no mark is set either.
    if graph != *applied {
        stamp(&mut graph);
    }
    Ok(graph)
}

/// Labels and annotations of a graph.
fn marks(graph: &Value) -> Map<String, Value> {
    let of = |field: &str| Some((field.to_owned(), graph["metadata"].get(field)?.clone()));
    ["labels", "annotations"].into_iter().filter_map(of).collect()
}

/// A component without the mark of its own content, which every change moves.
fn unmarked(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(annotations) = spec.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(SPEC_HASH_ANNOTATION);
    }
    spec
}

/// Changes `place` as `was` changed into `becomes`.
fn merge(place: &mut Value, was: &Value, becomes: &Value, path: &str, kept: &mut Vec<String>) {
    if was == becomes || place == becomes {
        return;
    }
    if place == was {
        *place = becomes.clone();
        return;
    }
    match (was, becomes) {
        (Value::Object(was), Value::Object(becomes)) if place.is_object() || place.is_null() => {
            let mut fields = place.as_object().cloned().unwrap_or_default();
            merge_fields(&mut fields, was, becomes, path, kept);
            *place = Value::Object(fields);
        }
        // A list whose items have names, such as variables: what is only there stays.
        (was, becomes) if named(place).is_some() && named(was).is_some() && named(becomes).is_some() => {
            let (mut items, was, becomes) = (named(place), named(was), named(becomes));
            if let (Some(items), Some(was), Some(becomes)) = (&mut items, was, becomes) {
                merge_fields(items, &was, &becomes, path, kept);
                *place = in_order(place, items);
            }
        }
        _ => kept.push(path.into()),
    }
}

fn merge_fields(
    fields: &mut Map<String, Value>,
    was: &Map<String, Value>,
    becomes: &Map<String, Value>,
    path: &str,
    kept: &mut Vec<String>,
) {
    let names: std::collections::BTreeSet<&String> = was.keys().chain(becomes.keys()).collect();
    for name in names {
        let at = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
        let mut value = at(fields);
        merge(&mut value, &at(was), &at(becomes), &format!("{path}.{name}"), kept);
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

/// The items in the order in which they stood, and then those that are new.
fn in_order(before: &Value, items: &Map<String, Value>) -> Value {
    let names = before.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str());
    let names: Vec<&str> = names.collect();
    let old = names.iter().filter_map(|name| items.get(*name));
    let new = items.iter().filter(|(name, _)| !names.contains(&name.as_str())).map(|(_, item)| item);
    old.chain(new).cloned().collect()
}

/// A list's items by their names; an absent list has none.
fn named(list: &Value) -> Option<Map<String, Value>> {
    match list {
        Value::Null => Some(Map::new()),
        Value::Array(items) => {
            items.iter().map(|item| Some((item["name"].as_str()?.to_owned(), item.clone()))).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As this program would write it, with these replicas, environment and arguments.
    fn ours(replicas: u32, env: Value, args: Value) -> Value {
        json!({ "metadata": { "annotations": { "wish": replicas.to_string() } }, "spec": { "components": [
            { "name": "frontend", "type": "frontend", "replicas": 1 },
            { "name": "worker", "type": "worker", "replicas": replicas, "env": env, "args": args },
        ] } })
    }

    fn theirs() -> Value {
        json!({ "metadata": { "annotations": { "wish": "1" } }, "spec": { "components": [
            { "name": "Web", "type": "frontend", "replicas": 1, "other": true },
            { "name": "VllmWorker", "type": "worker", "replicas": 1, "env": [{ "name": "X", "value": "y" }],
              "args": ["--of", "theirs"] },
        ] } })
    }

    #[test]
    fn only_what_was_asked_for_changes() {
        let (none, args) = (Value::Null, json!(["--of", "ours"]));
        let env = json!([{ "name": "A", "value": "b" }]);
        let graph =
            carried(&theirs(), &ours(1, none, args.clone()), &ours(2, env, args)).expect("it can be said");
        let mut expected = theirs();
        expected["metadata"]["annotations"]["wish"] = "2".into();
        let worker = &mut expected["spec"]["components"][1];
        worker["replicas"] = 2.into();
        worker["env"] = json!([{ "name": "X", "value": "y" }, { "name": "A", "value": "b" }]);
        assert_eq!(graph, expected);
    }

    #[test]
    fn what_is_not_as_this_program_writes_it_is_named_and_not_changed() {
        let (before, after) = (ours(1, json!(null), json!(["--a"])), ours(1, json!(null), json!(["--b"])));
        assert_eq!(carried(&theirs(), &before, &after), Err(vec!["VllmWorker.args".into()]));
    }

    #[test]
    fn another_mode_is_another_graph() {
        let mut after = ours(1, json!(null), json!([]));
        after["spec"]["components"][1] = json!({ "name": "decode", "type": "decode", "replicas": 1 });
        let refused = carried(&theirs(), &ours(1, json!(null), json!([])), &after);
        assert_eq!(refused, Err(vec!["component decode".into()]));
    }
}
