//! What a run needs before its first measurement, wherever AIPerf runs: the complete workload, a name, and the record.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::BenchError;
use super::store::read_text;
use super::target::{BenchTargetName, ModelOptions};
use kubectl_dynamo_core::bench::{
    BenchEndpoint, BenchRun, BenchStatus, BenchTarget, BenchVerdict, BenchVersions, BenchWorkload,
    ErrorBound, LoadAnalysis, PredictedSpeed, TraceFile, WorkloadOptions,
};
use kubectl_dynamo_core::diagnosis::redact;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::release::AIPERF_VERSION;

/// Options of a benchmark run.
pub(crate) struct BenchRunOptions {
    pub target: BenchTargetName,
    pub model: ModelOptions,
    pub workload: WorkloadOptions,
    pub trace: Option<PathBuf>,
    /// The prediction whose load is measured.
    pub prediction: Option<PredictedSpeed>,
    pub name: Option<String>,
    pub output_dir: Option<PathBuf>,
    pub bound: ErrorBound,
}

/// The record of a run before its first measurement.
pub(super) fn new_record(
    name: String,
    target: BenchTarget,
    workload: &BenchWorkload,
    bound: ErrorBound,
) -> BenchRun {
    BenchRun {
        api_version: "kubectl-dynamo.dev/v1".into(),
        kind: "BenchRun".into(),
        name,
        status: BenchStatus::Running,
        started_at: jiff::Timestamp::now().to_string(),
        finished_at: None,
        target,
        versions: BenchVersions { plugin: env!("CARGO_PKG_VERSION").into(), aiperf: AIPERF_VERSION.into() },
        workload: without_secrets(workload),
        max_error_share: bound.0,
        levels: Vec::new(),
        prediction: None,
        analysis: LoadAnalysis::default(),
        verdict: BenchVerdict::default(),
    }
}

/// The workload as it is stored: options for AIPerf can contain a header with a key.
fn without_secrets(workload: &BenchWorkload) -> BenchWorkload {
    let extra_arguments = workload.extra_arguments.iter().map(|word| redact(word)).collect();
    BenchWorkload { extra_arguments, ..workload.clone() }
}

/// Completes the workload; a trace is read to count its requests.
pub(super) fn resolve_workload(mut options: WorkloadOptions, trace: Option<&Path>) -> Result<BenchWorkload> {
    if let Some(path) = trace {
        let unreadable = |reason: String| BenchError::Trace { path: path.to_owned(), reason };
        let absolute = path.canonicalize().map_err(|error| unreadable(error.to_string()))?;
        let text = read_text(&absolute)?.unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let mut requests = 0;
        for line in lines {
            requests += 1;
            if let Err(error) = serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(line) {
                return Err(unreadable(format!("line {requests} is not a JSON object: {error}")).into());
            }
        }
        if requests == 0 {
            return Err(unreadable("it is empty".into()).into());
        }
        let sha256 = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        options.trace = Some(TraceFile { path: absolute.display().to_string(), requests, sha256 });
    }
    Ok(BenchWorkload::resolve(options)?)
}

/// The beginning of the name of a run: the deployment or `url`, and the workload.
pub(super) fn default_name(target: &BenchTarget, workload: &BenchWorkload) -> String {
    let name = target.deployment.as_ref().map_or("url", |deployment| &deployment.name);
    let name: String = name.chars().take(40).collect();
    format!("{}-{}", name.trim_end_matches('-'), workload.kind.as_str())
}

/// The endpoint in AIPerf's terms: it adds `/v1` itself.
pub(super) fn endpoint_of(target: &BenchTarget) -> BenchEndpoint {
    BenchEndpoint {
        url: target.url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        model: target.model.clone(),
        tokenizer: target.tokenizer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_is_counted_and_must_be_json() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("trace.jsonl");
        let resolve = || resolve_workload(WorkloadOptions::default(), Some(&path));
        assert!(resolve().is_err_and(|error| error.to_string().contains("trace.jsonl")));
        std::fs::write(&path, "{\"timestamp\": 0}\n\n{\"timestamp\": 5}\n").expect("writable");
        assert_eq!(resolve().expect("valid").trace_requests, Some(2));
        std::fs::write(&path, "{}\nno\n").expect("writable");
        assert!(resolve().is_err_and(|error| error.to_string().contains("line 2")));
        std::fs::write(&path, "\n").expect("writable");
        assert!(resolve().is_err_and(|error| error.to_string().contains("empty")));
    }

    #[test]
    fn endpoint_does_not_contain_the_version() {
        let target = |url: &str| BenchTarget {
            url: url.into(),
            model: "tiny".into(),
            tokenizer: "/m".into(),
            deployment: None,
        };
        for url in ["http://h:1/v1", "http://h:1/v1/", "http://h:1"] {
            assert_eq!(endpoint_of(&target(url)).url, "http://h:1");
        }
    }
}
