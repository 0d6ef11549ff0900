//! Why there is nothing to go back to, or not what was asked about.

use crate::error::{Exit, Explain};

/// A failure of `rollout`.
#[derive(Debug, thiserror::Error)]
pub(super) enum RolloutError {
    #[error("{name} has no revision {number}")]
    NoRevision { name: String, number: i64, known: Vec<String> },
    #[error("{name} has no revision before the present one")]
    NothingBefore { name: String },
    #[error("revision {number} of {name} is written as {given}, and the cluster stores {stored}")]
    OtherShape { name: String, number: i64, given: String, stored: String },
    #[error("{name} is at revision {present}, not {asked}")]
    OtherRevision { name: String, present: String, asked: i64 },
}

impl Explain for RolloutError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRevision { .. } => "KD0240",
            Self::NothingBefore { .. } => "KD0241",
            Self::OtherShape { .. } => "KD0218",
            Self::OtherRevision { .. } => "KD0242",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoRevision { known, .. } if !known.is_empty() => format!("there are: {}", known.join(" ")),
            Self::NoRevision { name, .. } | Self::OtherRevision { name, .. } => {
                format!("see what there is: kubectl dynamo rollout history {name}")
            }
            Self::NothingBefore { name } => {
                format!("change it with: kubectl dynamo up {name} FLAGS; what it was is kept from then on")
            }
            Self::OtherShape { name, .. } => format!("say it anew: kubectl dynamo up {name} FLAGS"),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoRevision { .. } => Exit::Usage,
            Self::OtherShape { .. } => Exit::Platform,
            Self::NothingBefore { .. } | Self::OtherRevision { .. } => Exit::Failed,
        }
    }
}
