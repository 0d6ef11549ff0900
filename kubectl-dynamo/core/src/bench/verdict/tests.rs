//! Tests of the verdict: each fault alone.

use std::collections::BTreeMap;

use super::*;
use crate::bench::{BenchWorkload, MetricValues, WorkloadOptions};

fn values(metric: &str, statistic: &str, value: f64) -> (String, MetricValues) {
    (metric.to_owned(), BTreeMap::from([(statistic.to_owned(), value)]))
}

/// A good measurement of the default workload.
fn good() -> Measurement {
    let metrics = BTreeMap::from([
        values("effective_concurrency", "avg", 3.8),
        values("credit_to_start_latency", "p95", 1.0),
        values("time_to_first_token", "p95", 50.0),
    ]);
    Measurement { metrics, requests: 40, is_complete: true, ..Measurement::default() }
}

fn verdict(measurement: &Measurement, exit_status: &str) -> BenchVerdict {
    let workload = BenchWorkload::resolve(WorkloadOptions::default()).expect("valid");
    let plans = workload.measurements();
    judge(&RunEvidence {
        plan: &plans[0],
        has_succeeded: exit_status == "exit code 0",
        exit_status,
        measurement,
        bound: ErrorBound(0.0),
    })
}

#[track_caller]
fn assert_fails(measurement: &Measurement, exit_status: &str, code: MessageCode, text: &str) {
    let verdict = verdict(measurement, exit_status);
    let codes: Vec<&str> = verdict.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert_eq!(codes, [code.as_str()], "{verdict:?}");
    assert!(verdict.findings[0].message.contains(text), "{verdict:?}");
    assert_eq!((verdict.is_good, verdict.failure()), (false, verdict.findings.first()));
}

#[test]
fn complete_measurement_is_good() {
    assert_eq!(verdict(&good(), "exit code 0"), BenchVerdict { is_good: true, findings: Vec::new() });
}

#[test]
fn failure_of_aiperf_is_a_fault() {
    assert_fails(&good(), "exit code 1", MessageCode::AiperfFailed, "exit code 1");
    let cancelled = Measurement { was_cancelled: true, is_complete: false, ..good() };
    assert_fails(&cancelled, "exit code 0", MessageCode::AiperfFailed, "before the end");
    let without_summary = Measurement { metrics: BTreeMap::new(), ..good() };
    assert_fails(&without_summary, "exit code 0", MessageCode::AiperfFailed, "summary");
}

#[test]
fn failed_requests_are_a_fault_above_the_bound() {
    let error =
        ErrorCount { code: Some(503), kind: "Unavailable".into(), message: "no worker".into(), count: 13 };
    let third = Measurement { failed: 13, errors: vec![error], ..good() };
    assert_fails(
        &third,
        "exit code 0",
        MessageCode::BenchRequestsFailed,
        "13 of 40 requests failed (32.5 %): 503",
    );
    let all = Measurement { failed: 40, metrics: BTreeMap::new(), ..good() };
    assert_fails(&all, "exit code 1", MessageCode::BenchRequestsFailed, "40 of 40");
}

#[test]
fn lost_requests_and_cut_answers_are_faults() {
    let lost = Measurement { requests: 39, ..good() };
    assert_fails(&lost, "exit code 0", MessageCode::BenchRequestsMissing, "39 requests, and 40");
    let cut = Measurement { wrong_length: 5, ..good() };
    assert_fails(&cut, "exit code 0", MessageCode::OutputLengthDiffers, "5 answers");
}

#[test]
fn slow_client_is_a_fault() {
    let with = |metric: &str, statistic: &str, value: f64| {
        let mut measurement = good();
        measurement.metrics.extend([values(metric, statistic, value)]);
        measurement
    };
    assert_fails(
        &with("effective_concurrency", "avg", 3.3),
        "exit code 0",
        MessageCode::BenchClientBound,
        "3.3 of 4",
    );
    assert_fails(
        &with("credit_to_start_latency", "p95", 6.0),
        "exit code 0",
        MessageCode::BenchClientBound,
        "6.0 ms late",
    );
}

#[test]
fn different_token_counts_are_only_a_warning() {
    let verdict = verdict(&Measurement { counted_differently: 3, ..good() }, "exit code 0");
    assert_eq!(verdict.findings[0].code, MessageCode::TokenCountsDiffer.as_str());
    assert!(verdict.is_good && verdict.failure().is_none());
}

#[test]
fn nothing_measured_is_not_good() {
    assert!(!BenchVerdict::combine(std::iter::empty()).is_good);
    let (good, bad) = (verdict(&good(), "exit code 0"), verdict(&good(), "exit code 1"));
    assert!(!BenchVerdict::combine([&good, &bad].into_iter()).is_good);
    assert!(BenchVerdict::combine([&good, &good].into_iter()).is_good);
}

#[test]
fn changed_deployment_is_a_fault() {
    let deployment: BenchDeployment = serde_json::from_value(serde_json::json!({
        "name": "tiny", "place": "cluster", "namespace": "serving", "generation": 3, "version": "1.6.1", "gpus": 0,
        "intent": {},
    }))
    .expect("a deployment");
    assert_eq!(judge_change(&deployment, Some(3)), None);
    for generation in [Some(4), None] {
        let finding = judge_change(&deployment, generation).expect("a finding");
        assert!(
            finding.is_failure && finding.code == MessageCode::BenchDeploymentChanged.as_str(),
            "{finding:?}"
        );
    }
    let local = BenchDeployment { generation: None, ..deployment };
    assert_eq!(judge_change(&local, Some(3)), None);
}
