//! Errors of `rollout`: a missing, different, or incompatible revision. Errors of the API server are in the
//! cluster crate.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// A revision that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevisionError {
    #[error("deployment \"{name}\" does not have revision {number}")]
    RevisionNotFound { name: String, number: i64, available: Vec<String> },
    #[error("deployment \"{name}\" does not have an earlier revision")]
    NoEarlierRevision { name: String },
    #[error("revision {number} of deployment \"{name}\" uses {recorded}, but the cluster stores {stored}")]
    ApiVersionMismatch { name: String, number: i64, recorded: String, stored: String },
    #[error("deployment \"{name}\" is at revision {current}, not {requested}")]
    RevisionMismatch { name: String, current: String, requested: i64 },
}

impl Explain for RevisionError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::RevisionNotFound { .. } => MessageCode::RevisionNotFound,
            Self::NoEarlierRevision { .. } => MessageCode::NoPreviousRevision,
            Self::ApiVersionMismatch { .. } => MessageCode::ApiVersionMismatch,
            Self::RevisionMismatch { .. } => MessageCode::RevisionNotCurrent,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::RevisionNotFound { available, .. } if !available.is_empty() => {
                format!("available revisions: {}", available.join(" ")).into()
            }
            Self::RevisionNotFound { name, .. } | Self::RevisionMismatch { name, .. } => {
                SuggestedCommand::plugin("rollout history")
                    .operand(name, "NAME")
                    .after("list the revisions with: ")
            }
            Self::NoEarlierRevision { name } => SuggestedCommand::plugin("up")
                .operand(name, "NAME")
                .flag("FLAGS")
                .after("run ")
                .text("; each update records a revision"),
            Self::ApiVersionMismatch { name, .. } => SuggestedCommand::plugin("up")
                .operand(name, "NAME")
                .flag("FLAGS")
                .after("update the deployment instead: "),
        })
    }
}
