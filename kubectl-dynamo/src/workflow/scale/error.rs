//! Errors of `scale`: missing counts, a missing component, and objects that it cannot change. Errors of the
//! API server are in the cluster crate.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Error, Exit, Explain};

/// A failure of `scale`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScaleError {
    #[error("no replica count given for deployment \"{name}\"")]
    NoReplicas { name: String },
    #[error("deployment \"{name}\" does not have a {role} component, which {flag} requires")]
    NoSuchRole { name: String, role: &'static str, flag: &'static str, components: Vec<String> },
    #[error("deployment \"{name}\" in namespace \"{namespace}\" is not managed by kubectl-dynamo")]
    NotManaged { name: String, namespace: String },
    #[error("scaling adapter of component \"{component}\" of deployment \"{name}\" not found")]
    NoAdapter { name: String, component: String },
    /// Several objects had to be changed, and one of the later changes failed.
    #[error("{cause}; changed: {}; not changed: {}", .changed.join(", "), .not_changed.join(", "))]
    PartiallyScaled { cause: Error, changed: Vec<String>, not_changed: Vec<String> },
}

impl Explain for ScaleError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoReplicas { .. } => MessageCode::InvalidCommandLine,
            Self::NoSuchRole { .. } => MessageCode::InvalidWorkerFlags,
            Self::NotManaged { .. } => MessageCode::UnmanagedDeployment,
            Self::NoAdapter { .. } => MessageCode::ScalingAdapterMissing,
            Self::PartiallyScaled { cause, .. } => return cause.code(),
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoReplicas { name } => SuggestedCommand::plugin("scale")
                .operand(name, "NAME")
                .flag("--replicas")
                .flag("2")
                .after("set a count, for example: "),
            Self::NoSuchRole { components, .. } => {
                format!("available components: {}", components.join(" ")).into()
            }
            Self::NotManaged { name, namespace } => SuggestedCommand::plugin("adopt")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after("adopt it first: "),
            Self::NoAdapter { .. } => {
                "wait until the operator has created it, then run the same command again".into()
            }
            Self::PartiallyScaled { cause, .. } => {
                return Some(cause.hint().unwrap_or_else(|| "run the same command again".into()));
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::PartiallyScaled { cause, .. } => cause.exit(),
            other => other.code().map_or(Exit::Failed, MessageCode::exit),
        }
    }
}
