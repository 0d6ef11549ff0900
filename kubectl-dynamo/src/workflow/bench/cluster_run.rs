//! `bench run NAME`: starts a Job that measures all levels, and follows it. After the start, everything that is needed
//! to continue is in the cluster.

use std::path::Path;

use super::cluster_target::{self, ClusterTarget};
use super::follow::follow;
use super::follower::Follower;
use super::prepare::{BenchRunOptions, default_name, endpoint_of, new_record, resolve_workload};
use super::store::BenchStore;
use super::target::{ClusterRunOptions, JobWaiting};
use super::{BenchError, ClusterRuns};
use crate::context::Context;
use crate::render::bench::plan_lines;
use crate::report::{Event, Stage};
use crate::workflow::resolve::images::apply_mirror;
use kubectl_dynamo_core::bench::{BenchRun, BenchWorkload, LoadLevel, MeasurementPlan, aiperf_arguments};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::release::AIPERF_IMAGE;
use kubectl_dynamo_core::resources::{
    BENCH_NAME_LIMIT, BENCH_TRACE_PATH, BenchJob, BenchJobMeasurement, bench_results_folder, bench_workers,
};

/// Starts the Job, and follows it unless it is detached. The record of a detached run is returned as it was started.
///
/// # Errors
/// Contradicting options, a deployment that does not serve, a used name, every API error, and those of [`follow`].
pub(super) async fn run(
    options: &BenchRunOptions,
    cluster_options: &ClusterRunOptions,
    context: &Context,
) -> Result<BenchRun> {
    let mut workload = resolve_workload(options.workload.clone(), options.trace.as_deref())?;
    let trace = read_trace(&mut workload)?;
    if let Some(name) = options.name.as_deref().filter(|name| name.len() > BENCH_NAME_LIMIT) {
        return Err(BenchError::NameTooLong { name: name.into() }.into());
    }
    let store = BenchStore::new(options.output_dir.as_deref())?;
    let found = cluster_target::find(&cluster_options.deployment, &options.model, context).await?;
    let name = match &options.name {
        Some(name) => {
            store.check_unused(name)?;
            name.clone()
        }
        None => unused_name(&default_name(&found.target, &workload), &store, &found.runs).await?,
    };
    let prediction = options.prediction.clone();
    let record = BenchRun { prediction, ..new_record(name, found.target.clone(), &workload, options.bound) };
    let job = job(&record, &workload, &found, cluster_options).render();
    found.runs.create(&record, trace.as_deref()).await?;
    // Before the Job, so that a full disk is reported while nothing is measured.
    let started = match Follower::new(record.clone(), found.runs.clone(), &store, &context.report) {
        Ok(follower) => found.runs.create_job(&record.name, &job).await.map(|()| follower),
        Err(error) => Err(error),
    };
    let follower = match started {
        Ok(follower) => follower.started_here(),
        Err(error) => {
            // A record without a Job would block the name. The first error is the one to report.
            let _ = found.runs.delete_record(&record).await;
            let _ = store.remove(&record.name);
            return Err(error);
        }
    };
    context.report.event(&Event::Plan { lines: plan_lines(&record, &endpoint_of(&record.target)) });
    context.report.done(Stage::Apply, format!("job/{} created", job.name()));
    if cluster_options.waiting == JobWaiting::Detach {
        return Ok(record);
    }
    follow(follower).await
}

/// The content of a trace, which the pod reads from another path.
fn read_trace(workload: &mut BenchWorkload) -> Result<Option<Vec<u8>>> {
    let Some(path) = workload.trace.as_deref().map(Path::new) else { return Ok(None) };
    let content = std::fs::read(path).map_err(BenchError::file("read", path))?;
    workload.trace = Some(BENCH_TRACE_PATH.into());
    Ok(Some(content))
}

/// The first name that neither this machine nor the namespace uses.
async fn unused_name(beginning: &str, store: &BenchStore, runs: &ClusterRuns) -> Result<String> {
    let used: Vec<String> = runs.list().await?.into_iter().map(|run| run.name).collect();
    Ok(store.unused_name(beginning, &used))
}

fn job<'a>(
    record: &'a BenchRun,
    workload: &BenchWorkload,
    found: &'a ClusterTarget,
    options: &'a ClusterRunOptions,
) -> BenchJob<'a> {
    let started = record.started_at.parse().map_or(0, jiff::Timestamp::as_second);
    let results = bench_results_folder(&record.name, started, options.results_pvc.as_deref());
    let workers = bench_workers(highest_concurrency(workload));
    let endpoint = endpoint_of(&record.target);
    let measurement = |plan: &MeasurementPlan<'_>| {
        let folder = format!("{results}/{}", plan.folder());
        let mut arguments = aiperf_arguments(plan, &endpoint, &folder);
        arguments.extend(["--workers-max".to_owned(), workers.to_string()]);
        BenchJobMeasurement { folder, arguments }
    };
    BenchJob {
        run: &record.name,
        namespace: found.runs.namespace(),
        deployment: record.target.name(),
        image: image(options),
        placement: &found.placement,
        model_pvc: &found.model_pvc,
        model_pvc_nodes: found.model_pvc_nodes,
        tokenizer: &record.target.tokenizer,
        results_pvc: options.results_pvc.as_deref(),
        has_trace: workload.trace.is_some(),
        workers,
        millicpu: options.millicpu,
        deadline_seconds: options.deadline.as_secs(),
        measurements: workload.measurements().iter().map(measurement).collect(),
    }
}

fn image(options: &ClusterRunOptions) -> String {
    match (&options.image, &options.registry_mirror) {
        (Some(image), _) => image.clone(),
        (None, Some(mirror)) => apply_mirror(AIPERF_IMAGE, mirror),
        (None, None) => AIPERF_IMAGE.to_owned(),
    }
}

/// The most requests in flight. A rate without a bound counts as the requests of one second.
fn highest_concurrency(workload: &BenchWorkload) -> u32 {
    let concurrency = |level: &LoadLevel| match level {
        LoadLevel::Concurrency(level) => *level,
        LoadLevel::RequestRate(rate) => rate.ceil() as u32,
        LoadLevel::Trace => 1,
    };
    workload.levels.iter().map(concurrency).max().unwrap_or(1)
}
