//! Whether an object fits the schema that its cluster publishes: fields it does not know, values of another type, items
//! of one key twice. Those are what server-side apply answers with a bare 500; all other rules are refused in words.
//!
//! A JSON Schema validator would not do: Kubernetes' schemas leave unknown fields to the server, which drops or refuses
//! them, so to a validator every misspelled field is fine.

use std::fmt;

use serde_json::{Map, Value};

/// One place where an object does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// As in `spec.components[worker].replicas`.
    pub path: String,
    pub reason: MisfitReason,
}

/// Why it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MisfitReason {
    /// There is no such field; the nearest that there is.
    Unknown {
        nearest: Option<String>,
    },
    Type {
        expected: String,
        found: &'static str,
    },
    /// An item of the same key stands before it.
    Twice,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.path)?;
        match &self.reason {
            MisfitReason::Unknown { nearest: Some(nearest) } => {
                write!(f, "is no field there is (did you mean `{nearest}`?)")
            }
            MisfitReason::Unknown { nearest: None } => f.write_str("is no field there is"),
            MisfitReason::Type { expected, found } => write!(f, "is {found} and not {expected}"),
            MisfitReason::Twice => f.write_str("is there twice"),
        }
    }
}

/// Where an object does not fit the OpenAPI document of its group and version; nothing where the document does not
/// describe its kind.
pub fn misfits(object: &Value, document: &Value) -> Vec<Misfit> {
    let mut walk = Walk { document, found: Vec::new() };
    if let Some(schema) = schema_of(object, document) {
        walk.compare(schema, object, "");
    }
    walk.found
}

fn schema_of<'a>(object: &Value, document: &'a Value) -> Option<&'a Value> {
    let (group, version) = object["apiVersion"].as_str()?.split_once('/')?;
    document["components"]["schemas"].as_object()?.values().find(|schema| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| {
            kinds.iter().any(|one| {
                one["group"] == group && one["version"] == version && one["kind"] == object["kind"]
            })
        })
    })
}

struct Walk<'a> {
    document: &'a Value,
    found: Vec<Misfit>,
}

impl<'a> Walk<'a> {
    /// What a reference leads to; API servers write one also as the only item of `allOf`.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        let target = reference.and_then(|path| self.document.pointer(path.strip_prefix('#')?));
        target.unwrap_or(schema)
    }

    fn compare(&mut self, schema: &'a Value, value: &Value, path: &str) {
        let schema = self.resolved(schema);
        if value.is_null() {
            return;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            if !(value.is_string() || value.is_i64() || value.is_u64()) {
                self.note(path, other_type("a number or a string", value));
            }
            return;
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.fields(schema, fields, path),
            (Some("array"), Value::Array(items)) => self.items(schema, items, path),
            (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("integer"), Value::Number(number)) if !number.is_f64() => {}
            (Some("number"), Value::Number(_)) => {}
            (Some(expected), _) => self.note(path, other_type(&with_article(expected), value)),
        }
    }

    fn fields(&mut self, schema: &'a Value, fields: &Map<String, Value>, path: &str) {
        let known = schema["properties"].as_object();
        let any = schema["additionalProperties"].as_object().map(|_| &schema["additionalProperties"]);
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true
            || schema["additionalProperties"] == true
            || schema["x-kubernetes-embedded-resource"] == true;
        for (name, value) in fields {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match known.and_then(|known| known.get(name)).or(any) {
                Some(schema) => self.compare(schema, value, &below),
                None if open => {}
                None => {
                    let nearest = known.and_then(|known| nearest(name, known));
                    self.note(&below, MisfitReason::Unknown { nearest });
                }
            }
        }
    }

    fn items(&mut self, schema: &'a Value, items: &[Value], path: &str) {
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut seen: Vec<Vec<&Value>> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let name = item["name"].as_str().map_or_else(|| at.to_string(), Into::into);
            let below = format!("{path}[{name}]");
            let own: Vec<&Value> = keys.iter().map(|key| &item[*key]).collect();
            if !own.is_empty() && seen.contains(&own) {
                self.note(&below, MisfitReason::Twice);
            }
            seen.push(own);
            self.compare(&schema["items"], item, &below);
        }
    }

    fn note(&mut self, path: &str, reason: MisfitReason) {
        self.found.push(Misfit { path: path.into(), reason });
    }
}

fn other_type(expected: &str, value: &Value) -> MisfitReason {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a set of fields",
    };
    MisfitReason::Type { expected: expected.into(), found }
}

fn with_article(kind: &str) -> String {
    match kind {
        "integer" => "a whole number".into(),
        "boolean" => "true or false".into(),
        "array" => "a list".into(),
        "object" => "a set of fields".into(),
        other => format!("a {other}"),
    }
}

/// The known name that is most like this one, where one is like it at all.
fn nearest(name: &str, known: &Map<String, Value>) -> Option<String> {
    let lower = name.to_lowercase();
    let distance = |other: &String| strsim::damerau_levenshtein(&lower, &other.to_lowercase());
    let best = known.keys().min_by_key(|other| distance(other))?;
    (distance(best) <= name.len().div_ceil(3).max(1)).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Value {
        json!({ "components": { "schemas": {
            "graph": {
                "x-kubernetes-group-version-kind": [{ "group": "nvidia.com", "version": "v1beta1", "kind": "Graph" }],
                "type": "object",
                "properties": {
                    "apiVersion": { "type": "string" }, "kind": { "type": "string" },
                    "metadata": { "allOf": [{ "$ref": "#/components/schemas/metadata" }] },
                    "spec": { "type": "object", "properties": {
                        "free": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                        "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                        "components": { "type": "array", "x-kubernetes-list-map-keys": ["name"], "items": {
                            "type": "object", "properties": {
                                "name": { "type": "string" },
                                "replicas": { "type": "integer" },
                                "gpu": { "x-kubernetes-int-or-string": true },
                                "on": { "type": "boolean" },
                            },
                        } },
                    } },
                },
            },
            "metadata": { "type": "object", "properties": { "name": { "type": "string" } } },
        } } })
    }

    fn said(metadata: Value, spec: Value) -> Vec<String> {
        let object = json!({ "apiVersion": "nvidia.com/v1beta1", "kind": "Graph", "metadata": metadata, "spec": spec });
        misfits(&object, &document()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_fits_is_not_named() {
        let worker = json!({ "name": "worker", "replicas": 2, "gpu": "1", "on": null });
        let spec = json!({ "free": { "x": [1] }, "labels": { "a": "b" }, "components": [worker] });
        assert_eq!(said(json!({ "name": "tiny" }), spec), [""; 0]);
    }

    #[test]
    fn every_misfit_is_named_with_what_it_could_be() {
        let one = json!({ "name": "worker", "replica": 2, "gpu": true, "on": "y" });
        let other = json!({ "name": "worker", "replicas": "1" });
        let spec = json!({ "labels": { "a": 1 }, "components": [one, other], "zzz": 1 });
        assert_eq!(
            said(json!({ "nam": "tiny" }), spec),
            [
                "metadata.nam is no field there is (did you mean `name`?)",
                "spec.components[worker].gpu is true or false and not a number or a string",
                "spec.components[worker].on is a string and not true or false",
                "spec.components[worker].replica is no field there is (did you mean `replicas`?)",
                "spec.components[worker] is there twice",
                "spec.components[worker].replicas is a string and not a whole number",
                "spec.labels.a is a number and not a string",
                "spec.zzz is no field there is",
            ]
        );
    }

    #[test]
    fn a_kind_that_the_document_lacks_is_not_judged() {
        assert!(misfits(&json!({ "apiVersion": "v1", "kind": "Pod", "x": 1 }), &document()).is_empty());
    }
}
