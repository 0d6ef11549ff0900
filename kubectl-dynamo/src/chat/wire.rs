//! The request of a chat completion in OpenAI's wire format, with Dynamo's extensions.
//! It does no I/O.

use serde::Serialize;
use serde_json::{Value, json};

use super::ChatError;

/// The kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// A Dynamo frontend, which accepts Dynamo's request fields.
    Dynamo,
    /// Another OpenAI-compatible server.
    OpenAiCompatible,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    System,
    User,
    Assistant,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    pub role: ChatRole,
    pub content: String,
}

/// One chat completion request.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<ChatMessage>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
}

/// The JSON of a request.
#[derive(Serialize)]
struct RequestBody<'a> {
    model: &'a str,
    messages: &'a [ChatMessage],
    stream: bool,
    stream_options: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    /// Dynamo's extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    nvext: Option<Value>,
}

impl ChatRequest {
    /// The JSON body. Dynamo's fields are sent only to Dynamo, because other servers may reject unknown
    /// fields.
    pub(super) fn body(&self, kind: EndpointKind) -> Value {
        let nvext = match kind {
            EndpointKind::Dynamo => Some(json!({ "extra_fields": ["worker_id", "timing"] })),
            EndpointKind::OpenAiCompatible => None,
        };
        json!(RequestBody {
            model: &self.model,
            messages: &self.messages,
            stream: true,
            stream_options: json!({ "include_usage": true }),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            nvext,
        })
    }
}

/// The body without the optional field that an error rejects; `None` if the error is about something else. Newer
/// OpenAI models have another name for the token limit.
pub(super) fn without_rejected_field(body: &Value, error: &ChatError) -> Option<Value> {
    let ChatError::Refused { status: 400 | 422, message } = error else { return None };
    let mut body = body.clone();
    let fields = body.as_object_mut()?;
    if message.contains("max_completion_tokens") {
        let limit = fields.remove("max_tokens")?;
        fields.insert("max_completion_tokens".into(), limit);
        return Some(body);
    }
    let is_rejected = message.contains("stream_options") && fields.remove("stream_options").is_some();
    is_rejected.then_some(body)
}

/// A part of a streamed response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta<'a> {
    /// Reasoning content, which comes before the answer.
    Reasoning(&'a str),
    Content(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_optional_fields_are_removed_once() {
        let request =
            ChatRequest { model: "m".into(), messages: vec![], max_tokens: Some(3), temperature: None };
        let body = request.body(EndpointKind::OpenAiCompatible);
        let refused = |message: &str| ChatError::Refused { status: 422, message: message.into() };
        let stream_options = refused("body.stream_options: Extra inputs are not permitted");
        let shorter = without_rejected_field(&body, &stream_options).expect("the field is optional");
        assert!(shorter.get("stream_options").is_none() && shorter["max_tokens"] == 3);
        assert_eq!(without_rejected_field(&shorter, &stream_options), None);
        let max_tokens = refused("'max_tokens' is not supported. Use 'max_completion_tokens' instead.");
        let renamed = without_rejected_field(&body, &max_tokens).expect("the field has another name");
        assert!(renamed.get("max_tokens").is_none() && renamed["max_completion_tokens"] == 3);
        assert_eq!(without_rejected_field(&renamed, &max_tokens), None);
        assert_eq!(without_rejected_field(&body, &refused("too long")), None);
        assert_eq!(without_rejected_field(&body, &ChatError::ConnectionClosed), None);
    }

    #[test]
    fn dynamo_fields_are_sent_only_to_dynamo() {
        let request =
            ChatRequest { model: "m".into(), messages: vec![], max_tokens: Some(3), temperature: None };
        assert!(request.body(EndpointKind::Dynamo)["nvext"].is_object());
        assert_eq!(
            request.body(EndpointKind::OpenAiCompatible),
            json!({"model": "m", "messages": [], "max_tokens": 3, "stream": true,
                   "stream_options": {"include_usage": true}})
        );
    }
}
