//! The smoke test of a deployment: the frontend lists the model and answers a real completion.
//! It does not use health endpoints, which report "healthy" even without a worker.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::chat::{ChatError, ChatMessage, ChatRequest, ChatRole, Endpoint, EndpointKind, Turn};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;

/// Timeout of the smoke test. Refused connections, 404, and 503 are normal for some seconds after everything
/// reports ready, until the routes to a new worker are established.
pub const SMOKE_TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Timeout of one completion.
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of a successful smoke test.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionResult {
    /// The served model name.
    pub model: String,
    pub turn: Turn,
}

impl CompletionResult {
    /// The statistics as text: `200, first token 61 ms, 118 tok/s`.
    pub fn statistics(&self) -> String {
        let first = self.turn.first_token.map(|time| format!(", first token {} ms", time.as_millis()));
        let rate = self.turn.tokens_per_second().map(|rate| format!(", {rate:.0} tok/s"));
        format!("200{}{}", first.unwrap_or_default(), rate.unwrap_or_default())
    }
}

/// Why the smoke test failed.
#[derive(Debug, thiserror::Error)]
pub enum SmokeTestError {
    /// `requested` is empty if any model is accepted.
    #[error("model{requested} is not listed by the frontend (listed: {listed})")]
    NotListed { requested: String, listed: String },
    #[error("the frontend does not list its models: {cause}")]
    ListFailed { cause: String },
    #[error("the model is listed but a test completion failed: {cause}")]
    CompletionFailed { cause: String },
    #[error("cannot reach the endpoint {url}: {cause}")]
    Unreachable { url: String, cause: String },
}

impl Explain for SmokeTestError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NotListed { .. } | Self::ListFailed { .. } => MessageCode::ModelNotListed,
            Self::CompletionFailed { .. } => MessageCode::TestCompletionFailed,
            Self::Unreachable { .. } => MessageCode::EndpointUnreachable,
        })
    }
}

/// The models that an endpoint lists, in the order of its response. `base_url` ends in `/v1`.
///
/// # Errors
/// The endpoint does not respond within the timeout, or does not list its models.
pub async fn models(base_url: &str, timeout: Duration) -> Result<Vec<String>, SmokeTestError> {
    match tokio::time::timeout(timeout, endpoint(base_url)?.models()).await {
        Ok(listed) => listed.map_err(|error| list_error(base_url, error)),
        Err(_) => Err(SmokeTestError::Unreachable {
            url: base_url.into(),
            cause: format!("no response within {} s", timeout.as_secs()),
        }),
    }
}

/// Waits until the endpoint lists `model`, or any model if it is `None`, and answers one completion.
/// `base_url` ends in `/v1`.
///
/// # Errors
/// The last failure before the timeout.
pub async fn smoke_test(
    base_url: &str,
    model: Option<&str>,
    timeout: Duration,
) -> Result<CompletionResult, SmokeTestError> {
    let endpoint = endpoint(base_url)?;
    let deadline = Instant::now() + timeout;
    loop {
        match attempt(&endpoint, base_url, model).await {
            Err(_) if Instant::now() + RETRY_INTERVAL < deadline => sleep(RETRY_INTERVAL).await,
            result => return result,
        }
    }
}

fn endpoint(base_url: &str) -> Result<Endpoint, SmokeTestError> {
    Endpoint::new(base_url, EndpointKind::Dynamo, None).map_err(|error| completion_error(base_url, error))
}

async fn attempt(
    endpoint: &Endpoint,
    base_url: &str,
    model: Option<&str>,
) -> Result<CompletionResult, SmokeTestError> {
    let names = endpoint.models().await.map_err(|error| list_error(base_url, error))?;
    let Some(model) = names.iter().find(|name| model.is_none_or(|model| *name == model)) else {
        let requested = model.map(|model| format!(" \"{model}\"")).unwrap_or_default();
        let listed = if names.is_empty() { "none".into() } else { names.join(", ") };
        return Err(SmokeTestError::NotListed { requested, listed });
    };
    let request = ChatRequest {
        model: model.clone(),
        messages: vec![ChatMessage { role: ChatRole::User, content: "Say hello.".into() }],
        max_tokens: Some(8),
        temperature: None,
    };
    let timeout_error = |_| SmokeTestError::CompletionFailed {
        cause: format!("no response within {} s", COMPLETION_TIMEOUT.as_secs()),
    };
    let result =
        timeout(COMPLETION_TIMEOUT, endpoint.complete(&request, |_| {})).await.map_err(timeout_error)?;
    let turn = result.map_err(|error| completion_error(base_url, error))?;
    if turn.first_token.is_none() {
        return Err(SmokeTestError::CompletionFailed {
            cause: "the response does not contain a token".into(),
        });
    }
    Ok(CompletionResult { model: model.clone(), turn })
}

fn completion_error(base_url: &str, error: ChatError) -> SmokeTestError {
    match error {
        ChatError::Unreachable { cause, .. } => SmokeTestError::Unreachable { url: base_url.into(), cause },
        error => SmokeTestError::CompletionFailed { cause: error.to_string() },
    }
}

fn list_error(base_url: &str, error: ChatError) -> SmokeTestError {
    match completion_error(base_url, error) {
        SmokeTestError::CompletionFailed { cause } => SmokeTestError::ListFailed { cause },
        error => error,
    }
}
