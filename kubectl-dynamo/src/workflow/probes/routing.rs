//! The requests of the probes of the workers and the KV router.

use std::time::Duration;

use futures::future::join_all;

use super::client::ProbeClient;
use super::prompts::NewPrompts;
use super::request::RequestedWorkers;
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{
    AnswerFailure, KvRoutingEvidence, ObservedAnswer, RegisteredWorker, WorkerAnswer, block_size,
    judge_kv_routing, judge_workers, worker_count,
};

/// The block size if the frontend does not report it: the largest default of Dynamo's engines.
const DEFAULT_BLOCK_SIZE: u64 = 64;
/// Words of a long prompt for each token of a block. A word has at least one token.
const WORDS_PER_BLOCK_TOKEN: u64 = 4;
const MAX_WORDS: u64 = 1024;
/// How long events of the first prompt may need until they arrive at the router.
const EVENT_DELAY: Duration = Duration::from_millis(500);

/// Sends a request to each registered worker.
pub(super) async fn probe_workers(client: &ProbeClient<'_>) -> CheckResult {
    let workers = match client.workers().await {
        Ok(workers) => workers,
        Err(failure) => return failure.result("listing the registered workers", &client.subject().place),
    };
    let (prefill, decode): (Vec<_>, Vec<_>) = workers.iter().partition(|worker| worker.is_prefill);
    let requests = (0..prefill.len().max(decode.len())).map(async |number| {
        let nth = |workers: &[&RegisteredWorker]| {
            workers.get(number % workers.len().max(1)).map(|worker| worker.id)
        };
        let asked = match (nth(&prefill), nth(&decode)) {
            (Some(prefill_worker_id), Some(decode_worker_id)) => {
                Some(RequestedWorkers::Pair { prefill_worker_id, decode_worker_id })
            }
            (Some(id), None) | (None, Some(id)) => Some(RequestedWorkers::One { backend_instance_id: id }),
            (None, None) => None,
        };
        client.ask(&format!("Say the number {number}."), asked).await
    });
    let answers = join_all(requests).await;
    let decode_role = if prefill.is_empty() { "worker" } else { "decode" };
    let with_role = |workers: &[&RegisteredWorker], role: &'static str| {
        let answers = workers.iter().zip(&answers).map(|(worker, answer)| WorkerAnswer {
            worker: client.target.worker_name(worker),
            id: worker.hex_id(),
            role,
            answer: answer.clone(),
        });
        answers.collect::<Vec<_>>()
    };
    let answers = [with_role(&decode, decode_role), with_role(&prefill, "prefill")].concat();
    let expected = client.subject().intent.as_ref().map(|intent| worker_count(&intent.topology));
    judge_workers(&answers, expected, &client.subject().place)
}

/// Sends a long new prompt twice and then another one, and reads the metrics before and after.
pub(super) async fn probe_kv_routing(client: &ProbeClient<'_>) -> CheckResult {
    let subject = client.subject();
    let workers = client.workers().await.unwrap_or_default();
    let before = client.metrics().await.unwrap_or_default();
    let block_size = block_size(&before).unwrap_or(DEFAULT_BLOCK_SIZE);
    let words = (block_size * WORDS_PER_BLOCK_TOKEN).clamp(DEFAULT_BLOCK_SIZE, MAX_WORDS);
    let prompts = NewPrompts::new();
    let any = |prompt: String| async move { client.ask(&prompt, None).await };
    let first = any(prompts.prompt("first", words)).await;
    if subject.intent.is_none() && first.as_ref().is_ok_and(|answer| answer.router_hit_rate.is_none()) {
        return CheckResult::Skipped("the frontend does not use the KV router".into());
    }
    let mut repeated = any(prompts.prompt("first", words)).await;
    if !is_hit(&repeated) {
        tokio::time::sleep(EVENT_DELAY).await;
        repeated = any(prompts.prompt("first", words)).await;
    }
    let different = any(prompts.prompt("second", words)).await;
    let mut pinned = None;
    if !is_hit(&repeated)
        && let Some(worker) = workers.iter().find(|worker| !worker.is_prefill)
        && workers.iter().all(|worker| !worker.is_prefill)
    {
        let third = prompts.prompt("third", words);
        let ask_again = || client.ask(&third, Some(RequestedWorkers::One { backend_instance_id: worker.id }));
        let _ = ask_again().await;
        pinned = ask_again().await.ok();
    }
    let after = client.metrics().await.unwrap_or_default();
    let is_disaggregated = workers.iter().any(|worker| worker.is_prefill);
    let evidence = KvRoutingEvidence {
        first,
        repeated,
        different,
        pinned,
        before,
        after,
        workers: workers.iter().filter(|worker| worker.is_prefill == is_disaggregated).count(),
        events_requested: subject.intent.as_ref().map(|intent| intent.router.kv_events),
    };
    judge_kv_routing(&evidence, &subject.place)
}

/// Whether the router knew the prompt.
fn is_hit(answer: &Result<ObservedAnswer, AnswerFailure>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.router_hit_rate.is_none_or(|rate| rate > 0.5))
}
