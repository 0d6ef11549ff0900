//! A conversation, turn by turn: what was said is sent again, the answer is shown as it comes.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::chat::{Endpoint, Message, Piece, Request, Role, Turn};
use crate::commands::print_data;
use crate::error::{Exit, Result};
use crate::report::Report;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum OutputFormat {
    /// As it comes.
    Text,
    /// One object when it is whole.
    Json,
}

/// What was said so far, and to whom.
pub(super) struct Conversation<'a> {
    endpoint: Endpoint,
    request: Request,
    report: &'a Report,
    output: OutputFormat,
    /// The last question, answered or not.
    asked: Option<String>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(endpoint: Endpoint, model: String, report: &'a Report, output: OutputFormat) -> Self {
        let request = Request { model, messages: Vec::new(), max_tokens: None, temperature: None };
        Self { endpoint, request, report, output, asked: None }
    }

    /// How long and how freely it may answer.
    pub(super) fn limit(&mut self, max_tokens: Option<u32>, temperature: Option<f32>) {
        self.request.max_tokens = max_tokens;
        self.request.temperature = temperature;
    }

    /// Sets the system prompt, or with an empty one takes it away.
    pub(super) fn instruct(&mut self, system: &str) {
        let messages = &mut self.request.messages;
        messages.retain(|message| message.role != Role::System);
        if !system.is_empty() {
            messages.insert(0, Message { role: Role::System, content: system.to_owned() });
        }
    }

    /// The last question; the conversation is as it was before it.
    pub(super) fn last_question(&mut self) -> Option<String> {
        let question = self.asked.clone()?;
        let messages = &mut self.request.messages;
        if let Some(at) = messages.iter().rposition(|message| message.role == Role::User)
            && messages[at].content == question
        {
            messages.truncate(at);
        }
        Some(question)
    }

    /// Forgets every turn; the system prompt stays.
    pub(super) fn forget(&mut self) {
        self.request.messages.retain(|message| message.role == Role::System);
    }

    pub(super) fn model(&self) -> &str {
        &self.request.model
    }

    pub(super) fn report(&self) -> &Report {
        self.report
    }

    /// Asks, shows the answer and its numbers. Ctrl-C ends the turn and keeps what was said.
    pub(super) async fn turn(&mut self, prompt: String) -> Result<Exit> {
        self.asked = Some(prompt.clone());
        self.say(Role::User, prompt);
        let mut said = Said { text: String::new(), shown: self.output == OutputFormat::Text, stdout: Ok(()) };
        let outcome = tokio::select! {
            turn = self.endpoint.ask(&self.request, |piece| said.take(piece)) => Some(turn),
            _ = tokio::signal::ctrl_c() => None,
        };
        let Said { text, stdout, .. } = said;
        if self.output == OutputFormat::Text && !text.is_empty() && !text.ends_with('\n') {
            print_data("\n")?;
        }
        stdout?;
        match outcome {
            Some(Ok(turn)) => {
                self.say(Role::Assistant, text);
                self.show(&turn)?;
                Ok(Exit::Ok)
            }
            Some(Err(error)) => {
                // The question stands unanswered; asking again would send it twice.
                self.request.messages.pop();
                Err(error.into())
            }
            None => {
                if text.is_empty() {
                    self.request.messages.pop();
                } else {
                    self.say(Role::Assistant, text);
                }
                self.report.detail("ended here");
                Ok(Exit::Interrupted)
            }
        }
    }

    fn say(&mut self, role: Role, content: String) {
        self.request.messages.push(Message { role, content });
    }

    fn show(&self, turn: &Turn) -> Result<()> {
        match self.output {
            OutputFormat::Text => self.report.detail(turn.statistics()),
            OutputFormat::Json => print_data(&format!("{:#}\n", document(&self.request.model, turn)))?,
        }
        Ok(())
    }
}

/// What has come of an answer so far.
struct Said {
    text: String,
    shown: bool,
    stdout: Result<()>,
}

impl Said {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Thought(thought) if self.shown => {
                let dimmed = anstyle::Style::new().dimmed();
                let mut stderr = anstream::stderr().lock();
                let _ = write!(stderr, "{dimmed}{thought}{dimmed:#}").and_then(|()| stderr.flush());
            }
            Piece::Thought(_) => {}
            Piece::Answer(answer) => {
                self.text.push_str(answer);
                if self.shown && self.stdout.is_ok() {
                    self.stdout = print_data(answer);
                }
            }
        }
    }
}

fn document(model: &str, turn: &Turn) -> Value {
    let milliseconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "ChatCompletion",
        "model": model,
        "text": turn.text,
        "finishReason": turn.finish_reason,
        "usage": turn.usage,
        "workers": turn.workers,
        "timings": {
            "firstTokenMs": milliseconds(turn.first_token),
            "betweenTokensMs": milliseconds(turn.between_tokens()),
            "totalMs": milliseconds(turn.last_token),
            "tokensPerSecond": turn.tokens_per_second(),
        },
    })
}
