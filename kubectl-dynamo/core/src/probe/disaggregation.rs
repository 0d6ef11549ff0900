//! The probe of disaggregation: whether one worker reads the prompt and another one generates the answer, and how long
//! the handover of the KV cache between them takes.
//!
//! Times are compared between a short and a long prompt, because a constant part, such as the network, is in both. The
//! least time of several requests is used, because load can only make a request slower.

use super::{AnswerFailure, AnswerWorkers, ObservedAnswer, ProbePlace, failed, warning};
use crate::code::MessageCode;
use crate::command::Fix;
use crate::finding::CheckResult;
use crate::prometheus::MetricSamples;

/// The longest prompt and answer of the model, in tokens.
const CONTEXT_LENGTH: &str = "dynamo_frontend_model_context_length";

/// A handover that takes this many times as long as the prefill is suspicious. RDMA needs a part of the prefill time,
/// and TCP a multiple of it.
const SLOW_HANDOVER_FACTOR: f64 = 2.0;
/// A handover below this many milliseconds is not suspicious.
const NOTICEABLE_HANDOVER_MS: f64 = 50.0;

/// The answers to new prompts, and the workers of both roles that are registered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DisaggregationEvidence {
    /// To prompts of a few words.
    pub short: Vec<Result<ObservedAnswer, AnswerFailure>>,
    /// To prompts of many words.
    pub long: Vec<Result<ObservedAnswer, AnswerFailure>>,
    /// From one prefill worker and one decode worker each, so that each handover path is used. Empty until the roles
    /// were judged.
    pub pairs: Vec<PairAnswer>,
    pub prefill_workers: usize,
    pub decode_workers: usize,
}

/// The answer to a request that names a prefill worker and a decode worker.
#[derive(Debug, Clone, PartialEq)]
pub struct PairAnswer {
    /// Both in messages: the pod if known, and the ID.
    pub prefill: String,
    pub decode: String,
    /// Their IDs in hexadecimal.
    pub requested: AnswerWorkers,
    pub answer: Result<ObservedAnswer, AnswerFailure>,
}

impl PairAnswer {
    /// Whether these two workers answered. A release may ignore the request to use them.
    fn is_used(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.workers.as_ref() == Some(&self.requested))
    }
}

/// The context length of a model, or of the only model if it is `None`, from the metrics of the frontend.
pub fn context_length(metrics: &MetricSamples, model: Option<&str>) -> Option<u64> {
    let model: Vec<(&str, &str)> = model.into_iter().map(|model| ("model", model)).collect();
    metrics.sum(CONTEXT_LENGTH, &model).filter(|length| *length >= 1.0).map(|length| length as u64)
}

/// Judges whether both roles do their part.
pub fn judge_disaggregation(evidence: &DisaggregationEvidence, place: &ProbePlace) -> CheckResult {
    disaggregation_verdict(evidence, place).unwrap_or_else(|failure| failure)
}

fn disaggregation_verdict(
    evidence: &DisaggregationEvidence,
    place: &ProbePlace,
) -> Result<CheckResult, CheckResult> {
    let (prefill, decode) = (evidence.prefill_workers, evidence.decode_workers);
    for (missing, count, other, others) in
        [("prefill", prefill, "decode", decode), ("decode", decode, "prefill", prefill)]
    {
        if count == 0 && others > 0 {
            let text = format!("{others} {other} and no {missing} workers are registered");
            return Err(failed(MessageCode::DisaggregationHalfUnused, text, place.logs_command(missing)));
        }
    }
    let registered = format!("{prefill} prefill and {decode} decode workers are registered");
    let answered = |request: &str, answers: &[Result<ObservedAnswer, AnswerFailure>]| {
        let answers = answers.iter().cloned().collect::<Result<Vec<_>, _>>();
        answers.map_err(|failure| {
            let text = format!("{request} failed: {failure}; {registered}");
            failed(failure.code(), text, place.diagnose_command())
        })
    };
    let short = answered("a request with a short prompt", &evidence.short)?;
    let long = answered("a request with a long prompt", &evidence.long)?;
    let Some(workers) = long.first().and_then(|answer| answer.workers.as_ref()) else {
        return Ok(CheckResult::Skipped("this release does not report which worker answers".into()));
    };
    // A router may let a decode worker read a short prompt.
    if let Some(alone) = long.iter().find(|answer| !answer.is_disaggregated()) {
        let worker = alone.last_worker().unwrap_or_default();
        let text = format!("decode worker {worker} also read the prompt; no prefill worker was used");
        return Err(failed(MessageCode::DisaggregationHalfUnused, text, place.logs_command("prefill")));
    }
    let roles = format!(
        "worker {} reads the prompt and worker {} generates the answer",
        workers.prefill.as_deref().unwrap_or_default(),
        workers.decode
    );
    let verdict = match (PhaseTimes::least(&short), PhaseTimes::least(&long)) {
        (Some(short), Some(long)) => time_verdict(&short, &long, &roles, place),
        _ => CheckResult::Passed(roles),
    };
    let pairs = pair_text(evidence, place)?;
    Ok(match verdict {
        CheckResult::Passed(text) => CheckResult::Passed(text + &pairs),
        other => other,
    })
}

/// What to add to the verdict about the pairs of workers.
fn pair_text(evidence: &DisaggregationEvidence, place: &ProbePlace) -> Result<String, CheckResult> {
    let failed_pair = evidence.pairs.iter().find_map(|pair| Some((pair, pair.answer.as_ref().err()?)));
    if let Some((pair, failure)) = failed_pair {
        let text = format!(
            "a request with prefill worker {} and decode worker {} failed: {failure}; the other workers answer",
            pair.prefill, pair.decode
        );
        return Err(failed(failure.code(), text, place.diagnose_command()));
    }
    let all = evidence.prefill_workers * evidence.decode_workers;
    Ok(match evidence.pairs.iter().filter(|pair| pair.is_used()).count() {
        0 => String::new(),
        tried if tried == all => format!("; all {all} pairs of workers answer"),
        tried => format!("; {tried} of {all} pairs of workers were used and answer"),
    })
}

/// The times of one prompt length.
struct PhaseTimes {
    prompt_tokens: u64,
    prefill_ms: f64,
    handover_ms: Option<f64>,
}

impl PhaseTimes {
    /// The least times of these answers; `None` if the release does not report them.
    fn least(answers: &[ObservedAnswer]) -> Option<Self> {
        let least =
            |time: fn(&ObservedAnswer) -> Option<f64>| answers.iter().filter_map(time).reduce(f64::min);
        Some(Self {
            prompt_tokens: answers.first()?.tokens?.prompt,
            prefill_ms: least(|answer| answer.prefill_ms)?,
            handover_ms: least(|answer| answer.handover_ms),
        })
    }
}

fn time_verdict(short: &PhaseTimes, long: &PhaseTimes, roles: &str, place: &ProbePlace) -> CheckResult {
    let prefill_growth = long.prefill_ms - short.prefill_ms;
    let prefill = format!(
        "prefill took {:.0} ms for {} tokens and {:.0} ms for {}",
        short.prefill_ms, short.prompt_tokens, long.prefill_ms, long.prompt_tokens
    );
    if prefill_growth <= 0.0 {
        let text = format!("{prefill}, although a longer prompt needs more time; {roles}");
        return warning(MessageCode::PrefillTimeConstant, text, place.logs_command("prefill"));
    }
    let (Some(short_handover), Some(long_handover)) = (short.handover_ms, long.handover_ms) else {
        return CheckResult::Passed(format!("{roles}; {prefill}"));
    };
    let handover = format!("handover took {short_handover:.0} ms and {long_handover:.0} ms");
    let handover_growth = long_handover - short_handover;
    if handover_growth > NOTICEABLE_HANDOVER_MS && handover_growth > SLOW_HANDOVER_FACTOR * prefill_growth {
        let more_tokens = long.prompt_tokens.saturating_sub(short.prompt_tokens).max(1) as f64;
        let text = format!(
            "the KV cache moves at {:.2} ms per token, and prefill needs {:.2} ms: TCP instead of RDMA is suspected; \
             {prefill}, {handover}",
            handover_growth / more_tokens,
            prefill_growth / more_tokens,
        );
        return warning(MessageCode::SlowKvHandover, text, rdma_hint(place));
    }
    CheckResult::Passed(format!("{roles}; {prefill}, {handover}"))
}

fn rdma_hint(place: &ProbePlace) -> Fix {
    let check = "check that the worker pods request an RDMA device such as rdma/ib, and that UCX_TLS allows it; UCX prints \
                 the transport that it uses to the log with ";
    match place {
        ProbePlace::Cluster { .. } => Fix::from(check).then(place.change_command("--env UCX_LOG_LEVEL=info")),
        ProbePlace::Local { .. } | ProbePlace::Url { .. } => {
            Fix::from("see which transport the workers use: ").then(place.logs_command("decode"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::AnswerTokens;

    fn answer(prompt: u64, prefill_ms: f64, handover_ms: f64) -> Result<ObservedAnswer, AnswerFailure> {
        Ok(ObservedAnswer {
            tokens: Some(AnswerTokens { prompt, completion: 2, cached: Some(0) }),
            workers: Some(AnswerWorkers { prefill: Some("p".into()), decode: "d".into() }),
            prefill_ms: Some(prefill_ms),
            handover_ms: Some(handover_ms),
            ..ObservedAnswer::default()
        })
    }

    /// The answers of a frontend 1.6.1 with two mockers.
    fn recorded() -> DisaggregationEvidence {
        DisaggregationEvidence {
            short: vec![answer(86, 31.5, 9.9), answer(86, 19.8, 7.6)],
            long: vec![answer(1604, 43.6, 7.7)],
            pairs: Vec::new(),
            prefill_workers: 1,
            decode_workers: 1,
        }
    }

    fn pair(prefill: &str, decode: &str, answer: Result<ObservedAnswer, AnswerFailure>) -> PairAnswer {
        let requested = AnswerWorkers { prefill: Some(prefill.into()), decode: decode.into() };
        let answer = answer.map(|answer| ObservedAnswer { workers: Some(requested.clone()), ..answer });
        PairAnswer { prefill: prefill.into(), decode: decode.into(), requested, answer }
    }

    #[test]
    fn every_pair_of_workers_answers() {
        let answers = || answer(1604, 43.6, 7.7);
        let mut evidence = DisaggregationEvidence {
            pairs: vec![pair("p", "d", answers()), pair("p", "e", answers())],
            decode_workers: 2,
            ..recorded()
        };
        let text = |evidence: &DisaggregationEvidence| match judge_disaggregation(evidence, &place()) {
            CheckResult::Passed(text) => text,
            other => panic!("{other:?}"),
        };
        assert!(text(&evidence).ends_with("8 ms; all 2 pairs of workers answer"));
        evidence.decode_workers = 40;
        assert!(text(&evidence).ends_with("; 2 of 40 pairs of workers were used and answer"));
        evidence.pairs[1].answer = Err(AnswerFailure::TimedOut(std::time::Duration::from_secs(5)));
        let result = judge_disaggregation(&evidence, &place());
        let problem = result.problem().expect("a pair does not answer");
        assert!(
            problem.text.starts_with("a request with prefill worker p and decode worker e failed: "),
            "{}",
            problem.text
        );
    }

    fn alone() -> Result<ObservedAnswer, AnswerFailure> {
        let workers = Some(AnswerWorkers { prefill: None, decode: "d".into() });
        answer(1604, 30.0, 0.0).map(|answer| ObservedAnswer { workers, ..answer })
    }

    fn place() -> ProbePlace {
        ProbePlace::Cluster { name: "tiny".into(), namespace: "serving".into() }
    }

    #[test]
    fn both_roles_and_growing_prefill_time_pass() {
        let CheckResult::Passed(text) = judge_disaggregation(&recorded(), &place()) else {
            panic!("it works")
        };
        assert_eq!(
            text,
            "worker p reads the prompt and worker d generates the answer; prefill took 20 ms for 86 tokens and 44 ms \
             for 1604, handover took 8 ms and 8 ms"
        );
        // The router may let the decode worker read a short prompt.
        let conditional = DisaggregationEvidence { short: vec![alone()], ..recorded() };
        assert!(matches!(judge_disaggregation(&conditional, &place()), CheckResult::Passed(_)));
        let untimed = |answer: &Result<ObservedAnswer, AnswerFailure>| {
            answer.clone().map(|answer| ObservedAnswer { prefill_ms: None, ..answer })
        };
        let untimed =
            DisaggregationEvidence { long: recorded().long.iter().map(untimed).collect(), ..recorded() };
        assert!(matches!(judge_disaggregation(&untimed, &place()), CheckResult::Passed(_)));
    }

    #[test]
    fn each_fault_has_a_code() {
        let unavailable = AnswerFailure::Rejected { status: 503, message: "unavailable".into() };
        for (evidence, code, text) in [
            (
                DisaggregationEvidence { prefill_workers: 0, ..recorded() },
                MessageCode::DisaggregationHalfUnused,
                "1 decode and no prefill workers are registered",
            ),
            (
                DisaggregationEvidence { decode_workers: 0, prefill_workers: 2, ..recorded() },
                MessageCode::DisaggregationHalfUnused,
                "2 prefill and no decode workers",
            ),
            (
                DisaggregationEvidence { long: vec![alone()], ..recorded() },
                MessageCode::DisaggregationHalfUnused,
                "decode worker d also read the prompt",
            ),
            (
                DisaggregationEvidence { short: vec![Err(unavailable)], ..recorded() },
                MessageCode::EndpointRequestRejected,
                "a request with a short prompt failed: HTTP 503, unavailable; 1 prefill and 1 decode workers",
            ),
            (
                DisaggregationEvidence { long: vec![answer(1604, 19.0, 7.7)], ..recorded() },
                MessageCode::PrefillTimeConstant,
                "prefill took 20 ms for 86 tokens and 19 ms for 1604",
            ),
            // Recorded with mockers whose transfer bandwidth is 1 GB/s for 1 MB per token.
            (
                DisaggregationEvidence { long: vec![answer(1605, 43.9, 1614.0)], ..recorded() },
                MessageCode::SlowKvHandover,
                "1.06 ms per token, and prefill needs 0.02 ms: TCP",
            ),
        ] {
            let result = judge_disaggregation(&evidence, &place());
            let problem = result.problem().unwrap_or_else(|| panic!("{result:?}"));
            assert_eq!(problem.code, code);
            assert!(problem.text.contains(text), "{}", problem.text);
        }
        let slow = DisaggregationEvidence { long: vec![answer(1605, 43.9, 1614.0)], ..recorded() };
        let result = judge_disaggregation(&slow, &place());
        assert!(
            matches!(&result, CheckResult::Warning(problem) if problem.hint.to_string().contains("UCX_TLS"))
        );
    }

    #[test]
    fn context_length_is_read_from_the_metrics() {
        let metrics = MetricSamples::parse("dynamo_frontend_model_context_length{model=\"tiny\"} 4096\n");
        assert_eq!(context_length(&metrics, None), Some(4096));
        assert_eq!(context_length(&metrics, Some("tiny")), Some(4096));
        assert_eq!(context_length(&metrics, Some("other")), None);
        assert_eq!(context_length(&MetricSamples::default(), None), None);
    }
}
