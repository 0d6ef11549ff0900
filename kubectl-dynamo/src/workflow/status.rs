//! Collects everything that the status screen of a deployment shows. It only reads, and it works without
//! optional permissions.

use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use model_fetcher_contract::ProgressEvent;
use serde_json::Value;
use tokio::time::timeout;

use crate::smoke_test;
use crate::workflow::object_reader::ObjectReader;
use crate::workflow::snapshot::{DeploymentSnapshot, LogScope, gather};
use crate::workflow::summary::{DeploymentSummary, summarize};
use crate::workflow::top::request_totals;
use crate::workflow::{fetch_log, lookup};
use kubectl_dynamo_cluster::{Cluster, ClusterError, FORBIDDEN_CODE, FactsRequest};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::diagnosis::{
    self, CauseLocation, Diagnosis, DiagnosisResult, RootCause, Snapshot, diagnose,
};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject, time_text};
use kubectl_dynamo_core::preflight::operator_problem;
use kubectl_dynamo_core::readiness::{
    ComponentStatus, JOB_LABEL, PodState, components, fetch_termination, pod_phase,
};
use kubectl_dynamo_core::resources::GraphApi;
use kubectl_dynamo_core::top::RequestTotals;

/// The maximum time to wait for the frontend's list of models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum time to wait for the log of a finished fetch, which only adds its size to the screen. A node that stopped
/// responding accepts the request and never answers.
const FETCH_LOG_TIMEOUT: Duration = Duration::from_secs(3);

/// The overall state of a deployment.
pub(crate) enum StatusSummary {
    /// Serving. `models` are the models that the frontend lists; empty without the permission to query it.
    Up {
        models: Vec<String>,
    },
    Progressing {
        waits_for: String,
        cause: Option<RootCause>,
    },
    Down {
        cause: RootCause,
    },
    /// The deployment is being deleted.
    Deleting {
        waits_for: String,
    },
}

impl StatusSummary {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Up { .. } => Exit::Ok,
            Self::Progressing { .. } => Exit::NotReadyInTime,
            Self::Down { .. } | Self::Deleting { .. } => Exit::Failed,
        }
    }

    pub(crate) fn cause(&self) -> Option<&RootCause> {
        match self {
            Self::Up { .. } | Self::Deleting { .. } => None,
            Self::Progressing { cause, .. } => cause.as_ref(),
            Self::Down { cause } => Some(cause),
        }
    }
}

/// The verdict about a deployment with a problem that does not resolve: `DEGRADED` if every component has a ready pod,
/// and one has fewer than desired.
pub(crate) fn failed_verdict(components: &[ComponentStatus]) -> &'static str {
    let is_complete = components.iter().all(|one| one.ready >= one.desired);
    let serves = components.iter().all(|one| one.ready > 0 || one.desired == 0);
    if serves && !is_complete { "DEGRADED" } else { "DOWN" }
}

/// The collected data of one deployment.
pub(crate) struct StatusView {
    pub summary: DeploymentSummary,
    pub verdict: StatusSummary,
    pub components: Vec<ComponentStatus>,
    pub diagnosis: Diagnosis,
    pub snapshot: DeploymentSnapshot,
    /// What could not be read, such as events without the permission to list them.
    pub skipped: Vec<String>,
    pub fetch: Option<CompletedFetch>,
    /// The requests of a serving deployment, if they were asked for and its frontends answer.
    pub requests: Option<RequestTotals>,
}

/// A completed model fetch. The fetcher verifies every byte before it reports completion.
pub(crate) struct CompletedFetch {
    /// Bytes and number of files, if the fetcher's final event can still be read.
    pub size: Option<(u64, usize)>,
    /// RFC 3339 timestamp.
    pub completed_at: String,
}

impl StatusView {
    /// Returns the overall state in one word, as the first line and JSON have it.
    pub(crate) fn verdict_word(&self) -> &'static str {
        match &self.verdict {
            StatusSummary::Up { .. } => "UP",
            StatusSummary::Progressing { .. } => "STARTING",
            StatusSummary::Deleting { .. } => "DELETING",
            StatusSummary::Down { .. } => failed_verdict(&self.components),
        }
    }

    /// Returns whether all components report ready and only the model is not listed yet.
    pub(crate) fn is_model_not_listed(&self) -> bool {
        self.diagnosis.result == DiagnosisResult::Ready && !matches!(self.verdict, StatusSummary::Up { .. })
    }
}

/// Collects the status of an existing deployment.
///
/// # Errors
/// A missing permission to list the components of a v1alpha1 graph, and other failures to list them.
pub(crate) async fn collect_view(
    reader: impl Into<ObjectReader<'_>>,
    graph: Value,
    api: GraphApi,
) -> std::result::Result<StatusView, ClusterError> {
    let reader = reader.into();
    let cluster = reader.cluster;
    let summary = summarize(&graph);
    let (snapshot, fetch) = futures::join!(
        gather(reader, graph.clone(), api, LogScope::NotReady),
        completed_fetch(reader, &summary.name)
    );
    let snapshot = snapshot?;
    let pods = &snapshot.evidence.observation.pods;
    let mut components = components(&graph, pods);
    let diagnosis = diagnose_with_operator(cluster, &snapshot.evidence).await;
    let verdict = match diagnosis.result.clone() {
        DiagnosisResult::Ready => match listed_models(cluster, &summary.name).await {
            Ok(models) => StatusSummary::Up { models },
            Err(cause) => StatusSummary::Down { cause },
        },
        DiagnosisResult::Progressing { waits_for } => StatusSummary::Progressing { waits_for, cause: None },
        DiagnosisResult::Terminating { waits_for } => StatusSummary::Deleting { waits_for },
        DiagnosisResult::Blocked { cause } => {
            StatusSummary::Progressing { waits_for: cause.to_string(), cause: Some(cause) }
        }
        DiagnosisResult::Failed { cause } => StatusSummary::Down { cause },
    };
    add_start_steps(&mut components, &snapshot);
    let fetch = fetch.or_else(|| completed_fetch_of_pods(pods));
    let skipped = snapshot.skipped_messages(cluster);
    Ok(StatusView { summary, verdict, components, diagnosis, snapshot, skipped, fetch, requests: None })
}

/// Like [`collect_view`], with the requests of a deployment that serves.
///
/// # Errors
/// As [`collect_view`].
pub(crate) async fn collect_view_with_requests(
    cluster: &Cluster,
    graph: Value,
    api: GraphApi,
) -> std::result::Result<StatusView, ClusterError> {
    let mut view = collect_view(cluster, graph, api).await?;
    let observation = &view.snapshot.evidence.observation;
    // Without a list of models, ports cannot be forwarded.
    if let (StatusSummary::Up { models }, Some(graph)) = (&view.verdict, &observation.graph)
        && !models.is_empty()
    {
        view.requests = request_totals::of_graph(graph, &observation.pods, cluster).await;
    }
    Ok(view)
}

/// Diagnoses a deployment. If it waits without a cause of its own, the cause may be an operator that does not run: then
/// neither its objects nor its status change.
pub(crate) async fn diagnose_with_operator(cluster: &Cluster, evidence: &Snapshot) -> Diagnosis {
    let mut diagnosis = diagnose(evidence);
    let is_deletion = matches!(diagnosis.result, DiagnosisResult::Terminating { .. });
    let is_outdated =
        diagnosis.result.cause().is_some_and(|cause| cause.code == MessageCode::DeploymentNotUpdated);
    if is_deletion || is_outdated || matches!(diagnosis.result, DiagnosisResult::Progressing { .. }) {
        let request = FactsRequest { operators: true, ..FactsRequest::default() };
        // Without the permission to see the operator, the diagnosis is as before.
        let facts = cluster.collect_facts(&request).await.unwrap_or_default();
        if let Some((problem, can_recover)) = operator_problem(&facts) {
            let cause = RootCause {
                code: problem.code,
                text: match is_deletion {
                    true => format!("{}, so the deletion cannot complete", problem.text),
                    false => problem.text,
                },
                fix: problem.hint,
                exit: problem.exit,
                location: CauseLocation::Operator,
            };
            diagnosis.result = match can_recover {
                true => DiagnosisResult::Blocked { cause },
                false => DiagnosisResult::Failed { cause },
            };
        }
    }
    diagnosis
}

/// Adds the latest start step from its log to each running pod that is not ready.
fn add_start_steps(components: &mut [ComponentStatus], snapshot: &DeploymentSnapshot) {
    for pod in components.iter_mut().flat_map(|one| &mut one.pods).filter(|pod| !pod.ready) {
        let mut logs = snapshot.evidence.logs.iter().filter(|log| log.pod == pod.name);
        let running = pod.state == PodState::Starting;
        let step = logs.find_map(|log| log.lines.iter().rev().find_map(|line| diagnosis::start_step(line)));
        if let Some(step) = step.filter(|_| running) {
            pod.status_text = step.text;
        }
    }
}

/// Returns the completed fetch Job and the size from the log of its pod.
async fn completed_fetch(reader: ObjectReader<'_>, name: &str) -> Option<CompletedFetch> {
    let (cluster, jobs) = (reader.cluster, reader.fetch_jobs(name).await.ok()?);
    let succeeded =
        |job: &&ObservedObject<Job>| job.status.as_ref().is_some_and(|status| status.succeeded.is_some());
    let job = jobs.iter().rfind(succeeded)?;
    let at = time_text(Some(job.status.as_ref()?.completion_time.as_ref()?));
    let labels = format!("{JOB_LABEL}={}", job.name());
    let pods = cluster.list_objects::<Pod>(&labels).await.unwrap_or_default();
    let size = match pods.iter().find(|pod| pod_phase(pod) == Some("Succeeded")) {
        Some(pod) => fetch_size(cluster, pod.name()).await,
        None => None,
    };
    Some(CompletedFetch { size, completed_at: at })
}

async fn fetch_size(cluster: &Cluster, pod: &str) -> Option<(u64, usize)> {
    match timeout(FETCH_LOG_TIMEOUT, fetch_log::final_event(cluster, pod)).await.ok()?? {
        ProgressEvent::Complete { bytes, files, .. } => Some((bytes, files)),
        _ => None,
    }
}

/// Returns the fetch by the pods' own fetch containers, which run before the engine if there is no Job.
fn completed_fetch_of_pods(pods: &[ObservedObject<Pod>]) -> Option<CompletedFetch> {
    let terminations = pods.iter().filter_map(|pod| fetch_termination(pod));
    let terminations = terminations.filter(|termination| termination.exit_code == 0);
    let at = terminations.map(|ended| ended.finished_at).filter(|at| !at.is_empty()).max()?;
    Some(CompletedFetch { size: None, completed_at: at })
}

/// Returns why a deployment that reports ready does not serve: its frontend lists no model or does not
/// answer.
pub(crate) async fn frontend_lists_no_model(cluster: &Cluster, name: &str) -> Option<RootCause> {
    listed_models(cluster, name).await.err()
}

async fn listed_models(cluster: &Cluster, name: &str) -> std::result::Result<Vec<String>, RootCause> {
    let location = CauseLocation::Deployment(name.into());
    let logs = || SuggestedCommand::plugin("logs").operand(name, "NAME").in_namespace(&cluster.namespace);
    match list_models(cluster, name).await {
        Ok(models) if !models.is_empty() => Ok(models),
        Ok(_) => Err(RootCause {
            code: MessageCode::ModelNotListed,
            text: "all components report ready, but the frontend lists no model".into(),
            fix: Fix::default().text("check the worker logs: ").command(logs()),
            exit: Exit::Failed,
            location,
        }),
        Err(error) if error.code() == Some(FORBIDDEN_CODE) => Ok(Vec::new()),
        Err(error) => Err(RootCause {
            code: error.code().unwrap_or(MessageCode::EndpointUnreachable),
            text: error.to_string(),
            fix: error.hint().unwrap_or_else(|| logs().after("check the logs: ")),
            exit: error.exit(),
            location,
        }),
    }
}

/// Queries the models that a deployment lists, through a port-forward.
pub(crate) async fn list_models(cluster: &Cluster, name: &str) -> Result<Vec<String>> {
    let tunnel = cluster.port_forward(lookup::frontend_target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    Ok(smoke_test::models(&format!("http://{}/v1", tunnel.local_address), MODELS_TIMEOUT).await?)
}
