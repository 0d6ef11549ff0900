//! Reads the hub token that the user passes to `up` and that is stored in a Secret. The token is never part of
//! a message.

use std::io::Read;

use crate::workflow::sources::{self, RequestInput};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain, Result};

/// Maximum length of the input.
const MAX_LENGTH: u64 = 4096;

/// Where the hub token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenInput {
    /// No token is stored.
    None,
    Stdin,
}

/// An input without a usable token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenInputError {
    #[error("stdin does not contain a token")]
    NoToken,
    #[error("--hf-token-stdin cannot be used with a manifest")]
    TokenWithManifest,
    #[error("-f - and --hf-token-stdin both read standard input")]
    StdinTwice,
}

impl Explain for TokenInputError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoToken => MessageCode::HubTokenMissing,
            Self::TokenWithManifest | Self::StdinTwice => MessageCode::ContradictingValues,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::TokenWithManifest => {
                "remove --hf-token-stdin and reference the Secret in the manifest".into()
            }
            Self::StdinTwice => "save the request to a file and name it with -f".into(),
            Self::NoToken => SuggestedCommand::plugin("up MODEL")
                .flag("--hf-token-stdin")
                .after("pass the token on stdin: "),
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Checks that standard input is not also the file of the request.
///
/// # Errors
/// [`TokenInputError::StdinTwice`].
pub(crate) fn check_stdin(token: TokenInput, file: Option<&str>) -> Result<()> {
    match (token, file) {
        (TokenInput::None, _) => Ok(()),
        (_, Some("-")) => Err(TokenInputError::StdinTwice.into()),
        _ => Ok(()),
    }
}

/// Reads the token. If no Secret is named, the token goes to the Secret of Dynamo's own examples.
///
/// # Errors
/// An input that is not a token, or a manifest, which names its own Secret.
pub(crate) fn read(token: TokenInput, input: &mut RequestInput) -> Result<Option<String>> {
    if token == TokenInput::None {
        return Ok(None);
    }
    let RequestInput::Request(request) = input else { return Err(TokenInputError::TokenWithManifest.into()) };
    let mut text = String::new();
    std::io::stdin().take(MAX_LENGTH).read_to_string(&mut text)?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(TokenInputError::NoToken.into());
    }
    request.layers.push(sources::default_token_secret());
    Ok(Some(token.to_owned()))
}
