//! The probe of KV offload: whether KV cache that does not fit into GPU memory is stored in the host tier, and read from
//! there again.
//!
//! An engine without series about the tier is judged by the answers alone: a prefix that other prompts displaced from GPU
//! memory can only be cached in the tier.

use super::{AnswerFailure, ObservedAnswer, ProbePlace, ProbeSubject, failed};
use crate::code::MessageCode;
use crate::command::Fix;
use crate::finding::CheckResult;
use crate::intent::ServingIntent;
use crate::prometheus::MetricSamples;

/// Counters of stored bytes or blocks: of vLLM's connector, the deprecated one of the same, and of KVBM.
const STORED: &[(&str, &[(&str, &str)])] = &[
    ("vllm:kv_offload_store_bytes_total", &[]),
    ("vllm:kv_offload_total_bytes_total", &[("transfer_type", "GPU_to_CPU")]),
    ("kvbm_offload_blocks_d2h", &[]),
];
/// Engine flags, or parts of their values, that configure a host tier.
const OFFLOAD_FLAGS: &[&str] =
    &["--num-host-blocks", "--kv-offloading-size", "OffloadingConnector", "DynamoConnector", "LMCache"];
const TOTAL_BLOCKS: &str = "dynamo_frontend_model_total_kv_blocks";
const CACHED_SHARE: f64 = 0.5;

/// The answers to a prefix before and after other prompts, and what the tier reports.
#[derive(Debug, Clone, PartialEq)]
pub struct KvOffloadEvidence {
    pub first: Result<ObservedAnswer, AnswerFailure>,
    /// Other prompts, all to the same worker.
    pub others: Vec<Result<ObservedAnswer, AnswerFailure>>,
    /// The first prompt again.
    pub again: Result<ObservedAnswer, AnswerFailure>,
    /// What all workers stored in the tier before the first prompt, and after the last one; `None` if they do not
    /// report it.
    pub stored_before: Option<f64>,
    pub stored_after: Option<f64>,
    /// Tokens that fit into the GPU memory of one worker, if it is known.
    pub gpu_tokens: Option<u64>,
}

/// What a worker stored in the tier; `None` if it does not report it.
pub fn stored_in_tier(metrics: &MetricSamples) -> Option<f64> {
    STORED.iter().find_map(|(name, labels)| metrics.sum(name, labels))
}

/// Tokens that fit into the GPU memory of one worker, from the metrics of the frontend.
pub fn gpu_cache_tokens(metrics: &MetricSamples, block_size: u64) -> Option<u64> {
    metrics.sum(TOTAL_BLOCKS, &[]).filter(|blocks| *blocks >= 1.0).map(|blocks| blocks as u64 * block_size)
}

/// Why offload does not apply; `None` if the deployment configures a tier.
pub(super) fn offload_skip_reason(subject: &ProbeSubject) -> Option<String> {
    match &subject.intent {
        Some(intent) if has_tier(intent) => None,
        Some(_) => Some("the deployment does not configure a host tier".into()),
        None => Some("the configuration of the deployment is not known".into()),
    }
}

fn has_tier(intent: &ServingIntent) -> bool {
    let groups = intent.topology.groups();
    let mut flags = intent.engine_args.iter().chain(groups.iter().flat_map(|(_, group)| &group.engine_args));
    intent.kv_offload.is_some() || flags.any(|flag| OFFLOAD_FLAGS.iter().any(|known| flag.contains(known)))
}

/// Judges whether the tier is used.
pub fn judge_kv_offload(evidence: &KvOffloadEvidence, place: &ProbePlace) -> CheckResult {
    offload_verdict(evidence, place).unwrap_or_else(|failure| failure)
}

fn offload_verdict(evidence: &KvOffloadEvidence, place: &ProbePlace) -> Result<CheckResult, CheckResult> {
    let answer = |request: &str, result: &Result<ObservedAnswer, AnswerFailure>| {
        result.clone().map_err(|failure| failure.result(request, place))
    };
    answer("the request with a new prompt", &evidence.first)?;
    let mut displacing = 0;
    for other in &evidence.others {
        displacing +=
            answer("a request with another prompt", other)?.tokens.map_or(0, |tokens| tokens.prompt);
    }
    let again = answer("the request with the first prompt", &evidence.again)?;
    let stored = evidence.stored_after.map(|after| after - evidence.stored_before.unwrap_or(0.0));
    let unused = |text: String| {
        let hint = Fix::from("see why the engine does not use the tier: ").then(place.logs_command("worker"));
        failed(MessageCode::KvOffloadUnused, text, hint)
    };
    let prompts = evidence.others.len() + 1;
    if stored.is_some_and(|stored| stored <= 0.0) {
        let text = format!("the host tier is configured, but {prompts} new prompts were not stored in it");
        return Err(unused(text));
    }
    let is_displaced = evidence.gpu_tokens.is_some_and(|capacity| displacing >= capacity);
    let capacity = evidence.gpu_tokens.unwrap_or_default();
    let prompt = again.tokens.map_or(0, |tokens| tokens.prompt);
    match (is_displaced, again.cached_share()) {
        (true, Some(share)) if share < CACHED_SHARE => Err(unused(format!(
            "the host tier is configured, but a prompt of {prompt} tokens was computed again after {displacing} tokens of \
             others displaced it from GPU memory, which has {capacity}"
        ))),
        (true, Some(share)) => Ok(CheckResult::Passed(format!(
            "{:.0} of {prompt} tokens of a prompt were read from the host tier, after {displacing} tokens of others \
             displaced it from GPU memory, which has {capacity}",
            share * prompt as f64
        ))),
        _ if stored.is_some() => Ok(CheckResult::Passed(format!(
            "{prompts} new prompts were stored in the host tier; GPU memory is too large to be filled by a test"
        ))),
        _ => Ok(CheckResult::Skipped(
            "the engine does not report what it stores in the host tier, and GPU memory is too large to be filled by a \
             test"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::request::{MergedSettings, SettingSource, SettingsLayer};
    use crate::intent::{Backend, Fallback, resolve};
    use crate::probe::AnswerTokens;

    fn answer(cached: u64) -> Result<ObservedAnswer, AnswerFailure> {
        let tokens = Some(AnswerTokens { prompt: 1552, completion: 1, cached: Some(cached) });
        Ok(ObservedAnswer { tokens, ..ObservedAnswer::default() })
    }

    /// The answers of a mocker 1.6.1 with 256 blocks in GPU memory and 4096 in the host tier.
    fn recorded() -> KvOffloadEvidence {
        KvOffloadEvidence {
            first: answer(0),
            others: vec![answer(0), answer(0), answer(0)],
            again: answer(1536),
            stored_before: None,
            stored_after: None,
            gpu_tokens: Some(4096),
        }
    }

    fn judge(evidence: &KvOffloadEvidence) -> CheckResult {
        judge_kv_offload(evidence, &ProbePlace::Local { name: "tiny".into() })
    }

    #[test]
    fn displaced_prompts_are_read_from_the_tier() {
        let passed = "1536 of 1552 tokens of a prompt were read from the host tier, after 4656 tokens of others displaced \
                      it from GPU memory, which has 4096";
        assert_eq!(judge(&recorded()), CheckResult::Passed(passed.into()));
        let large = KvOffloadEvidence { gpu_tokens: Some(500_000), ..recorded() };
        assert!(matches!(judge(&large), CheckResult::Skipped(_)));
        let stored = KvOffloadEvidence {
            stored_before: Some(0.0),
            stored_after: Some(9e6),
            gpu_tokens: None,
            ..recorded()
        };
        assert!(
            matches!(judge(&stored), CheckResult::Passed(text) if text.starts_with("4 new prompts were stored"))
        );
    }

    #[test]
    fn unused_tier_fails() {
        for (evidence, code, text) in [
            (
                KvOffloadEvidence { again: answer(0), ..recorded() },
                MessageCode::KvOffloadUnused,
                "a prompt of 1552 tokens was computed again after 4656 tokens",
            ),
            (
                KvOffloadEvidence { stored_before: Some(7.0), stored_after: Some(7.0), ..recorded() },
                MessageCode::KvOffloadUnused,
                "4 new prompts were not stored in it",
            ),
            (
                KvOffloadEvidence { again: Err(AnswerFailure::Interrupted), ..recorded() },
                MessageCode::AnswerInterrupted,
                "the request with the first prompt failed",
            ),
        ] {
            let result = judge(&evidence);
            let problem = result.problem().unwrap_or_else(|| panic!("{result:?}"));
            assert_eq!(problem.code, code);
            assert!(problem.text.contains(text), "{}", problem.text);
        }
    }

    #[test]
    fn a_tier_is_recognized_in_the_request() {
        let reason = |fields: &[&str]| {
            let mut layer = SettingsLayer::new(SettingSource::Flag);
            for field in ["model=acme/tiny"].iter().chain(fields) {
                layer.set(field).expect("a valid setting");
            }
            let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
            let intent =
                resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request");
            let place = ProbePlace::Local { name: "tiny".into() };
            offload_skip_reason(&ProbeSubject {
                place,
                intent: Some(intent),
                release: None,
                model: "tiny".into(),
            })
        };
        assert_eq!(reason(&[]).as_deref(), Some("the deployment does not configure a host tier"));
        assert_eq!(reason(&["kvOffload.cpu=20Gi"]), None);
    }

    #[test]
    fn stored_bytes_are_read_from_each_engine() {
        for (text, stored) in [
            ("vllm:kv_offload_store_bytes_total{engine=\"0\",medium=\"CPU\"} 5\n", Some(5.0)),
            (
                "vllm:kv_offload_total_bytes_total{transfer_type=\"GPU_to_CPU\"} 3\n\
                 vllm:kv_offload_total_bytes_total{transfer_type=\"CPU_to_GPU\"} 4\n",
                Some(3.0),
            ),
            ("kvbm_offload_blocks_d2h 2\n", Some(2.0)),
            ("vllm:num_requests_running 1\n", None),
        ] {
            assert_eq!(stored_in_tier(&MetricSamples::parse(text)), stored, "{text}");
        }
        let blocks = MetricSamples::parse("dynamo_frontend_model_total_kv_blocks{model=\"m\"} 256\n");
        assert_eq!(gpu_cache_tokens(&blocks, 16), Some(4096));
    }
}
