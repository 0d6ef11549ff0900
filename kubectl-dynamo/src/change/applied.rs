//! The fields that one manager has applied, read back from a live object: what it said, without what the webhook,
//! the operator and others added. Applying it again changes nothing; applying it with one field changed changes
//! that field alone.

use serde_json::{Map, Value};

/// The object as `manager` applied it; `None` where it never did.
///
/// The format is that of structured-merge-diff: `f:` before a field, `k:` before an item's keys, `v:` before an
/// item of a set; an entry without children owns all below it.
pub fn applied(live: &Value, manager: &str) -> Option<Value> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let own = entries.iter().find(|entry| {
        entry["manager"] == manager && entry["operation"] == "Apply" && entry["subresource"].is_null()
    })?;
    let mut object = taken(live, own["fieldsV1"].as_object()?)?;
    for field in ["apiVersion", "kind"] {
        object[field] = live[field].clone();
    }
    for field in ["name", "namespace"] {
        object["metadata"][field] = live["metadata"][field].clone();
    }
    Some(object)
}

fn taken(live: &Value, owned: &Map<String, Value>) -> Option<Value> {
    if owned.keys().all(|key| key == ".") {
        return Some(live.clone());
    }
    match live {
        Value::Object(fields) => Some(Value::Object(taken_fields(fields, owned))),
        Value::Array(items) => Some(Value::Array(taken_items(items, owned))),
        _ => None,
    }
}

fn taken_fields(fields: &Map<String, Value>, owned: &Map<String, Value>) -> Map<String, Value> {
    let below = |(key, below): (&String, &Value)| {
        let name = key.strip_prefix("f:")?;
        let value = taken(fields.get(name)?, below.as_object()?)?;
        Some((name.to_owned(), value))
    };
    owned.iter().filter_map(below).collect()
}

fn taken_items(items: &[Value], owned: &Map<String, Value>) -> Vec<Value> {
    let of = |item: &Value| {
        owned.iter().find_map(|(key, below)| match key.split_once(':')? {
            ("k", keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
                let is_it = keys.iter().all(|(key, value)| item[key] == *value);
                is_it.then(|| taken_item(item, &keys, below.as_object()?)).flatten()
            }
            ("v", value) => {
                let value: Value = serde_json::from_str(value).ok()?;
                (*item == value).then_some(value)
            }
            _ => None,
        })
    };
    // In the order of the live list, which is that of the last apply.
    items.iter().filter_map(of).collect()
}

/// An item keeps its keys, also where those alone are owned.
fn taken_item(item: &Value, keys: &Map<String, Value>, below: &Map<String, Value>) -> Option<Value> {
    let mut fields = taken_fields(item.as_object()?, below);
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
    fn gives_back_what_was_applied_without_what_others_added() {
        let said = json!({
            "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
            "metadata": { "name": "tiny", "namespace": "dyn", "labels": { "a.b/c": "d" } },
            "spec": { "components": [{ "name": "worker", "replicas": 2, "args": ["--x", "1"] }] },
        });
        let mut live = said.clone();
        live["metadata"]["annotations"] = json!({ "nvidia.com/workload-provider": "component" });
        live["spec"]["components"][0]["type"] = "worker".into();
        live["spec"]["components"].as_array_mut().expect("a list").push(json!({ "name": "other" }));
        live["metadata"]["managedFields"] = json!([
            { "manager": "manager", "operation": "Update", "fieldsV1": {} },
            { "manager": "kubectl-dynamo", "operation": "Apply", "fieldsV1": {
                "f:metadata": { "f:labels": { "f:a.b/c": {} } },
                "f:spec": { "f:components": { "k:{\"name\":\"worker\"}": {
                    ".": {}, "f:name": {}, "f:replicas": {}, "f:args": {},
                } } },
            } },
        ]);
        assert_eq!(applied(&live, "kubectl-dynamo"), Some(said));
        assert_eq!(applied(&live, "manager"), None, "an update is no apply");
    }

    #[test]
    fn items_of_a_set_are_taken_one_by_one() {
        let live = json!({
            "metadata": { "finalizers": ["ours", "theirs"], "managedFields": [
                { "manager": "m", "operation": "Apply",
                  "fieldsV1": { "f:metadata": { "f:finalizers": { "v:\"ours\"": {} } } } },
            ] },
        });
        assert_eq!(applied(&live, "m").expect("it applied")["metadata"]["finalizers"], json!(["ours"]));
    }
}
