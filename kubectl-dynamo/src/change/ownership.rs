//! Who holds the spec of an object, by its managed fields, and the same fields without others' hold of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::component::graph_components;

/// The other managers that hold something of the spec.
pub fn owners(live: &Value, manager: &str) -> BTreeSet<String> {
    let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let holds = entries.filter(|entry| entry["fieldsV1"]["f:spec"].is_object());
    holds
        .filter_map(|entry| entry["manager"].as_str())
        .filter(|one| *one != manager)
        .map(Into::into)
        .collect()
}

/// The managed fields in which only `manager` holds the spec. Replicas that a scaling adapter has written stay its own.
pub fn disowned(live: &Value, manager: &str) -> Value {
    let scaled: Vec<&str> = graph_components(live)
        .into_iter()
        .filter(|one| one.has_scaling_adapter())
        .map(|one| one.name)
        .collect();
    let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let without = |entry: &Value| {
        let mut entry = entry.clone();
        if entry["manager"] == manager {
            return Some(entry);
        }
        let fields = entry["fieldsV1"].as_object_mut()?;
        let replicas = fields.remove("f:spec").and_then(|spec| replicas_of(&spec, &scaled));
        if let Some(replicas) = replicas {
            fields.insert("f:spec".into(), replicas);
        }
        (!fields.is_empty()).then_some(entry)
    };
    entries.filter_map(without).collect()
}

/// Of a held spec the replicas of these components alone.
fn replicas_of(spec: &Value, components: &[&str]) -> Option<Value> {
    let kept = |list: &str, key: &dyn Fn(&str) -> String| {
        let held = components.iter().filter_map(|name| {
            let key = key(name);
            let replicas = spec[list][&key].get("f:replicas")?;
            Some((key, serde_json::json!({ "f:replicas": replicas })))
        });
        let held: serde_json::Map<String, Value> = held.collect();
        (!held.is_empty()).then(|| serde_json::json!({ list: held }))
    };
    kept("f:components", &|name| format!("k:{}", serde_json::json!({ "name": name })))
        .or_else(|| kept("f:services", &|name| format!("f:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn others_lose_the_spec_and_keep_the_rest() {
        let live = json!({
            "metadata": { "managedFields": [
                { "manager": "helm", "fieldsV1": { "f:spec": { "f:components": {} }, "f:metadata": { "f:labels": {} } } },
                { "manager": "kubectl", "fieldsV1": { "f:spec": { "f:components": {} } } },
                { "manager": "manager", "fieldsV1": { "f:spec": { "f:components": {
                    "k:{\"name\":\"worker\"}": { "f:replicas": {}, "f:args": {} },
                } } } },
                { "manager": "manager", "subresource": "status", "fieldsV1": { "f:status": {} } },
                { "manager": "ours", "fieldsV1": { "f:spec": {} } },
            ] },
            "spec": { "components": [{ "name": "worker", "scalingAdapter": {} }] },
        });
        assert_eq!(owners(&live, "ours").into_iter().collect::<Vec<_>>(), ["helm", "kubectl", "manager"]);
        let kept = disowned(&live, "ours");
        let fields: Vec<&Value> =
            kept.as_array().expect("a list").iter().map(|one| &one["fieldsV1"]).collect();
        assert_eq!(fields.len(), 4, "kubectl held nothing else");
        assert_eq!(*fields[0], json!({ "f:metadata": { "f:labels": {} } }));
        let replicas = json!({ "k:{\"name\":\"worker\"}": { "f:replicas": {} } });
        assert_eq!(*fields[1], json!({ "f:spec": { "f:components": replicas } }));
        assert_eq!(*fields[2], json!({ "f:status": {} }));
    }
}
