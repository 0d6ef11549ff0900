//! Compares two versions of an object field by field.
//!
//! Only fields that a user or a controller sets are compared. The status and metadata of the API server are
//! ignored.

use std::collections::BTreeSet;

use serde_json::Value;

/// Metadata that the API server sets on every write.
const SERVER_METADATA: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"];

/// A field that differs between two versions of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Path of the field, such as `spec.components[worker].replicas`. List items are addressed by name if
    /// they have one.
    pub path: String,
    /// The old value, or `None` if the field is added.
    pub before: Option<Value>,
    /// The new value, or `None` if the field is removed.
    pub after: Option<Value>,
}

impl Difference {
    /// Returns `+` for an added, `-` for a removed, and `~` for a changed field.
    pub fn sign(&self) -> char {
        match (&self.before, &self.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

/// Returns all differences, ordered by path. It ignores the status and the metadata that the API server sets.
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    compare("", Some(&without_server_fields(before)), Some(&without_server_fields(after)), &mut differences);
    differences
}

fn without_server_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            metadata.remove(field);
        }
    }
    object
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, differences: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                compare(&child_path(path, key), before.get(key), after.get(key), differences);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            compare_lists(path, before, after, differences)
        }
        (before, after) => {
            differences.push(Difference {
                path: path.into(),
                before: before.cloned(),
                after: after.cloned(),
            });
        }
    }
}

/// Appends a key to a path. Keys that contain `.` or `/`, such as label names, are put in brackets.
fn child_path(path: &str, key: &str) -> String {
    match (path, key.contains(['.', '/'])) {
        (path, true) => format!("{path}[{key}]"),
        ("", false) => key.into(),
        (path, false) => format!("{path}.{key}"),
    }
}

fn compare_lists(path: &str, before: &[Value], after: &[Value], differences: &mut Vec<Difference>) {
    if let (Some(old), Some(new)) = (unique_names(before), unique_names(after)) {
        let in_both = |names: &[&str], others: &[&str]| -> Vec<Value> {
            names.iter().filter(|name| others.contains(name)).map(|name| Value::from(*name)).collect()
        };
        // Operators hash lists in their order, so a different order alone restarts pods.
        let (old_order, new_order) = (in_both(&old, &new), in_both(&new, &old));
        if old_order != new_order {
            differences.push(Difference {
                path: format!("{path}[order]"),
                before: Some(old_order.into()),
                after: Some(new_order.into()),
            });
        }
        let all: BTreeSet<&&str> = old.iter().chain(&new).collect();
        let item = |names: &[&str], items: &'_ [Value], name: &str| {
            names.iter().position(|one| *one == name).and_then(|at| items.get(at)).cloned()
        };
        for name in all {
            let (before, after) = (item(&old, before, name), item(&new, after, name));
            compare(&format!("{path}[{name}]"), before.as_ref(), after.as_ref(), differences);
        }
        return;
    }
    let common_prefix = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (before, after) = (&before[common_prefix..], &after[common_prefix..]);
    let common_suffix =
        before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let (before, after) = (&before[..before.len() - common_suffix], &after[..after.len() - common_suffix]);
    for at in 0..before.len().max(after.len()) {
        compare(&format!("{path}[{}]", common_prefix + at), before.get(at), after.get(at), differences);
    }
}

/// Returns the names of the list items, or `None` unless every item has a unique name.
fn unique_names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items.iter().filter_map(|item| item.get("name")?.as_str()).collect();
    let is_unique = names.iter().collect::<BTreeSet<_>>().len() == items.len();
    is_unique.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences_text(before: Value, after: Value) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
        differences(&before, &after)
            .iter()
            .map(|one| format!("{} {} {} {}", one.sign(), one.path, text(&one.before), text(&one.after)))
            .collect()
    }

    #[test]
    fn list_items_are_addressed_by_name() {
        let graph = |replicas: u32, args: Value| {
            json!({ "spec": { "components": [
                { "name": "frontend", "replicas": 1 },
                { "name": "worker", "replicas": replicas, "args": args },
            ] } })
        };
        let (before, after) =
            (graph(1, json!(["--a", "1", "--z"])), graph(2, json!(["--a", "1", "--b", "2", "--z"])));
        assert_eq!(
            differences_text(before, after),
            [
                "+ spec.components[worker].args[2] - \"--b\"",
                "+ spec.components[worker].args[3] - \"2\"",
                "~ spec.components[worker].replicas 1 2",
            ]
        );
    }

    #[test]
    fn other_order_of_named_items_is_a_difference() {
        let env = |names: &[&str]| -> Value {
            names.iter().map(|name| json!({ "name": name, "value": "1" })).collect()
        };
        let object = |names: &[&str]| json!({ "env": env(names) });
        assert_eq!(
            differences_text(object(&["B", "C", "A"]), object(&["A", "B", "C"])),
            [r#"~ env[order] ["B","C","A"] ["A","B","C"]"#]
        );
        assert_eq!(
            differences_text(object(&["B", "C"]), object(&["B", "A", "C"])),
            [r#"+ env[A] - {"name":"A","value":"1"}"#]
        );
    }

    #[test]
    fn ignores_status_and_server_metadata() {
        let before =
            json!({ "metadata": { "name": "a", "resourceVersion": "1", "generation": 1 }, "status": {} });
        let after =
            json!({ "metadata": { "name": "a", "resourceVersion": "2", "labels": { "a.b/c": "d" } } });
        assert_eq!(differences_text(before.clone(), after), ["+ metadata.labels - {\"a.b/c\":\"d\"}"]);
        assert_eq!(differences_text(before.clone(), before), [""; 0]);
        let labels = |value: &str| json!({ "metadata": { "labels": { "a.b/c": value } } });
        assert_eq!(differences_text(labels("x"), labels("y")), ["~ metadata.labels[a.b/c] \"x\" \"y\""]);
    }
}
