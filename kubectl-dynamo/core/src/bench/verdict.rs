//! Whether the numbers of a measurement can be trusted. AIPerf exits 0 when a third of its requests failed, and it can
//! count an answer that ends with an error as a success, so its exit code is only one of the checks.

use serde::{Deserialize, Serialize};

use super::{BenchDeployment, ErrorCount, LoadLevel, Measurement, MeasurementPlan};
use crate::code::MessageCode;

/// A fault of a measurement, or something that limits its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchFinding {
    /// The message code, such as `KD0922`.
    pub code: String,
    pub message: String,
    /// Whether the numbers must not be used.
    pub is_failure: bool,
}

/// The verdict about a measurement or a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchVerdict {
    /// Whether the numbers can be trusted.
    pub is_good: bool,
    pub findings: Vec<BenchFinding>,
}

impl BenchVerdict {
    fn new(findings: Vec<BenchFinding>) -> Self {
        Self { is_good: !findings.iter().any(|finding| finding.is_failure), findings }
    }

    /// The verdict about several measurements. Nothing measured is not good.
    pub fn combine<'a>(verdicts: impl Iterator<Item = &'a Self>) -> Self {
        let mut is_empty = true;
        let findings = verdicts.inspect(|_| is_empty = false).flat_map(|verdict| verdict.findings.clone());
        let verdict = Self::new(findings.collect());
        Self { is_good: verdict.is_good && !is_empty, ..verdict }
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: BenchFinding) {
        self.is_good &= !finding.is_failure;
        self.findings.push(finding);
    }

    /// The first failure. A run without any measurement is not good and does not have one.
    pub fn failure(&self) -> Option<&BenchFinding> {
        self.findings.iter().find(|finding| finding.is_failure)
    }
}

/// The share of requests that may fail, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorBound(pub f64);

/// What is known about one measurement.
#[derive(Debug, Clone, Copy)]
pub struct RunEvidence<'a> {
    pub plan: &'a MeasurementPlan<'a>,
    /// Whether AIPerf exited with 0.
    pub has_succeeded: bool,
    pub exit_status: &'a str,
    pub measurement: &'a Measurement,
    pub bound: ErrorBound,
}

/// Below this share of the requested concurrency, the load generator is too slow. Short measurements reach 0.9.
const LEAST_CONCURRENCY: f64 = 0.85;
/// The longest delay before AIPerf sends a request, as a share of the time to the first token (both p95).
const LONGEST_START: f64 = 0.1;
/// A start that is shorter than this does not matter, in milliseconds.
const SHORT_START: f64 = 5.0;

/// Returns the verdict about a measurement.
pub fn judge(evidence: &RunEvidence<'_>) -> BenchVerdict {
    let checks = [ended_well, failed_requests, missing_requests, wrong_lengths, slow_client, token_counts];
    let place = format!("level {}, run {}", evidence.plan.level, evidence.plan.run);
    let finding = |(code, text, is_failure): Fault| BenchFinding {
        code: code.to_string(),
        message: format!("{place}: {text}"),
        is_failure,
    };
    BenchVerdict::new(checks.iter().filter_map(|check| check(evidence)).map(finding).collect())
}

/// Returns a finding if the spec of a deployment changed during a run. `generation` is the one at the end; `None` if the
/// deployment does not exist any more.
pub fn judge_change(deployment: &BenchDeployment, generation: Option<u64>) -> Option<BenchFinding> {
    let before = deployment.generation?;
    (generation != Some(before)).then(|| BenchFinding {
        code: MessageCode::BenchDeploymentChanged.to_string(),
        message: format!("deployment \"{}\" was changed during the run", deployment.name),
        is_failure: true,
    })
}

/// A code, what is wrong, and whether it is a failure.
type Fault = (MessageCode, String, bool);

fn ended_well(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let measurement = evidence.measurement;
    if measurement.requests > 0 && measurement.failed == measurement.requests {
        // AIPerf exits 1 then, and the failed requests explain it.
        return None;
    }
    let text = match (evidence.has_succeeded, measurement.metrics.is_empty()) {
        (false, _) => format!("AIPerf failed ({})", evidence.exit_status),
        (true, true) => "AIPerf did not write a summary".to_owned(),
        (true, false) if measurement.was_cancelled || !measurement.is_complete => {
            "AIPerf stopped before the end".to_owned()
        }
        _ => return None,
    };
    Some((MessageCode::AiperfFailed, text, true))
}

fn failed_requests(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let Measurement { requests, failed, errors, .. } = evidence.measurement;
    if *failed == 0 || *requests == 0 {
        return None;
    }
    let share = *failed as f64 / *requests as f64;
    let is_failure = share > evidence.bound.0;
    let most = errors.iter().max_by_key(|error| error.count).map(error_text).unwrap_or_default();
    let text = format!("{failed} of {requests} requests failed ({:.1} %){most}", share * 100.0);
    Some((MessageCode::BenchRequestsFailed, text, is_failure))
}

fn error_text(error: &ErrorCount) -> String {
    let code = error.code.map(|code| format!("{code} ")).unwrap_or_default();
    let message: String = error.message.chars().take(160).collect();
    format!(": {code}{}, {message}", error.kind)
}

fn missing_requests(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let counted = evidence.measurement.requests;
    let expected = evidence.plan.requests()?;
    (counted != expected).then(|| {
        let text = format!("AIPerf recorded {counted} requests, and {expected} were requested");
        (MessageCode::BenchRequestsMissing, text, true)
    })
}

fn wrong_lengths(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let (wrong, pinned) = (evidence.measurement.wrong_length, evidence.plan.workload.pinned_output()?);
    (wrong > 0).then(|| {
        let text = format!(
            "{wrong} answers do not have the requested {pinned} tokens; an error can have cut them short"
        );
        (MessageCode::OutputLengthDiffers, text, true)
    })
}

fn slow_client(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let measurement = evidence.measurement;
    if measurement.failed > 0 {
        // A failed request frees its place at once, so the concurrency does not show the client's speed.
        return None;
    }
    let requested = match evidence.plan.level {
        LoadLevel::Concurrency(level) => Some(f64::from(level)),
        LoadLevel::RequestRate(_) | LoadLevel::Trace => None,
    };
    let effective = measurement.value("effective_concurrency", "avg");
    if let Some((effective, requested)) = effective.zip(requested)
        && effective < LEAST_CONCURRENCY * requested
        && evidence.plan.workload.turns.is_none()
    {
        let text =
            format!("AIPerf kept {effective:.1} of {requested} requests in flight, so it was the bottleneck");
        return Some((MessageCode::BenchClientBound, text, true));
    }
    let start = measurement.value("credit_to_start_latency", "p95")?;
    let first_token = measurement.value("time_to_first_token", "p95")?;
    (start > SHORT_START && start > LONGEST_START * first_token).then(|| {
        let text = format!(
            "AIPerf started requests {start:.1} ms late (p95), which is more than {:.0} % of the time to first token",
            LONGEST_START * 100.0
        );
        (MessageCode::BenchClientBound, text, true)
    })
}

fn token_counts(evidence: &RunEvidence<'_>) -> Option<Fault> {
    let different = evidence.measurement.counted_differently;
    (different > 0).then(|| {
        let text = format!(
            "the server and AIPerf's tokenizer count the tokens of {different} answers differently; token rates use AIPerf's"
        );
        (MessageCode::TokenCountsDiffer, text, false)
    })
}

#[cfg(test)]
mod tests;
