//! The outline of a JSON document: its keys and the types of its values. A snapshot of it fails when a key is
//! renamed, removed, or gets another type. It does not change when a value differs between two runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Returns one line for each path in the document: `items[].name: string`. If several values share a path,
/// all their types are listed. Keys in `closed` have a closed set of values, so the values are listed.
pub fn outline<'a>(documents: impl IntoIterator<Item = &'a Value>, closed: &[&str]) -> String {
    let mut paths = BTreeMap::new();
    for document in documents {
        visit(document, "", "", closed, &mut paths);
    }
    let line = |(path, types): (&String, &BTreeSet<String>)| {
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        format!("{}: {}\n", if path.is_empty() { "." } else { path }, types.join(" | "))
    };
    paths.iter().map(line).collect()
}

fn visit(
    value: &Value,
    path: &str,
    key: &str,
    closed: &[&str],
    paths: &mut BTreeMap<String, BTreeSet<String>>,
) {
    let name = match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                visit(value, &format!("{path}{dot}{key}"), key, closed, paths);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                visit(item, &format!("{path}[]"), key, closed, paths);
            }
            return;
        }
        Value::Object(_) => "empty object".to_owned(),
        Value::Array(_) => "empty list".to_owned(),
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) if closed.contains(&key) => format!("{text:?}"),
        Value::String(_) => "string".to_owned(),
    };
    paths.entry(path.to_owned()).or_default().insert(name);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_keys_and_types_and_values_of_closed_sets() {
        let document = json!({
            "kind": "List",
            "items": [{"name": "a", "age": 1, "notes": []}, {"name": "b", "age": null, "notes": ["c"]}],
        });
        let text = "items[].age: null | number\nitems[].name: string\nitems[].notes: empty list\n\
                    items[].notes[]: string\nkind: \"List\"\n";
        assert_eq!(outline([&document], &["kind"]), text);
    }
}
