//! Waits for a fetch Job: shows the fetcher's events as progress and returns its failure. It never creates or
//! deletes the Job.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use model_fetcher_contract::ProgressEvent;
use tokio::sync::mpsc;

use crate::report::units::bytes;
use crate::report::{Event, Report, Stage};
use crate::workflow::fetch_log;
use crate::workflow::fetch_waits::FetchWaits;
use crate::workflow::grace_period::GracePeriod;
use crate::workflow::rollout_error::RolloutError;
use crate::workflow::watched_job::{JobResult, WatchedJob, watch_job};
use crate::workflow::watched_objects::WatchedObjects;
use kubectl_dynamo_cluster::{Cluster, Kind, WatchEvent};
use kubectl_dynamo_core::diagnosis::cause_of;
use kubectl_dynamo_core::error::{Error, Result};
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::readiness::{
    DeploymentReducer, JOB_LABEL, ObjectChange, Problem, fetch_problem, pod_phase, pod_problem, pod_status,
};

/// Maximum number of fetcher events that wait to be shown.
const BACKLOG: usize = 64;

/// Waits until the Job is complete. Only the Job's own condition counts as a failure, because a failed pod
/// may be retried. A pod that cannot start fails the wait after a grace period.
pub(crate) async fn wait_for_job(cluster: &Cluster, job: &str, stage: Stage, report: &Report) -> Result<()> {
    report.waiting(stage, format!("job/{job} to start"));
    let mut events = watch_job(cluster, job);
    let mut state = JobWait::new(stage, job);
    let mut grace_period = GracePeriod::default();
    let (sender, mut receiver) = mpsc::channel(BACKLOG);
    let mut followed_pod = None;
    let mut log_task: futures::future::OptionFuture<_> = None.into();
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                let is_failure = event.change.is_err();
                state.record_event(event, cluster, job, report)?;
                // What the Job waited for before must not replace the report about the API server.
                if is_failure {
                    continue;
                }
                match state.watched().result() {
                    Some(JobResult::Complete) => {
                        report.done(stage, state.outcome(cluster, job).await);
                        return Ok(());
                    }
                    Some(JobResult::Failed { reason }) => return Err(state.failure_error(cluster, job, reason).await),
                    None => {}
                }
                let problem = state.watched().problem();
                let is_job_result =
                    |problem: &Problem| matches!(problem, Problem::Fetch { .. }) && !problem.is_revision_mismatch();
                let is_lasting = |problem: &Problem| !problem.is_transient() && !is_job_result(problem);
                grace_period.update(problem.filter(is_lasting));
                state.report_waiting(report, job);
                if let Some(pod) = state.running_pod().filter(|pod| followed_pod.as_ref() != Some(pod)) {
                    followed_pod = Some(pod.clone());
                    let (cluster, sender) = (cluster.clone(), sender.clone());
                    log_task = Some(Box::pin(async move { fetch_log::follow(&cluster, &pod, &sender).await })).into();
                }
            }
            Some(event) = receiver.recv() => state.report_fetcher_event(event, job, report),
            problem = grace_period.wait_until_expired() => return Err(cause_of(&problem, &state.watched().evidence()).into()),
            // The log ends with the container. The Job's condition then reports the result.
            Some(()) = &mut log_task => log_task = None.into(),
        }
    }
}

/// The wait for a Job: its objects, and the progress that the fetcher reports.
struct JobWait {
    /// Stage to report: a fetch, or work on an existing model.
    stage: Stage,
    /// The Job, its pods, and the events about pods that could not be created.
    objects: DeploymentReducer,
    /// Whether the last reported wait was for the API server.
    api_unavailable: bool,
    /// Number of verified files and their size in bytes.
    hashed: (usize, u64),
    waits: FetchWaits,
}

impl JobWait {
    fn new(stage: Stage, job: &str) -> Self {
        let (objects, waits) = (DeploymentReducer::for_job(job), FetchWaits::default());
        Self { stage, objects, api_unavailable: false, hashed: (0, 0), waits }
    }

    /// Records a change of the objects, or reports that a watch reconnects.
    ///
    /// # Errors
    /// A Job that was deleted or cannot be watched. Without the permission to list its pods the screen shows less.
    fn record_event(
        &mut self,
        event: WatchEvent,
        cluster: &Cluster,
        name: &str,
        report: &Report,
    ) -> Result<()> {
        let WatchEvent { kind, change } = event;
        match change {
            Ok(change) => self.objects.record_change(kind, change)?,
            Err(error) if error.is_retryable() => {
                report.waiting(self.stage, format!("the API server: {kind}: {error}"));
                self.api_unavailable = true;
            }
            Err(error) if kind == Kind::Job => return Err(error.into()),
            Err(_) => {}
        }
        match self.watched().is_deleted() {
            true => Err(job_failed(cluster, name, "it was deleted").into()),
            false => Ok(()),
        }
    }

    /// Reports an event of the fetcher.
    fn report_fetcher_event(&mut self, event: ProgressEvent, job: &str, report: &Report) {
        match event {
            ProgressEvent::Progress {
                bytes_done,
                bytes_total,
                bytes_per_second,
                eta_seconds,
                files_done,
                files_total,
                ..
            } => report.event(&Event::Transfer {
                stage: self.stage,
                done: bytes_done,
                total: bytes_total,
                bytes_per_second,
                eta_seconds,
                note: format!("{files_done}/{files_total} files  job/{job}"),
            }),
            ProgressEvent::Waiting { reason, detail, seconds } => {
                self.waits.record(reason, seconds, Instant::now());
                report.waiting(self.stage, detail);
            }
            // During a fetch the progress bar already shows this.
            ProgressEvent::FileVerified { bytes: size, .. } if self.stage == Stage::ModelCache => {
                self.hashed = (self.hashed.0 + 1, self.hashed.1 + size);
                report.waiting(
                    self.stage,
                    format!("verification ({} files, {} done)", self.hashed.0, bytes(self.hashed.1)),
                );
            }
            ProgressEvent::Warning { text } => report.warn(None, text, None),
            _ => {}
        }
    }

    fn watched(&self) -> WatchedJob<'_> {
        WatchedJob(&self.objects)
    }

    /// Returns the result line, from the fetcher's final event if it can be read.
    async fn outcome(&self, cluster: &Cluster, job: &str) -> String {
        let last_event = match self.watched().newest_pod() {
            Some(pod) => fetch_log::final_event(cluster, pod.name()).await,
            None => None,
        };
        match last_event {
            Some(ProgressEvent::Complete { files, bytes: size, bytes_fetched, seconds, .. }) => {
                let text = self.waits.outcome(size, bytes_fetched, Duration::from_secs_f64(seconds.max(0.0)));
                format!("{text}, {files} files verified  job/{job}")
            }
            _ => format!("job/{job} complete"),
        }
    }

    /// Returns why the Job failed: from the termination message of its pod, else from the fetcher's log.
    async fn failure_error(&mut self, cluster: &Cluster, job: &str, reason: String) -> Error {
        // The failure of the Job may arrive before that of its pod.
        let pods = cluster.list(Kind::Pod, &format!("{JOB_LABEL}={job}")).await;
        for pod in pods.unwrap_or_default() {
            // A pod with unexpected content does not explain the failure.
            let _ = self.objects.record_change(Kind::Pod, ObjectChange::Applied(pod));
        }
        if let Some(problem) = self.watched().pods().into_iter().rev().find_map(|pod| fetch_problem(pod)) {
            return problem.into();
        }
        if let Some(pod) = self.watched().newest_pod()
            && let Some(ProgressEvent::Failed { exit_code, error, reason, .. }) =
                fetch_log::final_event(cluster, pod.name()).await
        {
            let pod = pod.name().to_owned();
            return Problem::Fetch { pod, exit_code: exit_code.into(), message: error, reason }.into();
        }
        job_failed(cluster, job, &reason).into()
    }

    fn running_pod(&self) -> Option<String> {
        self.watched().newest_pod().filter(|pod| is_running(pod)).map(|pod| pod.name().to_owned())
    }

    fn report_waiting(&mut self, report: &Report, job: &str) {
        if let Some(waits_for) = self.waits_for(job) {
            report.waiting(self.stage, waits_for);
        }
        self.api_unavailable = false;
    }

    /// Returns what the Job waits for; `None` while the fetcher reports its own progress.
    fn waits_for(&self, job: &str) -> Option<String> {
        let Some(pod) = self.watched().newest_pod() else {
            let problem =
                self.watched().creation_problem().map(|problem| format!(": {problem}")).unwrap_or_default();
            return Some(format!("a pod of job/{job}{problem}"));
        };
        if is_running(pod) {
            return self.api_unavailable.then(|| format!("pod {} to continue", pod.name()));
        }
        Some(match (pod_problem(pod), pod_phase(pod)) {
            (Some(problem @ Problem::Fetch { .. }), _) => format!("a retry of job/{job}: {problem}"),
            (Some(problem), _) => format!("job/{job} to recover: {problem}"),
            (None, Some("Succeeded")) => format!("job/{job} to be marked as complete"),
            // An evicted pod, for example.
            (None, Some("Failed")) => {
                let message = pod.status.as_ref().and_then(|status| status.message.as_deref());
                let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                format!("a retry of job/{job}, because pod {} failed{message}", pod.name())
            }
            (None, _) => format!("pod {} to start ({})", pod.name(), pod_status(pod).status_text),
        })
    }
}

/// Returns the error of a failed or deleted Job.
fn job_failed(cluster: &Cluster, name: &str, reason: &str) -> RolloutError {
    let namespace = cluster.namespace.clone();
    RolloutError::FetchJobFailed { job: name.into(), namespace, reason: reason.into() }
}

fn is_running(pod: &Pod) -> bool {
    pod_phase(pod) == Some("Running")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_core::readiness::{ObjectChange, ObservedKind};
    use serde_json::{Value, json};

    /// Returns the wait for a Job whose pod has this status.
    fn wait(status: Value) -> JobWait {
        let owner = json!([{ "uid": "job" }]);
        let pod = json!({
            "metadata": { "name": "fetch-tiny-x", "uid": "pod", "ownerReferences": owner,
                "labels": { JOB_LABEL: "fetch-tiny" } },
            "status": status,
        });
        let job = json!({ "metadata": { "name": "fetch-tiny", "uid": "job" } });
        let mut wait = JobWait::new(Stage::ModelFetch, "fetch-tiny");
        for (kind, object) in [(ObservedKind::Job, job), (ObservedKind::Pod, pod)] {
            wait.objects.apply(kind, ObjectChange::Listed(vec![object])).expect("an object of its kind");
        }
        wait
    }

    #[test]
    fn a_pod_that_ended_is_not_waited_for_to_start() {
        let waits_for = |status: Value| wait(status).waits_for("fetch-tiny");
        for (status, expected) in [
            (json!({ "phase": "Succeeded" }), "job/fetch-tiny to be marked as complete"),
            (
                json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." }),
                "a retry of job/fetch-tiny, because pod fetch-tiny-x failed: The node was low on resource: memory.",
            ),
            (json!({ "phase": "Failed" }), "a retry of job/fetch-tiny, because pod fetch-tiny-x failed"),
            (json!({ "phase": "Pending" }), "pod fetch-tiny-x to start (Pending)"),
        ] {
            assert_eq!(waits_for(status.clone()).as_deref(), Some(expected), "{status}");
        }
        assert_eq!(waits_for(json!({ "phase": "Running" })), None);
    }
}
