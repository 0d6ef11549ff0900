//! Changes objects that users wrote. Indexing a `Value` mutably panics if the parent field is not an object; these
//! functions do not.

use serde_json::{Map, Value};

/// Returns the object at a path, to change it. A value that is not an object is replaced with an empty object, so
/// validate user input first.
pub fn object_at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let target =
        path.iter().fold(value, |value, field| as_object(value).entry(*field).or_insert(Value::Null));
    as_object(target)
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

/// Returns the path of the metadata field that is not an object, or `None` if all are objects or absent.
pub fn invalid_metadata_field(object: &Value) -> Option<&'static str> {
    ["metadata", "metadata.labels", "metadata.annotations"].into_iter().find(|path| {
        let value = object.pointer(&format!("/{}", path.replace('.', "/")));
        value.is_some_and(|value| !(value.is_null() || value.is_object()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn creates_missing_objects() {
        for mut value in
            [json!(null), json!("foo"), json!({ "metadata": "foo" }), json!({ "metadata": { "labels": 1 } })]
        {
            object_at(&mut value, &["metadata", "labels"]).insert("a".into(), "b".into());
            assert_eq!(value, json!({ "metadata": { "labels": { "a": "b" } } }));
        }
        let mut value = json!({ "metadata": { "name": "g", "labels": { "a": "b" } } });
        object_at(&mut value, &["metadata"]).insert("namespace".into(), "n".into());
        assert_eq!(value["metadata"], json!({ "name": "g", "namespace": "n", "labels": { "a": "b" } }));
    }

    #[test]
    fn finds_invalid_metadata_fields() {
        for (object, path) in [
            (json!({}), None),
            (json!({ "metadata": { "labels": null, "annotations": {} } }), None),
            (json!({ "metadata": "foo" }), Some("metadata")),
            (json!({ "metadata": { "labels": [] } }), Some("metadata.labels")),
            (json!({ "metadata": { "annotations": "a" } }), Some("metadata.annotations")),
        ] {
            assert_eq!(invalid_metadata_field(&object), path, "{object}");
        }
    }
}
