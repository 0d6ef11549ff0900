//! The client of a LiteLLM proxy: its entries and version, and completions with the headers of the answer. The key is
//! only in the header of a request.

use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::chat::{ChatError, Endpoint, EndpointKind};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::gateway::{
    GatewayAccessError, KeyState, ProxyEntry, RequestKind, RouteAnswer, parse_proxy_entries, proxy_version,
};
use kubectl_dynamo_core::probe::AnswerFailure;

/// Headers of LiteLLM's answers.
const API_BASE_HEADER: &str = "x-litellm-model-api-base";
const VERSION_HEADER: &str = "x-litellm-version";

/// The tokens that a test requests. A stream then has several events.
const MAX_TOKENS: u32 = 4;

/// A LiteLLM proxy.
pub(crate) struct GatewayProxy {
    /// The URL in messages, without a password.
    pub url: String,
    endpoint: Endpoint,
    key: Option<String>,
    timeout: Duration,
}

/// An answer, and the version of the proxy if its headers name it.
pub(crate) struct ProxyAnswer {
    pub answer: RouteAnswer,
    pub version: Option<String>,
}

impl GatewayProxy {
    /// Creates a client for the URL of a proxy, with or without `/v1`.
    ///
    /// # Errors
    /// An invalid URL, or a key that cannot be sent in a header.
    pub(crate) fn new(url: &str, key: Option<String>, timeout: Duration) -> Result<Self> {
        let root = url.trim_end_matches('/');
        let root = root.strip_suffix("/v1").unwrap_or(root);
        let endpoint = Endpoint::new(&format!("{root}/v1"), EndpointKind::OpenAiCompatible, key.clone())?;
        Ok(Self { url: model_fetcher_contract::redact_userinfo(root), endpoint, key, timeout })
    }

    /// Lists the entries that the proxy has loaded.
    ///
    /// # Errors
    /// No connection, a denied key, or another server than LiteLLM.
    pub(crate) async fn entries(&self) -> std::result::Result<Vec<ProxyEntry>, GatewayAccessError> {
        let body = self.get("/model/info").await.map_err(|error| self.access_error(error))?;
        parse_proxy_entries(&body).ok_or_else(|| GatewayAccessError::NotLiteLlm {
            url: self.url.clone(),
            reason: "the answer of /model/info does not list entries".into(),
        })
    }

    /// The version of the proxy; `None` if it does not report it. Newer ones report it only with the key.
    pub(crate) async fn version(&self) -> Option<String> {
        for path in ["/health/readiness", "/health/readiness/details"] {
            let version = self.get(path).await.ok().as_deref().and_then(proxy_version);
            if version.is_some() {
                return version;
            }
        }
        None
    }

    /// Requests a short completion of a model of the proxy.
    ///
    /// # Errors
    /// No complete answer.
    pub(crate) async fn complete(
        &self,
        model: &str,
        kind: RequestKind,
    ) -> std::result::Result<ProxyAnswer, AnswerFailure> {
        let started = Instant::now();
        let body = completion_body(model, kind);
        let request = self.endpoint.post_with_headers("/chat/completions", None, &body);
        let (headers, turn) = match timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| AnswerFailure::from(self.without_key(error)))?,
            Err(_) => return Err(AnswerFailure::TimedOut(self.timeout)),
        };
        Ok(ProxyAnswer {
            answer: RouteAnswer {
                api_base: header(&headers, API_BASE_HEADER),
                completion_tokens: turn.usage.map(|usage| usage.completion_tokens),
                milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            version: header(&headers, VERSION_HEADER),
        })
    }

    async fn get(&self, path: &str) -> std::result::Result<String, ChatError> {
        match timeout(self.timeout, self.endpoint.get(path)).await {
            Ok(body) => body.map_err(|error| self.without_key(error)),
            Err(_) => Err(ChatError::Unreachable {
                url: self.url.clone(),
                cause: format!("no answer within {} s", self.timeout.as_secs()),
            }),
        }
    }

    /// Removes the key from the message of an error: a proxy can repeat what it received.
    fn without_key(&self, error: ChatError) -> ChatError {
        let Some(key) = self.key.as_deref().map(str::trim).filter(|key| !key.is_empty()) else {
            return error;
        };
        let redact = |message: String| message.replace(key, "***");
        match error {
            ChatError::Access { url, status, message } => {
                ChatError::Access { url, status, message: redact(message) }
            }
            ChatError::Refused { status, message } => ChatError::Refused { status, message: redact(message) },
            ChatError::StreamError { message } => ChatError::StreamError { message: redact(message) },
            other => other,
        }
    }

    fn access_error(&self, error: ChatError) -> GatewayAccessError {
        let url = self.url.clone();
        let key = if self.key.is_some() { KeyState::Sent } else { KeyState::NotSent };
        match error {
            ChatError::Unreachable { cause, .. } => GatewayAccessError::Unreachable { url, cause },
            ChatError::Access { status, message, .. } | ChatError::Refused { status, message } => {
                GatewayAccessError::from_status(&url, status, &message, key)
            }
            other => GatewayAccessError::NotLiteLlm { url, reason: other.to_string() },
        }
    }
}

/// The body of a short completion, as a client of the proxy sends it.
pub(super) fn completion_body(model: &str, kind: RequestKind) -> Value {
    let messages = json!([{ "role": "user", "content": "Say hello." }]);
    match kind {
        RequestKind::Unary => json!({ "model": model, "max_tokens": MAX_TOKENS, "messages": messages }),
        RequestKind::Streamed => json!({
            "model": model, "max_tokens": MAX_TOKENS, "messages": messages,
            "stream": true, "stream_options": { "include_usage": true },
        }),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_removed_from_errors() {
        let proxy = |key: Option<&str>| {
            GatewayProxy::new("http://a:b@gw:4000/v1/", key.map(str::to_owned), Duration::from_secs(1))
                .expect("a valid URL")
        };
        let error = || ChatError::Refused { status: 401, message: "Received API Key = sk-abc1, hash".into() };
        let own = proxy(Some("sk-abc1\n"));
        assert_eq!(own.url, "http://gw:4000");
        assert!(!own.access_error(own.without_key(error())).to_string().contains("sk-abc1"));
        assert!(proxy(None).without_key(error()).to_string().contains("sk-abc1"));
    }

    #[test]
    fn streamed_body_asks_for_usage() {
        assert_eq!(completion_body("m", RequestKind::Unary).get("stream"), None);
        let body = completion_body("m", RequestKind::Streamed);
        assert_eq!((&body["stream"], &body["stream_options"]["include_usage"]), (&json!(true), &json!(true)));
    }
}
