//! Field ownership of an object's spec: which managers own it, and the `managedFields` that transfer it to
//! one manager.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::graph::GraphView;
use crate::object::ManagedFieldsView;

/// Field manager of Dynamo's operator. It owns defaults that it fills in, and is not a tool that applies a manifest.
const OPERATOR_MANAGER: &str = "manager";

/// Returns the tools other than `manager` that own a field of the spec.
pub fn spec_owners(live: &Value, manager: &str) -> BTreeSet<String> {
    let entries = GraphView::new(live).managed_fields();
    let spec_entries = entries.filter(|entry| entry.spec_fields().is_some());
    spec_entries
        .filter_map(ManagedFieldsView::manager)
        .filter(|one| *one != manager && *one != OPERATOR_MANAGER)
        .map(Into::into)
        .collect()
}

/// Returns the managed fields without the spec ownership of managers other than `manager`. Replicas of
/// components with a scaling adapter keep their owner.
pub fn release_spec_ownership(live: &Value, manager: &str) -> Value {
    let scaled_components: Vec<&str> = GraphView::new(live)
        .components()
        .into_iter()
        .filter(|one| one.has_scaling_adapter())
        .map(|one| one.name)
        .collect();
    let without_spec = |view: ManagedFieldsView| {
        let mut entry = view.document().clone();
        if view.manager() == Some(manager) {
            return Some(entry);
        }
        let fields = entry.get_mut("fieldsV1")?.as_object_mut()?;
        let replicas = fields.remove("f:spec").and_then(|spec| owned_replicas(&spec, &scaled_components));
        if let Some(replicas) = replicas {
            fields.insert("f:spec".into(), replicas);
        }
        (!fields.is_empty()).then_some(entry)
    };
    GraphView::new(live).managed_fields().filter_map(without_spec).collect()
}

/// Reduces spec ownership to the replicas of the given components.
fn owned_replicas(spec: &Value, components: &[&str]) -> Option<Value> {
    let replicas_in = |list: &str, key: &dyn Fn(&str) -> String| {
        let owned = components.iter().filter_map(|name| {
            let key = key(name);
            let replicas = spec[list][&key].get("f:replicas")?;
            Some((key, serde_json::json!({ "f:replicas": replicas })))
        });
        let owned: serde_json::Map<String, Value> = owned.collect();
        (!owned.is_empty()).then(|| serde_json::json!({ list: owned }))
    };
    replicas_in("f:components", &|name| format!("k:{}", serde_json::json!({ "name": name })))
        .or_else(|| replicas_in("f:services", &|name| format!("f:{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn disown_removes_spec_ownership_only() {
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
        assert_eq!(
            spec_owners(&live, "ours").into_iter().collect::<Vec<_>>(),
            ["helm", "kubectl"],
            "the operator is not a tool"
        );
        let released = release_spec_ownership(&live, "ours");
        let fields: Vec<&Value> = released
            .as_array()
            .expect("managed fields are a list")
            .iter()
            .map(|one| &one["fieldsV1"])
            .collect();
        assert_eq!(fields.len(), 4, "kubectl owned only the spec, so its entry is removed");
        assert_eq!(*fields[0], json!({ "f:metadata": { "f:labels": {} } }));
        let replicas = json!({ "k:{\"name\":\"worker\"}": { "f:replicas": {} } });
        assert_eq!(*fields[1], json!({ "f:spec": { "f:components": replicas } }));
        assert_eq!(*fields[2], json!({ "f:status": {} }));
    }
}
