//! The probes of what the frontend makes of the model's text: tool calls, reasoning, and structured answers.
//!
//! A model writes all three as text in the format of its family. If the parser does not fit the format, the markers stay in
//! the text, or the text vanishes. A model that does not write them at all proves nothing, so the probe is skipped.

use serde::Deserialize;

use super::{AnswerFailure, ObservedAnswer, ProbePlace, ProbeSubject, failed, warning};
use crate::chat_template::find_unparsed;
use crate::code::MessageCode;
use crate::command::Fix;
use crate::finding::CheckResult;
use crate::intent::ParserKind;
use crate::release::{CATALOG, Release};

/// The tool that the requests offer, and its only argument.
pub const TOOL_NAME: &str = "get_local_time";
pub const TOOL_ARGUMENT: &str = "city";
/// The fields of the requested structured answer.
pub const TEXT_FIELD: &str = "city";
pub const NUMBER_FIELD: &str = "letters";

/// Fewer tokens than this are an empty answer, not a text that vanished.
const VANISHED_TOKENS: u64 = 4;

/// The answers to a request that must call a tool, and to one that can.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolAnswers {
    pub forced: Result<ObservedAnswer, AnswerFailure>,
    pub automatic: Result<ObservedAnswer, AnswerFailure>,
}

/// What an answer contains in place of a parsed tool call.
enum CallResult {
    Parsed,
    /// The text does not contain a call either.
    NoCall,
    Problem(CheckResult),
}

/// Judges whether tool calls are returned in their own field.
pub fn judge_tools(answers: &ToolAnswers, subject: &ProbeSubject) -> CheckResult {
    let mut results = Vec::new();
    for (request, answer) in [("a forced call", &answers.forced), ("an automatic call", &answers.automatic)] {
        match answer {
            Err(AnswerFailure::Rejected { status: 400..=499, message })
                if !is_set(ParserKind::ToolCall, subject) =>
            {
                return CheckResult::Skipped(format!("requests with tools are rejected: {message}"));
            }
            Err(failure) => return failure.result(request, &subject.place),
            Ok(answer) => match call_result(request, answer, subject) {
                CallResult::Problem(problem) => return problem,
                result => results.push(result),
            },
        }
    }
    match results.as_slice() {
        [CallResult::Parsed, CallResult::Parsed] => CheckResult::Passed(format!(
            "a forced and an automatic call of {TOOL_NAME} are in tool_calls with valid JSON"
        )),
        [CallResult::Parsed, _] => CheckResult::Passed(format!(
            "a forced call of {TOOL_NAME} is in tool_calls with valid JSON; the model did not call it otherwise"
        )),
        [_, CallResult::Parsed] if is_set(ParserKind::ToolCall, subject) => {
            let text = "an automatic call is in tool_calls, and a forced call is not";
            failed(MessageCode::ToolCallsNotParsed, text, subject.place.logs_command("frontend"))
        }
        [_, CallResult::Parsed] => {
            CheckResult::Passed(format!("an automatic call of {TOOL_NAME} is in tool_calls with valid JSON"))
        }
        _ => CheckResult::Skipped("the model does not write tool calls".into()),
    }
}

fn call_result(request: &str, answer: &ObservedAnswer, subject: &ProbeSubject) -> CallResult {
    let kind = ParserKind::ToolCall;
    let problem =
        |text: String, hint: Fix| CallResult::Problem(failed(MessageCode::ToolCallsNotParsed, text, hint));
    if let Some(call) = answer.tool_calls.first() {
        let is_object =
            serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&call.arguments).is_ok();
        if is_object && call.name == TOOL_NAME {
            return CallResult::Parsed;
        }
        let text = format!("{request} has the name \"{}\" and the arguments {}", call.name, call.arguments);
        return problem(text, subject.place.logs_command("frontend"));
    }
    let everything = format!("{}{}", answer.reasoning, answer.text);
    if let Some(format) = find_unparsed(&everything, kind, release(subject)) {
        let text =
            format!("{request} is in the text, and tool_calls is empty: the text has {}", format.description);
        let (text, hint) = with_parser(text, format.parser, kind, &subject.place);
        return problem(text, hint);
    }
    let tokens = answer.tokens.map_or(0, |tokens| tokens.completion);
    if answer.text.trim().is_empty() && tokens > reasoning_tokens(answer) + VANISHED_TOKENS {
        let parser = subject.intent.as_ref().and_then(|intent| intent.parsers.name(kind));
        let parser = parser.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let text = format!(
            "{request} is lost: the model generated {tokens} tokens, and tool_calls and the text are empty; the \
             tool-call parser{parser} does not fit the model"
        );
        let automatic = subject.place.change_command("--tool-call-parser auto");
        return problem(text, Fix::from("derive the parser from the chat template: ").then(automatic));
    }
    CallResult::NoCall
}

/// About how many tokens the reasoning has. A token has at least one letter.
fn reasoning_tokens(answer: &ObservedAnswer) -> u64 {
    answer.reasoning.chars().count() as u64
}

/// Judges whether reasoning is returned in its own field.
pub fn judge_reasoning(
    answer: &Result<ObservedAnswer, AnswerFailure>,
    subject: &ProbeSubject,
) -> CheckResult {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return failure.result("a question that needs reasoning", &subject.place),
    };
    let kind = ParserKind::Reasoning;
    if let Some(format) = find_unparsed(&answer.text, kind, release(subject)) {
        let text = format!("the reasoning is in the text of the answer, which has {}", format.description);
        let (text, hint) = with_parser(text, format.parser, kind, &subject.place);
        return failed(MessageCode::ReasoningNotParsed, text, hint);
    }
    let is_complete = answer.finish_reason.as_deref() == Some("stop");
    match (answer.reasoning.trim().is_empty(), answer.text.trim().is_empty()) {
        (true, _) => CheckResult::Skipped("the model does not write reasoning".into()),
        (false, true) if is_complete => {
            let text = "the whole answer is in the field of the reasoning, and its text is empty; the reasoning parser \
                        does not fit the model";
            let automatic = subject.place.change_command("--reasoning-parser auto");
            let hint = Fix::from("derive the parser from the chat template: ").then(automatic);
            failed(MessageCode::ReasoningNotParsed, text, hint)
        }
        (false, _) => CheckResult::Passed(format!(
            "{} letters of reasoning are in their own field, and {} in the text",
            answer.reasoning.trim().chars().count(),
            answer.text.trim().chars().count()
        )),
    }
}

/// The structured answer that the schema asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StructuredAnswer {
    city: String,
    letters: i64,
}

/// Judges whether an answer follows the JSON schema of its request.
pub fn judge_structured(
    answer: &Result<ObservedAnswer, AnswerFailure>,
    subject: &ProbeSubject,
) -> CheckResult {
    let is_deployment = subject.intent.is_some();
    let answer = match answer {
        Ok(answer) => answer,
        Err(AnswerFailure::Rejected { status: 400..=499, message }) if !is_deployment => {
            return CheckResult::Skipped(format!("requests with a JSON schema are rejected: {message}"));
        }
        Err(failure) => return failure.result("a request with a JSON schema", &subject.place),
    };
    match serde_json::from_str::<StructuredAnswer>(answer.text.trim()) {
        Ok(StructuredAnswer { city, letters }) => CheckResult::Passed(format!(
            "the answer follows the JSON schema: {TEXT_FIELD} \"{city}\", {NUMBER_FIELD} {letters}"
        )),
        Err(_) if answer.is_cut_off() => {
            CheckResult::Skipped("the answer did not end within the token limit of the request".into())
        }
        Err(error) => {
            let text = format!("the answer to a request with a JSON schema does not follow it: {error}");
            let hint = Fix::from(
                "if the model reasons, vLLM needs its own --reasoning-parser to know where the answer starts: ",
            )
            .then(subject.place.change_command("--reasoning-parser auto"));
            let report = if is_deployment { failed } else { warning };
            report(MessageCode::SchemaNotFollowed, text, hint)
        }
    }
}

/// Adds the parser that reads the format to a text, and returns how to select it.
fn with_parser(
    text: String,
    parser: Option<&'static str>,
    kind: ParserKind,
    place: &ProbePlace,
) -> (String, Fix) {
    let Some(name) = parser else {
        return (format!("{text}, which no {kind} of the release reads"), place.logs_command("frontend"));
    };
    let flag = match place {
        ProbePlace::Url { .. } => kind.worker_flag(),
        ProbePlace::Cluster { .. } | ProbePlace::Local { .. } => kind.plugin_flag(),
    };
    let hint = Fix::from("select the parser that reads this format: ");
    (
        format!("{text}, which the {kind} \"{name}\" reads"),
        hint.then(place.change_command(&format!("{flag} {name}"))),
    )
}

/// Whether the deployment has a parser of this kind.
fn is_set(kind: ParserKind, subject: &ProbeSubject) -> bool {
    subject.intent.as_ref().is_some_and(|intent| intent.parsers.name(kind).is_some())
}

/// The release whose parsers are suggested.
fn release(subject: &ProbeSubject) -> &'static Release {
    subject.release.unwrap_or(&CATALOG[CATALOG.len() - 1])
}

#[cfg(test)]
mod tests;
