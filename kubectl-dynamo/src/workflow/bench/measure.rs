//! One start of AIPerf: runs it, reports how many requests are done meanwhile, and reads its files.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use super::BenchResult;
use super::store::{read_json, read_text};
use crate::local::aiperf::{Aiperf, AiperfExit};
use crate::report::{Event, Report, Stage};
use kubectl_dynamo_core::bench::{
    BenchEndpoint, ErrorBound, LevelRun, Measurement, MeasurementPlan, RunEvidence, aiperf_arguments, judge,
};
use kubectl_dynamo_core::diagnosis::redact;

/// AIPerf's files.
const SUMMARY: &str = "profile_export_aiperf.json";
const REQUESTS: &str = "profile_export.jsonl";

/// How often the finished requests are counted.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What all measurements of a run share.
pub(super) struct Measuring<'a> {
    pub(super) aiperf: &'a Aiperf,
    /// Path of this program.
    pub(super) supervisor: &'a Path,
    pub(super) endpoint: BenchEndpoint,
    /// The folder of the run.
    pub(super) folder: &'a Path,
    pub(super) bound: ErrorBound,
    pub(super) report: &'a Report,
}

impl Measuring<'_> {
    /// The command line of AIPerf for a measurement.
    fn arguments(&self, plan: &MeasurementPlan<'_>) -> Vec<String> {
        let folder = self.folder.join(plan.folder());
        aiperf_arguments(plan, &self.endpoint, &folder.display().to_string())
    }

    /// Runs AIPerf until it exits. When `interrupt` completes, it writes what it has measured and exits. `position` is
    /// such as `2 of 7`.
    pub(super) async fn run(
        &self,
        plan: &MeasurementPlan<'_>,
        position: &str,
        interrupt: impl Future<Output = ()>,
    ) -> AiperfExit {
        let arguments = self.arguments(plan);
        let level = format!("{} ({position})", plan.level);
        tokio::select! {
            exit = self.aiperf.run(self.supervisor, &arguments, interrupt) => exit,
            never = self.report_progress(plan, &level) => match never {},
        }
    }

    async fn report_progress(&self, plan: &MeasurementPlan<'_>, level: &str) -> std::convert::Infallible {
        let path = self.folder.join(plan.folder()).join(REQUESTS);
        let mut requests = RequestCounter::new(&path);
        loop {
            report_load(level, plan.requests(), requests.count(plan.warm_up()), self.report);
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads AIPerf's files and judges the measurement.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(&self, plan: &MeasurementPlan<'_>, exit: &AiperfExit) -> BenchResult<LevelRun> {
        let arguments = self.arguments(plan);
        read_measurement(
            self.folder,
            &EndedMeasurement { plan, exit, arguments: &arguments, bound: self.bound },
        )
    }
}

/// A measurement whose files are in the folder of the run.
pub(super) struct EndedMeasurement<'a> {
    pub(super) plan: &'a MeasurementPlan<'a>,
    pub(super) exit: &'a AiperfExit,
    /// The arguments of AIPerf.
    pub(super) arguments: &'a [String],
    pub(super) bound: ErrorBound,
}

/// Reads AIPerf's files of a measurement in the folder of a run, and judges the measurement.
///
/// # Errors
/// A file cannot be read.
pub(super) fn read_measurement(run_folder: &Path, ended: &EndedMeasurement<'_>) -> BenchResult<LevelRun> {
    let EndedMeasurement { plan, exit, arguments, bound } = *ended;
    let folder = run_folder.join(plan.folder());
    let summary = read_json(&folder.join(SUMMARY))?;
    let requests = read_text(&folder.join(REQUESTS))?.unwrap_or_default();
    let measurement = Measurement::read(summary.as_ref(), &requests, plan.workload.pinned_output());
    let verdict = judge(&RunEvidence {
        plan,
        has_succeeded: exit.has_succeeded,
        exit_status: &exit.status,
        measurement: &measurement,
        bound,
    });
    let mut command = vec!["aiperf".to_owned()];
    command.extend(arguments.iter().map(|word| redact(word)));
    Ok(LevelRun {
        run: plan.run,
        seed: plan.seed,
        folder: plan.folder(),
        command,
        exit_status: exit.status.clone(),
        measurement,
        verdict,
    })
}

/// Reports the result of a measurement in one line. `position` is such as `2 of 7`.
pub(super) fn report_level(
    plan: &MeasurementPlan<'_>,
    position: &str,
    measurement: &Measurement,
    report: &Report,
) {
    let rate = measurement.value("request_throughput", "avg");
    let rate = rate.map(|rate| format!(", {rate:.1}/s")).unwrap_or_default();
    let (requests, failed) = (measurement.requests, measurement.failed);
    let text = format!("level {} ({position}): {requests} requests, {failed} failed{rate}", plan.level);
    report.done(Stage::Benchmark, text);
}

/// Reports how far a measurement is. `level` is such as `8 (2 of 7)`.
pub(super) fn report_load(level: &str, total: Option<u64>, progress: RequestProgress, report: &Report) {
    let RequestProgress { done, per_second } = progress;
    let remaining = total.map(|total| total.saturating_sub(done));
    let eta_seconds =
        remaining.filter(|_| per_second > 0.0).map(|remaining| (remaining as f64 / per_second).ceil() as u64);
    report.event(&Event::Load {
        stage: Stage::Benchmark,
        level: level.to_owned(),
        done,
        total,
        requests_per_second: per_second,
        eta_seconds,
    });
}

/// The requests of a measurement that are finished, without those of the warm-up, and how many finish per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct RequestProgress {
    pub(super) done: u64,
    pub(super) per_second: f64,
}

/// Derives the rate from a number of finished requests that grows.
#[derive(Default)]
pub(super) struct RequestRate {
    /// When the first requests were seen, and how many these were.
    first: Option<(Instant, u64)>,
}

impl RequestRate {
    /// `lines` includes the requests of the warm-up.
    pub(super) fn progress(&mut self, lines: u64, warm_up: u64) -> RequestProgress {
        let done = lines.saturating_sub(warm_up);
        if done == 0 {
            return RequestProgress::default();
        }
        let (started, before) = *self.first.get_or_insert_with(|| (Instant::now(), done));
        let added = done.saturating_sub(before);
        // The first requests do not show a rate.
        let per_second = if added > 0 { added as f64 / started.elapsed().as_secs_f64() } else { 0.0 };
        RequestProgress { done, per_second }
    }
}

/// Counts the lines of a file that grows.
struct RequestCounter<'a> {
    path: &'a Path,
    position: u64,
    lines: u64,
    rate: RequestRate,
}

impl<'a> RequestCounter<'a> {
    fn new(path: &'a Path) -> Self {
        Self { path, position: 0, lines: 0, rate: RequestRate::default() }
    }

    fn count(&mut self, warm_up: u64) -> RequestProgress {
        // The file does not exist until the first request is finished, and a missing number is not an error.
        let _ = self.read();
        self.rate.progress(self.lines, warm_up)
    }

    fn read(&mut self) -> std::io::Result<()> {
        let mut file = std::fs::File::open(self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut buffer = Vec::new();
        self.position += file.read_to_end(&mut buffer)? as u64;
        self.lines += buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn requests_of_the_warm_up_are_not_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(REQUESTS);
        let mut counter = RequestCounter::new(&path);
        assert_eq!(counter.count(1).done, 0, "the file does not exist yet");
        let mut file = std::fs::File::create(&path).expect("writable");
        file.write_all(b"{}\n{}\n{").expect("writable");
        assert_eq!(counter.count(1).done, 1);
        file.write_all(b"}\n").expect("writable");
        assert_eq!(counter.count(1).done, 2);
    }
}
