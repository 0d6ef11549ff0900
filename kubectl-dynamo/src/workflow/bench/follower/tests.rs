//! What a follower stores, with a fake API server that accepts each record.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use kubectl_dynamo_cluster::fake_api_server::{self, FakeRequest};
use kubectl_dynamo_core::bench::{BenchDeployment, BenchTarget, WorkloadOptions};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

use super::super::prepare::new_record;
use super::*;
use crate::report::ProgressMode;

fn record() -> BenchRun {
    let deployment: BenchDeployment = serde_json::from_value(json!({
        "name": "tiny", "place": "cluster", "namespace": "dynamo", "version": "1.6.1", "gpus": 0, "intent": {},
    }))
    .expect("a deployment");
    let target = BenchTarget {
        url: "http://tiny-frontend.dynamo.svc:8000/v1".into(),
        model: "tiny".into(),
        tokenizer: "/opt/models/acme/tiny".into(),
        deployment: Some(deployment),
    };
    let options = WorkloadOptions { concurrency: vec![2, 4], ..WorkloadOptions::default() };
    let workload = BenchWorkload::resolve(options).expect("valid options");
    new_record("tiny-check-1".into(), target, &workload, ErrorBound(0.0))
}

async fn runs() -> ClusterRuns {
    let answer = |request: FakeRequest| async move {
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        fake_api_server::object_response(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        }))
    };
    ClusterRuns { cluster: fake_api_server::cluster(json!({}), answer).await }
}

/// The lines of a file, in two parts.
fn file_lines(measurement: usize, name: &str, content: &[u8]) -> Vec<String> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).expect("writable");
    let data = STANDARD.encode(encoder.finish().expect("complete"));
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let (one, other) = data.split_at(data.len() / 2);
    let line = |(part, data): (usize, &str)| {
        format!(
            "@bench {}",
            json!({ "event": "file", "measurement": measurement, "name": name, "part": part,
            "parts": 2, "sha256": sha256, "data": data })
        )
    };
    [one, other].into_iter().enumerate().map(line).collect()
}

fn measured(measurement: usize) -> String {
    format!("@bench {}", json!({ "event": "measured", "measurement": measurement, "exitCode": 0 }))
}

/// AIPerf's summary and requests of a good measurement with `requests` requests.
fn good_files(measurement: usize, requests: usize) -> Vec<String> {
    let summary: Value = json!({
        "aiperf_version": "0.12.0", "is_complete": true, "was_cancelled": false,
        "request_throughput": { "unit": "requests/sec", "avg": 5.0 },
    });
    let request = json!({
        "metadata": { "benchmark_phase": "profiling" },
        "metrics": { "output_sequence_length": { "value": 32 }, "usage_completion_tokens": { "value": 32 } },
    });
    let requests = format!("{request}\n").repeat(requests);
    let mut lines = file_lines(measurement, "profile_export_aiperf.json", summary.to_string().as_bytes());
    lines.extend(file_lines(measurement, "profile_export.jsonl", requests.as_bytes()));
    lines.push(measured(measurement));
    lines
}

/// Reads lines with a new follower, and returns its record.
async fn follow_lines(store: &BenchStore, record: BenchRun, lines: &[String]) -> BenchRun {
    let report = Report::new(ProgressMode::Plain);
    let mut follower = Follower::new(record, runs().await, store, &report).expect("an unused name");
    for line in lines {
        follower.read_line(line).await.expect("the folder is writable");
    }
    follower.record
}

#[tokio::test]
async fn measurements_are_stored_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = BenchStore::new(Some(folder.path())).expect("a folder");
    let first = follow_lines(&store, record(), &good_files(0, 20)).await;
    assert_eq!((first.measured(), first.verdict.is_good), (1, true), "{:?}", first.verdict);
    assert_eq!(first.versions.aiperf, "0.12.0");
    let file = folder.path().join("tiny-check-1/concurrency-2/run-1/profile_export_aiperf.json");
    assert!(file.is_file(), "AIPerf's own file");
    // Another follower continues, and reads the log from its beginning.
    let lines = [good_files(0, 20), good_files(1, 40)].concat();
    let second = follow_lines(&store, first, &lines).await;
    assert_eq!((second.measured(), second.verdict.is_good), (2, true), "{:?}", second.verdict);
}

#[tokio::test]
async fn files_that_the_log_lost_are_a_fault() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = BenchStore::new(Some(folder.path())).expect("a folder");
    let lines = good_files(0, 20);
    let record = follow_lines(&store, record(), &lines[1..]).await;
    let codes: Vec<&str> = record.verdict.findings.iter().map(|finding| finding.code.as_str()).collect();
    assert!(
        codes.contains(&MessageCode::BenchResultsIncomplete.as_str()) && !record.verdict.is_good,
        "{codes:?}"
    );
}

#[tokio::test]
async fn names_from_the_log_stay_in_the_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = BenchStore::new(Some(folder.path())).expect("a folder");
    let mut lines = file_lines(0, "../../outside", b"content");
    lines.push(measured(0));
    follow_lines(&store, record(), &lines).await;
    assert!(!folder.path().join("tiny-check-1/outside").exists() && !folder.path().join("outside").exists());
}
