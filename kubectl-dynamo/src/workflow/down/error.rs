//! Errors of `down`: a cache that cannot be deleted, and a deletion that does not finish in time.
//! If a cache error is returned, nothing has been deleted.

use std::time::Duration;

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// An error of `down`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownError {
    #[error("PVC \"{pvc}\" is mounted by {users}")]
    CacheInUse { pvc: String, users: String },
    #[error(
        "model PVC of deployment \"{name}\" is unknown: not managed by kubectl-dynamo, or not created yet"
    )]
    CacheUnknown { name: String, namespace: String },
    #[error("timed out after {} s waiting for {remaining}", .timeout.as_secs())]
    DeleteTimeout { timeout: Duration, remaining: String, namespace: String },
}

impl Explain for DownError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::CacheInUse { .. } | Self::CacheUnknown { .. } => MessageCode::ModelCacheInUse,
            Self::DeleteTimeout { .. } => MessageCode::DeletionTimeout,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::CacheInUse { .. } => {
                "delete those first, or omit --delete-cache; nothing was deleted".into()
            }
            Self::CacheUnknown { namespace, .. } => SuggestedCommand::kubectl("get pvc")
                .in_namespace(namespace)
                .after("omit --delete-cache, then find the PVC with ")
                .text(" and delete it"),
            Self::DeleteTimeout { namespace, .. } => SuggestedCommand::kubectl("get pods")
                .in_namespace(namespace)
                .after("list the remaining pods with ")
                .text(", or increase --timeout"),
        })
    }
}
