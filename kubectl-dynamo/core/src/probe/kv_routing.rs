//! The probe of the KV router: whether it knows which worker has a prefix in its cache, and how it knows.
//!
//! The hit rate in an answer is what the router knew when it chose the worker, and the cached tokens are what the
//! engine found. A router without events can choose the right worker by chance, so the cached tokens alone prove nothing.
//! With events, the frontend has series about their sources. The number of applied events also rises when the router
//! only predicts them (seen with 1.5 and 1.6), so it does not tell the two apart.

use super::{AnswerFailure, ObservedAnswer, ProbePlace, failed, warning};
use crate::code::MessageCode;
use crate::command::Fix;
use crate::finding::CheckResult;
use crate::prometheus::MetricSamples;

/// Workers that do not publish the events that the router expects. The series exists if the router uses events.
const MISMATCHED_WORKERS: &str = "dynamo_component_router_kv_event_source_mismatch_workers";
/// Event batches that arrived over ZMQ.
const EVENT_BATCHES: &str = "dynamo_component_router_kv_zmq_ingress_batches_total";
/// Events that the router applied, received or predicted.
const APPLIED_EVENTS: &str = "dynamo_component_kv_cache_events_applied";
/// The block size of the workers, in tokens.
const BLOCK_SIZE: &str = "dynamo_frontend_model_kv_cache_block_size";

/// The share of a prompt that counts as cached. The chat template is a smaller part of the prompts of this probe.
const CACHED_SHARE: f64 = 0.5;

/// The answers to three long prompts that no one sent before, and the metrics of the frontend around them.
#[derive(Debug, Clone, PartialEq)]
pub struct KvRoutingEvidence {
    pub first: Result<ObservedAnswer, AnswerFailure>,
    /// The same prompt again.
    pub repeated: Result<ObservedAnswer, AnswerFailure>,
    /// Another prompt.
    pub different: Result<ObservedAnswer, AnswerFailure>,
    /// Another prompt for the second time, both times at the same worker; `None` if it was not sent.
    pub pinned: Option<ObservedAnswer>,
    pub before: MetricSamples,
    pub after: MetricSamples,
    /// Workers that the router chooses from.
    pub workers: usize,
    /// Whether the user requested KV events; `None` if this is not known.
    pub events_requested: Option<bool>,
}

/// The block size of the workers, from the metrics of the frontend.
pub fn block_size(metrics: &MetricSamples) -> Option<u64> {
    metrics.sum(BLOCK_SIZE, &[]).filter(|size| *size >= 1.0).map(|size| size as u64)
}

/// Judges how the router knows the cached prefixes.
pub fn judge_kv_routing(evidence: &KvRoutingEvidence, place: &ProbePlace) -> CheckResult {
    routing_verdict(evidence, place).unwrap_or_else(|failure| failure)
}

fn routing_verdict(evidence: &KvRoutingEvidence, place: &ProbePlace) -> Result<CheckResult, CheckResult> {
    let answer = |request: &str, result: &Result<ObservedAnswer, AnswerFailure>| {
        result.clone().map_err(|failure| failure.result(request, place))
    };
    let first = answer("the request with a new prompt", &evidence.first)?;
    let repeated = answer("the request with the same prompt", &evidence.repeated)?;
    let different = answer("the request with another prompt", &evidence.different)?;
    let Some(worker) = repeated.first_worker() else {
        return Ok(CheckResult::Skipped("this release does not report which worker answers".into()));
    };
    let is_same_worker = first.first_worker() == Some(worker);
    let cached = repeated.cached_share();
    // A decode worker reports its own cache, so the cached tokens of a disaggregated answer can be 0.
    let engine_reuses = cached.is_some_and(|share| share >= CACHED_SHARE) || repeated.is_disaggregated();
    let known = repeated.router_hit_rate.or(cached.filter(|_| is_same_worker)).unwrap_or(0.0);
    let is_known = known >= CACHED_SHARE;
    if is_known && is_same_worker && !engine_reuses && cached.is_some() {
        return Err(prefix_caching_off(place));
    }
    if is_known && !is_same_worker {
        let text =
            "load only: the router knew the worker that has the prompt in its cache, and chose another one";
        let hint =
            Fix::from("let the router prefer it: ").then(place.change_command("--router-temperature 0"));
        return Err(failed(MessageCode::KvRoutingByLoadOnly, text, hint));
    }
    if !is_known {
        return Err(load_only(evidence, place));
    }
    if different.router_hit_rate.is_some_and(|rate| rate >= CACHED_SHARE) {
        let text = "the router reports a cached prefix also for a prompt that was never sent";
        return Err(failed(MessageCode::KvRoutingByLoadOnly, text, place.logs_command("frontend")));
    }
    let prompt = repeated.tokens.map_or(0, |tokens| tokens.prompt);
    let reuse = format!(
        "worker {worker} got the same prompt again, with {:.0} of {prompt} tokens in its cache; {:.0} for another prompt",
        known * prompt as f64,
        different.router_hit_rate.unwrap_or(0.0) * prompt as f64
    );
    Ok(known_prefix_verdict(evidence, &reuse, place))
}

/// The verdict about a router that found the prefix: by events, or by prediction.
fn known_prefix_verdict(evidence: &KvRoutingEvidence, reuse: &str, place: &ProbePlace) -> CheckResult {
    let uses_events = evidence.after.sum(MISMATCHED_WORKERS, &[]).is_some();
    let has_series = evidence.after.sum(APPLIED_EVENTS, &[]).is_some();
    let mismatched = evidence.after.sum(MISMATCHED_WORKERS, &[]).unwrap_or(0.0);
    if uses_events && mismatched > 0.0 {
        return failed(MessageCode::KvRoutingByLoadOnly, not_published_text(mismatched), publish_hint(place));
    }
    if !uses_events && has_series {
        let text =
            format!("approximate, the router predicts the caches and does not receive KV events: {reuse}");
        let hint = Fix::from("route by KV events: ").then(place.change_command("--router-kv-events=true"));
        return match evidence.events_requested {
            Some(true) => failed(MessageCode::KvRoutingApproximate, text, hint),
            _ => warning(MessageCode::KvRoutingApproximate, text, hint),
        };
    }
    let text = match evidence.risen(EVENT_BATCHES) {
        Some(batches) => format!("exact, {batches:.0} batches of KV events arrived: {reuse}"),
        None if uses_events => format!("exact, the router applies KV events: {reuse}"),
        None => reuse.to_owned(),
    };
    if evidence.workers == 1 {
        let hint = Fix::from("add a worker: ").then(place.change_command("--replicas 2"));
        return warning(
            MessageCode::SingleWorkerForKvRouter,
            format!("the router has only one worker to choose from; {text}"),
            hint,
        );
    }
    CheckResult::Passed(text)
}

/// The failure of a router that did not know which worker has a prompt, with the cause.
fn load_only(evidence: &KvRoutingEvidence, place: &ProbePlace) -> CheckResult {
    let code = MessageCode::KvRoutingByLoadOnly;
    let mismatched = evidence.after.sum(MISMATCHED_WORKERS, &[]);
    let pinned = evidence.pinned.as_ref();
    let is_uncached =
        |answer: &ObservedAnswer| answer.cached_share().is_some_and(|share| share < CACHED_SHARE);
    if pinned.is_some_and(|answer| !answer.is_disaggregated() && is_uncached(answer)) {
        return prefix_caching_off(place);
    }
    if let Some(mismatched) = mismatched.filter(|workers| *workers > 0.0) {
        return failed(code, not_published_text(mismatched), publish_hint(place));
    }
    if mismatched.is_some() && evidence.risen(APPLIED_EVENTS) == Some(0.0) {
        let text =
            "load only: every worker is configured to publish KV events, but none arrived at the router";
        let hint = Fix::from(
            "let the frontend connect to the event ports of the workers (network policies, DYN_EVENT_PLANE_HOST), and \
             see ",
        )
        .then(place.logs_command("frontend"));
        return failed(code, text, hint);
    }
    let text = "load only: the router did not find the prompt that it sent to a worker before";
    failed(code, text, publish_hint(place))
}

fn prefix_caching_off(place: &ProbePlace) -> CheckResult {
    let text = "load only: prefix caching is off; a worker that got the same prompt twice did not find it in its cache";
    let hint = Fix::from("turn it on: ").then(place.change_command("-- --enable-prefix-caching"));
    failed(MessageCode::PrefixCachingOff, text, hint)
}

fn not_published_text(workers: f64) -> String {
    let workers = match workers as u64 {
        1 => "1 worker does not publish".to_owned(),
        several => format!("{several} workers do not publish"),
    };
    format!("load only: {workers} KV events, so the router does not know what they have in their caches")
}

fn publish_hint(place: &ProbePlace) -> Fix {
    Fix::from("pass --kv-events-config to the workers, or let the plugin do it: ")
        .then(place.change_command("--router-kv-events=true"))
}

impl KvRoutingEvidence {
    /// How much a counter rose; `None` if the frontend does not have it.
    fn risen(&self, counter: &str) -> Option<f64> {
        Some(self.after.sum(counter, &[])? - self.before.sum(counter, &[]).unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests;
