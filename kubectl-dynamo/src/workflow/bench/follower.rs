//! What is stored while the Job of a benchmark is followed: the files and the result of each measurement, and the end of
//! the run.

use std::collections::VecDeque;

use super::job_log::{DriverFailure, JobLog, LogUpdate, MeasuredFiles};
use super::measure::{EndedMeasurement, RequestRate, read_measurement, report_level, report_load};
use super::prepare::endpoint_of;
use super::store::{BenchStore, OUTPUT, RunFolder};
use super::{BenchError, ClusterRuns};
use crate::local::aiperf::AiperfExit;
use crate::report::{Event, Report};
use crate::workflow::watched_job::JobResult;
use kubectl_dynamo_cluster::Kind;
use kubectl_dynamo_core::bench::{
    BenchFinding, BenchRun, BenchStatus, BenchWorkload, ErrorBound, LevelResult, MeasurementPlan,
    aiperf_arguments, judge_change,
};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::ObjectView;

/// The last lines of AIPerf that are stored, and that are shown if it did not measure.
const STORED_LINES: usize = 5000;
const SHOWN_LINES: usize = 20;

/// Which command started a run. Only that one removes it if it cannot start: for another one, a node may be added later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunOrigin {
    ThisCommand,
    AnotherCommand,
}

/// A run that is followed.
pub(super) struct Follower<'a> {
    pub(super) origin: RunOrigin,
    pub(super) record: BenchRun,
    workload: BenchWorkload,
    pub(super) runs: ClusterRuns,
    folder: RunFolder,
    pub(super) report: &'a Report,
    log: JobLog,
    /// The measurement that runs, and its rate.
    current: Option<(usize, RequestRate)>,
    /// The last lines of AIPerf.
    pub(super) output: VecDeque<String>,
    failure: Option<DriverFailure>,
    is_finished: bool,
    /// Whether the Job had ended before it was followed.
    pub(super) was_over: bool,
}

impl<'a> Follower<'a> {
    /// Opens the folder of the run on this machine.
    ///
    /// # Errors
    /// Another run has this name here, another process follows the run, or the folder cannot be written.
    pub(super) fn new(
        record: BenchRun,
        runs: ClusterRuns,
        store: &BenchStore,
        report: &'a Report,
    ) -> Result<Self> {
        if store.read(&record.name).is_ok_and(|known| !known.is_same_run(&record)) {
            return Err(BenchError::RunExists { name: record.name }.into());
        }
        let folder = store.open_or_create(&record.name)?;
        folder.write(&record)?;
        Ok(Self {
            origin: RunOrigin::AnotherCommand,
            workload: record.workload.clone(),
            record,
            runs,
            folder,
            report,
            log: JobLog::default(),
            current: None,
            output: VecDeque::new(),
            failure: None,
            is_finished: false,
            was_over: false,
        })
    }

    /// The command that created the Job.
    pub(super) fn started_here(self) -> Self {
        Self { origin: RunOrigin::ThisCommand, ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.record.name
    }

    /// Reads a line of the log.
    pub(super) async fn read_line(&mut self, line: &str) -> Result<()> {
        match self.log.read(line) {
            Some(LogUpdate::Started { measurement }) => {
                self.current = Some((measurement, RequestRate::default()));
                self.report_progress(measurement, 0);
            }
            Some(LogUpdate::Progress { measurement, requests }) => {
                self.report_progress(measurement, requests)
            }
            Some(LogUpdate::Measured(files)) => self.store(files).await?,
            Some(LogUpdate::Failed(failure)) => self.failure = Some(failure),
            Some(LogUpdate::Finished) => self.is_finished = true,
            Some(LogUpdate::Output(line)) => {
                if self.output.len() == STORED_LINES {
                    self.output.pop_front();
                }
                self.output.push_back(line);
            }
            None => {}
        }
        Ok(())
    }

    fn report_progress(&mut self, measurement: usize, requests: u64) {
        let plans = self.workload.measurements();
        let Some(plan) = plans.get(measurement) else { return };
        let rate = match &mut self.current {
            Some((current, rate)) if *current == measurement => rate,
            current => &mut current.insert((measurement, RequestRate::default())).1,
        };
        let progress = rate.progress(requests, plan.warm_up());
        let level = format!("{} ({})", plan.level, position(measurement, plans.len()));
        report_load(&level, plan.requests(), progress, self.report);
    }

    /// Writes the files of a measurement, and adds its result to the record here and in the cluster.
    async fn store(&mut self, measured: MeasuredFiles) -> Result<()> {
        let workload = self.workload.clone();
        let plans = workload.measurements();
        let Some(plan) = plans.get(measured.measurement) else { return Ok(()) };
        let folder = self.folder.path.join(plan.folder());
        std::fs::create_dir_all(&folder).map_err(BenchError::file("create", &folder))?;
        for (name, content) in measured.files.iter().filter(|(name, _)| is_file_name(name)) {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(BenchError::file("write", &path))?;
        }
        // Every follower reads the log from its beginning.
        let is_stored =
            |one: &LevelResult| one.load == plan.level && one.runs.iter().any(|run| run.run == plan.run);
        if self.record.levels.iter().any(is_stored) {
            return Ok(());
        }
        let exit = AiperfExit {
            status: format!("exit code {}", measured.exit_code),
            has_succeeded: measured.exit_code == 0,
            tail: String::new(),
        };
        let arguments = aiperf_arguments(plan, &endpoint_of(&self.record.target), &plan.folder());
        let bound = ErrorBound(self.record.max_error_share);
        let ended = EndedMeasurement { plan, exit: &exit, arguments: &arguments, bound };
        let mut level = read_measurement(&self.folder.path, &ended)?;
        if !measured.lost.is_empty() {
            level.verdict.add(lost_finding(plan, &measured.lost));
        }
        // The image can contain another version of AIPerf than this plugin expects.
        let version = &level.measurement.aiperf_version;
        if !version.is_empty() {
            self.record.versions.aiperf.clone_from(version);
        }
        report_level(plan, &position(measured.measurement, plans.len()), &level.measurement, self.report);
        self.record.add(plan.level, level);
        self.folder.write(&self.record)?;
        self.runs.update(&self.record).await
    }

    /// Stores the end of the run, and deletes the Job, whose log is not needed any more.
    async fn finish(&mut self, status: BenchStatus) -> Result<()> {
        self.record.status = status;
        self.record.finished_at = Some(jiff::Timestamp::now().to_string());
        if let Some(finding) = self.changed_deployment().await {
            self.record.verdict.add(finding);
        }
        let mut output = self.output.make_contiguous().join("\n");
        output.push('\n');
        let path = self.folder.path.join(OUTPUT);
        std::fs::write(&path, output).map_err(BenchError::file("write", &path))?;
        self.folder.write(&self.record)?;
        self.runs.update(&self.record).await?;
        self.runs.delete_job(&self.record).await
    }

    /// Returns a finding if the spec of the deployment is not the one that the run started with.
    async fn changed_deployment(&self) -> Option<BenchFinding> {
        let deployment = self.record.target.deployment.as_ref()?;
        let cluster = &self.runs.cluster;
        let api = cluster.platform().await.ok()?.graph_api;
        let graph = cluster.get(Kind::Graph(api), &deployment.name).await.ok()?;
        let generation = graph.as_ref().and_then(|graph| ObjectView::new(graph).generation());
        let finding = judge_change(deployment, generation)?;
        // It is not known whether the change came before the end of the run.
        Some(BenchFinding { is_failure: !self.was_over, ..finding })
    }

    /// Removes the Job, the record, and the folder of a run of which no result was stored.
    pub(super) async fn discard(self) -> Result<()> {
        self.runs.delete(&self.record).await?;
        let path = self.folder.path.clone();
        drop(self.folder);
        Ok(std::fs::remove_dir_all(&path).map_err(BenchError::file("remove", &path))?)
    }

    /// Ends after the Job was deleted: by a follower that has stored the results, or by a user. Nothing is removed.
    pub(super) async fn end_without_job(mut self) -> Result<BenchRun> {
        let live = self.runs.find(self.name()).await?.filter(|live| live.is_same_run(&self.record));
        if let Some(live) = live.filter(|live| live.status != BenchStatus::Interrupted) {
            self.folder.write(&live)?;
            return Ok(live);
        }
        self.record.status = BenchStatus::Interrupted;
        self.folder.write(&self.record)?;
        self.runs.update(&self.record).await?;
        Err(self.job_failed("it was deleted".into()).into())
    }

    fn job_failed(&self, reason: String) -> BenchError {
        BenchError::JobFailed {
            name: self.record.name.clone(),
            namespace: self.runs.namespace().to_owned(),
            reason,
            measured: self.record.measured(),
            total: self.workload.measurements().len(),
        }
    }

    /// Decides the result after the end of the log.
    pub(super) async fn conclude(mut self, result: JobResult) -> Result<BenchRun> {
        let total = self.workload.measurements().len();
        let measured = self.record.measured();
        let start_error = match self.failure {
            Some(DriverFailure::AiperfNotFound) => {
                Some(BenchError::AiperfNotInImage { name: self.record.name.clone() })
            }
            Some(DriverFailure::TokenizerNotFound) => {
                Some(BenchError::TokenizerNotOnPvc { path: self.record.target.tokenizer.clone() })
            }
            Some(DriverFailure::DeadlineExceeded) | None => None,
        };
        if let Some(error) = start_error {
            self.discard().await?;
            return Err(error.into());
        }
        let last = self.record.levels.last().and_then(|level| level.runs.last());
        let has_no_numbers = last.is_some_and(|run| run.measurement.metrics.is_empty());
        match result {
            _ if self.is_finished && measured == total => self.finish(BenchStatus::Completed).await?,
            // AIPerf failed, and the findings say how.
            _ if has_no_numbers => {
                self.show_output();
                self.finish(BenchStatus::Failed).await?;
            }
            JobResult::Failed { .. } if self.failure == Some(DriverFailure::DeadlineExceeded) => {
                return self.fail("its deadline is over".into()).await;
            }
            JobResult::Failed { reason } => return self.fail(reason).await,
            // The Job and its log remain: another attempt can find more.
            JobResult::Complete => {
                let (name, namespace) = (self.record.name.clone(), self.runs.namespace().to_owned());
                return Err(BenchError::LogIncomplete { name, namespace, measured, total }.into());
            }
        }
        Ok(self.record)
    }

    async fn fail(mut self, reason: String) -> Result<BenchRun> {
        self.show_output();
        let error = self.job_failed(reason);
        match self.record.measured() {
            0 => self.discard().await?,
            _ => self.finish(BenchStatus::Interrupted).await?,
        }
        Err(error.into())
    }

    fn show_output(&self) {
        for line in self.output.iter().skip(self.output.len().saturating_sub(SHOWN_LINES)) {
            self.report.event(&Event::Log { source: "aiperf".into(), line: line.clone() });
        }
    }
}

/// Such as `2 of 7`.
fn position(measurement: usize, total: usize) -> String {
    format!("{} of {total}", measurement + 1)
}

/// Whether a name from the log stays in the folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn lost_finding(plan: &MeasurementPlan<'_>, lost: &[String]) -> BenchFinding {
    BenchFinding {
        code: MessageCode::BenchResultsIncomplete.to_string(),
        message: format!(
            "level {}, run {}: the log of the pod does not contain all of {}",
            plan.level,
            plan.run,
            lost.join(", ")
        ),
        is_failure: true,
    }
}

#[cfg(test)]
mod tests;
