//! Where two versions of an object differ, field by field, in what a person or an operator wrote into it.

use std::collections::BTreeSet;

use serde_json::Value;

/// Metadata that every write moves.
const BOOKKEEPING: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"];

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// As in `spec.components[worker].replicas`: items of a list are named where they have a name.
    pub path: String,
    /// Absent where the field is added.
    pub was: Option<Value>,
    /// Absent where the field is removed.
    pub becomes: Option<Value>,
}

impl Difference {
    /// `+` for added, `-` for removed, `~` for changed.
    pub fn sign(&self) -> char {
        match (&self.was, &self.becomes) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        }
    }
}

/// Every difference in order of path; the status and the bookkeeping of the API server are none.
pub fn differences(was: &Value, becomes: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("", Some(&content(was)), Some(&content(becomes)), &mut found);
    found
}

fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in BOOKKEEPING {
            metadata.remove(field);
        }
    }
    object
}

fn compare(path: &str, was: Option<&Value>, becomes: Option<&Value>, found: &mut Vec<Difference>) {
    match (was, becomes) {
        (was, becomes) if was == becomes => {}
        (Some(Value::Object(was)), Some(Value::Object(becomes))) => {
            let keys: BTreeSet<&String> = was.keys().chain(becomes.keys()).collect();
            for key in keys {
                compare(&below(path, key), was.get(key), becomes.get(key), found);
            }
        }
        (Some(Value::Array(was)), Some(Value::Array(becomes))) => lists(path, was, becomes, found),
        (was, becomes) => {
            found.push(Difference { path: path.into(), was: was.cloned(), becomes: becomes.cloned() });
        }
    }
}

/// Keys with dots, as those of labels, stand in brackets.
fn below(path: &str, key: &str) -> String {
    match (path, key.contains(['.', '/'])) {
        (path, true) => format!("{path}[{key}]"),
        ("", false) => key.into(),
        (path, false) => format!("{path}.{key}"),
    }
}

fn lists(path: &str, was: &[Value], becomes: &[Value], found: &mut Vec<Difference>) {
    if let (Some(old), Some(new)) = (names(was), names(becomes)) {
        let all: BTreeSet<&&str> = old.iter().chain(&new).collect();
        let item = |names: &[&str], items: &'_ [Value], name: &str| {
            names.iter().position(|one| *one == name).and_then(|at| items.get(at)).cloned()
        };
        for name in all {
            let (was, becomes) = (item(&old, was, name), item(&new, becomes, name));
            compare(&format!("{path}[{name}]"), was.as_ref(), becomes.as_ref(), found);
        }
        return;
    }
    let shared = was.iter().zip(becomes).take_while(|(one, other)| one == other).count();
    let (was, becomes) = (&was[shared..], &becomes[shared..]);
    let ending = was.iter().rev().zip(becomes.iter().rev()).take_while(|(one, other)| one == other).count();
    let (was, becomes) = (&was[..was.len() - ending], &becomes[..becomes.len() - ending]);
    for at in 0..was.len().max(becomes.len()) {
        compare(&format!("{path}[{}]", shared + at), was.get(at), becomes.get(at), found);
    }
}

/// The names of a list's items, where each has one of its own.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    let each_its_own = names.iter().collect::<BTreeSet<_>>().len() == items.len();
    each_its_own.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(was: Value, becomes: Value) -> Vec<String> {
        let text = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
        differences(&was, &becomes)
            .iter()
            .map(|one| format!("{} {} {} {}", one.sign(), one.path, text(&one.was), text(&one.becomes)))
            .collect()
    }

    #[test]
    fn names_the_items_of_lists_that_have_names() {
        let graph = |replicas: u32, args: Value| {
            json!({ "spec": { "components": [
                { "name": "frontend", "replicas": 1 },
                { "name": "worker", "replicas": replicas, "args": args },
            ] } })
        };
        let (was, becomes) =
            (graph(1, json!(["--a", "1", "--z"])), graph(2, json!(["--a", "1", "--b", "2", "--z"])));
        assert_eq!(
            shown(was, becomes),
            [
                "+ spec.components[worker].args[2] - \"--b\"",
                "+ spec.components[worker].args[3] - \"2\"",
                "~ spec.components[worker].replicas 1 2",
            ]
        );
    }

    #[test]
    fn what_the_server_writes_by_itself_is_no_difference() {
        let was =
            json!({ "metadata": { "name": "a", "resourceVersion": "1", "generation": 1 }, "status": {} });
        let becomes =
            json!({ "metadata": { "name": "a", "resourceVersion": "2", "labels": { "a.b/c": "d" } } });
        assert_eq!(shown(was.clone(), becomes), ["+ metadata.labels - {\"a.b/c\":\"d\"}"]);
        assert_eq!(shown(was.clone(), was), [""; 0]);
        let labels = |value: &str| json!({ "metadata": { "labels": { "a.b/c": value } } });
        assert_eq!(shown(labels("x"), labels("y")), ["~ metadata.labels[a.b/c] \"x\" \"y\""]);
    }
}
