//! The requests of the probes of tool calls, reasoning, and structured answers. They have only OpenAI's fields.

use super::client::ProbeClient;
use super::request::{CompletionApi, CompletionBody, ToolChoice};
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{
    AnswerFailure, ObservedAnswer, ToolAnswers, judge_reasoning, judge_structured, judge_tools,
};

const API: CompletionApi = CompletionApi::Chat;
/// Enough for an answer without reasoning, and for one with reasoning.
const MAX_TOKENS: u64 = 256;
const MAX_TOKENS_WITH_REASONING: u64 = 2048;
const TOOL_PROMPT: &str = "What is the local time in Paris? Call the tool.";
const REASONING_PROMPT: &str = "Is 91 a prime number? Think briefly, then answer with yes or no.";
const SCHEMA_PROMPT: &str = "Name the capital of France and how many letters its name has, as JSON.";

pub(super) async fn probe_tools(client: &ProbeClient<'_>) -> CheckResult {
    let ask = async |choice| ask(TOOL_PROMPT, |body| body.with_tool(choice), client).await;
    let answers =
        ToolAnswers { forced: ask(ToolChoice::Forced).await, automatic: ask(ToolChoice::Automatic).await };
    judge_tools(&answers, client.subject())
}

pub(super) async fn probe_reasoning(client: &ProbeClient<'_>) -> CheckResult {
    judge_reasoning(&ask(REASONING_PROMPT, |body| body, client).await, client.subject())
}

pub(super) async fn probe_structured(client: &ProbeClient<'_>) -> CheckResult {
    judge_structured(&ask(SCHEMA_PROMPT, CompletionBody::with_schema, client).await, client.subject())
}

/// Sends a prompt, and once more with a higher limit if the model was still reasoning.
async fn ask<'a>(
    prompt: &'a str,
    complete: impl Fn(CompletionBody<'a>) -> CompletionBody<'a>,
    client: &'a ProbeClient<'_>,
) -> Result<ObservedAnswer, AnswerFailure> {
    let post = async |limit| client.post(API, &complete(client.body(API, prompt, limit))).await;
    let answer = post(MAX_TOKENS).await?;
    let is_reasoning = answer.is_cut_off() && answer.tool_calls.is_empty() && answer.has_reasoning();
    if is_reasoning { post(MAX_TOKENS_WITH_REASONING).await } else { Ok(answer) }
}
