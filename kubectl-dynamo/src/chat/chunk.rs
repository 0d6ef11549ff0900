//! One event of a streamed chat completion, or a complete body: its text, tool calls, finish reason, and statistics.
//! It does no I/O, and it does not decide whether the answer is complete.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::completion_event::{Choice, CompletionEvent, FunctionCall, MessagePart, TokenCounts, WorkerIds};
use super::error_message::error_in;

/// Token counts from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Prompt tokens found in the KV cache; only some endpoints report it.
    pub cached_tokens: Option<u64>,
}

/// The Dynamo workers that processed the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workers {
    /// The prefill worker, if it is not the decode worker.
    pub prefill: Option<String>,
    pub decode: String,
}

/// What Dynamo's frontend measured for a request. Releases report different parts of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
pub struct RequestTiming {
    /// The share of the prompt that the KV router knew to be in the cache of the chosen worker.
    #[serde(rename = "kv_hit_rate")]
    pub router_hit_rate: Option<f64>,
    /// Milliseconds that a worker needed to read the prompt.
    #[serde(rename = "prefill_time_ms")]
    pub prefill_ms: Option<f64>,
    /// Milliseconds until a decode worker had the KV cache of the prefill worker.
    #[serde(rename = "kv_transfer_estimated_latency_ms")]
    pub kv_transfer_ms: Option<f64>,
}

/// A part of a tool call. The first part has the name, and each part continues the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolCallDelta {
    /// Position of the tool call in the answer.
    pub index: usize,
    pub name: Option<String>,
    pub arguments: String,
}

/// The content of one stream event, or of a complete body.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chunk {
    pub reasoning: Option<String>,
    /// The text of the answer, which can be a refusal.
    pub content: Option<String>,
    pub tool_calls: Vec<ToolCallDelta>,
    pub finish_reason: Option<String>,
    pub usage: Option<Usage>,
    pub workers: Option<Workers>,
    pub timing: Option<RequestTiming>,
}

/// How an event changes the state of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkScope {
    /// Only statistics, such as the token counts after the last choice.
    Statistics,
    /// A part of the answer.
    Part,
    /// The complete answer of an endpoint that does not stream.
    Whole,
}

/// An event that is a part of a chat completion.
#[derive(Debug, PartialEq)]
pub(super) struct ParsedEvent {
    pub chunk: Chunk,
    pub scope: ChunkScope,
    /// The error that the first choice reports: an error object, or a finish reason that is a failure.
    pub error: Option<String>,
}

/// Parses an event that is not an error. `None` if it is not a part of a chat completion.
pub(super) fn parse_event(event: &Value) -> Option<ParsedEvent> {
    let event = CompletionEvent::read(event)?;
    let usage = event.usage.and_then(|counts| parse_usage(&counts));
    let extension = event.nvext.unwrap_or_default();
    let (workers, timing) = (parse_workers(&extension.worker_id), parse_timing(&extension.timing));
    if event.choices.is_none() && usage.is_none() {
        return None;
    }
    let Some(choice) = event.choices.and_then(|choices| choices.into_iter().next()) else {
        let chunk = Chunk { usage, workers, timing, ..Chunk::default() };
        return Some(ParsedEvent { chunk, scope: ChunkScope::Statistics, error: None });
    };
    let error = choice_error(&choice);
    let (part, scope) = match (choice.delta, choice.message) {
        (None, Some(message)) => (message, ChunkScope::Whole),
        (delta, _) => (delta.unwrap_or_default(), ChunkScope::Part),
    };
    let mut text = PartText::default();
    text.add(&part.content, 0);
    // Completions have their text in the choice.
    text.add_answer(choice.text.as_deref().filter(|_| text.answer.is_empty()));
    text.add_answer(part.refusal.as_deref());
    let reasoning = [&part.reasoning_content, &part.reasoning, &part.thinking];
    let reasoning = reasoning.into_iter().flatten().find(|text| !text.is_empty()).cloned();
    text.reasoning.insert_str(0, &reasoning.unwrap_or_else(|| reasoning_details(&part)));
    let chunk = Chunk {
        reasoning: Some(text.reasoning).filter(|text| !text.is_empty()),
        content: Some(text.answer).filter(|text| !text.is_empty()),
        tool_calls: parse_tool_calls(part),
        finish_reason: choice.finish_reason.name().map(ToOwned::to_owned),
        usage,
        workers,
        timing,
    };
    Some(ParsedEvent { chunk, scope, error })
}

fn choice_error(choice: &Choice) -> Option<String> {
    let in_part = |part: &Option<MessagePart>| part.as_ref().and_then(|part| error_in(&part.error));
    let reported = error_in(&choice.error);
    reported.or_else(|| in_part(&choice.delta)).or_else(|| in_part(&choice.message)).or_else(|| {
        let reason = choice.finish_reason.name()?;
        is_failure(reason).then(|| match &choice.finish_reason.message {
            Some(detail) => detail.clone(),
            None => format!("the endpoint ended the answer with finish reason \"{reason}\""),
        })
    })
}

/// Finish reasons of answers that are not complete. `length` and `content_filter` are limits that the request or
/// the operator of the endpoint has set, so they are not failures.
fn is_failure(finish_reason: &str) -> bool {
    const FAILURES: [&str; 12] = [
        "error",
        "abort",
        "aborted",
        "cancel",
        "cancelled",
        "canceled",
        "failed",
        "failure",
        "timeout",
        "interrupted",
        "insufficient_system_resource",
        "network_error",
    ];
    FAILURES.contains(&finish_reason.to_ascii_lowercase().as_str())
}

/// The text of a content field, which is a string or a list of parts.
#[derive(Default)]
struct PartText {
    answer: String,
    reasoning: String,
}

impl PartText {
    /// Adds a content field. Parts can contain lists of parts; `depth` limits them.
    fn add(&mut self, content: &Value, depth: usize) {
        const MAX_DEPTH: usize = 4;
        match content {
            Value::String(text) => self.answer.push_str(text),
            Value::Array(parts) if depth < MAX_DEPTH => {
                parts.iter().for_each(|part| self.add(part, depth + 1))
            }
            Value::Object(part) if depth < MAX_DEPTH => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
                let mut inner = Self::default();
                for field in ["text", "thinking", "reasoning", "refusal", "content", "value"] {
                    if let Some(value) = part.get(field) {
                        inner.add(value, depth + 1);
                    }
                }
                let is_reasoning = kind.contains("think") || kind.contains("reason");
                self.reasoning.push_str(&inner.reasoning);
                match is_reasoning {
                    true => self.reasoning.push_str(&inner.answer),
                    false => self.answer.push_str(&inner.answer),
                }
            }
            _ => {}
        }
    }

    fn add_answer(&mut self, text: Option<&str>) {
        self.answer.push_str(text.unwrap_or_default());
    }
}

/// Reasoning in the list that some gateways send in place of a text.
fn reasoning_details(part: &MessagePart) -> String {
    let details = part.reasoning_details.iter().flatten();
    details.filter_map(|detail| detail.text.as_deref().or(detail.summary.as_deref())).collect()
}

fn parse_tool_calls(part: MessagePart) -> Vec<ToolCallDelta> {
    let call = |index: usize, function: FunctionCall| ToolCallDelta {
        index,
        name: function.name.filter(|name| !name.is_empty()),
        arguments: match function.arguments {
            Value::Null => String::new(),
            Value::String(arguments) => arguments,
            arguments => arguments.to_string(),
        },
    };
    let calls = part.tool_calls.into_iter().flatten().enumerate();
    let mut calls: Vec<_> = calls
        .map(|(at, one)| {
            let index = one.index.and_then(|index| index.try_into().ok()).unwrap_or(at);
            call(index, one.function.unwrap_or_default())
        })
        .collect();
    calls.extend(part.function_call.map(|function| call(0, function)));
    calls
}

fn parse_usage(counts: &TokenCounts) -> Option<Usage> {
    Some(Usage {
        prompt_tokens: counts.prompt_tokens?,
        completion_tokens: counts.completion_tokens?,
        cached_tokens: counts.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens),
    })
}

/// Dynamo's worker IDs in hexadecimal, as in its logs and discovery.
fn parse_workers(ids: &WorkerIds) -> Option<Workers> {
    let hexadecimal = |id: u64| format!("{id:x}");
    let decode = hexadecimal(ids.decode?);
    Some(Workers { prefill: ids.prefill.map(hexadecimal).filter(|prefill| *prefill != decode), decode })
}

/// The times of a request, which come with its last chunk.
fn parse_timing(timing: &Value) -> Option<RequestTiming> {
    timing.as_object().and_then(|_| RequestTiming::deserialize(timing).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chunk(event: &Value) -> Chunk {
        parse_event(event).expect("a chunk").chunk
    }

    fn content_and_reasoning(delta: Value) -> (String, String) {
        let chunk = chunk(&json!({ "choices": [{ "index": 0, "delta": delta }] }));
        (chunk.content.unwrap_or_default(), chunk.reasoning.unwrap_or_default())
    }

    #[test]
    fn reads_text_of_every_content_format() {
        for (delta, content, reasoning) in [
            (json!({"content": "a"}), "a", ""),
            (json!({"content": null, "reasoning_content": null, "tool_calls": null}), "", ""),
            (
                json!({"content": [{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}, "c"]}),
                "abc",
                "",
            ),
            (json!({"content": {"type": "text", "text": {"value": "a"}}}), "a", ""),
            (
                json!({"content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                    {"type": "reasoning", "text": "u"},
                    {"type": "image_url", "image_url": {"url": "data:"}},
                    {"type": "text", "text": "a"},
                ]}),
                "a",
                "tu",
            ),
            (json!({"refusal": "no"}), "no", ""),
            (json!({"reasoning": "t"}), "", "t"),
            (json!({"reasoning": "t", "reasoning_details": [{"text": "t"}], "content": "a"}), "a", "t"),
            (json!({"reasoning_details": [{"text": "t"}, {"summary": "u"}]}), "", "tu"),
        ] {
            assert_eq!(content_and_reasoning(delta.clone()), (content.into(), reasoning.into()), "{delta}");
        }
        assert_eq!(chunk(&json!({"choices": [{"text": "a"}]})).content.as_deref(), Some("a"));
    }

    #[test]
    fn failing_finish_reasons_and_errors_of_a_choice_are_errors() {
        for (choice, words) in [
            (json!({"finish_reason": "stop"}), None),
            (json!({"finish_reason": "length"}), None),
            (json!({"finish_reason": "content_filter"}), None),
            (json!({"finish_reason": "new_reason"}), None),
            (json!({"finish_reason": null, "error": null}), None),
            (
                json!({"finish_reason": "error"}),
                Some("the endpoint ended the answer with finish reason \"error\""),
            ),
            (json!({"finish_reason": {"type": "abort", "message": "out of memory"}}), Some("out of memory")),
            (
                json!({"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}),
                Some("upstream"),
            ),
            (json!({"delta": {"error": {"message": "in the delta"}}}), Some("in the delta")),
        ] {
            let event = parse_event(&json!({ "choices": [choice] })).expect("a chunk");
            assert_eq!(event.error.as_deref(), words, "{choice}");
        }
    }

    #[test]
    fn tool_calls_are_read_from_both_formats() {
        let part = |index, name: Option<&str>, arguments: &str| ToolCallDelta {
            index,
            name: name.map(Into::into),
            arguments: arguments.into(),
        };
        let event = json!({"choices": [{"delta": {"tool_calls": [
            {"index": 1, "function": {"name": "f", "arguments": ""}},
            {"function": {"arguments": {"a": 1}}},
        ]}}]});
        assert_eq!(chunk(&event).tool_calls, [part(1, Some("f"), ""), part(1, None, "{\"a\":1}")]);
        let event = json!({"choices": [{"delta": {"function_call": {"name": "f", "arguments": "{"}}}]});
        assert_eq!(chunk(&event).tool_calls, [part(0, Some("f"), "{")]);
    }

    #[test]
    fn parses_dynamo_extensions() {
        let event = json!({
            "choices": [{"index": 0, "delta": {"content": " w"}, "finish_reason": null}],
            "nvext": {"worker_id": {"prefill_worker_id": 16, "decode_worker_id": 255}},
        });
        let read = chunk(&event);
        assert_eq!(read.content.as_deref(), Some(" w"));
        assert_eq!(read.workers, Some(Workers { prefill: Some("10".into()), decode: "ff".into() }));
        let timing = json!({"prefill_time_ms": 17.5, "ttft_ms": 18.4, "kv_hit_rate": 0.96875});
        let finished = chunk(&json!({"choices": [{"index": 0}], "nvext": {"timing": timing}}));
        let expected =
            RequestTiming { router_hit_rate: Some(0.96875), prefill_ms: Some(17.5), kv_transfer_ms: None };
        assert_eq!(finished.timing, Some(expected));
        let last = json!({
            "choices": [],
            "usage": {"prompt_tokens": 24, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 16}},
        });
        let usage = Usage { prompt_tokens: 24, completion_tokens: 4, cached_tokens: Some(16) };
        let statistics = Chunk { usage: Some(usage), ..Chunk::default() };
        let statistics = ParsedEvent { chunk: statistics, scope: ChunkScope::Statistics, error: None };
        assert_eq!(parse_event(&last), Some(statistics));
        assert_eq!(parse_event(&json!({"type": "ping"})), None);
    }
}
