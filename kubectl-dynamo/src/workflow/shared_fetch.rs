//! The fetch Job that several deployments share: each one joins it, and `down` deletes it only with the last one.

use serde_json::Value;

use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, Kind};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::resources::{fetch_job_deployments, joining_patch, leaving_patch};

/// Adds a deployment to the running Job of another one. A finished Job does not need it.
pub(crate) async fn join(cluster: &Cluster, job: &Change, deployment: &str) -> Result<()> {
    let running = job.live.as_ref().filter(|live| {
        job.outcome == ApplyResult::Retained && !ObjectView::new(live).condition_is_true("Complete")
    });
    if running.is_some_and(|live| !fetch_job_deployments(live).contains(&deployment)) {
        cluster.merge_patch(Kind::Job, job.resource.name(), &joining_patch(deployment)).await?;
    }
    Ok(())
}

/// Returns the deployments that still wait for a Job after others are deleted.
pub(crate) fn remaining_deployments<'a>(job: &'a Value, deleted: &[String]) -> Vec<&'a str> {
    let mut remaining = fetch_job_deployments(job);
    remaining.retain(|name| !deleted.iter().any(|deleted| deleted == name));
    remaining
}

/// Removes deployments from a Job, or deletes it if no other deployment waits for it. Returns what was done.
pub(crate) async fn leave(cluster: &Cluster, job: &Value, leaving: &[String]) -> Result<String> {
    let name = ObjectView::new(job).name();
    let remaining = remaining_deployments(job, leaving);
    if remaining.is_empty() {
        cluster.delete(Kind::Job, name).await?;
        return Ok(format!("job/{name} deleted"));
    }
    cluster.merge_patch(Kind::Job, name, &leaving_patch(job, leaving)).await?;
    Ok(format!("job/{name} continues for deployment {}", remaining.join(", ")))
}
