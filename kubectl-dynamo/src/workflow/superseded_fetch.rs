//! The unfinished fetch Jobs of a deployment with other inputs than a new `up`. Only one fetcher writes to a folder, so
//! a new Job would wait for such a Job. It is deleted, after a prompt if it has fetched bytes.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use crate::context::Context;
use crate::report::units::bytes;
use crate::workflow::confirm::confirm;
use crate::workflow::confirm_change::Confirmation;
use crate::workflow::{fetch_log, lookup, shared_fetch};
use kubectl_dynamo_cluster::{Change, Cluster};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObjectView, ObservedObject};
use kubectl_dynamo_core::readiness::{JOB_LABEL, container_statuses, job_condition, pods_of_job};
use kubectl_dynamo_core::resources::MODEL_ANNOTATION;

/// What a fetcher has fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchedBytes {
    Nothing,
    Bytes(u64),
    /// Its log cannot be read.
    Unknown,
}

/// A fetch Job that a new request makes obsolete for its deployment.
#[derive(Debug, Clone)]
pub(crate) struct SupersededFetch {
    job: ObservedObject<Job>,
    fetched: FetchedBytes,
    /// Other deployments that wait for the Job, which therefore continues.
    remaining: Vec<String>,
}

impl SupersededFetch {
    /// Returns the name of the Job.
    pub(crate) fn name(&self) -> &str {
        self.job.name()
    }

    /// Returns the model that the Job fetches.
    pub(crate) fn model(&self) -> &str {
        self.job.annotation(MODEL_ANNOTATION).unwrap_or_default()
    }

    /// Returns what the fetcher has fetched; `None` if it is unknown.
    pub(crate) fn bytes_fetched(&self) -> Option<u64> {
        match self.fetched {
            FetchedBytes::Nothing => Some(0),
            FetchedBytes::Bytes(bytes) => Some(bytes),
            FetchedBytes::Unknown => None,
        }
    }

    /// Returns whether the Job is deleted. Otherwise it continues for other deployments.
    pub(crate) fn is_deleted(&self) -> bool {
        self.remaining.is_empty()
    }
}

impl std::fmt::Display for SupersededFetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, model) = (self.name(), self.model());
        write!(f, "job/{name} of an earlier up fetches {model} with other settings")?;
        match self.fetched {
            FetchedBytes::Nothing => f.write_str(" and has not fetched anything")?,
            FetchedBytes::Bytes(fetched) => write!(f, ", {} so far", bytes(fetched))?,
            FetchedBytes::Unknown => {}
        }
        if !self.is_deleted() {
            write!(f, "; it continues for deployment {}", self.remaining.join(", "))?;
        }
        Ok(())
    }
}

/// Finds the Jobs that the changes of a deployment make obsolete: none if its model is already fetched.
pub(crate) async fn find_for_changes(
    cluster: &Cluster,
    deployment: &str,
    changes: &[Change],
) -> Vec<SupersededFetch> {
    match changes.iter().find(|change| change.resource.kind() == "Job") {
        Some(job)
            if !job.live.as_ref().is_some_and(|live| ObjectView::new(live).condition_is_true("Complete")) =>
        {
            find(cluster, deployment, job.resource.name()).await
        }
        _ => Vec::new(),
    }
}

/// Finds the unfinished Jobs of a deployment besides `current`. Without the permission to list Jobs, none is found.
pub(crate) async fn find(cluster: &Cluster, deployment: &str, current: &str) -> Vec<SupersededFetch> {
    let jobs = lookup::fetch_jobs(cluster, deployment).await.unwrap_or_default();
    let mut superseded = Vec::new();
    for job in jobs.into_iter().filter(|job| job.name() != current && is_unfinished(job)) {
        let deployments = shared_fetch::remaining_deployments(job.document(), &[deployment.to_owned()]);
        let remaining = deployments.into_iter().map(str::to_owned).collect();
        let fetched = fetched_bytes(cluster, &job).await;
        superseded.push(SupersededFetch { job, fetched, remaining });
    }
    superseded
}

/// Returns whether a Job still runs and is not being deleted.
fn is_unfinished(job: &Job) -> bool {
    job.metadata.deletion_timestamp.is_none()
        && ["Complete", "Failed"].iter().all(|condition| job_condition(job, condition).is_none())
}

async fn fetched_bytes(cluster: &Cluster, job: &Job) -> FetchedBytes {
    let selector = format!("{JOB_LABEL}={}", job.name());
    let Ok(pods) = cluster.list_objects::<Pod>(&selector).await else { return FetchedBytes::Unknown };
    let mut fetched = FetchedBytes::Nothing;
    for pod in pods_of_job(job, &pods).into_iter().filter(|pod| has_started(pod)) {
        match fetch_log::bytes_in_folder(cluster, pod.name()).await {
            Some(0) => {}
            Some(bytes) => fetched = FetchedBytes::Bytes(bytes),
            None => return FetchedBytes::Unknown,
        }
    }
    fetched
}

/// Returns whether a container of the pod has run. A container that waits for its image has not fetched anything.
fn has_started(pod: &Pod) -> bool {
    container_statuses(pod).any(|status| {
        let has_run = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
            state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        };
        has_run(status.state.as_ref()) || has_run(status.last_state.as_ref())
    })
}

/// Reports the obsolete Jobs and asks for confirmation if one of them that is deleted may have fetched bytes. Returns
/// whether to continue.
///
/// # Errors
/// A confirmation is required, but there is no terminal.
pub(crate) fn confirm_deletion(
    superseded: &[SupersededFetch],
    confirmation: Confirmation,
    context: &Context,
) -> Result<bool> {
    superseded.iter().for_each(|one| context.report.info(one.to_string()));
    let loses_work = |one: &&SupersededFetch| one.is_deleted() && one.fetched != FetchedBytes::Nothing;
    let names: Vec<String> =
        superseded.iter().filter(loses_work).map(|one| format!("job/{}", one.name())).collect();
    if names.is_empty() || confirmation == Confirmation::AssumeYes {
        return Ok(true);
    }
    let is_confirmed = confirm(&format!("Delete {} and start the new fetch?", names.join(", ")), context)?;
    if !is_confirmed {
        context.report.info("nothing was changed");
    }
    Ok(is_confirmed)
}

/// Deletes the obsolete Jobs. A Job that other deployments wait for continues without this one.
///
/// # Errors
/// Every API error.
pub(crate) async fn delete(
    cluster: &Cluster,
    deployment: &str,
    superseded: &[SupersededFetch],
    context: &Context,
) -> Result<()> {
    for one in superseded {
        let text = shared_fetch::leave(cluster, one.job.document(), &[deployment.to_owned()]).await?;
        context.report.info(text);
    }
    Ok(())
}
