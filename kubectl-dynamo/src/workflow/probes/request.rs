//! The body of a probe's request in OpenAI's wire format, with Dynamo's extensions.

use kubectl_dynamo_core::probe::{NUMBER_FIELD, STOP_SEQUENCES, TEXT_FIELD, TOOL_ARGUMENT, TOOL_NAME};
use serde::Serialize;
use serde_json::{Value, json};

use crate::chat::{ChatMessage, ChatRole};

/// The API that a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompletionApi {
    Chat,
    Completions,
}

impl CompletionApi {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
        }
    }
}

/// The body of a request. A field that is not set is not sent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct CompletionBody<'a> {
    model: &'a str,
    #[serde(flatten)]
    prompt: PromptField<'a>,
    pub(super) max_tokens: u64,
    #[serde(flatten)]
    pub(super) stream: Option<StreamFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nvext: Option<DynamoFields>,
    #[serde(flatten)]
    output: Option<OutputFields>,
}

/// The fields of a request about the form of the answer.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum OutputFields {
    Tools { tools: Value, tool_choice: Value },
    Schema { response_format: Value },
}

/// Whether a request must be answered with a call of the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToolChoice {
    Forced,
    Automatic,
}

/// The field with the prompt, which depends on the API.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
enum PromptField<'a> {
    Messages(Vec<ChatMessage>),
    Prompt(&'a str),
    /// A number, which is not a list of messages.
    #[serde(rename = "messages")]
    InvalidMessages(u8),
    /// An object, which is not a text.
    #[serde(rename = "prompt")]
    InvalidPrompt {
        text: u8,
    },
}

/// The fields of a streamed answer with usage.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StreamFields {
    stream: bool,
    stream_options: StreamOptions,
}

#[derive(Debug, Clone, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// Dynamo's own fields. They are only sent to Dynamo.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DynamoFields {
    extra_fields: [&'static str; 2],
    #[serde(flatten)]
    workers: Option<RequestedWorkers>,
}

/// The workers that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum RequestedWorkers {
    One { backend_instance_id: u64 },
    Pair { prefill_worker_id: u64, decode_worker_id: u64 },
}

impl<'a> CompletionBody<'a> {
    /// A request for an answer in one object.
    pub(super) fn new(api: CompletionApi, model: &'a str, prompt: &'a str, max_tokens: u64) -> Self {
        let prompt = match api {
            CompletionApi::Chat => {
                PromptField::Messages(vec![ChatMessage { role: ChatRole::User, content: prompt.to_owned() }])
            }
            CompletionApi::Completions => PromptField::Prompt(prompt),
        };
        Self { model, prompt, max_tokens, stream: None, stop: None, nvext: None, output: None }
    }

    /// A request whose prompt has the wrong type. Every release rejects it before a worker sees it.
    pub(super) fn invalid(api: CompletionApi, model: &'a str, max_tokens: u64) -> Self {
        let prompt = match api {
            CompletionApi::Chat => PromptField::InvalidMessages(1),
            CompletionApi::Completions => PromptField::InvalidPrompt { text: 1 },
        };
        Self { prompt, ..Self::new(api, model, "", max_tokens) }
    }

    /// Requests a stream with usage.
    pub(super) fn streamed(mut self) -> Self {
        let stream_options = StreamOptions { include_usage: true };
        self.stream = Some(StreamFields { stream: true, stream_options });
        self
    }

    /// Requests an answer that ends at a stop sequence.
    pub(super) fn stopped(mut self) -> Self {
        self.stop = Some(STOP_SEQUENCES);
        self
    }

    /// Offers a tool.
    pub(super) fn with_tool(mut self, choice: ToolChoice) -> Self {
        let parameters = json!({
            "type": "object",
            "properties": { TOOL_ARGUMENT: { "type": "string" } },
            "required": [TOOL_ARGUMENT],
        });
        let description = "Returns the local time in a city";
        let function = json!({ "name": TOOL_NAME, "description": description, "parameters": parameters });
        let tool_choice = match choice {
            ToolChoice::Forced => json!({ "type": "function", "function": { "name": TOOL_NAME } }),
            ToolChoice::Automatic => "auto".into(),
        };
        let tools = json!([{ "type": "function", "function": function }]);
        self.output = Some(OutputFields::Tools { tools, tool_choice });
        self
    }

    /// Requests an answer that follows a JSON schema.
    pub(super) fn with_schema(mut self) -> Self {
        let schema = json!({
            "type": "object",
            "properties": { TEXT_FIELD: { "type": "string" }, NUMBER_FIELD: { "type": "integer" } },
            "required": [TEXT_FIELD, NUMBER_FIELD],
            "additionalProperties": false,
        });
        let json_schema = json!({ "name": "city", "schema": schema, "strict": true });
        let response_format = json!({ "type": "json_schema", "json_schema": json_schema });
        self.output = Some(OutputFields::Schema { response_format });
        self
    }

    /// Asks Dynamo for its workers and times, and to use these workers.
    pub(super) fn with_workers(mut self, workers: Option<RequestedWorkers>) -> Self {
        self.nvext = Some(DynamoFields { extra_fields: ["worker_id", "timing"], workers });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat_body() -> CompletionBody<'static> {
        CompletionBody::new(CompletionApi::Chat, "m", "hi", 8)
    }

    #[test]
    fn only_set_fields_are_sent() {
        let chat = chat_body();
        let messages = json!([{ "role": "user", "content": "hi" }]);
        assert_eq!(
            serde_json::to_value(&chat).expect("a body"),
            json!({ "model": "m", "messages": messages, "max_tokens": 8 })
        );
        assert_eq!(
            serde_json::to_value(chat.streamed().stopped().with_workers(None)).expect("a body"),
            json!({
                "model": "m", "messages": messages, "max_tokens": 8, "stream": true,
                "stream_options": { "include_usage": true }, "stop": STOP_SEQUENCES,
                "nvext": { "extra_fields": ["worker_id", "timing"] },
            })
        );
        let pair =
            RequestedWorkers::Pair { prefill_worker_id: 15_362_950_548_176_644_753, decode_worker_id: 2 };
        let body = CompletionBody::new(CompletionApi::Completions, "m", "hi", 1).with_workers(Some(pair));
        let extension = json!({
            "extra_fields": ["worker_id", "timing"], "prefill_worker_id": 15_362_950_548_176_644_753_u64,
            "decode_worker_id": 2,
        });
        assert_eq!(
            serde_json::to_value(body).expect("a body"),
            json!({ "model": "m", "prompt": "hi", "max_tokens": 1, "nvext": extension })
        );
        let forced = serde_json::to_value(chat_body().with_tool(ToolChoice::Forced)).expect("a body");
        assert_eq!(forced["tool_choice"]["function"], json!({ "name": TOOL_NAME }));
        assert_eq!(forced["tools"][0]["function"]["name"], TOOL_NAME);
        let automatic = serde_json::to_value(chat_body().with_tool(ToolChoice::Automatic)).expect("a body");
        assert_eq!(automatic["tool_choice"], "auto");
        let structured = serde_json::to_value(chat_body().with_schema()).expect("a body");
        assert_eq!(structured["response_format"]["type"], "json_schema");
        for (api, field, value) in [
            (CompletionApi::Chat, "messages", json!(1)),
            (CompletionApi::Completions, "prompt", json!({ "text": 1 })),
        ] {
            let invalid = serde_json::to_value(CompletionBody::invalid(api, "m", 1)).expect("a body");
            assert_eq!(invalid[field], value);
        }
    }
}
