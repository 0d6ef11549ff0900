//! The client of one endpoint: lists models and requests chat completions.
//! It does not retry; the smoke test and the user do.

mod models;

use std::time::Duration;

use futures::{Stream, StreamExt};
use model_fetcher::client_proxy;
use model_fetcher_contract::redact_userinfo;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, Url};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::answer_reader::{AnswerEnd, AnswerReader, InputEnd};
use super::chunk::Chunk;
use super::error_message::known_error;
use super::wire::{ChatRequest, Delta, EndpointKind, without_rejected_field};
use super::{ChatError, Turn, innermost_cause};
use crate::settings;

/// Timeout for opening a connection. A response does not have a timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence in an answer. A long prompt can wait minutes for its first token, and a connection can be lost
/// without a reset.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest wait for the statistics after the finish reason. An endpoint that does not send `[DONE]` may keep the
/// connection open.
const STATISTICS_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest body of an error or of a list of models.
const MAX_BODY_BYTES: usize = 16 << 20;

/// An OpenAI-compatible endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    base_url: String,
    /// The URL in messages, without the password that it can contain.
    shown_url: String,
    kind: EndpointKind,
    key: Option<HeaderValue>,
    client: reqwest::Client,
    idle_timeout: Duration,
}

impl Endpoint {
    /// Creates a client for `base_url`, which ends in `/v1`. The key is sent as a bearer token and is never
    /// printed.
    ///
    /// # Errors
    /// An invalid URL, or a key that cannot be sent in a header.
    pub fn new(base_url: &str, kind: EndpointKind, key: Option<String>) -> Result<Self, ChatError> {
        Self::with_idle_timeout(base_url, kind, key, IDLE_TIMEOUT)
    }

    /// Like [`Self::new`], with another idle timeout.
    fn with_idle_timeout(
        base_url: &str,
        kind: EndpointKind,
        key: Option<String>,
        idle_timeout: Duration,
    ) -> Result<Self, ChatError> {
        let key = key.as_deref().map(authorization).transpose()?;
        let url = Url::parse(base_url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        let Some(url) = url else {
            return Err(ChatError::InvalidUrl { url: redact_userinfo(base_url) });
        };
        let shown_url = redact_userinfo(base_url.trim_end_matches('/'));
        let builder = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(idle_timeout);
        let builder = match url.host_str() {
            // A proxy cannot reach loopback on this machine.
            Some("localhost" | "127.0.0.1" | "[::1]") => builder.no_proxy(),
            _ => builder.proxy(client_proxy(settings::proxy())),
        };
        let client = builder.build().map_err(|error| ChatError::Unreachable {
            url: shown_url.clone(),
            cause: innermost_cause(&error),
        })?;
        let base_url = base_url.trim_end_matches('/').to_owned();
        Ok(Self { base_url, shown_url, kind, key, client, idle_timeout })
    }

    /// Requests one completion and calls `on_delta` for each delta as it arrives, also for deltas before an
    /// error.
    ///
    /// # Errors
    /// No connection, an HTTP error, or an incomplete response.
    pub async fn complete(
        &self,
        request: &ChatRequest,
        on_delta: impl FnMut(Delta<'_>),
    ) -> Result<Turn, ChatError> {
        let mut body = request.body(self.kind);
        let (started, response) = loop {
            let started = Instant::now();
            let post = self.client.post(format!("{}/chat/completions", self.base_url));
            match self.send(post.json(&body)).await {
                Ok(response) => break (started, response),
                // Some servers reject optional fields, and each field is removed at most once.
                Err(error) => body = without_rejected_field(&body, &error).ok_or(error)?,
            }
        };
        self.read_turn(started, response, on_delta).await
    }

    /// Posts a body to a path below the base URL, such as `/completions`, and reads the answer. `header` is a name and a
    /// value.
    ///
    /// # Errors
    /// No connection, an HTTP error, or an incomplete response.
    pub(crate) async fn post(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
        body: &impl Serialize,
    ) -> Result<Turn, ChatError> {
        Ok(self.post_with_headers(path, header, body).await?.1)
    }

    /// Like [`Self::post`], with the headers of the response.
    ///
    /// # Errors
    /// No connection, an HTTP error, or an incomplete response.
    pub(crate) async fn post_with_headers(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
        body: &impl Serialize,
    ) -> Result<(HeaderMap, Turn), ChatError> {
        let started = Instant::now();
        let post = self.client.post(format!("{}{path}", self.base_url)).json(body);
        let post = header.into_iter().fold(post, |post, (name, value)| post.header(name, value));
        let response = self.send(post).await?;
        let headers = response.headers().clone();
        Ok((headers, self.read_turn(started, response, |_| {}).await?))
    }

    /// Returns the body at a path of the server, such as `/metrics`, which is not below `/v1`.
    ///
    /// # Errors
    /// No connection, or an HTTP error.
    pub(crate) async fn get(&self, path: &str) -> Result<String, ChatError> {
        let root = self.base_url.strip_suffix("/v1").unwrap_or(&self.base_url);
        let body = self.read_body(self.send(self.client.get(format!("{root}{path}"))).await?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Collects the answer in a response.
    async fn read_turn(
        &self,
        started: Instant,
        response: Response,
        mut on_delta: impl FnMut(Delta<'_>),
    ) -> Result<Turn, ChatError> {
        let mut turn = Turn::default();
        let mut record = |chunk: Chunk| {
            let now = started.elapsed();
            if chunk.reasoning.is_some() || chunk.content.is_some() || !chunk.tool_calls.is_empty() {
                turn.first_token.get_or_insert(now);
                turn.last_token = Some(now);
            }
            if let Some(reasoning) = &chunk.reasoning {
                turn.reasoning.push_str(reasoning);
                on_delta(Delta::Reasoning(reasoning));
            }
            if let Some(content) = &chunk.content {
                turn.text.push_str(content);
                on_delta(Delta::Content(content));
            }
            turn.add_tool_calls(chunk.tool_calls);
            turn.finish_reason = chunk.finish_reason.or(turn.finish_reason.take());
            turn.usage = chunk.usage.or(turn.usage);
            turn.workers = chunk.workers.or(turn.workers.take());
            turn.timing = chunk.timing.or(turn.timing);
        };
        let mut reader = AnswerReader::default();
        match self.read_answer(&mut reader, response.bytes_stream(), &mut record).await {
            AnswerEnd::Complete => Ok(Turn { has_done_marker: reader.has_done_marker, ..turn }),
            AnswerEnd::Failed(message) => Err(ChatError::StreamError { message }),
            AnswerEnd::Interrupted => Err(ChatError::ConnectionClosed),
            AnswerEnd::NotAnAnswer(reason) => Err(self.not_openai(reason)),
        }
    }

    /// Reads the response until the answer ends.
    async fn read_answer(
        &self,
        reader: &mut AnswerReader,
        bytes: impl Stream<Item = reqwest::Result<bytes::Bytes>>,
        record: &mut impl FnMut(Chunk),
    ) -> AnswerEnd {
        let mut bytes = std::pin::pin!(bytes);
        loop {
            let next = match reader.is_finished() {
                true => timeout(STATISTICS_TIMEOUT, bytes.next()).await.unwrap_or(None),
                false => bytes.next().await,
            };
            let chunks = match next {
                Some(Ok(read)) => reader.push(&read),
                Some(Err(error)) if error.is_timeout() => reader.finish(InputEnd::Silent(self.idle_timeout)),
                Some(Err(_)) => reader.finish(InputEnd::Broken),
                None => reader.finish(InputEnd::Closed),
            };
            chunks.into_iter().for_each(&mut *record);
            if let Some(end) = reader.end() {
                return end.clone();
            }
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ChatError> {
        let request = match &self.key {
            Some(key) => request.header(reqwest::header::AUTHORIZATION, key.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            let unreachable =
                || ChatError::Unreachable { url: self.shown_url.clone(), cause: innermost_cause(&error) };
            self.idle_error(&error).unwrap_or_else(unreachable)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        // An error whose body cannot be read is still this error.
        let body = self.read_body(response).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        let url = self.shown_url.clone();
        let message = match body.trim() {
            "" if status == 404 => return Err(ChatError::NoModelServed { url }),
            "" => "empty response".into(),
            text => known_error(text),
        };
        Err(match status {
            401 | 403 => ChatError::Access { url, status, message },
            _ => ChatError::Refused { status, message },
        })
    }

    /// Reads a body of limited size. What exceeds the limit is dropped.
    async fn read_body(&self, response: Response) -> Result<Vec<u8>, ChatError> {
        let mut body = Vec::new();
        let mut bytes = response.bytes_stream();
        while let Some(read) = bytes.next().await {
            body.extend(
                read.map_err(|error| self.idle_error(&error).unwrap_or(ChatError::ConnectionClosed))?,
            );
            if body.len() > MAX_BODY_BYTES {
                body.truncate(MAX_BODY_BYTES);
                break;
            }
        }
        Ok(body)
    }

    /// Returns the error of a response that exceeded the idle timeout. A connection timeout is a different error.
    fn idle_error(&self, error: &reqwest::Error) -> Option<ChatError> {
        let message = || format!("no data for {} s", self.idle_timeout.as_secs_f64());
        (error.is_timeout() && !error.is_connect()).then(|| ChatError::StreamError { message: message() })
    }

    fn not_openai(&self, reason: impl Into<String>) -> ChatError {
        ChatError::NotOpenAi { url: self.shown_url.clone(), reason: reason.into() }
    }
}

/// The header with a key. Line breaks and spaces around the key, as files and here-documents add them, are removed.
///
/// # Errors
/// A key that is empty, or that contains a character that a key does not have. The error does not contain the key.
fn authorization(key: &str) -> Result<HeaderValue, ChatError> {
    let key = key.trim();
    let reason = match key.chars().find(|letter| !letter.is_ascii_graphic()) {
        _ if key.is_empty() => "it is empty".to_owned(),
        Some('\n' | '\r') => "it contains a line break".to_owned(),
        Some(' ') => "it contains a space".to_owned(),
        Some(other) => format!("it contains the character U+{:04X}", u32::from(other)),
        None => {
            let header = HeaderValue::try_from(format!("Bearer {key}"));
            let mut header = header.expect("a header can contain visible ASCII characters");
            header.set_sensitive(true);
            return Ok(header);
        }
    };
    Err(ChatError::InvalidKey { reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Completes a request at an endpoint that sends these bytes and then nothing.
    async fn complete_at_silent_endpoint(sent: &'static str) -> Result<Turn, ChatError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback exists");
        let address = listener.local_addr().expect("the socket is bound");
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(sent.as_bytes()).await;
            std::future::pending::<()>().await;
        });
        let url = format!("http://{address}/v1");
        let endpoint = Endpoint::with_idle_timeout(
            &url,
            EndpointKind::OpenAiCompatible,
            None,
            Duration::from_millis(200),
        );
        let request =
            ChatRequest { model: "m".into(), messages: Vec::new(), max_tokens: None, temperature: None };
        endpoint.expect("an address").complete(&request, |_| {}).await
    }

    #[test]
    fn keys_are_trimmed_and_checked_without_printing_them() {
        let header = authorization(" sk-abc\r\n").expect("a valid key");
        assert_eq!(header, "Bearer sk-abc");
        assert!(!format!("{header:?}").contains("sk-abc"));
        for (key, reason) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("sk-abc\nsk-def", "a line break"),
            ("Bearer sk-abc", "a space"),
            ("sk-\u{201c}abc", "U+201C"),
            ("sk-\u{7f}abc", "U+007F"),
        ] {
            let error = authorization(key).expect_err("an invalid key").to_string();
            assert!(error.contains(reason) && !error.contains("abc"), "{error}");
        }
    }

    #[test]
    fn shown_urls_do_not_contain_credentials() {
        for (url, shown) in [
            ("http://user:secret@host/v1", "http://host/v1"),
            ("http://us@er:sec@ret@host:1?a=b", "http://host:1?a=b"),
            // What precedes the last `@` may be a password.
            ("http://user:a/b?c@host", "http://host"),
            ("http://host/v1", "http://host/v1"),
            ("ftp://user:secret@host", "ftp://host"),
            ("no address", "no address"),
        ] {
            assert_eq!(redact_userinfo(url), shown);
        }
    }

    /// After a finish reason, an endpoint that keeps the connection open does not delay the answer.
    #[tokio::test]
    async fn finished_answer_does_not_wait_for_the_connection() {
        const FINISHED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n\n";
        let answer =
            tokio::time::timeout(Duration::from_secs(20), complete_at_silent_endpoint(FINISHED)).await;
        assert_eq!(answer.expect("the answer ends").expect("the answer is complete").text, "Hello");
    }

    #[tokio::test]
    async fn silent_endpoint_times_out() {
        const UNFINISHED_STREAM: &str =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        const UNFINISHED_BODY: &str =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        for sent in ["", UNFINISHED_STREAM, UNFINISHED_BODY] {
            let answer =
                tokio::time::timeout(Duration::from_secs(20), complete_at_silent_endpoint(sent)).await;
            let error =
                answer.expect("the idle timeout ends the request").expect_err("the response is incomplete");
            assert!(error.to_string().contains("no data for 0.2 s"), "{sent}: {error}");
        }
    }
}
