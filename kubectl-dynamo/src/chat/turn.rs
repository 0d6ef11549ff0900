//! One turn: what was answered and what it took.

use std::time::Duration;

use serde::Serialize;

/// Tokens, as the endpoint counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Prompt tokens whose KV cache was there already; only some endpoints say it.
    pub cached_tokens: Option<u64>,
}

/// Which Dynamo workers answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workers {
    /// The one that prefilled, where it is another.
    pub prefill: Option<String>,
    pub decode: String,
}

/// An answer and its numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    pub text: String,
    pub finish_reason: Option<String>,
    pub usage: Option<Usage>,
    pub workers: Option<Workers>,
    /// From the request to the first token.
    pub first_token: Option<Duration>,
    /// From the request to the last token.
    pub last_token: Option<Duration>,
}

impl Turn {
    /// Mean time between two tokens; none with fewer than two.
    pub fn between_tokens(&self) -> Option<Duration> {
        let gaps = self.usage?.completion_tokens.checked_sub(1).filter(|gaps| *gaps > 0)?;
        let decoding = self.last_token?.checked_sub(self.first_token?)?;
        Some(decoding.div_f64(gaps as f64))
    }

    /// Tokens in a second, from the request to the last token.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.last_token?.as_secs_f64();
        (seconds > 0.0).then_some(self.usage?.completion_tokens as f64 / seconds)
    }

    /// The numbers in one line that fits a terminal:
    /// `TTFT 61 ms · ITL 8.4 ms · 118 tok/s · in 24 (16 cached) · out 8 · on 619b379c`.
    pub fn statistics(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.first_token.map(|time| format!("TTFT {}", milliseconds(time))));
        parts.extend(self.between_tokens().map(|time| format!("ITL {}", milliseconds(time))));
        parts.extend(self.tokens_per_second().map(|rate| format!("{rate:.0} tok/s")));
        if let Some(usage) = self.usage {
            let cached = usage.cached_tokens.map(|cached| format!(" ({cached} cached)")).unwrap_or_default();
            let cut = if self.finish_reason.as_deref() == Some("length") { " (cut)" } else { "" };
            parts.push(format!("in {}{cached}", usage.prompt_tokens));
            parts.push(format!("out {}{cut}", usage.completion_tokens));
        }
        match &self.workers {
            Some(Workers { prefill: Some(prefill), decode }) => {
                parts.push(format!("on {} and {}", short(prefill), short(decode)));
            }
            Some(Workers { prefill: None, decode }) => parts.push(format!("on {}", short(decode))),
            None => {}
        }
        parts.join(" · ")
    }
}

/// Enough of a worker's id to tell it from the others.
fn short(id: &str) -> &str {
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
    fn the_line_holds_what_is_known_and_nothing_else() {
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
        let single = Turn {
            usage: Some(Usage { prompt_tokens: 1, completion_tokens: 1, cached_tokens: None }),
            first_token: Some(Duration::from_millis(5)),
            last_token: Some(Duration::from_millis(5)),
            ..Turn::default()
        };
        assert_eq!(single.statistics(), "TTFT 5.0 ms · 200 tok/s · in 1 · out 1");
    }
}
