//! Errors of the arguments and of the input of `chat`. Errors of the server are in [`crate::chat`].

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// A missing input of `chat`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChatArgsError {
    #[error("missing deployment name")]
    MissingName,
    #[error("prompt from stdin is empty")]
    PromptEmpty,
}

impl Explain for ChatArgsError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::ChatInputMissing)
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::MissingName => SuggestedCommand::plugin("list")
                .after("list the deployments with ")
                .text(", or pass an address with --url"),
            Self::PromptEmpty => "pass the prompt after the name, or pipe it to stdin".into(),
        })
    }
}
