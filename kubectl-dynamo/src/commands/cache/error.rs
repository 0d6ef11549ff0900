//! Errors of the `cache` verbs: a model that cannot be pulled, does not pass verification, or is in use.
//! The model has not been removed when one of these errors is returned.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// An error of a `cache` verb.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error("model \"{model}\" on PVC \"{pvc}\" is in use by {users}")]
    InUse { model: String, pvc: String, users: String },
    #[error("PVC \"{pvc}\" not found in namespace \"{namespace}\"")]
    PvcNotFound { pvc: String, namespace: String },
    #[error("model \"{model}\" is on several PVCs: {pvcs}")]
    AmbiguousPvc { model: String, pvcs: String },
    #[error("PVC \"{pvc}\" is not bound and allows only one node: a fetch Job could bind it to a wrong node")]
    PvcNotBound { model: String, pvc: String },
    #[error("model \"{model}\" on PVC \"{pvc}\" failed verification: {message}")]
    VerificationFailed { model: String, pvc: String, namespace: String, message: String },
}

impl Explain for CacheError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::InUse { .. } => MessageCode::ModelCacheInUse,
            Self::PvcNotFound { .. } => MessageCode::ModelPvcNotFound,
            Self::AmbiguousPvc { .. } => MessageCode::AmbiguousModelPvc,
            Self::PvcNotBound { .. } => MessageCode::PvcBoundByFirstPod,
            Self::VerificationFailed { .. } => MessageCode::ModelFilesDiffer,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::InUse { .. } => SuggestedCommand::plugin("down NAME")
                .after("stop these users first, for example with ")
                .text("; nothing was removed"),
            Self::PvcNotFound { namespace, .. } => SuggestedCommand::plugin("cache list")
                .in_namespace(namespace)
                .after("list the models and their PVCs with "),
            Self::AmbiguousPvc { pvcs, .. } => {
                format!("select one with --cache {}", pvcs.split(',').next().unwrap_or_default()).into()
            }
            Self::PvcNotBound { model, .. } => SuggestedCommand::plugin("up")
                .operand(model, "MODEL")
                .after("let the serving pods fetch it with ")
                .text(", or select a bound PVC"),
            Self::VerificationFailed { model, pvc, namespace, .. } => {
                let command = |verb: &str| {
                    let command =
                        SuggestedCommand::plugin(verb).operand(model, "MODEL").in_namespace(namespace);
                    command.flag("--cache").flag(pvc)
                };
                command("cache rm").after("fetch it again: ").text(" && ").command(command("cache pull"))
            }
        })
    }
}
