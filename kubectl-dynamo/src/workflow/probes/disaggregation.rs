//! The requests of the probe of disaggregation.

use futures::future::join_all;

use super::client::ProbeClient;
use super::prompts::NewPrompts;
use super::request::RequestedWorkers;
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{
    AnswerWorkers, DisaggregationEvidence, PairAnswer, RegisteredWorker, context_length, judge_disaggregation,
};

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
/// Pairs of a prefill and a decode worker that are used, if fewer do not leave out a worker.
const MAX_PAIRS: usize = 16;

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
        if can_improve {
            continue;
        }
        if matches!(result, CheckResult::Failed(_) | CheckResult::Skipped(_)) {
            return result;
        }
        evidence.pairs = ask_pairs(client, &prefill, &decode, long_words).await;
        return judge_disaggregation(&evidence, &subject.place);
    }
}

/// Sends a long new prompt to pairs of workers at the same time. The first pairs use every worker.
async fn ask_pairs(
    client: &ProbeClient<'_>,
    prefill: &[&RegisteredWorker],
    decode: &[&RegisteredWorker],
    words: u64,
) -> Vec<PairAnswer> {
    let prompts = NewPrompts::new();
    let requests = worker_pairs(prefill.len(), decode.len()).into_iter().map(async |(first, second)| {
        let (prefill, decode) = (prefill[first], decode[second]);
        let prompt = prompts.prompt(&format!("pair {first} {second}"), words);
        let workers = RequestedWorkers::Pair { prefill_worker_id: prefill.id, decode_worker_id: decode.id };
        PairAnswer {
            prefill: client.target.worker_name(prefill),
            decode: client.target.worker_name(decode),
            requested: AnswerWorkers { prefill: Some(prefill.hex_id()), decode: decode.hex_id() },
            answer: client.ask_tokens(&prompt, ANSWER_TOKENS, Some(workers)).await,
        }
    });
    join_all(requests).await
}

/// The positions of the workers of each pair, at most [`MAX_PAIRS`] or the number of workers of the larger role. None
/// for one pair, which has answered already.
fn worker_pairs(prefill: usize, decode: usize) -> Vec<(usize, usize)> {
    if prefill * decode <= 1 {
        return Vec::new();
    }
    // Each turn shifts the roles against each other by one.
    let larger = prefill.max(decode);
    let turns = (0..prefill.min(decode)).flat_map(|shift| (0..larger).map(move |number| (number, shift)));
    let pairs = turns.map(|(number, shift)| match prefill >= decode {
        true => (number, (number + shift) % decode),
        false => ((number + shift) % prefill, number),
    });
    pairs.take(MAX_PAIRS.max(larger)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pairs_are_all_or_use_every_worker() {
        assert_eq!(worker_pairs(1, 1), []);
        for (prefill, decode) in [(1, 2), (2, 1), (2, 2), (3, 5), (4, 4)] {
            let pairs: BTreeSet<_> = worker_pairs(prefill, decode).into_iter().collect();
            assert_eq!(pairs.len(), prefill * decode, "{prefill} {decode}");
        }
        for (prefill, decode) in [(8, 8), (3, 40)] {
            let pairs: BTreeSet<_> = worker_pairs(prefill, decode).into_iter().collect();
            assert_eq!(pairs.len(), MAX_PAIRS.max(prefill.max(decode)));
            let first: BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
            let second: BTreeSet<_> = pairs.iter().map(|pair| pair.1).collect();
            assert_eq!((first.len(), second.len()), (prefill, decode));
        }
    }
}
