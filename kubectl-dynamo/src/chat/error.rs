//! Errors of chat requests, with message code, hint, and exit code.
//!
//! The words of the endpoint are found elsewhere; these are the kinds that a user can act on.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::probe::AnswerFailure;

/// Why a request did not return a complete response.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("cannot reach {url}: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("\"{url}\" is not a valid HTTP URL")]
    InvalidUrl { url: String },
    #[error("the API key is not valid: {reason}")]
    InvalidKey { reason: String },
    #[error("{url} denied access: HTTP {status}, {message}")]
    Access { url: String, status: u16, message: String },
    #[error("the endpoint rejected the request: HTTP {status}, {message}")]
    Refused { status: u16, message: String },
    #[error("{url} does not serve a model (HTTP 404 with an empty body)")]
    NoModelServed { url: String },
    #[error("{url} does not list a model")]
    NoModel { url: String },
    #[error("{url} does not list its models: {reason}")]
    ModelsNotListed { url: String, reason: String },
    #[error("{url} lists several models: {models}")]
    WhichModel { url: String, models: String },
    #[error("model \"{model}\" not found at {url} (available: {models})")]
    UnknownModel { url: String, model: String, models: String },
    #[error("the response stream failed: {message}")]
    StreamError { message: String },
    #[error("the connection was closed before the end of the response")]
    ConnectionClosed,
    #[error("{url} is not an OpenAI-compatible endpoint: {reason}")]
    NotOpenAi { url: String, reason: String },
}

/// Returns a hint with the same verb for deployments on a cluster and on this machine.
fn on_cluster_or_here(verb: &str, text: &str) -> Fix {
    let here = SuggestedCommand::plugin(verb).flag("--local");
    SuggestedCommand::plugin(verb).after(text).text(", or ").command(here)
}

impl Explain for ChatError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::Unreachable { .. } => MessageCode::EndpointUnreachable,
            Self::InvalidUrl { .. } => MessageCode::InvalidEndpointUrl,
            Self::InvalidKey { .. } => MessageCode::InvalidValue,
            Self::Access { .. } => MessageCode::EndpointAccessDenied,
            Self::Refused { .. } => MessageCode::EndpointRequestRejected,
            Self::NoModelServed { .. } | Self::NoModel { .. } => MessageCode::EndpointWithoutModel,
            Self::WhichModel { .. } | Self::UnknownModel { .. } | Self::ModelsNotListed { .. } => {
                MessageCode::EndpointModelNotSelected
            }
            Self::StreamError { .. } => MessageCode::AnswerFailed,
            Self::ConnectionClosed => MessageCode::AnswerInterrupted,
            Self::NotOpenAi { .. } => MessageCode::NotAnOpenAiEndpoint,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Unreachable { .. } => on_cluster_or_here("list", "list the deployments: "),
            Self::InvalidUrl { .. } => "specify a URL such as --url http://127.0.0.1:8000/v1".into(),
            Self::InvalidKey { .. } => {
                "store only the key, without \"Bearer\", in the variable: export OPENAI_API_KEY=\"$(cat key.txt)\"".into()
            }
            Self::Access { .. } => {
                "specify the environment variable with the key: --api-key-env OPENAI_API_KEY".into()
            }
            Self::Refused { .. } => "change the request as described in the message of the endpoint".into(),
            Self::NoModelServed { .. } | Self::NoModel { .. } => {
                on_cluster_or_here("status", "check the deployment: ")
            }
            Self::WhichModel { .. } | Self::UnknownModel { .. } => "select a model with --model".into(),
            Self::ModelsNotListed { .. } => "specify the model: --model MODEL".into(),
            Self::StreamError { .. } | Self::ConnectionClosed => {
                on_cluster_or_here("status", "retry; if it fails again: ")
            }
            Self::NotOpenAi { .. } => "specify the URL that ends in /v1".into(),
        })
    }
}

/// How a probe reports the failure of a request.
impl From<ChatError> for AnswerFailure {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Access { status, message, .. } | ChatError::Refused { status, message } => {
                Self::Rejected { status, message }
            }
            ChatError::NoModelServed { .. } => {
                Self::Rejected { status: 404, message: "empty response".into() }
            }
            ChatError::StreamError { message } => Self::ErrorInAnswer { message },
            ChatError::ConnectionClosed => Self::Interrupted,
            ChatError::Unreachable { cause, .. } => Self::Unreachable { cause },
            error => Self::NotAnAnswer { reason: error.to_string() },
        }
    }
}

/// Returns the message of the innermost cause; the outer errors only state that the request failed.
pub(crate) fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
