//! Failures of a rollout on a cluster: timeouts, lost objects, a failed fetch Job, and a deployment that does not
//! serve. Errors of the API server and of the preflight checks are defined elsewhere.

use std::time::Duration;

use crate::report::Report;
use crate::smoke_test::SmokeTestError;
use crate::workflow::interrupt::{RolloutPhase, rerun_command};
use kubectl_dynamo_cluster::Cluster;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};

/// Why a deployment does not serve after a change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RolloutError {
    #[error(
        "timed out after {} s waiting for deployment \"{name}\" to become ready: still waiting for {last_wait}",
        timeout.as_secs()
    )]
    ReadyTimeout { name: String, namespace: String, timeout: Duration, last_wait: String },
    #[error("timed out after {} s before {name} was applied: still waiting for {last_wait}", timeout.as_secs())]
    ApplyTimeout { name: String, timeout: Duration, last_wait: String, rerun_command: String },
    #[error("deployment \"{name}\" reports ready but does not serve: {cause}")]
    NotServing { name: String, namespace: String, cause: SmokeTestError },
    #[error("deployment \"{name}\" was deleted while waiting for it to become ready")]
    Deleted { name: String },
    #[error("deployment \"{name}\" was deleted and recreated while waiting for it to become ready")]
    Replaced { name: String },
    #[error("fetch Job \"{job}\" failed: {reason}")]
    FetchJobFailed { job: String, namespace: String, reason: String },
}

impl RolloutError {
    /// Returns the timeout error, with the last wait. If the graph is not applied yet, the hint is to rerun
    /// the command: a download may continue, but nothing applies the graph after it.
    pub(crate) fn timed_out(
        name: &str,
        phase: RolloutPhase,
        cluster: &Cluster,
        timeout: Duration,
        report: &Report,
    ) -> Self {
        let last_wait = report.last_wait().unwrap_or_else(|| "the cluster".into());
        match phase {
            RolloutPhase::NotSent => {
                Self::ApplyTimeout { name: name.into(), timeout, last_wait, rerun_command: rerun_command() }
            }
            RolloutPhase::Sent | RolloutPhase::RollingBack => Self::ReadyTimeout {
                name: name.into(),
                namespace: cluster.namespace.clone(),
                timeout,
                last_wait,
            },
        }
    }
}

impl Explain for RolloutError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::ReadyTimeout { .. } | Self::ApplyTimeout { .. } => MessageCode::RolloutTimeout,
            Self::NotServing { cause, .. } => return cause.code(),
            Self::Deleted { .. } | Self::Replaced { .. } => MessageCode::DeploymentReplaced,
            Self::FetchJobFailed { .. } => MessageCode::ModelFetchFailed,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::ReadyTimeout { name, namespace, .. } => SuggestedCommand::plugin("status")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after(format!("the rollout of deployment \"{name}\" continues; see: ")),
            Self::ApplyTimeout { rerun_command, .. } => format!("resume with: {rerun_command}").into(),
            Self::NotServing { name, namespace, .. } => SuggestedCommand::plugin("logs")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after("check the worker logs: "),
            Self::Deleted { .. } | Self::Replaced { .. } => "run the same command again".into(),
            Self::FetchJobFailed { job, namespace, .. } => SuggestedCommand::kubectl("logs")
                .operand(&format!("job/{job}"), "job/NAME")
                .in_namespace(namespace)
                .after("check its log: ")
                .text("; then run the same command again"),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ReadyTimeout { .. } | Self::ApplyTimeout { .. } => Exit::NotReadyInTime,
            Self::NotServing { .. } => Exit::SmokeTest,
            Self::Deleted { .. } | Self::Replaced { .. } => Exit::Failed,
            Self::FetchJobFailed { .. } => Exit::Model,
        }
    }
}
