//! Asking before something is destroyed or interrupted: only on a terminal, and never in the way of a script.

use std::io::IsTerminal;

use dialoguer::Confirm;

use crate::error::{Exit, Explain, Result};

/// A question that nobody is there to answer.
#[derive(Debug, thiserror::Error)]
#[error("this needs a yes, and stdin is no terminal to ask on")]
struct NobodyToAsk;

impl Explain for NobodyToAsk {
    fn code(&self) -> Option<&'static str> {
        Some("KD0002")
    }

    fn hint(&self) -> Option<String> {
        Some("add -y".into())
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Checks that somebody is there to be asked.
///
/// # Errors
/// No terminal.
pub(super) fn somebody() -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(NobodyToAsk.into());
    }
    Ok(())
}

/// Asks; the default is no.
///
/// # Errors
/// No terminal.
pub(super) fn confirm(question: &str) -> Result<bool> {
    somebody()?;
    let answer = Confirm::new().with_prompt(question).default(false).interact();
    Ok(answer.map_err(std::io::Error::other)?)
}
