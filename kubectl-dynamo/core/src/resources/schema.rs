//! Checks an object against the OpenAPI schema of its cluster: unknown fields, wrong types, and duplicate
//! list items. For these errors, server-side apply only returns status 500. For all others, the server
//! returns a message.
//!
//! A JSON Schema validator cannot do this: Kubernetes schemas do not forbid unknown fields (the server drops
//! or rejects them), so a validator would accept every misspelled field.

use std::fmt;

use serde_json::{Map, Value};

/// A field of an object that violates the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaViolation {
    /// Path of the field, for example `spec.components[worker].replicas`.
    pub path: String,
    pub reason: SchemaViolationReason,
}

/// Why a field violates the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaViolationReason {
    /// The schema does not contain the field. `nearest` is the most similar known field.
    UnknownField {
        nearest: Option<String>,
    },
    WrongType {
        expected: String,
        found: &'static str,
    },
    /// The list already contains an item with the same key.
    Duplicate,
}

impl fmt::Display for SchemaViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.reason {
            SchemaViolationReason::UnknownField { nearest: Some(nearest) } => {
                write!(f, "unknown field (did you mean \"{nearest}\"?)")
            }
            SchemaViolationReason::UnknownField { nearest: None } => f.write_str("unknown field"),
            SchemaViolationReason::WrongType { expected, found } => {
                write!(f, "expected {expected}, found {found}")
            }
            SchemaViolationReason::Duplicate => f.write_str("duplicate item"),
        }
    }
}

/// Compares an object with the OpenAPI document of its group and version. Returns an empty list if the
/// document does not contain its kind.
pub fn schema_violations(object: &Value, document: &Value) -> Vec<SchemaViolation> {
    let mut checker = SchemaChecker { document, violations: Vec::new() };
    if let Some(schema) = find_schema(object, document) {
        checker.check(schema, object, "");
    }
    checker.violations
}

fn find_schema<'a>(object: &Value, document: &'a Value) -> Option<&'a Value> {
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

struct SchemaChecker<'a> {
    document: &'a Value,
    violations: Vec<SchemaViolation>,
}

impl<'a> SchemaChecker<'a> {
    /// Follows a reference. API servers also write a reference as the only item of `allOf`.
    fn resolve_ref(&self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        let target = reference.and_then(|path| self.document.pointer(path.strip_prefix('#')?));
        target.unwrap_or(schema)
    }

    fn check(&mut self, schema: &'a Value, value: &Value, path: &str) {
        let schema = self.resolve_ref(schema);
        if value.is_null() {
            return;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            if !(value.is_string() || value.is_i64() || value.is_u64()) {
                self.report(path, wrong_type("an integer or a string", value));
            }
            return;
        }
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => self.check_fields(schema, fields, path),
            (Some("array"), Value::Array(items)) => self.check_items(schema, items, path),
            (Some("string"), Value::String(_)) | (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some("integer"), Value::Number(number)) if !number.is_f64() => {}
            (Some("number"), Value::Number(_)) => {}
            (Some(expected), _) => self.report(path, wrong_type(&type_description(expected), value)),
        }
    }

    fn check_fields(&mut self, schema: &'a Value, fields: &Map<String, Value>, path: &str) {
        let known = schema["properties"].as_object();
        let additional = schema["additionalProperties"].as_object().map(|_| &schema["additionalProperties"]);
        let allows_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true
            || schema["additionalProperties"] == true
            || schema["x-kubernetes-embedded-resource"] == true;
        for (name, value) in fields {
            let child_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match known.and_then(|known| known.get(name)).or(additional) {
                Some(schema) => self.check(schema, value, &child_path),
                None if allows_unknown => {}
                None => {
                    let nearest = known.and_then(|known| nearest_field(name, known));
                    self.report(&child_path, SchemaViolationReason::UnknownField { nearest });
                }
            }
        }
    }

    fn check_items(&mut self, schema: &'a Value, items: &[Value], path: &str) {
        let keys: Vec<&str> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut seen: Vec<Vec<&Value>> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let name = item["name"].as_str().map_or_else(|| index.to_string(), Into::into);
            let child_path = format!("{path}[{name}]");
            let key: Vec<&Value> = keys.iter().map(|key| &item[*key]).collect();
            if !key.is_empty() && seen.contains(&key) {
                self.report(&child_path, SchemaViolationReason::Duplicate);
            }
            seen.push(key);
            self.check(&schema["items"], item, &child_path);
        }
    }

    fn report(&mut self, path: &str, reason: SchemaViolationReason) {
        self.violations.push(SchemaViolation { path: path.into(), reason });
    }
}

fn wrong_type(expected: &str, value: &Value) -> SchemaViolationReason {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    SchemaViolationReason::WrongType { expected: expected.into(), found }
}

fn type_description(kind: &str) -> String {
    match kind {
        "integer" => "an integer".into(),
        "boolean" => "a boolean".into(),
        "array" => "a list".into(),
        "object" => "an object".into(),
        other => format!("a {other}"),
    }
}

/// The most similar known field name, if one is similar enough.
fn nearest_field(name: &str, known: &Map<String, Value>) -> Option<String> {
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

    fn violations(metadata: Value, spec: Value) -> Vec<String> {
        let object = json!({ "apiVersion": "nvidia.com/v1beta1", "kind": "Graph", "metadata": metadata, "spec": spec });
        schema_violations(&object, &document()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn valid_object_has_no_violations() {
        let worker = json!({ "name": "worker", "replicas": 2, "gpu": "1", "on": null });
        let spec = json!({ "free": { "x": [1] }, "labels": { "a": "b" }, "components": [worker] });
        assert_eq!(violations(json!({ "name": "tiny" }), spec), [""; 0]);
    }

    #[test]
    fn every_violation_is_reported_with_a_suggestion() {
        let one = json!({ "name": "worker", "replica": 2, "gpu": true, "on": "y" });
        let other = json!({ "name": "worker", "replicas": "1" });
        let spec = json!({ "labels": { "a": 1 }, "components": [one, other], "zzz": 1 });
        assert_eq!(
            violations(json!({ "nam": "tiny" }), spec),
            [
                "metadata.nam: unknown field (did you mean \"name\"?)",
                "spec.components[worker].gpu: expected an integer or a string, found a boolean",
                "spec.components[worker].on: expected a boolean, found a string",
                "spec.components[worker].replica: unknown field (did you mean \"replicas\"?)",
                "spec.components[worker]: duplicate item",
                "spec.components[worker].replicas: expected an integer, found a string",
                "spec.labels.a: expected a string, found a number",
                "spec.zzz: unknown field",
            ]
        );
    }

    #[test]
    fn kind_without_a_schema_has_no_violations() {
        assert!(
            schema_violations(&json!({ "apiVersion": "v1", "kind": "Pod", "x": 1 }), &document()).is_empty()
        );
    }
}
