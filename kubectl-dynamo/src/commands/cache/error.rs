//! Why a model is not fetched, found wanting, or left where it is.

use crate::error::{Exit, Explain};

/// Why a model is not fetched, found wanting, or left where it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("{model} on pvc/{claim} is used by {users}")]
    InUse { model: String, claim: String, users: String },
    #[error("claim {claim} does not exist in namespace {namespace}")]
    NoClaim { claim: String, namespace: String },
    #[error("{model} is known on several claims: {claims}")]
    SeveralClaims { model: String, claims: String },
    #[error(
        "claim {claim} is not bound and allows one node, so a fetch Job would bind it to a node of its own choice"
    )]
    BindsLate { model: String, claim: String },
    #[error("{model} on pvc/{claim} is not what was fetched: {said}")]
    NotAsFetched { model: String, claim: String, namespace: String, said: String },
}

impl Explain for CacheError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::InUse { .. } => "KD0414",
            Self::NoClaim { .. } => "KD0411",
            Self::SeveralClaims { .. } => "KD0420",
            Self::BindsLate { .. } => "KD0421",
            Self::NotAsFetched { .. } => "KD0422",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InUse { .. } => "end those first: nothing is removed yet".into(),
            Self::NoClaim { namespace, .. } => {
                format!("see which models are on which: kubectl dynamo cache list -n {namespace}")
            }
            Self::SeveralClaims { claims, .. } => {
                format!("name one: --cache {}", claims.split(',').next().unwrap_or_default())
            }
            Self::BindsLate { model, .. } => {
                format!(
                    "let the pods that serve it fetch it: kubectl dynamo up {model}; or name a bound claim"
                )
            }
            Self::NotAsFetched { model, claim, namespace, .. } => {
                let place = format!("{model} --cache {claim} -n {namespace}");
                format!("fetch it anew: kubectl dynamo cache rm {place} && kubectl dynamo cache pull {place}")
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::SeveralClaims { .. } => Exit::Usage,
            _ => Exit::Model,
        }
    }
}
