//! Follows the Job of a benchmark: shows its progress, and decides when it has ended. It can start at any time, also
//! after the Job has ended.

use futures::StreamExt;
use tokio::sync::mpsc;

use super::BenchError;
use super::follower::{Follower, RunOrigin};
use super::pod_log::{LogEvent, forward_log};
use crate::report::Stage;
use crate::signals::ShutdownSignals;
use crate::workflow::grace_period::GracePeriod;
use crate::workflow::watched_job::{WatchedJob, watch_job};
use crate::workflow::watched_objects::WatchedObjects;
use kubectl_dynamo_cluster::{Kind, WatchEvent};
use kubectl_dynamo_core::bench::BenchRun;
use kubectl_dynamo_core::code::MessageCategory;
use kubectl_dynamo_core::diagnosis::cause_of;
use kubectl_dynamo_core::error::{Explain, Result};
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::readiness::{DeploymentReducer, ObservedKind, Problem, pod_phase, pod_status};
use kubectl_dynamo_core::resources::bench_object_name;

/// Lines of the log that wait to be read.
const BACKLOG: usize = 256;

/// Follows the Job until its results are stored.
///
/// # Errors
/// A Job that cannot start or fails, a full disk, and every API error that does not pass. After a signal, the Job
/// continues.
pub(super) async fn follow(follower: Follower<'_>) -> Result<BenchRun> {
    let (name, namespace) = (follower.name().to_owned(), follower.runs.namespace().to_owned());
    let mut signals = ShutdownSignals::new();
    tokio::select! {
        biased;
        () = signals.next() => Err(BenchError::Detached { name, namespace }.into()),
        result = Box::pin(follow_job(follower)) => result,
    }
}

async fn follow_job(mut follower: Follower<'_>) -> Result<BenchRun> {
    let cluster = follower.runs.cluster.clone();
    let job = bench_object_name(follower.name());
    let mut objects = DeploymentReducer::for_job(&job);
    let mut events = watch_job(&cluster, &job);
    let mut grace_period = GracePeriod::default();
    let (sender, mut lines) = mpsc::channel(BACKLOG);
    let mut log_task: futures::future::OptionFuture<_> = None.into();
    let (mut is_job_known, mut is_log_open, mut has_log_ended) = (false, false, false);
    follower.report.waiting(Stage::Benchmark, format!("job/{job} to start"));
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                record_event(&mut objects, event, &follower)?;
                let watched = WatchedJob(&objects);
                if watched.is_deleted() {
                    return follower.end_without_job().await;
                }
                if !std::mem::replace(&mut is_job_known, watched.job().is_some()) {
                    follower.was_over = watched.result().is_some();
                }
                grace_period.update(watched.problem().filter(|problem| !is_log_open && !problem.is_transient()));
                let pod = watched.newest_pod();
                if let Some(pod) = pod.filter(|pod| !is_log_open && pod_phase(pod) != Some("Pending")) {
                    is_log_open = true;
                    let (cluster, pod, sender) = (cluster.clone(), pod.name().to_owned(), sender.clone());
                    log_task = Some(Box::pin(async move { forward_log(&cluster, &pod, &sender).await })).into();
                } else if let Some(pod) = pod.filter(|_| !is_log_open) {
                    let status = pod_status(pod).status_text;
                    follower.report.waiting(Stage::Benchmark, format!("pod {} to start ({status})", pod.name()));
                }
                // A Job whose pod did not start, for example before its deadline, does not have a log.
                let has_no_log = !is_log_open && objects.is_settled(ObservedKind::Pod);
                if let Some(result) = watched.result().filter(|_| has_log_ended || has_no_log) {
                    return follower.conclude(result).await;
                }
            }
            Some(line) = lines.recv() => match line {
                LogEvent::Start => follower.output.clear(),
                LogEvent::Line(line) => follower.read_line(&line).await?,
                LogEvent::End => {
                    has_log_ended = true;
                    if let Some(result) = WatchedJob(&objects).result() {
                        return follower.conclude(result).await;
                    }
                }
            },
            Some(result) = &mut log_task => {
                log_task = None.into();
                result?;
            }
            problem = grace_period.wait_until_expired() => {
                let error = cannot_start(&problem, WatchedJob(&objects), &follower);
                if follower.origin == RunOrigin::ThisCommand {
                    follower.discard().await?;
                }
                return Err(error.into());
            }
        }
    }
}

/// The error for a pod that does not start. A problem with the image names it.
fn cannot_start(problem: &Problem, job: WatchedJob<'_>, follower: &Follower<'_>) -> BenchError {
    let cause = cause_of(problem, &job.evidence());
    let is_about_image = cause.code().is_some_and(|code| code.category() == MessageCategory::Image);
    let containers = job.newest_pod().and_then(|pod| Some(&pod.spec.as_ref()?.containers));
    let image = containers.and_then(|all| all.first()?.image.as_deref()).filter(|_| is_about_image);
    BenchError::JobCannotStart {
        name: follower.name().to_owned(),
        namespace: follower.runs.namespace().to_owned(),
        deployment: follower.record.target.name().to_owned(),
        cause: image.map_or_else(|| cause.to_string(), |image| format!("image \"{image}\": {cause}")),
    }
}

/// Records a change of the Job's objects. Only the Job is required: without its pods, the log would be missing.
fn record_event(objects: &mut DeploymentReducer, event: WatchEvent, follower: &Follower<'_>) -> Result<()> {
    let WatchEvent { kind, change } = event;
    match change {
        Ok(change) => objects.record_change(kind, change)?,
        Err(error) if error.is_retryable() => {
            follower.report.waiting(Stage::Benchmark, format!("the API server: {kind}: {error}"));
        }
        Err(error) if matches!(kind, Kind::Job | Kind::Pod) => return Err(error.into()),
        Err(_) => {}
    }
    Ok(())
}
