//! The requests of the probe of disaggregation.

use super::client::ProbeClient;
use super::prompts::NewPrompts;
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{DisaggregationEvidence, context_length, judge_disaggregation};

/// The context length if the frontend does not report it.
const DEFAULT_CONTEXT_LENGTH: u64 = 2048;
/// The long prompt has one word for this many tokens of the context. A word can have eight tokens.
const CONTEXT_TOKENS_PER_WORD: u64 = 16;
const SHORT_WORDS: u64 = 8;
const MAX_WORDS: u64 = 1024;
/// The KV cache is only handed over for an answer that continues after the first token.
const ANSWER_TOKENS: u64 = 2;
/// Pairs of requests at least, and at most if the times of the first ones are suspicious.
const MIN_ROUNDS: usize = 2;
const MAX_ROUNDS: usize = 6;

/// Sends short and long prompts until their times are conclusive.
pub(super) async fn probe_disaggregation(client: &ProbeClient<'_>) -> CheckResult {
    let subject = client.subject();
    let workers = client.workers().await.unwrap_or_default();
    let (prefill, decode): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.is_prefill);
    if subject.intent.is_none() && prefill.is_empty() {
        return CheckResult::Skipped("no prefill worker is registered".into());
    }
    let metrics = client.metrics().await.unwrap_or_default();
    let context = context_length(&metrics, None).unwrap_or(DEFAULT_CONTEXT_LENGTH);
    let long_words = (context / CONTEXT_TOKENS_PER_WORD).clamp(SHORT_WORDS, MAX_WORDS);
    let mut evidence = DisaggregationEvidence {
        prefill_workers: prefill.len(),
        decode_workers: decode.len(),
        ..DisaggregationEvidence::default()
    };
    let mut round = 0;
    loop {
        round += 1;
        let prompts = NewPrompts::new();
        let ask = async |words| client.ask_tokens(&prompts.prompt("new", words), ANSWER_TOKENS, None).await;
        evidence.short.push(ask(SHORT_WORDS).await);
        evidence.long.push(ask(long_words).await);
        let result = judge_disaggregation(&evidence, &subject.place);
        let can_improve = match result {
            CheckResult::Warning(_) => round < MAX_ROUNDS,
            CheckResult::Failed(_) => false,
            _ => round < MIN_ROUNDS,
        };
        if !can_improve {
            return result;
        }
    }
}
