//! `explain`: what a message code means and what to do about it, without a cluster.

use clap::Args;

use super::print_data;
use crate::diagnosis::{explanation, explanations};
use crate::error::{Exit, Explain, Result};

/// Explain a message code such as KD0604; without one, list them all
#[derive(Args)]
pub(super) struct ExplainArgs {
    /// The code
    pub code: Option<String>,
}

/// A code that there is none of.
#[derive(Debug, thiserror::Error)]
#[error("there is no message code `{given}`")]
struct NoCode {
    given: String,
}

impl Explain for NoCode {
    fn code(&self) -> Option<&'static str> {
        Some("KD0001")
    }

    fn hint(&self) -> Option<String> {
        Some("list them: kubectl dynamo explain".into())
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit> {
    let Some(given) = &args.code else {
        let lines: String =
            explanations().iter().map(|one| format!("{}  {}\n", one.code, one.meaning)).collect();
        print_data(&lines)?;
        return Ok(Exit::Ok);
    };
    let one = explanation(given).ok_or_else(|| NoCode { given: given.clone() })?;
    let advice = if one.advice.is_empty() { String::new() } else { format!("\n{}\n", one.advice) };
    print_data(&format!("{}: {}\n{advice}", one.code, one.meaning))?;
    Ok(Exit::Ok)
}
