//! The verdicts over answers of a frontend 1.6.1 with a worker that answers fixed text.

use super::*;
use crate::probe::{AnswerTokens, AnswerToolCall};

fn url() -> ProbeSubject {
    ProbeSubject {
        place: ProbePlace::Url { url: "http://127.0.0.1:8000/v1".into() },
        intent: None,
        release: None,
        model: "fixed".into(),
    }
}

fn text(text: &str) -> Result<ObservedAnswer, AnswerFailure> {
    Ok(ObservedAnswer {
        text: text.into(),
        finish_reason: Some("stop".into()),
        tokens: Some(AnswerTokens { prompt: 40, completion: 60, cached: None }),
        ..ObservedAnswer::default()
    })
}

fn call(name: &str, arguments: &str) -> Result<ObservedAnswer, AnswerFailure> {
    let call = AnswerToolCall { name: name.into(), arguments: arguments.into() };
    text("").map(|answer| ObservedAnswer { tool_calls: vec![call], ..answer })
}

fn parsed() -> Result<ObservedAnswer, AnswerFailure> {
    call(TOOL_NAME, r#"{"city": "Paris"}"#)
}

fn with_reasoning(reasoning: &str, answer: &str) -> Result<ObservedAnswer, AnswerFailure> {
    text(answer).map(|answer| ObservedAnswer { reasoning: reasoning.into(), ..answer })
}

fn rejected() -> Result<ObservedAnswer, AnswerFailure> {
    Err(AnswerFailure::Rejected { status: 400, message: "no tools".into() })
}

const HERMES: &str = r#"<tool_call>{"name": "get_local_time", "arguments": {"city": "Paris"}}</tool_call>"#;

#[test]
fn parsed_calls_pass_and_models_without_calls_are_skipped() {
    let judge = |forced, automatic| judge_tools(&ToolAnswers { forced, automatic }, &url());
    for (forced, automatic, expected) in [
        (
            parsed(),
            parsed(),
            "a forced and an automatic call of get_local_time are in tool_calls with valid JSON",
        ),
        (
            parsed(),
            text("It is noon."),
            "a forced call of get_local_time is in tool_calls with valid JSON; the model did not call it otherwise",
        ),
        (
            text("It is noon."),
            parsed(),
            "an automatic call of get_local_time is in tool_calls with valid JSON",
        ),
    ] {
        assert_eq!(judge(forced, automatic), CheckResult::Passed(expected.into()));
    }
    for (forced, automatic, reason) in [
        (text("w1 w2"), text("w3"), "the model does not write tool calls"),
        (rejected(), parsed(), "requests with tools are rejected: no tools"),
    ] {
        assert_eq!(judge(forced, automatic), CheckResult::Skipped(reason.into()));
    }
}

#[test]
fn unparsed_and_lost_calls_fail_and_name_the_parser() {
    for (forced, automatic, expected) in [
        (
            text(HERMES),
            parsed(),
            "a forced call is in the text, and tool_calls is empty: the text has `<tool_call>` with JSON, which the \
             tool-call parser \"hermes\" reads",
        ),
        (parsed(), text("<function=f><parameter=a>1</parameter></function>"), "parser \"qwen3_coder\" reads"),
        (parsed(), text("[TOOL_CALLS]f[ARGS]{}"), "which no tool-call parser of the release reads"),
        (parsed(), with_reasoning("I", ""), "an automatic call is lost: the model generated 60 tokens"),
        (call("other", "{}"), parsed(), "a forced call has the name \"other\" and the arguments {}"),
        (call(TOOL_NAME, "{\"city"), parsed(), "the arguments {\"city"),
        (Err(AnswerFailure::Interrupted), parsed(), "a forced call failed: the answer ended early"),
    ] {
        let result = judge_tools(&ToolAnswers { forced, automatic }, &url());
        let problem = result.problem().unwrap_or_else(|| panic!("{result:?}: {expected}"));
        assert!(problem.text.contains(expected), "{}", problem.text);
        let is_answer = !problem.text.contains("failed");
        assert_eq!(problem.code == MessageCode::ToolCallsNotParsed, is_answer);
    }
    let result = judge_tools(&ToolAnswers { forced: text(HERMES), automatic: parsed() }, &url());
    let hint = result.problem().map(|problem| problem.hint.to_string()).unwrap_or_default();
    assert!(hint.ends_with("start the server with --dyn-tool-call-parser hermes"), "{hint}");
}

#[test]
fn reasoning_must_be_in_its_own_field() {
    let judge = |answer| judge_reasoning(&answer, &url());
    assert_eq!(
        judge(with_reasoning("It is 42. ", " 42")),
        CheckResult::Passed("9 letters of reasoning are in their own field, and 2 in the text".into())
    );
    assert!(matches!(judge(text("42")), CheckResult::Skipped(_)));
    // Cut off by the token limit while it reasons.
    let cut = with_reasoning("Let me", "")
        .map(|answer| ObservedAnswer { finish_reason: Some("length".into()), ..answer });
    assert!(matches!(judge(cut), CheckResult::Passed(_)));
    for (answer, expected) in [
        (text("<think>Let me</think>42"), "which has `<think>`, which the reasoning parser \"basic\" reads"),
        (text("[THINK]Let me[/THINK]42"), "parser \"mistral\" reads"),
        (with_reasoning("Let me</think>42", ""), "the whole answer is in the field of the reasoning"),
    ] {
        let result = judge(answer);
        let problem = result.problem().unwrap_or_else(|| panic!("{result:?}: {expected}"));
        assert_eq!(problem.code, MessageCode::ReasoningNotParsed);
        assert!(problem.text.contains(expected), "{}", problem.text);
    }
}

#[test]
fn structured_answer_must_follow_the_schema() {
    let judge = |answer| judge_structured(&answer, &url());
    assert_eq!(
        judge(text(r#" {"city": "Paris", "letters": 5} "#)),
        CheckResult::Passed("the answer follows the JSON schema: city \"Paris\", letters 5".into())
    );
    assert!(matches!(judge(rejected()), CheckResult::Skipped(_)));
    for answer in [r#"{"city": "Paris"}"#, r#"{"city": "Paris", "letters": "5"}"#, "Paris", ""] {
        let result = judge(text(answer));
        assert!(
            matches!(&result, CheckResult::Warning(problem) if problem.code == MessageCode::SchemaNotFollowed),
            "{result:?}"
        );
    }
}
