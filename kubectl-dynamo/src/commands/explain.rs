//! `explain`: prints the meaning of a message code and how to fix the problem.
//! It must not access a cluster.

use clap::Args;
use serde_json::{Value, json};

use super::output_flag::output_parser;
use crate::output::{PrintFormat, TextFormat, print_data};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::diagnosis::{Explanation, explanation, explanations};
use kubectl_dynamo_core::error::{Exit, Explain, Result};
use kubectl_dynamo_core::resources::object_at;

#[derive(Args)]
pub(super) struct ExplainArgs {
    /// Message code (default: list all codes)
    pub code: Option<String>,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
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
    let text = match &args.code {
        None => args.output.text(list_document, |TextFormat::Text| list())?,
        Some(code) => {
            let entry = explanation(code).ok_or_else(|| UnknownCode { code: code.clone() })?;
            args.output.text(|| document(&entry), |TextFormat::Text| screen(&entry))?
        }
    };
    print_data(&text)?;
    Ok(Exit::Ok)
}

fn list() -> String {
    explanations().iter().map(|entry| format!("{}  {}\n", entry.code, entry.meaning)).collect()
}

fn screen(entry: &Explanation) -> String {
    let advice = if entry.advice.is_empty() { String::new() } else { format!("\n{}\n", entry.advice) };
    let address = entry.code.address().map(|address| format!("\n{address}\n")).unwrap_or_default();
    format!("{}: {}\n{advice}{address}", entry.code, entry.meaning)
}

fn list_document() -> Value {
    let items: Vec<Value> = explanations().iter().map(item).collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "MessageCodeList", "items": items })
}

fn document(entry: &Explanation) -> Value {
    let mut document = item(entry);
    object_at(&mut document, &[]).extend([
        ("apiVersion".into(), "kubectl-dynamo.dev/v1".into()),
        ("kind".into(), "MessageCode".into()),
    ]);
    document
}

fn item(entry: &Explanation) -> Value {
    json!({
        "code": entry.code, "category": entry.code.category().title(), "exit": entry.code.exit() as u8,
        "meaning": entry.meaning, "advice": entry.advice, "address": entry.code.address(),
    })
}
