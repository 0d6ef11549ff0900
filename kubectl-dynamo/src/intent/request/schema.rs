//! The JSON schema of a request's file, made from the table of fields.

use serde_json::{Map, Value, json};

use super::{API_VERSION, Field, KIND, Kind, fields};

/// The schema (draft 2020-12) that editors and validators take.
pub fn json_schema() -> Value {
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": KIND,
        "description": "What `kubectl dynamo up -f` takes. Every field may be absent.",
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
            let place = &mut object["properties"][part];
            if place.is_null() {
                *place =
                    json!({ "type": ["object", "null"], "additionalProperties": false, "properties": {} });
            }
            place
        });
        object["properties"][name] = of_field(field);
    }
    root
}

fn of_field(field: &Field) -> Value {
    let text = json!({ "type": "string" });
    let mut schema: Map<String, Value> = match field.kind {
        Kind::Text => object(json!({ "type": ["string", "null"], "minLength": 1 })),
        Kind::Quantity => object(json!({ "type": ["string", "null"], "pattern": QUANTITY })),
        Kind::Count => object(json!({ "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX })),
        Kind::Number => object(json!({ "type": ["number", "null"], "minimum": 0 })),
        Kind::Switch => object(json!({ "type": ["boolean", "null"] })),
        Kind::Words(known) => {
            let words = known().into_iter().map(Value::from).chain([Value::Null]);
            object(json!({ "enum": words.collect::<Vec<_>>() }))
        }
        Kind::List | Kind::Arguments => object(json!({ "type": ["array", "null"], "items": text })),
        Kind::Map => object(json!({ "type": ["object", "null"], "additionalProperties": text })),
    };
    schema.insert("description".into(), field.about.into());
    Value::Object(schema)
}

/// Kubernetes' grammar, of numbers that are not negative.
const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?([kMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$";

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
