//! Reads JSON of other programs into types. A field of another type counts as missing, and unknown fields are ignored,
//! so that one odd field does not make a document unreadable. The structs use `#[serde(default)]`, and these functions
//! with `deserialize_with`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads a struct. All fields are missing if the document is not an object.
pub fn read<T: DeserializeOwned + Default>(document: &Value) -> T {
    read_object(document).unwrap_or_default()
}

/// Reads a struct; `None` if the document is not an object. Serde would also read a list as the fields of a struct.
pub fn read_object<T: DeserializeOwned>(document: &Value) -> Option<T> {
    document.is_object().then(|| T::deserialize(document).ok()).flatten()
}

/// Reads a field with a value.
///
/// # Errors
/// Text that is not JSON.
pub fn value<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// Reads a field with an object.
///
/// # Errors
/// Text that is not JSON.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(read_object(&Value::deserialize(deserializer)?))
}

/// Reads a field with a list of objects. An element of another type has only missing fields.
///
/// # Errors
/// Text that is not JSON.
pub fn list<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let elements: Option<Vec<Value>> = value(deserializer)?;
    Ok(elements.map(|elements| elements.iter().map(read).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Outer {
        #[serde(deserialize_with = "value")]
        count: Option<u64>,
        #[serde(deserialize_with = "object")]
        inner: Option<Box<Outer>>,
        #[serde(deserialize_with = "list")]
        list: Option<Vec<Outer>>,
    }

    #[test]
    fn fields_of_another_type_count_as_missing() {
        let with_count = |count| Outer { count: Some(count), ..Outer::default() };
        for (document, expected) in [
            (json!({ "count": 1, "other": 2 }), with_count(1)),
            (json!({ "count": "1", "inner": [1], "list": { "a": 1 } }), Outer::default()),
            (json!([1]), Outer::default()),
            (json!("text"), Outer::default()),
            (
                json!({ "inner": { "count": 2 } }),
                Outer { inner: Some(Box::new(with_count(2))), ..Outer::default() },
            ),
            (
                json!({ "list": [{ "count": 3 }, [4], "text"] }),
                Outer {
                    list: Some(vec![with_count(3), Outer::default(), Outer::default()]),
                    ..Outer::default()
                },
            ),
        ] {
            assert_eq!(read::<Outer>(&document), expected, "{document}");
        }
    }
}
