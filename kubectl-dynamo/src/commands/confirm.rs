//! Asking before something is destroyed or interrupted: only on a terminal, and never in the way of a script.

use std::io::IsTerminal;

use dialoguer::Input;
use rustix::termios::{QueueSelector, tcflush};

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

/// Ctrl-C for an answer.
#[derive(Debug, thiserror::Error)]
#[error("left without an answer: nothing was done")]
struct Left;

impl Explain for Left {
    fn exit(&self) -> Exit {
        Exit::Interrupted
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

/// Asks; a whole line that says yes is a yes, and all else a no: what was typed before the question too.
///
/// # Errors
/// No terminal, and Ctrl-C.
pub(super) fn confirm(question: &str) -> Result<bool> {
    somebody()?;
    // A terminal that cannot forget what was typed may still be asked.
    let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
    let answer =
        Input::<String>::new().with_prompt(format!("{question} [y/N]")).allow_empty(true).interact_text();
    match answer {
        Ok(answer) => Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str())),
        Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
            Err(Left.into())
        }
        Err(dialoguer::Error::IO(error)) => Err(error.into()),
    }
}
