//! Reports a failed `up`: prints the causal chain, saves the evidence on this machine, and replaces a general
//! error by the diagnosed cause. It deletes nothing.

use std::time::Duration;

use crate::render::status::render_chain;
use crate::report::Report;
use crate::workflow::snapshot::{DeploymentSnapshot, LogScope, gather, gather_fetch, save};
use crate::workflow::wait_ready::RolloutTarget;
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::code::{MessageCategory, MessageCode};
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::diagnosis::{DiagnosisResult, RootCause, diagnose, model_not_listed, redact};
use kubectl_dynamo_core::error::{Error, Exit, Explain};

/// Timeout of the diagnosis, for a cluster that does not answer.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(20);

/// General codes of problems, which a diagnosed cause replaces.
const GENERAL_CODES: [MessageCode; 9] = [
    MessageCode::OperatorFailure,
    MessageCode::ComponentNotCreated,
    MessageCode::DeploymentNotUpdated,
    MessageCode::PodUnschedulable,
    MessageCode::PodsNotCreated,
    MessageCode::ImagePullFailed,
    MessageCode::ContainerNotCreated,
    MessageCode::ContainerCrashLoop,
    MessageCode::ModelNotListed,
];

/// Returns the error or its diagnosed cause. Prints the causal chain and saves the evidence.
pub(crate) async fn with_diagnosis(
    error: Error,
    cluster: &Cluster,
    target: Option<&RolloutTarget>,
    report: &Report,
) -> Error {
    let Some(target) = target.filter(|_| is_deployment_failure(&error)) else { return error };
    let lookup = tokio::time::timeout(DIAGNOSIS_TIMEOUT, collect_snapshot(&error, cluster, target));
    let Ok(Some(snapshot)) = lookup.await else { return error };
    let diagnosis = diagnose(&snapshot.evidence);
    for line in redact(&render_chain(&diagnosis.chain)).lines() {
        report.info(line.trim_start_matches("  ").to_owned());
    }
    match save(&snapshot, &diagnosis, &cluster.namespace, &target.name) {
        Ok(folder) => report.info(format!("evidence: {}", folder.display())),
        Err(error) => report.warn(error.code(), format!("cannot save the evidence: {error}"), error.hint()),
    }
    let cause: Option<RootCause> = match diagnosis.result {
        DiagnosisResult::Ready => model_not_listed(&snapshot.evidence),
        verdict => verdict.cause().cloned(),
    };
    match cause {
        Some(cause) if error.code().is_some_and(|code| GENERAL_CODES.contains(&code)) => {
            redact_error(Box::new(cause))
        }
        _ => redact_error(error),
    }
}

/// An error whose message contained a possible secret, for example in a container's termination message.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct RedactedError {
    text: String,
    error: Error,
}

impl Explain for RedactedError {
    fn code(&self) -> Option<MessageCode> {
        self.error.code()
    }

    fn hint(&self) -> Option<Fix> {
        self.error.hint()
    }

    fn exit(&self) -> Exit {
        self.error.exit()
    }
}

fn redact_error(error: Error) -> Error {
    let message = error.to_string();
    let text = redact(&message);
    if text == message { error } else { RedactedError { text, error }.into() }
}

/// Collects all objects below the graph or, before it exists, those of the model fetch.
async fn collect_snapshot(
    error: &Error,
    cluster: &Cluster,
    target: &RolloutTarget,
) -> Option<DeploymentSnapshot> {
    let logs = if error.exit() == Exit::SmokeTest { LogScope::All } else { LogScope::NotReady };
    match cluster.get(Kind::Graph(target.graph_api), &target.name).await.ok()? {
        Some(graph) => gather(cluster, graph, target.graph_api, logs).await.ok(),
        None => gather_fetch(cluster, &target.name, LogScope::All)
            .await
            .ok()
            .filter(|snapshot| !snapshot.jobs.is_empty()),
    }
}

/// Returns whether the error is about the deployment, and not about a flag, a permission, or the platform.
/// Only then do its pods help to find the cause.
fn is_deployment_failure(error: &Error) -> bool {
    match (error.exit(), error.code()) {
        _ if error.is_preflight() => false,
        // The hub denied the fetcher access to the model.
        (Exit::Access, Some(MessageCode::ModelFetchFailed)) => true,
        // The engine of a pod has rejected its configuration, or the GPU.
        (_, Some(code)) if code.category() == MessageCategory::Engine => true,
        (Exit::Usage | Exit::Access | Exit::Platform | Exit::Interrupted, _) => false,
        // Rejected before the graph was written, or deleted.
        (_, code) => !code.is_some_and(|code| {
            [
                MessageCode::ObjectRejected,
                MessageCode::FieldManagerConflict,
                MessageCode::DeploymentReplaced,
                MessageCode::SchemaMismatch,
            ]
            .contains(&code)
        }),
    }
}
