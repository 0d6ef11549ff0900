//! `bench run`: prepares AIPerf, measures one level after the other, and writes the record after each.

use std::path::{Path, PathBuf};

use super::measure::Measuring;
use super::store::{BenchStore, RunFolder, read_text};
use super::target::{self, BenchTargetName, ModelOptions};
use super::{BenchError, BenchResult};
use crate::context::Context;
use crate::local::aiperf::{self, Aiperf};
use crate::render::bench::plan_lines;
use crate::report::{Event, Report, Stage};
use crate::signals::ShutdownSignals;
use crate::workflow::local::environment;
use crate::workflow::local::session::report_progress;
use kubectl_dynamo_core::bench::{
    BenchEndpoint, BenchRun, BenchStatus, BenchTarget, BenchVerdict, BenchVersions, BenchWorkload,
    ErrorBound, LoadAnalysis, MeasurementPlan, WorkloadOptions,
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
    pub name: Option<String>,
    pub output_dir: Option<PathBuf>,
    pub bound: ErrorBound,
}

/// Measures every level, and returns the record of the run. What was measured is kept after every error and signal.
///
/// # Errors
/// Contradicting options, a target that does not answer, an installation of AIPerf that fails, or a full disk.
pub(crate) async fn run(options: BenchRunOptions, context: &Context) -> Result<BenchRun> {
    let report = &context.report;
    let store = BenchStore::new(options.output_dir.as_deref())?;
    let workload = resolve_workload(options.workload, options.trace.as_deref())?;
    if let Some(name) = &options.name {
        store.check_unused(name)?;
    }
    let target = target::find(&options.target, &options.model).await?;
    let mut signals = ShutdownSignals::new();
    let aiperf = tokio::select! {
        aiperf = prepare_aiperf(report) => aiperf?,
        () = signals.next() => {
            let name = options.name.unwrap_or_default();
            let total = workload.measurements().len();
            return Err(BenchError::Interrupted { name, measured: 0, total }.into());
        }
    };
    let name = options.name.unwrap_or_else(|| store.unused_name(&default_name(&target, &workload)));
    let folder = store.create(&name)?;
    let record = BenchRun {
        api_version: "kubectl-dynamo.dev/v1".into(),
        kind: "BenchRun".into(),
        name,
        status: BenchStatus::Running,
        started_at: jiff::Timestamp::now().to_string(),
        finished_at: None,
        target,
        versions: BenchVersions { plugin: env!("CARGO_PKG_VERSION").into(), aiperf: AIPERF_VERSION.into() },
        workload: without_secrets(&workload),
        levels: Vec::new(),
        analysis: LoadAnalysis::default(),
        verdict: BenchVerdict::default(),
    };
    folder.write(&record)?;
    report.event(&Event::Plan { lines: plan_lines(&record, &endpoint_of(&record.target)) });
    let session = Session { aiperf: &aiperf, folder: &folder, bound: options.bound, report };
    session.measure_all(record, &workload, &mut signals).await
}

/// The workload as it is stored: options for AIPerf can contain a header with a key.
fn without_secrets(workload: &BenchWorkload) -> BenchWorkload {
    let extra_arguments = workload.extra_arguments.iter().map(|word| redact(word)).collect();
    BenchWorkload { extra_arguments, ..workload.clone() }
}

/// Completes the workload; a trace is read to count its requests.
fn resolve_workload(mut options: WorkloadOptions, trace: Option<&Path>) -> Result<BenchWorkload> {
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
        options.trace = Some((absolute.display().to_string(), requests));
    }
    Ok(BenchWorkload::resolve(options)?)
}

async fn prepare_aiperf(report: &Report) -> Result<Aiperf> {
    let folders = environment::folders()?;
    let observer = |progress| report_progress(progress, report);
    let aiperf = aiperf::prepare(&folders, &environment::current_executable()?, &observer).await?;
    let state = if aiperf.reused { "already installed" } else { "installed" };
    report.done(Stage::Runtime, format!("AIPerf {AIPERF_VERSION} {state}"));
    Ok(aiperf)
}

/// The beginning of the name of a run: the deployment or `url`, and the workload.
fn default_name(target: &BenchTarget, workload: &BenchWorkload) -> String {
    let name = target.deployment.as_ref().map_or("url", |deployment| &deployment.name);
    let name: String = name.chars().take(40).collect();
    format!("{}-{}", name.trim_end_matches('-'), workload.kind.as_str())
}

/// The endpoint in AIPerf's terms: it adds `/v1` itself.
fn endpoint_of(target: &BenchTarget) -> BenchEndpoint {
    BenchEndpoint {
        url: target.url.trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        model: target.model.clone(),
        tokenizer: target.tokenizer.clone(),
    }
}

/// The measurements of one run.
struct Session<'a> {
    aiperf: &'a Aiperf,
    folder: &'a RunFolder,
    bound: ErrorBound,
    report: &'a Report,
}

impl Session<'_> {
    async fn measure_all(
        &self,
        mut record: BenchRun,
        workload: &BenchWorkload,
        signals: &mut ShutdownSignals,
    ) -> Result<BenchRun> {
        let supervisor = environment::current_executable()?;
        let measuring = Measuring {
            aiperf: self.aiperf,
            supervisor: &supervisor,
            endpoint: endpoint_of(&record.target),
            folder: &self.folder.path,
            bound: self.bound,
            report: self.report,
        };
        let plans = workload.measurements();
        for (at, plan) in plans.iter().enumerate() {
            let position = format!("{} of {}", at + 1, plans.len());
            let mut is_interrupted = false;
            let interrupt = async {
                signals.next().await;
                is_interrupted = true;
                let waits_for = "AIPerf to write what it has measured (Ctrl-C again to skip)";
                self.report.waiting(Stage::Benchmark, waits_for);
            };
            let exit = measuring.run(plan, &position, interrupt).await;
            let measured = measuring.read(plan, &exit)?;
            self.report_level(plan, &position, &measured.measurement);
            let is_measured = !measured.measurement.metrics.is_empty();
            record.add(plan.level, measured);
            self.folder.write(&record)?;
            if is_interrupted {
                self.finish(&mut record, BenchStatus::Interrupted)?;
                let (name, total) = (record.name, plans.len());
                return Err(BenchError::Interrupted { name, measured: at, total }.into());
            }
            if !is_measured {
                // The next levels would fail in the same way.
                self.show_output(&exit.tail);
                self.finish(&mut record, BenchStatus::Failed)?;
                return Ok(record);
            }
        }
        self.finish(&mut record, BenchStatus::Completed)?;
        Ok(record)
    }

    fn finish(&self, record: &mut BenchRun, status: BenchStatus) -> BenchResult<()> {
        record.status = status;
        record.finished_at = Some(jiff::Timestamp::now().to_string());
        self.folder.write(record)
    }

    fn report_level(
        &self,
        plan: &MeasurementPlan<'_>,
        position: &str,
        measurement: &kubectl_dynamo_core::bench::Measurement,
    ) {
        let rate = measurement.value("request_throughput", "avg");
        let rate = rate.map(|rate| format!(", {rate:.1}/s")).unwrap_or_default();
        let (requests, failed) = (measurement.requests, measurement.failed);
        let text = format!("level {} ({position}): {requests} requests, {failed} failed{rate}", plan.level);
        self.report.done(Stage::Benchmark, text);
    }

    fn show_output(&self, tail: &str) {
        for line in tail.lines() {
            self.report.event(&Event::Log { source: "aiperf".into(), line: line.into() });
        }
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
