//! Why replicas cannot be changed.

use crate::error::{Exit, Explain};

/// A failure of `scale`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScaleError {
    #[error("nothing says how many replicas {name} is to have")]
    Nothing { name: String },
    #[error("{name} has no {role}, which {flag} is about")]
    NoSuchRole { name: String, role: &'static str, flag: &'static str, components: Vec<String> },
    #[error(
        "{name} in namespace {namespace} was not made by this program, so its replicas are another's to say"
    )]
    NotOurs { name: String, namespace: String },
    #[error("{component} of {name} has its scaling adapter on, and the operator has made none yet")]
    NoAdapter { name: String, component: String },
}

impl Explain for ScaleError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Nothing { .. } => "KD0001",
            Self::NoSuchRole { .. } => "KD0601",
            Self::NotOurs { .. } => "KD0211",
            Self::NoAdapter { .. } => "KD0244",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nothing { name } => format!("for example: kubectl dynamo scale {name} --replicas 2"),
            Self::NoSuchRole { components, .. } => format!("it has: {}", components.join(" ")),
            Self::NotOurs { name, namespace } => {
                format!("take it over: kubectl dynamo adopt {name} -n {namespace}")
            }
            Self::NoAdapter { .. } => "try again in a moment; the same command continues".into(),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Nothing { .. } | Self::NoSuchRole { .. } | Self::NotOurs { .. } => Exit::Usage,
            Self::NoAdapter { .. } => Exit::Failed,
        }
    }
}
