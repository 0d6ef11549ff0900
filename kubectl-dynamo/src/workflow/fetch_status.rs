//! The status of a deployment that is not created yet: the state of its fetch Job and the cause of a failure.
//! It only reads.

use k8s_openapi::api::batch::v1::Job;

use crate::report::Report;
use crate::typed_command::typed;
use crate::workflow::cache_jobs::{mounted_pvcs, pod_of_job};
use crate::workflow::lookup;
use crate::workflow::object_reader::ObjectReader;
use crate::workflow::snapshot::{LogScope, gather_fetch};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Platform};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::diagnosis::{CauseLocation, RootCause, Snapshot, cause_of};
use kubectl_dynamo_core::error::Exit;
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::readiness::{job_condition, pod_problem, pods_of_job};
use kubectl_dynamo_core::resources::MODEL_ANNOTATION;

/// The state of a fetch Job.
pub(crate) struct FetchStatus {
    pub name: String,
    pub namespace: String,
    pub job: String,
    pub state: FetchJobState,
    /// The cause of a failure, if there is one.
    pub cause: Option<RootCause>,
    /// The model and revision, and the PVC that it is fetched to.
    pub model: String,
    pub pvc: String,
}

/// What a fetch Job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchJobState {
    Complete,
    Failed,
    Running,
    NotRunning,
}

impl FetchJobState {
    /// Returns the word in text and JSON output.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Running => "running",
            Self::NotRunning => "not running",
        }
    }
}

impl FetchStatus {
    /// Returns the state of the fetch Job of a deployment, or `None` if there is no Job.
    ///
    /// # Errors
    /// A failure to list Jobs, such as a missing permission.
    pub(crate) async fn find(
        name: &str,
        reader: impl Into<ObjectReader<'_>>,
    ) -> Result<Option<Self>, ClusterError> {
        let reader = reader.into();
        let snapshot = gather_fetch(reader, name, LogScope::All).await?;
        let Some(job) = snapshot.jobs.last() else { return Ok(None) };
        let (state, cause) = job_state(job, &snapshot.evidence);
        let pvc = pod_of_job(job).and_then(|pod| mounted_pvcs(pod).next());
        Ok(Some(Self {
            name: name.into(),
            namespace: reader.cluster.namespace.clone(),
            job: job.name().to_owned(),
            state,
            cause,
            model: job.annotation(MODEL_ANNOTATION).unwrap_or_default().to_owned(),
            pvc: pvc.unwrap_or_default().to_owned(),
        }))
    }

    /// Returns the unfinished fetch of a deployment that does not exist.
    ///
    /// # Errors
    /// As for [`Self::find`], and "not found" without an unfinished fetch. It then reports the model that a complete
    /// fetch left, because the deployment was deleted or its `up` interrupted.
    pub(crate) async fn find_unfinished(
        name: &str,
        cluster: &Cluster,
        platform: &Platform,
        report: &Report,
    ) -> Result<Self, ClusterError> {
        match Self::find(name, cluster).await? {
            Some(status) if status.state != FetchJobState::Complete => Ok(status),
            complete => {
                complete.iter().for_each(|status| status.report_retained_model(report));
                Err(lookup::not_found(cluster, platform, name))
            }
        }
    }

    /// Reports the model that a complete fetch left.
    pub(crate) fn report_retained_model(&self, report: &Report) {
        let Self { name, namespace, model, pvc, .. } = self;
        let serve = SuggestedCommand::plugin("up").operand(model, "MODEL").in_namespace(namespace);
        let serve = serve.flag("--name").flag(name).flag("--cache").flag(pvc);
        let serve = typed(serve);
        report.info(format!("model \"{model}\" is still on PVC \"{pvc}\"; serve it with: {serve}"));
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.cause.is_some() { Exit::Failed } else { Exit::NotReadyInTime }
    }
}

/// Returns the state of a fetch Job and the cause of a failure, from the Job and the pods in `evidence`.
pub(crate) fn job_state(job: &Job, evidence: &Snapshot) -> (FetchJobState, Option<RootCause>) {
    if job_condition(job, "Complete").is_some() {
        return (FetchJobState::Complete, None);
    }
    match (failure_cause(job, evidence), job.status.as_ref().and_then(|status| status.active)) {
        (cause @ Some(_), _) => (FetchJobState::Failed, cause),
        (None, Some(1..)) => (FetchJobState::Running, None),
        (None, _) => (FetchJobState::NotRunning, None),
    }
}

/// Returns why a Job failed, or why its pod can never start.
fn failure_cause(job: &Job, evidence: &Snapshot) -> Option<RootCause> {
    let failed = job_condition(job, "Failed");
    let newest = pods_of_job(job, &evidence.observation.pods).pop();
    let problem = newest.and_then(|pod| pod_problem(pod));
    if let Some(problem) = problem.filter(|problem| failed.is_some() || !problem.is_transient()) {
        return Some(cause_of(&problem, evidence));
    }
    let (name, namespace) = (job.name(), job.namespace());
    failed.map(|failed| RootCause {
        code: MessageCode::ModelFetchFailed,
        text: format!("fetch Job failed: {}", failed.message.as_deref().unwrap_or_default()),
        fix: Fix::default()
            .text("check its log: ")
            .command(
                SuggestedCommand::kubectl("logs")
                    .operand(&format!("job/{name}"), "job/NAME")
                    .in_namespace(namespace),
            )
            .text("; then run the same command again"),
        exit: Exit::Model,
        location: CauseLocation::Job(name.to_owned()),
    })
}
