//! The wire format of a chat completion: one event of the stream, or a complete body. Endpoints differ, so a field of
//! another type counts as missing, and unknown fields are ignored.

use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use kubectl_dynamo_core::lenient::{list, object, read, read_object, value};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompletionEvent {
    #[serde(deserialize_with = "list")]
    pub choices: Option<Vec<Choice>>,
    #[serde(deserialize_with = "object")]
    pub usage: Option<TokenCounts>,
    /// Dynamo's extension.
    #[serde(deserialize_with = "object")]
    pub nvext: Option<Extension>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    #[serde(deserialize_with = "object")]
    pub delta: Option<MessagePart>,
    /// The whole message of an endpoint that does not stream.
    #[serde(deserialize_with = "object")]
    pub message: Option<MessagePart>,
    /// The text of completions.
    #[serde(deserialize_with = "value")]
    pub text: Option<String>,
    #[serde(deserialize_with = "finish_reason")]
    pub finish_reason: FinishReason,
    pub error: Value,
}

/// Why an answer ended: a name, or an object of SGLang.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FinishReason {
    #[serde(rename = "type", deserialize_with = "value")]
    kind: Option<String>,
    #[serde(deserialize_with = "value")]
    reason: Option<String>,
    #[serde(deserialize_with = "value")]
    pub message: Option<String>,
}

impl FinishReason {
    /// The name, if it is not empty.
    pub(super) fn name(&self) -> Option<&str> {
        [&self.kind, &self.reason].into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessagePart {
    /// A string, or a list of parts.
    pub content: Value,
    #[serde(deserialize_with = "value")]
    pub refusal: Option<String>,
    #[serde(deserialize_with = "value")]
    pub reasoning_content: Option<String>,
    #[serde(deserialize_with = "value")]
    pub reasoning: Option<String>,
    #[serde(deserialize_with = "value")]
    pub thinking: Option<String>,
    #[serde(deserialize_with = "list")]
    pub reasoning_details: Option<Vec<ReasoningDetail>>,
    #[serde(deserialize_with = "list")]
    pub tool_calls: Option<Vec<ToolCallFields>>,
    /// The only tool call in the format before `tool_calls`.
    #[serde(deserialize_with = "object")]
    pub function_call: Option<FunctionCall>,
    pub error: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReasoningDetail {
    #[serde(deserialize_with = "value")]
    pub text: Option<String>,
    #[serde(deserialize_with = "value")]
    pub summary: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ToolCallFields {
    #[serde(deserialize_with = "value")]
    pub index: Option<u64>,
    #[serde(deserialize_with = "object")]
    pub function: Option<FunctionCall>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionCall {
    #[serde(deserialize_with = "value")]
    pub name: Option<String>,
    /// A string with JSON, or the JSON.
    pub arguments: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenCounts {
    #[serde(deserialize_with = "count")]
    pub prompt_tokens: Option<u64>,
    #[serde(deserialize_with = "count")]
    pub completion_tokens: Option<u64>,
    #[serde(deserialize_with = "object")]
    pub prompt_tokens_details: Option<PromptTokenDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PromptTokenDetails {
    #[serde(deserialize_with = "count")]
    pub cached_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extension {
    #[serde(deserialize_with = "worker_ids")]
    pub worker_id: WorkerIds,
    pub timing: Value,
}

/// The IDs of the workers: an object, or only the ID of the decode worker.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkerIds {
    #[serde(rename = "prefill_worker_id", deserialize_with = "value")]
    pub prefill: Option<u64>,
    #[serde(rename = "decode_worker_id", deserialize_with = "value")]
    pub decode: Option<u64>,
}

impl CompletionEvent {
    /// Reads an event. `None` if it is not an object.
    pub(super) fn read(event: &Value) -> Option<Self> {
        read_object(event)
    }
}

/// A number of tokens. Some servers write 5.0.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number: Option<Number> = value(deserializer)?;
    Ok(number.and_then(|number| number.as_u64().or_else(|| number.as_f64().map(|count| count as u64))))
}

fn finish_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FinishReason, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(name) => FinishReason { kind: Some(name), ..FinishReason::default() },
        reason => read(&reason),
    })
}

fn worker_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WorkerIds, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(id) => WorkerIds { decode: id.as_u64(), ..WorkerIds::default() },
        ids => read(&ids),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_another_type_count_as_missing() {
        for odd in [json!(null), json!(1), json!("a"), json!(["a", "b"]), json!([["a"]]), json!({ "a": [] })]
        {
            for path in [
                "/choices",
                "/choices/0",
                "/choices/0/delta",
                "/choices/0/message",
                "/choices/0/finish_reason",
                "/choices/0/delta/tool_calls",
                "/choices/0/delta/tool_calls/0",
                "/choices/0/delta/tool_calls/0/index",
                "/choices/0/delta/function_call",
                "/choices/0/delta/reasoning_details",
                "/usage",
                "/usage/prompt_tokens_details",
                "/nvext",
                "/nvext/worker_id",
            ] {
                let mut event = json!({
                    "choices": [{
                        "delta": {
                            "tool_calls": [{ "index": 0 }], "function_call": {}, "reasoning_details": [{ "text": "t" }],
                        },
                        "message": {}, "finish_reason": "stop",
                    }],
                    "usage": { "prompt_tokens_details": {} },
                    "nvext": { "worker_id": {} },
                });
                *event.pointer_mut(path).expect("the event has the field") = odd.clone();
                assert!(CompletionEvent::read(&event).is_some(), "{path}: {odd}");
            }
        }
        for event in [json!([]), json!(["a"]), json!("a"), json!(null)] {
            assert!(CompletionEvent::read(&event).is_none(), "{event}");
        }
        let read = |event: Value| CompletionEvent::read(&event).expect("an object");
        let choices = read(json!({ "choices": ["a", ["b"]] })).choices.expect("a list");
        assert!(choices.len() == 2 && choices.iter().all(|choice| choice.delta.is_none()));
        let usage = read(json!({ "usage": { "prompt_tokens": 5.0, "completion_tokens": "6" } })).usage;
        let usage = usage.expect("an object");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (Some(5), None));
    }
}
