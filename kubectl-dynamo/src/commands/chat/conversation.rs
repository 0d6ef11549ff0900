//! A conversation of several turns: each request contains the earlier messages, and the answer is streamed.
//! It does not read from the terminal; the interactive session is in its own file.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::chat::{ChatMessage, ChatRequest, ChatRole, Delta, Endpoint, ToolCall, Turn, Usage, Workers};
use crate::output::{
    DocumentCount, DocumentSeparator, PrintFormat, PrintableText, TextFormat, print_data, print_styled,
};
use crate::report::Report;
use crate::signals;
use kubectl_dynamo_core::error::{Error, Exit, Result};

/// How an answer is printed: the text while it is generated, or one document after the answer is complete.
#[derive(Debug)]
pub(super) struct ConversationOutput {
    format: PrintFormat<TextFormat>,
    separator: DocumentSeparator,
}

impl ConversationOutput {
    pub(super) fn new(format: PrintFormat<TextFormat>, count: DocumentCount) -> Self {
        Self { format, separator: DocumentSeparator::new(count) }
    }

    fn is_text(&self) -> bool {
        !self.format.is_document()
    }
}

/// The messages so far, the server, and the output format.
pub(super) struct Conversation<'a> {
    endpoint: Endpoint,
    request: ChatRequest,
    report: &'a Report,
    output: ConversationOutput,
    /// The last prompt, answered or not.
    last_prompt: Option<String>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        endpoint: Endpoint,
        model: String,
        report: &'a Report,
        output: ConversationOutput,
    ) -> Self {
        let request = ChatRequest { model, messages: Vec::new(), max_tokens: None, temperature: None };
        Self { endpoint, request, report, output, last_prompt: None }
    }

    /// Sets the token limit and the sampling temperature of the answers.
    pub(super) fn set_sampling(&mut self, max_tokens: Option<u32>, temperature: Option<f32>) {
        self.request.max_tokens = max_tokens;
        self.request.temperature = temperature;
    }

    /// Sets the system prompt; an empty one removes it.
    pub(super) fn set_system_prompt(&mut self, system: &str) {
        let messages = &mut self.request.messages;
        messages.retain(|message| message.role != ChatRole::System);
        if !system.is_empty() {
            messages.insert(0, ChatMessage { role: ChatRole::System, content: system.to_owned() });
        }
    }

    /// Returns the last prompt and removes it and its answer from the conversation.
    pub(super) fn pop_last_question(&mut self) -> Option<String> {
        let question = self.last_prompt.clone()?;
        let messages = &mut self.request.messages;
        if let Some(at) = messages.iter().rposition(|message| message.role == ChatRole::User)
            && messages[at].content == question
        {
            messages.truncate(at);
        }
        Some(question)
    }

    /// Removes every message except the system prompt.
    pub(super) fn clear(&mut self) {
        self.request.messages.retain(|message| message.role == ChatRole::System);
    }

    pub(super) fn model(&self) -> &str {
        &self.request.model
    }

    pub(super) fn report(&self) -> &Report {
        self.report
    }

    /// Sends a prompt, then prints the answer and its statistics. Ctrl-C ends the turn and keeps the partial
    /// answer.
    pub(super) async fn run_turn(&mut self, prompt: String) -> Result<Exit> {
        self.last_prompt = Some(prompt.clone());
        self.push_message(ChatRole::User, prompt);
        let mut printer = ReplyPrinter { is_printed: self.output.is_text(), ..ReplyPrinter::default() };
        let outcome = tokio::select! {
            turn = self.endpoint.complete(&self.request, |piece| printer.push(piece)) => Some(turn),
            () = signals::interrupt_key() => None,
        };
        let ReplyPrinter { text, error, .. } = printer;
        if self.output.is_text() && !text.is_empty() && !text.ends_with('\n') {
            print_data("\n")?;
        }
        if let Some(error) = error {
            return Err(error);
        }
        match outcome {
            Some(Ok(turn)) => {
                self.push_message(ChatRole::Assistant, text);
                self.print_turn(&turn)?;
                Ok(Exit::Ok)
            }
            Some(Err(error)) => {
                // Remove the unanswered prompt; otherwise the next request would send it twice.
                self.request.messages.pop();
                Err(error.into())
            }
            None => {
                if text.is_empty() {
                    self.request.messages.pop();
                } else {
                    self.push_message(ChatRole::Assistant, text);
                }
                self.report.info("interrupted");
                Ok(Exit::Interrupted)
            }
        }
    }

    fn push_message(&mut self, role: ChatRole, content: String) {
        self.request.messages.push(ChatMessage { role, content });
    }

    fn print_turn(&mut self, turn: &Turn) -> Result<()> {
        match &self.output.format {
            PrintFormat::Own(TextFormat::Text) => {
                for call in &turn.tool_calls {
                    self.report.info(format!("the model calls {}({})", call.name, call.arguments));
                }
                if turn.text.is_empty() && turn.tool_calls.is_empty() {
                    self.report.info("the answer is empty");
                }
                let statistics = turn.statistics();
                if !statistics.is_empty() {
                    self.report.info(statistics);
                }
            }
            PrintFormat::Document(format) => {
                let text = format.text(&document(&self.request.model, turn))?;
                print_data(&self.output.separator.separate(text, &self.output.format))?;
            }
        }
        Ok(())
    }
}

/// Prints and collects an answer while it is received. The text is collected as the model wrote it, and printed
/// without escape sequences.
#[derive(Default)]
struct ReplyPrinter {
    text: String,
    is_printed: bool,
    answer: PrintableText,
    reasoning: PrintableText,
    /// The last piece was reasoning, so the answer begins on a new line.
    is_reasoning: bool,
    error: Option<Error>,
}

impl ReplyPrinter {
    fn push(&mut self, piece: Delta<'_>) {
        match piece {
            Delta::Reasoning(reasoning) if self.is_printed => {
                let dimmed = anstyle::Style::new().dimmed();
                let reasoning = self.reasoning.push(reasoning);
                let mut stderr = anstream::stderr().lock();
                let _ = write!(stderr, "{dimmed}{reasoning}{dimmed:#}").and_then(|()| stderr.flush());
                self.is_reasoning = true;
            }
            Delta::Reasoning(_) => {}
            Delta::Content(answer) => {
                self.text.push_str(answer);
                if std::mem::take(&mut self.is_reasoning) {
                    let _ = writeln!(anstream::stderr().lock());
                }
                if self.is_printed && self.error.is_none() {
                    self.error = print_styled(&self.answer.push(answer)).err();
                }
            }
        }
    }
}

fn document(model: &str, turn: &Turn) -> Value {
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
    let timings = json!({
        "firstTokenMs": milliseconds(turn.first_token),
        "betweenTokensMs": milliseconds(turn.inter_token_latency()),
        "totalMs": milliseconds(turn.last_token),
        "tokensPerSecond": turn.tokens_per_second(),
    });
    json!(CompletionDocument {
        api_version: "kubectl-dynamo.dev/v1",
        kind: "ChatCompletion",
        model,
        text: &turn.text,
        finish_reason: turn.finish_reason.as_deref(),
        usage: turn.usage,
        workers: turn.workers.as_ref(),
        timings,
        tool_calls: &turn.tool_calls,
    })
}

/// The result of `-o json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompletionDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    model: &'a str,
    text: &'a str,
    finish_reason: Option<&'a str>,
    usage: Option<Usage>,
    workers: Option<&'a Workers>,
    timings: Value,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
}
