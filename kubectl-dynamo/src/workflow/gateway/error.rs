//! Errors of the gateway verbs that the core does not know.

use kubectl_dynamo_cluster::Kind;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::gateway::EntryOwner;

/// An object that the gateway verbs cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("deployment \"{deployment}\" does not list a model, so the name that it serves is not known")]
    NoModelListed { deployment: EntryOwner },
    #[error(
        "{kind} \"{name}\" in namespace \"{namespace}\" does not have the key \"{key}\", or its value is not text"
    )]
    DataKeyMissing { kind: Kind, name: String, namespace: String, key: String },
}

impl Explain for GatewayError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoModelListed { .. } => MessageCode::EndpointWithoutModel,
            Self::DataKeyMissing { .. } => MessageCode::DataKeyMissing,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoModelListed { deployment } => {
                let status = SuggestedCommand::plugin("status").operand(&deployment.name, UNKNOWN_NAME);
                let status = match &deployment.namespace {
                    Some(namespace) => status.in_namespace(namespace),
                    None => status.flag("--local"),
                };
                status.after("wait until it serves: ")
            }
            Self::DataKeyMissing { kind, name, namespace, .. } => {
                SuggestedCommand::kubectl(&format!("describe {}", kind.to_string().to_lowercase()))
                    .operand(name, UNKNOWN_NAME)
                    .in_namespace(namespace)
                    .after("list its keys: ")
            }
        })
    }
}
