//! Why a deployment or its cache stays.

use std::time::Duration;

use crate::error::{Exit, Explain};

/// Why a deployment or its cache stays.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum DownError {
    #[error("claim {claim} is mounted by {users}")]
    CacheInUse { claim: String, users: String },
    #[error("which claim holds the model of {name} is not known: this program did not make it, or not yet")]
    CacheUnknown { name: String },
    #[error("{} s were not enough for everything to go; left: {left}", .timeout.as_secs())]
    NotInTime { timeout: Duration, left: String },
}

impl Explain for DownError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::CacheInUse { .. } | Self::CacheUnknown { .. } => "KD0414",
            Self::NotInTime { .. } => "KD0209",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CacheInUse { .. } => {
                "end those first, or leave --delete-cache out: nothing is deleted yet".into()
            }
            Self::CacheUnknown { .. } => {
                "leave --delete-cache out; then delete the claim: kubectl delete pvc".into()
            }
            Self::NotInTime { .. } => {
                "see what holds it: kubectl get pods; or give it longer with --timeout".into()
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::CacheInUse { .. } | Self::CacheUnknown { .. } => Exit::Model,
            Self::NotInTime { .. } => Exit::NotReadyInTime,
        }
    }
}
