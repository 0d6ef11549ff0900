//! What never leaves a cluster in saved evidence: tokens, passwords and keys, wherever they stand.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Stands in the place of what was taken out.
const REDACTED: &str = "[redacted]";

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"hf_[A-Za-z0-9_]{4,}|nvapi-[A-Za-z0-9_-]{8,}|sk-[A-Za-z0-9_-]{8,}",
        r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        r"|(?i:bearer\s+)[^\s\x22']{4,}|(?i:[a-z]+://)[^/\s:@\x22]+:[^/\s@\x22]+@",
        r"|(?i:(?:token|password|passwd|secret|api[_-]?key|credential)s?[\x22']?\s*[=:]\s*)[\x22']?[^\s\x22',}]{4,}",
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?i)token|password|passwd|secret|credential|api_?key|access_?key").expect("a constant")
});

/// The text without what looks like a secret.
pub fn redacted(text: &str) -> String {
    SECRETS.replace_all(text, REDACTED).into_owned()
}

/// The object without the values of environment variables that are named after secrets, and without what looks
/// like one anywhere else. References to Secrets stay: they name no value.
pub fn redacted_object(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let secret =
                fields.get("name").and_then(Value::as_str).is_some_and(|name| SECRET_NAME.is_match(name));
            let field = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("managedFields", _) => None,
                ("value", Value::String(_)) if secret => Some((name.clone(), REDACTED.into())),
                _ => Some((name.clone(), redacted_object(value))),
            };
            Value::Object(fields.iter().filter_map(field).collect())
        }
        Value::Array(items) => items.iter().map(redacted_object).collect(),
        Value::String(text) => redacted(text).into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_looks_like_a_secret_is_taken_out() {
        for secret in [
            "hf_only_for_the_hub_of_these_tests",
            "Authorization: Bearer abcdef.ghi",
            "nvapi-0123456789abcdef",
            "HF_TOKEN=0123456789",
            "password: hunter22",
            r#"{"api_key":"0123456789"}"#,
            "https://user:passw0rd@hub.test/x",
        ] {
            let text = redacted(secret);
            assert!(text.contains(REDACTED), "{text}");
            for part in ["hf_only", "abcdef", "0123456789", "hunter22", "passw0rd"] {
                assert!(!text.contains(part), "{text}");
            }
        }
        assert_eq!(redacted("loading weights 14/19"), "loading weights 14/19");
    }

    #[test]
    fn a_variable_named_after_a_secret_loses_its_value_and_keeps_its_reference() {
        let object = json!({ "env": [
            { "name": "HF_TOKEN", "value": "anything" },
            { "name": "MODE", "value": "kv" },
            { "name": "HF_TOKEN", "valueFrom": { "secretKeyRef": { "name": "hf-token-secret", "key": "HF_TOKEN" } } },
        ]});
        let clean = redacted_object(&object);
        assert_eq!(clean["env"][0]["value"], REDACTED);
        assert_eq!(clean["env"][1]["value"], "kv");
        assert_eq!(clean["env"][2]["valueFrom"]["secretKeyRef"]["key"], "HF_TOKEN");
    }
}
