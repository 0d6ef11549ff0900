//! Dynamo's definitions of graphs as JSON schemas, made as strict as server-side apply is: unknown fields are refused,
//! and entries of a list that is merged by a key may not share one.

use jsonschema::Validator;
use kubectl_dynamo_tests::kubernetes::definitions::{GraphDefinition, Stored};
use serde_json::{Value, json};

/// The schema of one version of the definition.
pub(crate) struct GraphSchema {
    validator: Validator,
}

impl GraphSchema {
    pub(crate) fn of(folder: &'static str, stored: Stored, version: &str) -> Self {
        let definition = GraphDefinition { folder, stored }.read().expect("Dynamo's definitions are there");
        let versions = definition["spec"]["versions"].as_array().expect("a definition has versions");
        let found = versions.iter().find(|one| one["name"] == version).expect("it has this version");
        let mut schema = found["schema"]["openAPIV3Schema"].clone();
        schema["properties"]["metadata"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        strict(&mut schema);
        Self { validator: jsonschema::validator_for(&schema).expect("a schema") }
    }

    /// What the graph breaks, if anything.
    pub(crate) fn complaint(&self, graph: &Value) -> Option<String> {
        let error = self.validator.iter_errors(graph).next();
        error.map(|error| format!("{}: {error}", error.instance_path())).or_else(|| doubled(graph, ""))
    }
}

/// Turns Kubernetes' own words into those of JSON schema.
fn strict(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.get("x-kubernetes-int-or-string").is_some_and(|marked| marked == true) {
        fields.remove("anyOf");
        fields.insert("type".into(), json!(["integer", "string"]));
    }
    // Formats such as int32 say nothing here that the type does not, and Go's patterns are not all JSON schema's.
    fields.remove("format");
    let keeps_unknown =
        fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|marked| marked == true);
    if fields.contains_key("properties") && !fields.contains_key("additionalProperties") && !keeps_unknown {
        fields.insert("additionalProperties".into(), json!(false));
    }
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(strict),
            ("items" | "additionalProperties" | "not", value) => strict(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(several)) => several.iter_mut().for_each(loose),
            _ => {}
        }
    }
}

/// Alternatives name only some of the fields.
fn loose(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("format");
    }
}

/// Two entries of one name in a list: of variables, volumes, containers, claims or components.
fn doubled(value: &Value, place: &str) -> Option<String> {
    match value {
        Value::Array(items) => {
            let mut keys: Vec<&str> = items
                .iter()
                .filter_map(|item| item["mountPath"].as_str().or(item["name"].as_str()))
                .collect();
            keys.sort_unstable();
            let twice = keys
                .windows(2)
                .find(|pair| pair[0] == pair[1])
                .map(|pair| format!("{place}: {} twice", pair[0]));
            twice.or_else(|| items.iter().find_map(|item| doubled(item, place)))
        }
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| doubled(value, &format!("{place}.{name}")))
        }
        _ => None,
    }
}

#[test]
fn the_schema_refuses_what_the_server_would() {
    let schema = GraphSchema::of("1.5.0-main-20260821", Stored::V1Beta1, "v1beta1");
    let main = json!({ "name": "main", "image": "a:1.6.1", "env": [{ "name": "A", "value": "1" }] });
    let pod = json!({ "spec": { "containers": [main] } });
    let graph = json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": { "name": "a" },
        "spec": { "components": [{ "name": "worker", "type": "worker", "replicas": 1, "podTemplate": pod }] },
    });
    assert_eq!(schema.complaint(&graph), None);
    let container = "/spec/components/0/podTemplate/spec/containers/0";
    let twice = json!([{ "name": "A" }, { "name": "A" }]);
    for (place, value) in [
        ("/spec/components/0/replicas", json!("1")),
        ("/spec/components/0/type", json!("wrker")),
        (container, json!({ "name": "main", "imag": "a" })),
        (container, json!({ "name": "main", "env": twice })),
    ] {
        let mut broken = graph.clone();
        *broken.pointer_mut(place).expect("a place") = value;
        assert!(schema.complaint(&broken).is_some(), "{place}");
    }
}
