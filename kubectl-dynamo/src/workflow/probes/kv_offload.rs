//! The requests of the probe of KV offload: a prompt, others that displace it from GPU memory, and the prompt again.

use futures::future::join_all;

use super::client::ProbeClient;
use super::metrics::scrape;
use super::prompts::NewPrompts;
use super::request::RequestedWorkers;
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{
    KvOffloadEvidence, ObservedAnswer, RegisteredWorker, block_size, context_length, gpu_cache_tokens,
    judge_kv_offload, stored_in_tier,
};

/// The most prompts that are sent to fill GPU memory. With a larger memory, only a few are sent.
const MAX_PROMPTS: u64 = 24;
const FEW_PROMPTS: u64 = 4;
const DEFAULT_BLOCK_SIZE: u64 = 64;
const DEFAULT_CONTEXT_LENGTH: u64 = 2048;
/// A prompt has one word for this many tokens of the context. A word can have eight tokens.
const CONTEXT_TOKENS_PER_WORD: u64 = 16;
const MAX_WORDS: u64 = 1024;

pub(super) async fn probe_kv_offload(client: &ProbeClient<'_>) -> CheckResult {
    let workers = client.workers().await.unwrap_or_default();
    let metrics = client.metrics().await.unwrap_or_default();
    let words = context_length(&metrics, None).unwrap_or(DEFAULT_CONTEXT_LENGTH) / CONTEXT_TOKENS_PER_WORD;
    let words = words.clamp(1, MAX_WORDS);
    let gpu_tokens = gpu_cache_tokens(&metrics, block_size(&metrics).unwrap_or(DEFAULT_BLOCK_SIZE));
    let stored_before = stored_by_all(client).await;
    let prompts = NewPrompts::new();
    let first = client.ask(&prompts.prompt("kept", words), None).await;
    let same_worker = first.as_ref().ok().and_then(|answer| workers_of(answer, &workers));
    let prompt_tokens =
        first.as_ref().ok().and_then(|answer| answer.tokens).map_or(0, |tokens| tokens.prompt);
    let mut others = Vec::new();
    for number in 0..displacing_prompts(gpu_tokens, prompt_tokens) {
        let other = client.ask(&prompts.prompt(&format!("other {number}"), words), same_worker).await;
        let is_answered = other.is_ok();
        others.push(other);
        if !is_answered {
            break;
        }
    }
    let again = client.ask(&prompts.prompt("kept", words), same_worker).await;
    let stored_after = stored_by_all(client).await;
    let evidence = KvOffloadEvidence { first, others, again, stored_before, stored_after, gpu_tokens };
    judge_kv_offload(&evidence, &client.subject().place)
}

/// How many prompts displace an earlier one.
fn displacing_prompts(gpu_tokens: Option<u64>, prompt_tokens: u64) -> u64 {
    let needed =
        gpu_tokens.and_then(|capacity| capacity.checked_div(prompt_tokens)).map(|fitting| fitting + 2);
    needed.filter(|needed| *needed <= MAX_PROMPTS).unwrap_or(FEW_PROMPTS)
}

/// The workers that gave an answer, to ask them again.
fn workers_of(answer: &ObservedAnswer, workers: &[RegisteredWorker]) -> Option<RequestedWorkers> {
    let id = |hex: Option<&str>| workers.iter().find(|worker| Some(worker.hex_id().as_str()) == hex);
    let (first, last) = (id(answer.first_worker())?.id, id(answer.last_worker())?.id);
    Some(match answer.is_disaggregated() {
        true => RequestedWorkers::Pair { prefill_worker_id: first, decode_worker_id: last },
        false => RequestedWorkers::One { backend_instance_id: last },
    })
}

/// What all workers stored in the tier; `None` if none reports it.
async fn stored_by_all(client: &ProbeClient<'_>) -> Option<f64> {
    let workers = client.target.processes.iter().filter(|process| !process.is_frontend());
    let scrapes = workers.map(async |worker| stored_in_tier(&scrape(worker, client).await.ok()?));
    join_all(scrapes).await.into_iter().flatten().reduce(|sum, stored| sum + stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_gpu_memory_is_filled() {
        assert_eq!(displacing_prompts(Some(4096), 1552), 4);
        assert_eq!(displacing_prompts(Some(500_000), 1552), FEW_PROMPTS);
        assert_eq!(
            (displacing_prompts(None, 1552), displacing_prompts(Some(9), 0)),
            (FEW_PROMPTS, FEW_PROMPTS)
        );
    }
}
