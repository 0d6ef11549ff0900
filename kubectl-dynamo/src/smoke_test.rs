//! Proof that a deployment serves: the model is listed and a real completion is answered. Health endpoints say
//! "healthy" with no worker at all, so they are never asked.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::chat::{ChatError, Endpoint, Kind, Message, Request, Role, Turn};
use crate::error::{Exit, Explain};

/// How long the ways to a worker that has just registered may take to settle: connections that are refused,
/// 404 and 503 are normal for seconds after everything reports ready.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a request is tried within the patience.
const PAUSE: Duration = Duration::from_millis(500);

/// How long one completion may take.
const ANSWER: Duration = Duration::from_secs(30);

/// What the proof showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The name under which the model is listed.
    pub model: String,
    pub turn: Turn,
}

impl Answer {
    /// `200, first token 61 ms, 118 tok/s`.
    pub fn statistics(&self) -> String {
        let first = self.turn.first_token.map(|time| format!(", first token {} ms", time.as_millis()));
        let rate = self.turn.tokens_per_second().map(|rate| format!(", {rate:.0} tok/s"));
        format!("200{}{}", first.unwrap_or_default(), rate.unwrap_or_default())
    }
}

/// Why a deployment that reports ready does not serve.
#[derive(Debug, thiserror::Error)]
pub enum SmokeTestError {
    /// `wanted` is empty where any model would do.
    #[error("the frontend does not list model{wanted} (it lists {listed})")]
    NotListed { wanted: String, listed: String },
    #[error("the model is listed and a completion is not answered: {cause}")]
    NotAnswered { cause: String },
    #[error("the endpoint {url} cannot be reached: {cause}")]
    Unreachable { url: String, cause: String },
}

impl Explain for SmokeTestError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotListed { .. } => "KD0702",
            Self::NotAnswered { .. } => "KD0703",
            Self::Unreachable { .. } => "KD0802",
        })
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// The models that an endpoint lists, in its order. `base_url` ends in `/v1`.
///
/// # Errors
/// An endpoint that does not answer within `patience`.
pub async fn models(base_url: &str, patience: Duration) -> Result<Vec<String>, SmokeTestError> {
    listed(&client(base_url, patience)?, base_url).await
}

/// Waits until the endpoint lists `model`, or any where it is not known which, and answers one completion with it.
/// `base_url` ends in `/v1`.
///
/// # Errors
/// The last refusal, when the patience is over.
pub async fn smoke_test(
    base_url: &str,
    model: Option<&str>,
    patience: Duration,
) -> Result<Answer, SmokeTestError> {
    let client = client(base_url, ANSWER)?;
    let endpoint = Endpoint::new(base_url, Kind::Dynamo, None).map_err(|error| refused(base_url, error))?;
    let deadline = Instant::now() + patience;
    loop {
        match attempt(&client, &endpoint, base_url, model).await {
            Err(_) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
            result => return result,
        }
    }
}

fn client(base_url: &str, timeout: Duration) -> Result<reqwest::Client, SmokeTestError> {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(|error| unreachable(base_url, &error))
}

fn unreachable(base_url: &str, error: &reqwest::Error) -> SmokeTestError {
    SmokeTestError::Unreachable { url: base_url.into(), cause: innermost(error) }
}

async fn listed(client: &reqwest::Client, base_url: &str) -> Result<Vec<String>, SmokeTestError> {
    let failed = |error: reqwest::Error| unreachable(base_url, &error);
    let response = client.get(format!("{base_url}/models")).send().await.map_err(failed)?;
    let listed: Value = response.json().await.map_err(failed)?;
    let models = listed["data"].as_array().into_iter().flatten();
    Ok(models.filter_map(|one| one["id"].as_str().map(ToOwned::to_owned)).collect())
}

async fn attempt(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    base_url: &str,
    model: Option<&str>,
) -> Result<Answer, SmokeTestError> {
    let names = listed(client, base_url).await?;
    let Some(model) = names.iter().find(|name| model.is_none_or(|model| *name == model)) else {
        let wanted = model.map(|model| format!(" {model}")).unwrap_or_default();
        let listed = if names.is_empty() { "none".into() } else { names.join(", ") };
        return Err(SmokeTestError::NotListed { wanted, listed });
    };
    let request = Request {
        model: model.clone(),
        messages: vec![Message { role: Role::User, content: "Say hello.".into() }],
        max_tokens: Some(8),
        temperature: None,
    };
    let late = |_| SmokeTestError::NotAnswered { cause: format!("not within {} s", ANSWER.as_secs()) };
    let asked = timeout(ANSWER, endpoint.ask(&request, |_| {})).await.map_err(late)?;
    let turn = asked.map_err(|error| refused(base_url, error))?;
    if turn.first_token.is_none() {
        return Err(SmokeTestError::NotAnswered { cause: "the answer holds no token".into() });
    }
    Ok(Answer { model: model.clone(), turn })
}

fn refused(base_url: &str, error: ChatError) -> SmokeTestError {
    match error {
        ChatError::Unreachable { cause, .. } => SmokeTestError::Unreachable { url: base_url.into(), cause },
        error => SmokeTestError::NotAnswered { cause: error.to_string() },
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
