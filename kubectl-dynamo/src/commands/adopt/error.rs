//! Why a deployment cannot be taken over.

use crate::change::Strange;
use crate::error::{Exit, Explain};

/// A failure of `adopt`.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptError {
    #[error("{name} cannot be taken over: {}", reason(.strange))]
    Strange { name: String, strange: Strange },
    #[error("taking {name} over would change its spec, so it is left alone")]
    WouldChange { name: String },
}

fn reason(strange: &Strange) -> String {
    match strange {
        Strange::Value(error) => error.to_string(),
        Strange::NoWorker => "no component of it is a worker".into(),
        Strange::NoModel { component } => format!("the command of {component} names no model"),
        Strange::OtherEngine { component, engine } if engine.is_empty() => {
            format!("{component} has no command that says which engine it runs")
        }
        Strange::OtherEngine { component, engine } => {
            format!("{component} runs `{engine}`, and the engines known here are vllm and mocker")
        }
    }
}

impl Explain for AdoptError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Strange { .. } => "KD0246",
            Self::WouldChange { .. } => "KD0247",
        })
    }

    fn hint(&self) -> Option<String> {
        let (Self::Strange { name, .. } | Self::WouldChange { name }) = self;
        Some(format!(
            "change it where it came from; status, logs and chat work as they are: kubectl dynamo status {name}"
        ))
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}
