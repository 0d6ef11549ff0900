//! `explain`: prints the meaning of a message code and how to fix the problem.
//! It must not access a cluster.

use clap::Args;

use crate::output::print_data;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::diagnosis::{explanation, explanations};
use kubectl_dynamo_core::error::{Exit, Explain, Result};

/// Explain a message code such as KD0604, or list all codes
#[derive(Args)]
pub(super) struct ExplainArgs {
    /// Message code (default: list all codes)
    pub code: Option<String>,
}

/// A message code that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("message code \"{code}\" not found")]
struct UnknownCode {
    code: String,
}

impl Explain for UnknownCode {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidCommandLine)
    }

    fn hint(&self) -> Option<Fix> {
        Some(SuggestedCommand::plugin("explain").after("list the codes with "))
    }
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit> {
    let Some(code) = &args.code else {
        let lines: String =
            explanations().iter().map(|entry| format!("{}  {}\n", entry.code, entry.meaning)).collect();
        print_data(&lines)?;
        return Ok(Exit::Ok);
    };
    let entry = explanation(code).ok_or_else(|| UnknownCode { code: code.clone() })?;
    let advice = if entry.advice.is_empty() { String::new() } else { format!("\n{}\n", entry.advice) };
    print_data(&format!("{}: {}\n{advice}", entry.code, entry.meaning))?;
    Ok(Exit::Ok)
}
