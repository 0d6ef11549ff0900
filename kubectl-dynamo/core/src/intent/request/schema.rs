//! The JSON schema of request files, generated from the table of fields. It describes types only;
//! contradictions are found when a request is resolved.

use serde_json::{Map, Value, json};

use super::{API_VERSION, Field, FieldType, KIND, fields};

/// The JSON schema (draft 2020-12) for editors and validators.
pub fn json_schema() -> Value {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KIND,
        "description": "Serving request for `kubectl dynamo up -f`. All fields except apiVersion and kind are optional.",
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": { "const": API_VERSION },
            "kind": { "const": KIND },
        },
    });
    for field in fields() {
        let (parents, name) = field.path.rsplit_once('.').unwrap_or(("", field.path));
        let parents = parents.split('.').filter(|part| !part.is_empty());
        let object = parents.fold(&mut root, |object, part| {
            let property = &mut object["properties"][part];
            if property.is_null() {
                *property =
                    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": {} });
            }
            property
        });
        object["properties"][name] = field_schema(field);
    }
    root
}

fn field_schema(field: &Field) -> Value {
    let text = json!({ "type": "string" });
    let mut schema: Map<String, Value> = match field.kind {
        FieldType::String => to_object(json!({ "type": ["string", "null"], "minLength": 1 })),
        FieldType::Quantity => to_object(json!({ "type": ["string", "null"], "pattern": QUANTITY })),
        FieldType::Integer => {
            to_object(json!({ "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX }))
        }
        FieldType::Number => to_object(json!({ "type": ["number", "null"], "minimum": 0 })),
        FieldType::Bool => to_object(json!({ "type": ["boolean", "null"] })),
        FieldType::Enum(allowed) => {
            let values = allowed().into_iter().map(Value::from).chain([Value::Null]);
            to_object(json!({ "enum": values.collect::<Vec<_>>() }))
        }
        FieldType::List | FieldType::Args => to_object(json!({ "type": ["array", "null"], "items": text })),
        FieldType::Map => to_object(json!({ "type": ["object", "null"], "additionalProperties": text })),
    };
    schema.insert("description".into(), field.about.into());
    Value::Object(schema)
}

/// Syntax of Kubernetes quantities that are not negative.
const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$";

fn to_object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
