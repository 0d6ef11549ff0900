//! The client of one endpoint.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::event_stream::EventStream;
use super::wire::{Chunk, Piece, Request, chunk, error_message};
use super::{ChatError, Turn};

/// Longest time for a connection to open. An answer itself may take as long as it takes.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for the list of models.
const LIST: Duration = Duration::from_secs(20);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Dynamo frontend: its own fields may be sent.
    Dynamo,
    /// Anything that speaks the protocol.
    Foreign,
}

/// An OpenAI-compatible endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base_url: String,
    kind: Kind,
    key: Option<String>,
    client: reqwest::Client,
}

impl Endpoint {
    /// The endpoint at `base_url`, which ends in `/v1`. The key is sent as a bearer token and shown nowhere.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(base_url: &str, kind: Kind, key: Option<String>) -> Result<Self, ChatError> {
        let not_an_address = || ChatError::NotAnAddress { url: base_url.into() };
        let url = Url::parse(base_url).map_err(|_| not_an_address())?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(not_an_address());
        }
        let mut builder = reqwest::Client::builder().connect_timeout(CONNECT);
        // A proxy cannot reach this machine's own loopback.
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| ChatError::Unreachable { url: base_url.into(), cause: cause(&error) })?;
        Ok(Self { base_url: base_url.trim_end_matches('/').into(), kind, key, client })
    }

    /// The models it lists, in its order.
    ///
    /// # Errors
    /// No connection, a refusal, or an answer in another shape.
    pub async fn models(&self) -> Result<Vec<String>, ChatError> {
        let request = self.client.get(format!("{}/models", self.base_url)).timeout(LIST);
        let response = self.send(request).await?;
        let listed: Value = response.json().await.map_err(|error| self.foreign(cause(&error)))?;
        let models =
            listed["data"].as_array().ok_or_else(|| self.foreign("the list of models has no `data`"))?;
        Ok(models.iter().filter_map(|model| model["id"].as_str().map(ToOwned::to_owned)).collect())
    }

    /// The model to ask: the one that is wanted, else the only one there is.
    ///
    /// # Errors
    /// None listed, several and none named, or the named one not among them.
    pub async fn choose(&self, wanted: Option<&str>) -> Result<String, ChatError> {
        let models = self.models().await?;
        let url = self.base_url.clone();
        match (wanted, models.as_slice()) {
            (_, []) => Err(ChatError::NoModel { url }),
            (Some(wanted), _) if models.iter().any(|model| model == wanted) => Ok(wanted.into()),
            (Some(wanted), _) => {
                Err(ChatError::UnknownModel { url, model: wanted.into(), models: models.join(", ") })
            }
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(ChatError::WhichModel { url, models: models.join(", ") }),
        }
    }

    /// Asks for one turn and hands over each piece as it comes. The pieces that came before an error stay said.
    ///
    /// # Errors
    /// No connection, a refusal, or an answer that is not whole.
    pub async fn ask(&self, request: &Request, mut show: impl FnMut(Piece<'_>)) -> Result<Turn, ChatError> {
        let started = Instant::now();
        let post = self.client.post(format!("{}/chat/completions", self.base_url));
        let response = self.send(post.json(&request.body(self.kind))).await?;
        let mut turn = Turn::default();
        let mut take = |chunk: Chunk| {
            let now = started.elapsed();
            if chunk.thought.is_some() || chunk.answer.is_some() {
                turn.first_token.get_or_insert(now);
                turn.last_token = Some(now);
            }
            if let Some(thought) = &chunk.thought {
                show(Piece::Thought(thought));
            }
            if let Some(answer) = &chunk.answer {
                turn.text.push_str(answer);
                show(Piece::Answer(answer));
            }
            turn.finish_reason = chunk.finish_reason.or(turn.finish_reason.take());
            turn.usage = chunk.usage.or(turn.usage);
            turn.workers = chunk.workers.or(turn.workers.take());
        };
        if streams(&response) {
            self.read_stream(response, &mut take).await?;
        } else {
            let whole: Value = response.json().await.map_err(|error| self.foreign(cause(&error)))?;
            take(chunk(&whole).map_err(|message| ChatError::BrokeOff { message })?);
        }
        Ok(turn)
    }

    async fn read_stream(&self, response: Response, take: &mut impl FnMut(Chunk)) -> Result<(), ChatError> {
        let mut events = EventStream::default();
        let mut bytes = response.bytes_stream();
        while let Some(read) = bytes.next().await {
            let read = read.map_err(|_| ChatError::CutOff)?;
            for event in events.push(&read) {
                if self.read_event(&event, take)? == Progress::Over {
                    return Ok(());
                }
            }
        }
        match events.finish() {
            Some(last) if self.read_event(&last, take)? == Progress::Over => Ok(()),
            _ => Err(ChatError::CutOff),
        }
    }

    /// `[DONE]` ends a stream, also one that broke: an error event stands before it then.
    fn read_event(&self, event: &str, take: &mut impl FnMut(Chunk)) -> Result<Progress, ChatError> {
        if event.trim() == "[DONE]" {
            return Ok(Progress::Over);
        }
        let event: Value = serde_json::from_str(event)
            .map_err(|_| self.foreign(format!("an event is no JSON: {}", shortened(event))))?;
        take(chunk(&event).map_err(|message| ChatError::BrokeOff { message })?);
        Ok(Progress::More)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ChatError> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let response = request
            .send()
            .await
            .map_err(|error| ChatError::Unreachable { url: self.base_url.clone(), cause: cause(&error) })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.text().await.unwrap_or_default();
        let url = self.base_url.clone();
        if status == 404 && body.trim().is_empty() {
            return Err(ChatError::NothingServes { url });
        }
        let parsed: Option<Value> = serde_json::from_str(&body).ok();
        let message = parsed.as_ref().and_then(error_message).unwrap_or_else(|| match body.trim() {
            "" => "with nothing in it".into(),
            words => shortened(words),
        });
        Err(match status {
            401 | 403 => ChatError::Access { url, status, message },
            _ => ChatError::Refused { status, message },
        })
    }

    fn foreign(&self, what: impl Into<String>) -> ChatError {
        ChatError::Foreign { url: self.base_url.clone(), what: what.into() }
    }
}

/// Whether a stream goes on.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    More,
    Over,
}

fn streams(response: &Response) -> bool {
    let content_type = response.headers().get(reqwest::header::CONTENT_TYPE);
    content_type
        .and_then(|value| value.to_str().ok())
        .is_none_or(|value| !value.starts_with("application/json"))
}

/// The innermost cause: the outer ones only say that sending a request did not work.
fn cause(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The beginning of a text that may be a whole page.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
