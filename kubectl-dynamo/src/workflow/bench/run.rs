//! `bench run`: prepares AIPerf, measures one level after the other, and writes the record after each.

use super::measure::{Measuring, report_level};
use super::prepare::{BenchRunOptions, default_name, endpoint_of, new_record, resolve_workload};
use super::store::{BenchStore, RunFolder};
use super::target::{self, BenchTargetName, DirectTarget};
use super::{BenchError, BenchResult, cluster_run};
use crate::context::Context;
use crate::local::aiperf::{self, Aiperf};
use crate::local::{Folders, LocalFeature};
use crate::render::bench::plan_lines;
use crate::report::{Event, Report, Stage};
use crate::signals::ShutdownSignals;
use crate::workflow::local::environment;
use crate::workflow::local::session::report_progress;
use kubectl_dynamo_core::bench::{BenchRun, BenchStatus, BenchWorkload, ErrorBound};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::release::AIPERF_VERSION;

/// Measures every level, and returns the record of the run. What was measured is kept after every error and signal.
///
/// # Errors
/// Contradicting options, a target that does not answer, an installation of AIPerf that fails, or a full disk.
pub(crate) async fn run(options: BenchRunOptions, context: &Context) -> Result<BenchRun> {
    match options.target {
        BenchTargetName::Direct(ref target) => run_here(target, &options, context).await,
        BenchTargetName::Cluster(ref on_cluster) => cluster_run::run(&options, on_cluster, context).await,
    }
}

/// Runs AIPerf on this machine.
async fn run_here(target: &DirectTarget, options: &BenchRunOptions, context: &Context) -> Result<BenchRun> {
    let report = &context.report;
    let folders = environment::folders_for(LocalFeature::Aiperf)?;
    let store = BenchStore::new(options.output_dir.as_deref())?;
    let workload = resolve_workload(options.workload.clone(), options.trace.as_deref())?;
    if let Some(name) = &options.name {
        store.check_unused(name)?;
    }
    let key = target.key().cloned();
    let target = target::find(target, &options.model).await?;
    let mut signals = ShutdownSignals::new();
    let aiperf = tokio::select! {
        aiperf = prepare_aiperf(&folders, report) => aiperf?.with_key(key),
        () = signals.next() => {
            let name = options.name.clone().unwrap_or_default();
            let total = workload.measurements().len();
            return Err(BenchError::Interrupted { name, measured: 0, total }.into());
        }
    };
    let default_name = || store.unused_name(&default_name(&target, &workload), &[]);
    let name = options.name.clone().unwrap_or_else(default_name);
    let folder = store.create(&name)?;
    let prediction = options.prediction.clone();
    let record = BenchRun { prediction, ..new_record(name, target, &workload, options.bound) };
    folder.write(&record)?;
    report.event(&Event::Plan { lines: plan_lines(&record, &endpoint_of(&record.target)) });
    let session = Session { aiperf: &aiperf, folder: &folder, bound: options.bound, report };
    session.measure_all(record, &workload, &mut signals).await
}

async fn prepare_aiperf(folders: &Folders, report: &Report) -> Result<Aiperf> {
    let observer = |progress| report_progress(progress, report);
    let aiperf = aiperf::prepare(folders, &environment::current_executable()?, &observer).await?;
    let state = if aiperf.reused { "already installed" } else { "installed" };
    report.done(Stage::Runtime, format!("AIPerf {AIPERF_VERSION} {state}"));
    Ok(aiperf)
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
            report_level(plan, &position, &measured.measurement, self.report);
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

    fn show_output(&self, tail: &str) {
        for line in tail.lines() {
            self.report.event(&Event::Log { source: "aiperf".into(), line: line.into() });
        }
    }
}
