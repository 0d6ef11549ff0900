//! Errors of `adopt`: why a deployment cannot be adopted.
//! `status`, `logs`, and `chat` work without adoption, so the hint names them.

use kubectl_dynamo_core::change::ImportError;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// An error of `adopt`.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptError {
    #[error("cannot adopt deployment \"{name}\": {}", import_reason(.import_error))]
    NotImportable { name: String, import_error: ImportError },
    #[error("adopting deployment \"{name}\" would change its spec")]
    WouldChangeSpec { name: String },
}

fn import_reason(import_error: &ImportError) -> String {
    match import_error {
        ImportError::InvalidValue(error) => error.to_string(),
        ImportError::NoWorker => "it does not have a worker component".into(),
        ImportError::NoModel { component } => {
            format!("the command of component \"{component}\" does not specify a model")
        }
        ImportError::UnsupportedEngine { component, engine } if engine.is_empty() => {
            format!("component \"{component}\" does not have a command that identifies its engine")
        }
        ImportError::UnsupportedEngine { component, engine } => {
            format!("component \"{component}\" runs \"{engine}\"; the supported engines are vllm and mocker")
        }
    }
}

impl Explain for AdoptError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NotImportable { .. } => MessageCode::UnsupportedForeignDeployment,
            Self::WouldChangeSpec { .. } => MessageCode::AdoptionChangesDeployment,
        })
    }

    fn hint(&self) -> Option<Fix> {
        let (Self::NotImportable { name, .. } | Self::WouldChangeSpec { name }) = self;
        let status = SuggestedCommand::plugin("status").operand(name, "NAME");
        Some(status.after("edit its source manifest; status, logs, and chat still work: "))
    }
}
