//! Finds the words of an endpoint's error. OpenAI-compatible servers and the gateways in front of them report
//! errors in many forms; the table of the test lists them with their origin. It does no I/O.

use serde_json::{Map, Value};

/// Fields that contain the words of an error, in the order of preference.
const TEXT_FIELDS: [&str; 15] = [
    "message",
    "msg",
    "detail",
    "error",
    "errors",
    "error_message",
    "errorMessage",
    "error_msg",
    "error_description",
    "status_msg",
    "faultstring",
    "description",
    "reason",
    "title",
    "raw",
];

/// Fields that identify an error that does not contain words.
const IDENTIFYING_FIELDS: [&str; 6] = ["type", "error_type", "name", "code", "status", "status_code"];

/// The depth to which an error is searched.
const MAX_DEPTH: usize = 6;

/// The longest message that is shown. A proxy may return a complete web page.
const MAX_MESSAGE_CHARACTERS: usize = 1000;

/// The words of the error that an event or a body reports; `None` if it does not report an error.
pub(super) fn error_message(body: &Value) -> Option<String> {
    let fields = match body {
        Value::Object(fields) => fields,
        // Google wraps an error in an array.
        Value::Array(items) => return items.iter().find_map(error_message),
        _ => return None,
    };
    let reported = ["error", "errors", "fault"].into_iter().find_map(|field| {
        let words = error_words(fields.get(field)?, 0)?;
        // `"error": true` and `"error": "invalid_request"` can stand next to the words.
        let sibling = ["message", "msg", "detail", "error_description", "reason"];
        let sibling =
            sibling.into_iter().find_map(|field| fields.get(field).filter(|value| value.is_string()));
        Some(match (&fields[field], sibling) {
            (Value::Bool(_) | Value::Number(_), Some(text)) => error_words(text, 0).unwrap_or(words),
            (Value::String(name), Some(text)) if fields.get("choices").is_none() => {
                format!("{name}: {}", text.as_str().unwrap_or_default())
            }
            _ => words,
        })
    });
    if let Some(words) = reported {
        return Some(shorten(&words));
    }
    // A chunk can have a field `message` or `detail` of its own.
    if fields.get("choices").is_some_and(Value::is_array) {
        return None;
    }
    let base = fields.get("base_resp").and_then(Value::as_object);
    if let Some(base) = base.filter(|base| base.get("status_code").is_some_and(|code| *code != 0)) {
        return object_words(base, 0).map(|words| shorten(&words));
    }
    // A message that is an object belongs to an answer in another format.
    let is_text = |field: &&str| {
        fields.get(*field).is_some_and(|value| value.as_str().is_some_and(|text| !text.is_empty()))
    };
    let has_text = ["message", "msg", "error_message", "errorMessage", "error_msg"].iter().any(is_text)
        || fields.get("detail").is_some_and(|detail| error_words(detail, 0).is_some());
    let is_problem = fields.get("object").is_some_and(|object| object == "error")
        || fields.get("type").is_some_and(|object| object == "error")
        || (fields.contains_key("title") && fields.contains_key("status"));
    (has_text || is_problem)
        .then(|| object_words(fields, 0).unwrap_or_else(|| unnamed_error(body)))
        .map(|words| shorten(&words))
}

/// The words of the value of a field `error`; `None` if it does not report an error.
pub(super) fn error_in(value: &Value) -> Option<String> {
    error_words(value, 0).map(|words| shorten(&words))
}

/// The words of text or JSON that is known to be an error.
pub(super) fn known_error(text: &str) -> String {
    let text = text.trim();
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return shorten(if text.is_empty() { "an error without a message" } else { text });
    };
    let words = error_message(&value).or_else(|| error_words(&value, 0));
    words.unwrap_or_else(|| unnamed_error(&value))
}

/// The start of a text, which may be a complete web page.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The words of a value that is an error if it is not empty.
fn error_words(value: &Value, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("an error without a message".into()),
        Value::Number(code) => Some(format!("code {code}")),
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => {
            // Some gateways put the JSON of the server behind them into a string.
            let nested: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
            Some(
                nested
                    .and_then(|nested| error_words(&nested, depth + 1))
                    .unwrap_or_else(|| text.trim().into()),
            )
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().filter_map(|item| error_words(item, depth + 1)).collect();
            (!words.is_empty()).then(|| words.join("; "))
        }
        Value::Object(fields) if fields.is_empty() => None,
        Value::Object(fields) => object_words(fields, depth).or_else(|| Some(unnamed_error(value))),
    }
}

fn object_words(fields: &Map<String, Value>, depth: usize) -> Option<String> {
    let text_of = |value: &Value| match value {
        Value::Number(_) | Value::Bool(_) => None,
        value => error_words(value, depth + 1),
    };
    if let Some(text) = TEXT_FIELDS.iter().find_map(|field| fields.get(*field).and_then(text_of)) {
        // FastAPI names the field of the request.
        let location = fields.get("loc").and_then(Value::as_array).map(|parts| {
            let parts = parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), Into::into));
            parts.collect::<Vec<String>>().join(".")
        });
        return Some(location.map_or(text.clone(), |location| format!("{location}: {text}")));
    }
    let mut names = IDENTIFYING_FIELDS.iter().filter_map(|field| match fields.get(*field)? {
        Value::String(name) if !name.is_empty() && name != "error" => Some(name.clone()),
        Value::Number(code) => Some(format!("code {code}")),
        _ => None,
    });
    let first = names.next()?;
    Some(names.next().map_or(first.clone(), |second| format!("{first} ({second})")))
}

fn unnamed_error(value: &Value) -> String {
    shorten(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_the_words_of_every_error_format() {
        for (body, words) in [
            // OpenAI, vLLM
            (json!({"error": {"message": "too long", "type": "x", "code": 400}}), "too long"),
            // Dynamo
            (json!({"message": "Model not found", "type": "Not Found", "code": 404}), "Model not found"),
            // without a message
            (json!({"error": {"code": 503, "type": "overloaded_error"}}), "overloaded_error (code 503)"),
            (json!({"error": {"code": 503}}), "code 503"),
            (json!({"error": {"unknown": "x"}}), r#"{"unknown":"x"}"#),
            // Text Generation Inference
            (json!({"error": "top_p must be > 0.0", "error_type": "validation"}), "top_p must be > 0.0"),
            // nested by a gateway, as an object and as text
            (json!({"error": {"error": {"message": "inner words"}}}), "inner words"),
            (json!({"error": {"message": "{\"error\": {\"message\": \"inner words\"}}"}}), "inner words"),
            // Anthropic
            (
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
                "Overloaded",
            ),
            // FastAPI
            (json!({"detail": "engine is dead"}), "engine is dead"),
            (
                json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "stop", 0], "msg": "Extra inputs"}]}),
                "body.stop.0: Extra inputs",
            ),
            // SGLang
            (
                json!({"object": "error", "message": "KV cache pool is full", "code": 400}),
                "KV cache pool is full",
            ),
            (json!({"object": "error", "code": 500}), "code 500"),
            // Google
            (json!([{"error": {"code": 429, "message": "Resource exhausted"}}]), "Resource exhausted"),
            // OpenRouter
            (
                json!({"error": {"message": "Provider returned error", "metadata": {"raw": "x"}}, "choices": [{}]}),
                "Provider returned error",
            ),
            // OAuth gateways, and a flag next to the words
            (json!({"error": "invalid_token", "error_description": "expired"}), "invalid_token: expired"),
            (json!({"error": true, "message": "no credits"}), "no credits"),
            // Cloudflare
            (json!({"success": false, "errors": [{"code": 7003, "message": "no route"}]}), "no route"),
            // RFC 9457, Apigee, MiniMax, Zhipu
            (json!({"title": "Bad Gateway", "status": 502}), "Bad Gateway"),
            (json!({"fault": {"faultstring": "Invalid ApiKey"}}), "Invalid ApiKey"),
            (json!({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), "login fail"),
            (json!({"code": 1301, "msg": "unsafe content"}), "unsafe content"),
        ] {
            assert_eq!(error_message(&body).as_deref(), Some(words), "{body}");
        }
    }

    #[test]
    fn other_events_are_not_errors() {
        for body in [
            json!({"choices": [{"delta": {"content": "x"}}]}),
            json!({"choices": [], "error": null, "errors": [], "message": "note", "detail": "note"}),
            json!({"choices": [], "error": {}}),
            json!({"choices": [], "error": "", "usage": {}}),
            json!({"usage": {"prompt_tokens": 1}}),
            json!({"base_resp": {"status_code": 0, "status_msg": ""}}),
            json!({"type": "ping"}),
            json!({"message": {"role": "assistant", "content": "Hello"}, "done": false}),
            json!("text"),
            json!(null),
        ] {
            assert_eq!(error_message(&body), None, "{body}");
        }
    }

    #[test]
    fn known_errors_always_have_words() {
        for (text, words) in [
            ("", "an error without a message"),
            (" upstream failed ", "upstream failed"),
            (r#"{"message":"timed out","type":"timeout"}"#, "timed out"),
            (r#""text""#, "text"),
            ("{}", "{}"),
        ] {
            assert_eq!(known_error(text), words, "{text}");
        }
        let mut deep = json!("x");
        for _ in 0..100 {
            deep = json!({ "error": deep });
        }
        assert!(error_message(&deep).is_some_and(|words| words.chars().count() <= 1001));
    }
}
