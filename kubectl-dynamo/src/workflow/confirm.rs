//! Asks for confirmation before a command deletes or interrupts something.
//! It must not prompt without a terminal, so that a script does not block.

use std::io::IsTerminal;

use crate::context::Context;
use crate::prompt::{self, OtherKeys, Prompt, YesNoQuestion};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Exit, Explain, Result};

/// A confirmation is required, but there is no terminal.
#[derive(Debug, thiserror::Error)]
#[error("confirmation required, but stdin is not a terminal")]
struct NotInteractive;

impl Explain for NotInteractive {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::ConfirmationRequired)
    }

    fn hint(&self) -> Option<Fix> {
        Some("pass --yes".into())
    }
}

/// The user canceled the prompt.
#[derive(Debug, thiserror::Error)]
#[error("aborted; nothing was changed")]
struct Cancellation;

impl Explain for Cancellation {
    fn exit(&self) -> Exit {
        Exit::Interrupted
    }
}

/// Checks that stdin and stderr are a terminal.
///
/// # Errors
/// Stdin or stderr is not a terminal.
pub(crate) fn require_interactive() -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(NotInteractive.into());
    }
    Ok(())
}

/// Prompts for confirmation. Only the key `y` confirms; input typed before the prompt is discarded.
///
/// # Errors
/// Stdin or stderr is not a terminal, or the user cancels the prompt.
pub(crate) fn confirm(question: &str, context: &Context) -> Result<bool> {
    require_interactive()?;
    prompt::discard_typed_input();
    let question = YesNoQuestion { text: question.into(), other_keys: OtherKeys::MeanNo };
    Prompt::new(context.progress).yes_or_no(&question)?.ok_or_else(|| Cancellation.into())
}
