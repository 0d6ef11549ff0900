//! Formats one JSON value in a line of text.

use serde_json::Value;

/// Formats a string without whitespace as it is, and any other value as JSON.
pub(crate) fn display_value(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => text.clone(),
        value => value.to_string(),
    }
}

/// Formats the value of a setting: strings without quotes, list items separated by spaces.
pub(crate) fn setting_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(setting_text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
