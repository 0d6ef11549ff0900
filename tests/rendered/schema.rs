//! Dynamo's CRDs of graphs as JSON schemas, as strict as server-side apply: unknown fields are rejected, and
//! entries of a list with a merge key must be unique.

use jsonschema::Validator;
use kubectl_dynamo_tests::kubernetes::definitions::{GraphDefinition, StoredVersion};
use serde_json::{Value, json};

/// The schema of one version of the CRD.
pub(crate) struct GraphSchema {
    validator: Validator,
}

impl GraphSchema {
    pub(crate) fn from_definition(folder: &'static str, stored: StoredVersion, version: &str) -> Self {
        let definition =
            GraphDefinition { folder, stored_version: stored }.read().expect("Dynamo's CRDs exist");
        let versions = definition["spec"]["versions"].as_array().expect("a CRD has versions");
        let found = versions.iter().find(|one| one["name"] == version).expect("it has this version");
        let mut schema = found["schema"]["openAPIV3Schema"].clone();
        schema["properties"]["metadata"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        make_strict(&mut schema);
        Self { validator: jsonschema::validator_for(&schema).expect("a schema") }
    }

    /// Returns a violation of the schema, if there is one.
    pub(crate) fn first_violation(&self, graph: &Value) -> Option<String> {
        let error = self.validator.iter_errors(graph).next();
        error.map(|error| format!("{}: {error}", error.instance_path())).or_else(|| find_duplicate(graph, ""))
    }
}

/// Converts Kubernetes extensions to JSON schema.
fn make_strict(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if fields.get("x-kubernetes-int-or-string").is_some_and(|flag| flag == true) {
        fields.remove("anyOf");
        fields.insert("type".into(), json!(["integer", "string"]));
    }
    // Formats such as int32 add nothing to the type here, and not all Go patterns are valid in JSON schema.
    fields.remove("format");
    let preserves_unknown_fields =
        fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|flag| flag == true);
    if fields.contains_key("properties")
        && !fields.contains_key("additionalProperties")
        && !preserves_unknown_fields
    {
        fields.insert("additionalProperties".into(), json!(false));
    }
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(make_strict),
            ("items" | "additionalProperties" | "not", value) => make_strict(value),
            ("allOf" | "anyOf" | "oneOf", Value::Array(alternatives)) => {
                alternatives.iter_mut().for_each(remove_format)
            }
            _ => {}
        }
    }
}

/// Alternatives list only some of the fields.
fn remove_format(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("format");
    }
}

/// Returns a duplicate name in a list of variables, volumes, containers, PVCs, or components.
fn find_duplicate(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Array(items) => {
            let mut keys: Vec<&str> = items
                .iter()
                .filter_map(|item| item["mountPath"].as_str().or(item["name"].as_str()))
                .collect();
            keys.sort_unstable();
            let duplicate = keys
                .windows(2)
                .find(|pair| pair[0] == pair[1])
                .map(|pair| format!("{path}: {} twice", pair[0]));
            duplicate.or_else(|| items.iter().find_map(|item| find_duplicate(item, path)))
        }
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| find_duplicate(value, &format!("{path}.{name}")))
        }
        _ => None,
    }
}

#[test]
fn schema_rejects_what_the_server_rejects() {
    let schema = GraphSchema::from_definition("1.5.0-main-20260821", StoredVersion::V1Beta1, "v1beta1");
    let main = json!({ "name": "main", "image": "a:1.6.1", "env": [{ "name": "A", "value": "1" }] });
    let pod = json!({ "spec": { "containers": [main] } });
    let graph = json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": { "name": "a" },
        "spec": { "components": [{ "name": "worker", "type": "worker", "replicas": 1, "podTemplate": pod }] },
    });
    assert_eq!(schema.first_violation(&graph), None);
    let container = "/spec/components/0/podTemplate/spec/containers/0";
    let duplicate = json!([{ "name": "A" }, { "name": "A" }]);
    for (pointer, value) in [
        ("/spec/components/0/replicas", json!("1")),
        ("/spec/components/0/type", json!("wrker")),
        (container, json!({ "name": "main", "imag": "a" })),
        (container, json!({ "name": "main", "env": duplicate })),
    ] {
        let mut broken = graph.clone();
        *broken.pointer_mut(pointer).expect("a place") = value;
        assert!(schema.first_violation(&broken).is_some(), "{pointer}");
    }
}
