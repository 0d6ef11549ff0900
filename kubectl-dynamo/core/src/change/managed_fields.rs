//! Extracts the fields that one field manager owns through server-side apply from a live object.
//!
//! The result excludes every field that the webhook, the operator, or another manager added. Applying the
//! result again therefore changes nothing, and applying it with one modified field changes only that field.

use serde_json::{Map, Value};

use crate::object::ObjectView;
use crate::resources::object_at;

/// Returns the object as `manager` last applied it, or `None` if `manager` never applied it.
///
/// `fieldsV1` uses the format of structured-merge-diff: `f:` precedes a field name, `k:` the keys of a list
/// item, and `v:` an item of a set. An entry without children owns the complete subtree.
pub fn owned_by(live: &Value, manager: &str) -> Option<Value> {
    let view = ObjectView::new(live);
    let apply_entry = view
        .managed_fields()
        .find(|entry| entry.manager() == Some(manager) && entry.is_apply() && !entry.is_of_subresource())?;
    let mut object = extract(live, apply_entry.fields()?)?;
    let metadata = view.map("/metadata");
    for field in ["apiVersion", "kind"] {
        object_at(&mut object, &[]).insert(field.into(), live.get(field).cloned().unwrap_or_default());
    }
    for field in ["name", "namespace"] {
        let value = metadata.and_then(|metadata| metadata.get(field)).cloned();
        object_at(&mut object, &["metadata"]).insert(field.into(), value.unwrap_or_default());
    }
    Some(object)
}

fn extract(live: &Value, owned: &Map<String, Value>) -> Option<Value> {
    if owned.keys().all(|key| key == ".") {
        return Some(live.clone());
    }
    match live {
        Value::Object(fields) => Some(Value::Object(extract_fields(fields, owned))),
        Value::Array(items) => Some(Value::Array(extract_items(items, owned))),
        _ => None,
    }
}

fn extract_fields(fields: &Map<String, Value>, owned: &Map<String, Value>) -> Map<String, Value> {
    let extract_child = |(key, extract_child): (&String, &Value)| {
        let name = key.strip_prefix("f:")?;
        let value = extract(fields.get(name)?, extract_child.as_object()?)?;
        Some((name.to_owned(), value))
    };
    owned.iter().filter_map(extract_child).collect()
}

fn extract_items(items: &[Value], owned: &Map<String, Value>) -> Vec<Value> {
    let extract_owned = |item: &Value| {
        owned.iter().find_map(|(key, children)| match key.split_once(':')? {
            ("k", keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
                let has_keys = keys.iter().all(|(key, value)| item[key] == *value);
                has_keys.then(|| extract_item(item, &keys, children.as_object()?)).flatten()
            }
            ("v", value) => {
                let value: Value = serde_json::from_str(value).ok()?;
                (*item == value).then_some(value)
            }
            _ => None,
        })
    };
    // Keep the order of the live list: it is the order of the last apply.
    items.iter().filter_map(extract_owned).collect()
}

/// Extracts a list item together with its merge keys, even if the manager owns only the keys.
fn extract_item(item: &Value, keys: &Map<String, Value>, children: &Map<String, Value>) -> Option<Value> {
    let mut fields = extract_fields(item.as_object()?, children);
    for (key, value) in keys {
        fields.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Some(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extracts_only_fields_of_the_manager() {
        let expected = json!({
            "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
            "metadata": { "name": "tiny", "namespace": "dyn", "labels": { "a.b/c": "d" } },
            "spec": { "components": [{ "name": "worker", "replicas": 2, "args": ["--x", "1"] }] },
        });
        let mut live = expected.clone();
        live["metadata"]["annotations"] = json!({ "nvidia.com/workload-provider": "component" });
        live["spec"]["components"][0]["type"] = "worker".into();
        live["spec"]["components"]
            .as_array_mut()
            .expect("components is a list")
            .push(json!({ "name": "other" }));
        live["metadata"]["managedFields"] = json!([
            { "manager": "manager", "operation": "Update", "fieldsV1": {} },
            { "manager": "kubectl-dynamo", "operation": "Apply", "fieldsV1": {
                "f:metadata": { "f:labels": { "f:a.b/c": {} } },
                "f:spec": { "f:components": { "k:{\"name\":\"worker\"}": {
                    ".": {}, "f:name": {}, "f:replicas": {}, "f:args": {},
                } } },
            } },
        ]);
        assert_eq!(owned_by(&live, "kubectl-dynamo"), Some(expected));
        assert_eq!(owned_by(&live, "manager"), None, "an Update entry is not an Apply entry");
    }

    #[test]
    fn extracts_set_items_individually() {
        let live = json!({
            "metadata": { "finalizers": ["ours", "theirs"], "managedFields": [
                { "manager": "m", "operation": "Apply",
                  "fieldsV1": { "f:metadata": { "f:finalizers": { "v:\"ours\"": {} } } } },
            ] },
        });
        assert_eq!(
            owned_by(&live, "m").expect("the manager applied the object")["metadata"]["finalizers"],
            json!(["ours"])
        );
    }
}
