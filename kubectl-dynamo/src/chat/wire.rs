//! The OpenAI wire format, as far as a chat needs it, with what Dynamo adds and how it refuses.

use serde::Serialize;
use serde_json::{Value, json};

use super::endpoint::Kind;
use super::turn::{Usage, Workers};

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// One turn to ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
}

impl Request {
    /// Its body. Fields of Dynamo's own go to Dynamo alone: others refuse what they do not know.
    pub(super) fn body(&self, kind: Kind) -> Value {
        let mut body = json!({
            "model": self.model,
            "messages": self.messages,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if let Some(tokens) = self.max_tokens {
            body["max_tokens"] = tokens.into();
        }
        if let Some(temperature) = self.temperature {
            body["temperature"] = json!(temperature);
        }
        if kind == Kind::Dynamo {
            body["nvext"] = json!({ "extra_fields": ["worker_id", "timing"] });
        }
        body
    }
}

/// A piece of an answer, in the order it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What a reasoning model thinks before it answers.
    Thought(&'a str),
    Answer(&'a str),
}

/// What one event of a stream holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chunk {
    pub(super) thought: Option<String>,
    pub(super) answer: Option<String>,
    pub(super) finish_reason: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) workers: Option<Workers>,
}

/// Reads one event, or the whole answer of an endpoint that does not stream.
///
/// # Errors
/// The endpoint's words, when it reports an error inside a stream.
pub(super) fn chunk(event: &Value) -> Result<Chunk, String> {
    if let Some(message) = error_message(event) {
        return Err(message);
    }
    let choice = &event["choices"][0];
    let said = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    Ok(Chunk {
        thought: text(&said["reasoning_content"]).or_else(|| text(&said["reasoning"])),
        answer: text(&said["content"]),
        finish_reason: text(&choice["finish_reason"]),
        usage: usage(&event["usage"]),
        workers: workers(&event["nvext"]["worker_id"]),
    })
}

/// The message of an error in OpenAI's shape or in Dynamo's, which has its fields at the top.
pub(super) fn error_message(body: &Value) -> Option<String> {
    let error = &body["error"];
    if let Some(message) = error["message"].as_str().or(error.as_str()) {
        return Some(message.to_owned());
    }
    let message = body["message"].as_str()?;
    body.get("choices").is_none().then(|| message.to_owned())
}

fn usage(usage: &Value) -> Option<Usage> {
    Some(Usage {
        prompt_tokens: usage["prompt_tokens"].as_u64()?,
        completion_tokens: usage["completion_tokens"].as_u64()?,
        cached_tokens: usage["prompt_tokens_details"]["cached_tokens"].as_u64(),
    })
}

/// Dynamo's worker ids, in the digits its own logs and discovery use.
fn workers(ids: &Value) -> Option<Workers> {
    let id = |field: &str| ids[field].as_u64().map(|id| format!("{id:x}"));
    let decode = id("decode_worker_id").or_else(|| ids.as_u64().map(|id| format!("{id:x}")))?;
    Some(Workers { prefill: id("prefill_worker_id").filter(|prefill| *prefill != decode), decode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_errors_of_every_shape() {
        for (body, message) in [
            (
                json!({"message": "Model not found", "type": "Not Found", "code": 404}),
                Some("Model not found"),
            ),
            (json!({"error": {"message": "too long", "code": 500}}), Some("too long")),
            (json!({"error": "plain"}), Some("plain")),
            (json!({"choices": [{"delta": {"content": "x"}}]}), None),
            (json!({"choices": [], "error": null}), None),
        ] {
            assert_eq!(chunk(&body).err().as_deref(), message, "{body}");
        }
    }

    #[test]
    fn reads_what_dynamo_adds() {
        let event = json!({
            "choices": [{"index": 0, "delta": {"content": " w"}, "finish_reason": null}],
            "nvext": {"worker_id": {"prefill_worker_id": 16, "decode_worker_id": 255}},
        });
        let read = chunk(&event).expect("no error");
        assert_eq!(read.answer.as_deref(), Some(" w"));
        assert_eq!(read.workers, Some(Workers { prefill: Some("10".into()), decode: "ff".into() }));
        let last = json!({
            "choices": [],
            "usage": {"prompt_tokens": 24, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 16}},
        });
        let usage = Usage { prompt_tokens: 24, completion_tokens: 4, cached_tokens: Some(16) };
        assert_eq!(chunk(&last), Ok(Chunk { usage: Some(usage), ..Chunk::default() }));
    }

    #[test]
    fn fields_of_dynamo_go_to_dynamo_alone() {
        let request = Request { model: "m".into(), messages: vec![], max_tokens: Some(3), temperature: None };
        assert!(request.body(Kind::Dynamo)["nvext"].is_object());
        assert_eq!(
            request.body(Kind::Foreign),
            json!({"model": "m", "messages": [], "max_tokens": 3, "stream": true,
                   "stream_options": {"include_usage": true}})
        );
    }
}
