//! Removes tokens, passwords, and keys from texts and objects before they are printed or saved in a support bundle.
//!
//! It matches the format of secrets and the names of variables and flags. It must not remove references to
//! Secrets, counts of a model's tokens, and names of tokenizers.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// The replacement for removed text.
const REDACTED: &str = "[redacted]";

static SECRETS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"hf_[A-Za-z0-9_]{4,}|nvapi-[A-Za-z0-9_-]{8,}|sk-[A-Za-z0-9_-]{8,}",
        r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        r"|(?i:bearer\s+|authorization[\x22']?\s*[=:]\s*[\x22']?(?:(?:basic|bearer|digest)\s+)?)[^\s\x22']{4,}|(?i:[a-z]+://)[^/\s:@\x22]+:[^/\s@\x22]+@",
        r"|(?<name>(?i:(?:token|password|passwd|passphrase|secret|(?:api|access|private|master|encryption|signing)[_-]?key",
        r"|credential)s?)[\x22']?\s*[=:]\s*)\[?[\x22']?(?<value>[^\s\x22',}\]]{4,})",
        r"|(?s:-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|$))",
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?i)token|password|passwd|passphrase|secret|credential|authorization\
         |(?:api|access|private|master|encryption|signing)_?key",
    )
    .expect("the pattern is a constant, and a test compiles it")
});

/// Returns the text without parts that match the format of a secret.
pub fn redact(text: &str) -> String {
    let replacement = |found: &Captures<'_>| match (found.name("name"), found.name("value")) {
        (Some(name), Some(value)) if is_token_count(name.as_str(), value.as_str()) => found[0].to_owned(),
        _ => REDACTED.to_owned(),
    };
    SECRETS.replace_all(text, replacement).into_owned()
}

/// Returns whether the value is a number of a model's tokens, as in `--max-num-batched-tokens=8192`.
fn is_token_count(name: &str, value: &str) -> bool {
    name.to_ascii_lowercase().trim_end_matches([' ', '=', ':', '"', '\'']).ends_with("tokens")
        && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a variable or flag with this name and value is a secret.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_").replace("tokenizer", "");
    SECRET_NAME.is_match(&name) && !is_token_count(&name, value)
}

/// Returns the object without the values of environment variables and flags whose names indicate a secret,
/// and without other text that matches the format of a secret. JSON in annotations is redacted too.
/// References to Secrets are preserved, because they do not contain a value.
pub fn redact_object(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let own_name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
            let field = |(name, value): (&String, &Value)| match (name.as_str(), value) {
                ("managedFields", _) => None,
                ("value", Value::String(value)) if is_secret(own_name, value) => {
                    Some((name.clone(), REDACTED.into()))
                }
                _ => Some((name.clone(), redact_object(value))),
            };
            Value::Object(fields.iter().filter_map(field).collect())
        }
        Value::Array(items) => {
            let is_secret_item = |index: usize, item: &str| {
                let Some(before) = index.checked_sub(1).and_then(|before| items[before].as_str()) else {
                    return false;
                };
                let is_name = match before.strip_prefix("--") {
                    Some(flag) => !flag.contains('='),
                    None => items.len() == 2 && is_variable_name(before),
                };
                is_name && is_secret(before, item)
            };
            let item = |(index, item): (usize, &Value)| match item.as_str() {
                Some(text) if is_secret_item(index, text) => REDACTED.into(),
                _ => redact_object(item),
            };
            items.iter().enumerate().map(item).collect()
        }
        Value::String(text) => match serde_json::from_str(text) {
            Ok(object @ (Value::Object(_) | Value::Array(_))) => redact_object(&object).to_string().into(),
            _ => redact(text).into(),
        },
        other => other.clone(),
    }
}

/// Returns whether this can be the name of a variable, as in the pairs of an intent: `["API_TOKEN", "…"]`.
fn is_variable_name(name: &str) -> bool {
    name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn redacts_secrets_in_text() {
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
            let text = redact(secret);
            assert!(text.contains(REDACTED), "{text}");
            for part in ["hf_only", "abcdef", "0123456789", "hunter22", "passw0rd"] {
                assert!(!text.contains(part), "{text}");
            }
        }
        for text in [
            "loading weights 14/19",
            "-- --max-num-batched-tokens=8192",
            "{'max_num_batched_tokens': 8192, 'model': 'x'}",
            "total tokens: 12345",
            "--tokenizer=org/name",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn keeps_token_counts_and_tokenizers_in_objects() {
        let object = json!({
            "args": ["--max-num-batched-tokens", "8192", "--tokenizer", "org/name", "--hf-tokens", "anything"],
            "env": [{ "name": "TOKENIZERS_PARALLELISM", "value": "false" }],
        });
        let mut expected = object.clone();
        expected["args"][5] = REDACTED.into();
        assert_eq!(redact_object(&object), expected);
    }

    #[test]
    fn redacts_secret_env_value_but_not_secret_reference() {
        let object = json!({ "env": [
            { "name": "HF_TOKEN", "value": "anything" },
            { "name": "MODE", "value": "kv" },
            { "name": "HF_TOKEN", "valueFrom": { "secretKeyRef": { "name": "hf-token-secret", "key": "HF_TOKEN" } } },
        ]});
        let redacted = redact_object(&object);
        assert_eq!(redacted["env"][0]["value"], REDACTED);
        assert_eq!(redacted["env"][1]["value"], "kv");
        assert_eq!(redacted["env"][2]["valueFrom"]["secretKeyRef"]["key"], "HF_TOKEN");
    }

    #[test]
    fn redacts_last_applied_annotation_and_flag_values() {
        let last = json!({ "env": [{ "name": "OPENAI_API_KEY", "value": "anything" }] }).to_string();
        let object = json!({
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": last },
            "pair": ["API_TOKEN", "anything"],
            "args": ["--api-key", "anything", "--tensor-parallel-size", "2", "--hf-token=anything"],
        });
        let redacted = redact_object(&object);
        assert!(!redacted.to_string().contains("anything"), "{redacted}");
        assert_eq!(redacted["args"][3], "2");
    }
}
