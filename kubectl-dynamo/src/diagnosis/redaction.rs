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
        r"|(?i:bearer\s+|authorization[\x22']?\s*[=:]\s*[\x22']?(?:(?:basic|bearer|digest)\s+)?)[^\s\x22']{4,}|(?i:[a-z]+://)[^/\s:@\x22]+:[^/\s@\x22]+@",
        r"|(?i:(?:token|password|passwd|passphrase|secret|(?:api|access|private|master|encryption|signing)[_-]?key",
        r"|credential)s?[\x22']?\s*[=:]\s*)\[?[\x22']?[^\s\x22',}\]]{4,}",
        r"|(?s:-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$))",
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)token|password|passwd|passphrase|secret|credential|authorization\
         |(?:api|access|private|master|encryption|signing)_?key",
    )
    .expect("a constant")
});

/// The text without what looks like a secret.
pub fn redacted(text: &str) -> String {
    SECRETS.replace_all(text, REDACTED).into_owned()
}

/// The object without the values of environment variables and flags that are named after secrets, and without what
/// looks like one anywhere else, also in the JSON that annotations hold. References to Secrets stay: they name no
/// value.
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
        Value::Array(items) => {
            let is_secret = |place: usize| match place.checked_sub(1).map(|before| &items[before]) {
                Some(before) => is_secret_flag(before) || (items.len() == 2 && is_secret_name(before)),
                None => false,
            };
            let item = |(place, item): (usize, &Value)| match is_secret(place) && item.is_string() {
                true => REDACTED.into(),
                false => redacted_object(item),
            };
            items.iter().enumerate().map(item).collect()
        }
        Value::String(text) => match serde_json::from_str(text) {
            Ok(object @ (Value::Object(_) | Value::Array(_))) => redacted_object(&object).to_string().into(),
            _ => redacted(text).into(),
        },
        other => other.clone(),
    }
}

/// Whether it is the name of a secret variable, as in the pairs of an intent: `["API_TOKEN", "…"]`.
fn is_secret_name(name: &Value) -> bool {
    let is_name = |name: &str| name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_');
    name.as_str().is_some_and(|name| is_name(name) && SECRET_NAME.is_match(name))
}

/// Whether the next argument is its value: `--api-key`.
fn is_secret_flag(argument: &Value) -> bool {
    let flag = argument.as_str().and_then(|text| text.strip_prefix("--"));
    flag.is_some_and(|flag| !flag.contains('=') && SECRET_NAME.is_match(&flag.replace('-', "_")))
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
            "'api_key': ['0123456789']",
            "Authorization: Basic 0123456789",
            "-----BEGIN PRIVATE KEY-----\n0123456789\n-----END PRIVATE KEY-----",
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

    #[test]
    fn what_kubectl_applied_last_and_the_value_of_a_flag_are_clean_as_well() {
        let last = json!({ "env": [{ "name": "OPENAI_API_KEY", "value": "anything" }] }).to_string();
        let object = json!({
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": last },
            "pair": ["API_TOKEN", "anything"],
            "args": ["--api-key", "anything", "--tensor-parallel-size", "2", "--hf-token=anything"],
        });
        let clean = redacted_object(&object);
        assert!(!clean.to_string().contains("anything"), "{clean}");
        assert_eq!(clean["args"][3], "2");
    }
}
