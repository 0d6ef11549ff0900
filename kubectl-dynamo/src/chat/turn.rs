//! One turn of a chat: the response and its statistics.
//! Token counts come from the endpoint; times are measured by the client.

use std::time::Duration;

use serde::Serialize;

use super::chunk::{RequestTiming, ToolCallDelta, Usage, Workers};

/// A call of a tool that the model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ToolCall {
    pub name: String,
    /// The arguments as the model wrote them, usually JSON.
    pub arguments: String,
}

/// A response and its statistics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    pub text: String,
    pub reasoning: String,
    pub tool_calls: Vec<ToolCall>,
    pub finish_reason: Option<String>,
    pub usage: Option<Usage>,
    pub workers: Option<Workers>,
    /// Time from the request to the first token.
    pub first_token: Option<Duration>,
    /// Time from the request to the last token.
    pub last_token: Option<Duration>,
    pub timing: Option<RequestTiming>,
    /// Whether `[DONE]` ended the response.
    pub has_done_marker: bool,
}

impl Turn {
    /// Adds the parts of tool calls that an event contains.
    pub(super) fn add_tool_calls(&mut self, parts: Vec<ToolCallDelta>) {
        /// More calls than a model makes in one answer; the index comes from the endpoint.
        const MAX_TOOL_CALLS: usize = 128;
        for part in parts.into_iter().filter(|part| part.index < MAX_TOOL_CALLS) {
            if self.tool_calls.len() <= part.index {
                self.tool_calls.resize(part.index + 1, ToolCall::default());
            }
            let call = &mut self.tool_calls[part.index];
            call.name.push_str(&part.name.unwrap_or_default());
            call.arguments.push_str(&part.arguments);
        }
    }

    /// Mean inter-token latency; `None` with fewer than two tokens.
    pub fn inter_token_latency(&self) -> Option<Duration> {
        let gaps = self.usage?.completion_tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
        let decoding = self.last_token?.checked_sub(self.first_token?)?;
        Some(decoding.div_f64(gaps as f64))
    }

    /// Completion tokens per second, from the request to the last token.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.last_token?.as_secs_f64();
        (seconds > 0.0).then_some(self.usage?.completion_tokens as f64 / seconds)
    }

    /// The statistics in one line that fits a terminal:
    /// `TTFT 61 ms · ITL 8.4 ms · 118 tok/s · in 24 (16 cached) · out 8 · on 619b379c`.
    pub fn statistics(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.first_token.map(|time| format!("TTFT {}", milliseconds(time))));
        parts.extend(self.inter_token_latency().map(|time| format!("ITL {}", milliseconds(time))));
        parts.extend(self.tokens_per_second().map(|rate| format!("{rate:.0} tok/s")));
        let limit = match self.finish_reason.as_deref() {
            Some("length") => Some("cut"),
            Some("content_filter") => Some("filtered"),
            _ => None,
        };
        match self.usage {
            Some(usage) => {
                let cached =
                    usage.cached_tokens.map(|cached| format!(" ({cached} cached)")).unwrap_or_default();
                let limit = limit.map(|limit| format!(" ({limit})")).unwrap_or_default();
                parts.push(format!("in {}{cached}", usage.prompt_tokens));
                parts.push(format!("out {}{limit}", usage.completion_tokens));
            }
            None => parts.extend(limit.map(ToOwned::to_owned)),
        }
        match &self.workers {
            Some(Workers { prefill: Some(prefill), decode }) => {
                parts.push(format!("on {} and {}", short_id(prefill), short_id(decode)));
            }
            Some(Workers { prefill: None, decode }) => parts.push(format!("on {}", short_id(decode))),
            None => {}
        }
        parts.join(" · ")
    }
}

/// The start of a worker ID, enough to distinguish workers.
fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.1} ms") } else { format!("{milliseconds:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_include_only_known_values() {
        let turn = Turn {
            usage: Some(Usage { prompt_tokens: 24, completion_tokens: 5, cached_tokens: Some(16) }),
            workers: Some(Workers { prefill: None, decode: "619b379cc795b082".into() }),
            first_token: Some(Duration::from_millis(20)),
            last_token: Some(Duration::from_millis(50)),
            finish_reason: Some("length".into()),
            ..Turn::default()
        };
        assert_eq!(
            turn.statistics(),
            "TTFT 20 ms · ITL 7.5 ms · 100 tok/s · in 24 (16 cached) · out 5 (cut) · on 619b379c"
        );
        assert_eq!(Turn::default().statistics(), "");
        let filtered = Turn { finish_reason: Some("content_filter".into()), ..Turn::default() };
        assert_eq!(filtered.statistics(), "filtered");
        let single = Turn {
            usage: Some(Usage { prompt_tokens: 1, completion_tokens: 1, cached_tokens: None }),
            first_token: Some(Duration::from_millis(5)),
            last_token: Some(Duration::from_millis(5)),
            ..Turn::default()
        };
        assert_eq!(single.statistics(), "TTFT 5.0 ms · 200 tok/s · in 1 · out 1");
    }
}
