//! A Job that a command waits for: its watch, and a view of the watched objects that answers how far the Job is and why
//! it does not continue. It must not create or delete the Job.

use futures::Stream;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use kubectl_dynamo_cluster::{Cluster, Kind, WatchEvent, WatchTarget};
use kubectl_dynamo_core::diagnosis::Snapshot;
use kubectl_dynamo_core::object::{ObservedObject, event_time};
use kubectl_dynamo_core::readiness::{
    DeploymentReducer, JOB_LABEL, Observation, ObservedKind, Problem, job_condition, job_problem,
    pod_problem, pods_of_job,
};

/// Watches a Job, its pods, and the events about pods that could not be created.
pub(crate) fn watch_job(cluster: &Cluster, job: &str) -> impl Stream<Item = WatchEvent> + Unpin + use<> {
    cluster.watch(&[
        WatchTarget::by_name(Kind::Job, job),
        WatchTarget::by_labels(Kind::Pod, format!("{JOB_LABEL}={job}")),
        WatchTarget {
            fields: format!("involvedObject.kind=Job,involvedObject.name={job}"),
            ..WatchTarget::by_labels(Kind::Event, "")
        },
    ])
}

/// The result of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobResult {
    Complete,
    Failed { reason: String },
}

/// A view of a reducer of a Job's watch.
#[derive(Clone, Copy)]
pub(crate) struct WatchedJob<'a>(pub(crate) &'a DeploymentReducer);

impl<'a> WatchedJob<'a> {
    /// The Job; `None` if it was deleted, or if the watch has not reported it yet.
    pub(crate) fn job(self) -> Option<&'a ObservedObject<Job>> {
        self.0.jobs().first()
    }

    /// Whether the watch has reported that the Job does not exist.
    pub(crate) fn is_deleted(self) -> bool {
        self.0.is_listed(ObservedKind::Job) && self.job().is_none()
    }

    /// The result; `None` while the Job runs.
    pub(crate) fn result(self) -> Option<JobResult> {
        let job = self.job()?;
        if let Some(failed) = job_condition(job, "Failed") {
            let reason = failed.message.clone().unwrap_or_else(|| "no reason given".into());
            return Some(JobResult::Failed { reason });
        }
        job_condition(job, "Complete").map(|_| JobResult::Complete)
    }

    /// The pods of the Job, oldest first.
    pub(crate) fn pods(self) -> Vec<&'a ObservedObject<Pod>> {
        self.job().map(|job| pods_of_job(job, &self.0.observation().pods)).unwrap_or_default()
    }

    pub(crate) fn newest_pod(self) -> Option<&'a ObservedObject<Pod>> {
        self.pods().pop()
    }

    /// Why the newest pod does not run, or why there is none.
    pub(crate) fn problem(self) -> Option<Problem> {
        self.newest_pod().map_or_else(|| self.creation_problem(), |pod| pod_problem(pod))
    }

    /// Why the Job does not have a pod, from the newest event.
    pub(crate) fn creation_problem(self) -> Option<Problem> {
        let job = self.job()?;
        let failures = self.0.events().iter().filter(|event| job_problem(job, event).is_some());
        job_problem(job, failures.max_by_key(|event| event_time(event))?)
    }

    /// The Job and its pods, to which the commands of a fix refer.
    pub(crate) fn evidence(self) -> Snapshot {
        let pods = self.pods().into_iter().cloned().collect();
        let observation = Observation { pods, ..Observation::default() };
        Snapshot { observation, job: self.job().cloned(), ..Snapshot::default() }
    }
}
