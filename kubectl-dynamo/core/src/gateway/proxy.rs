//! What a LiteLLM proxy answers about itself: its entries, its version, and why it denies access. The answers were
//! observed with its real proxy, with and without a database.

use serde::Deserialize;
use serde_json::Value;

use super::EntryOwner;
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME, UNKNOWN_VALUE};
use crate::error::Explain;
use crate::lenient;

/// Versions on PyPI that stole credentials, those of Kubernetes included (BerriAI/litellm issues 24512 and 24518).
const COMPROMISED_VERSIONS: [[u64; 3]; 2] = [[1, 82, 7], [1, 82, 8]];

/// An entry that a proxy has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyEntry {
    /// The name that clients use.
    pub model_name: String,
    /// The provider and the name that is sent to the server, such as `hosted_vllm/tiny`.
    pub model: String,
    pub api_base: Option<String>,
    /// LiteLLM's ID. A request that names it goes to this entry only.
    pub id: String,
    /// The deployment for which this plugin made the entry.
    pub owner: Option<EntryOwner>,
}

impl ProxyEntry {
    /// The name that LiteLLM sends to the server; `None` if the entry sends the name of the request.
    pub fn served_name(&self) -> Option<&str> {
        let name = self.model.split_once('/').map_or(self.model.as_str(), |(_, name)| name);
        (name != "*").then_some(name)
    }
}

/// Why a proxy does not tell its entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayAccessError {
    #[error("cannot reach the gateway at {url}: {cause}")]
    Unreachable { url: String, cause: String },
    #[error("the gateway at {url} requires an API key")]
    KeyMissing { url: String },
    #[error("the gateway at {url} rejects the API key: HTTP {status}, {message}")]
    KeyRejected { url: String, status: u16, message: String },
    #[error("{url} does not answer as a LiteLLM proxy: {reason}")]
    NotLiteLlm { url: String, reason: String },
}

/// Whether a request to a proxy carried a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Sent,
    NotSent,
}

impl GatewayAccessError {
    /// Explains an HTTP error of a request about the entries. `key` is what was sent.
    pub fn from_status(url: &str, status: u16, message: &str, key: KeyState) -> Self {
        let (url, message) = (url.to_owned(), message.to_owned());
        // Without a database, a proxy answers a wrong key with 400, and a missing key with 500.
        let is_key_error = match (status, key) {
            (401 | 403, _) => true,
            (400, _) => message.contains("No connected db"),
            (500, KeyState::NotSent) => true,
            _ => false,
        };
        match key {
            KeyState::NotSent if is_key_error => Self::KeyMissing { url },
            KeyState::Sent if is_key_error => Self::KeyRejected { url, status, message },
            _ => Self::NotLiteLlm { url, reason: format!("HTTP {status}, {message}") },
        }
    }
}

impl Explain for GatewayAccessError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::Unreachable { .. } => MessageCode::GatewayUnreachable,
            Self::KeyMissing { .. } | Self::KeyRejected { .. } => MessageCode::GatewayKeyRejected,
            Self::NotLiteLlm { .. } => MessageCode::NotALiteLlmGateway,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Unreachable { .. } => SuggestedCommand::kubectl("port-forward")
                .operand("service/NAME", UNKNOWN_NAME)
                .operand("4000", UNKNOWN_VALUE)
                .after("specify a URL that this machine reaches, such as http://127.0.0.1:4000 during "),
            Self::KeyMissing { .. } => {
                "specify the master key: --api-key-env LITELLM_MASTER_KEY, or --api-key-secret NAME/KEY".into()
            }
            Self::KeyRejected { .. } => {
                "specify the proxy's master key, or a key that may list its models: --api-key-env LITELLM_MASTER_KEY".into()
            }
            Self::NotLiteLlm { .. } => "specify the URL of the LiteLLM proxy without a path: --url http://HOST:4000".into(),
        })
    }
}

/// Parses the answer of `/model/info`; `None` if it is not the one of LiteLLM.
pub fn parse_proxy_entries(body: &str) -> Option<Vec<ProxyEntry>> {
    let document: Value = serde_json::from_str(body).ok()?;
    let ModelInfoAnswer { data } = lenient::read_object(&document)?;
    let entries = data?.into_iter().map(|ListedEntry { model_name, litellm_params, model_info }| {
        let (parameters, info) = (litellm_params.unwrap_or_default(), model_info.unwrap_or_default());
        ProxyEntry {
            model_name: model_name.unwrap_or_default(),
            model: parameters.model.unwrap_or_default(),
            api_base: parameters.api_base,
            id: info.id.unwrap_or_default(),
            owner: info.kubectl_dynamo,
        }
    });
    Some(entries.collect())
}

/// Parses the version from the answer of a health endpoint of the proxy.
pub fn proxy_version(body: &str) -> Option<String> {
    let document: Value = serde_json::from_str(body).ok()?;
    let HealthAnswer { litellm_version } = lenient::read_object(&document)?;
    litellm_version
}

/// Whether a version of LiteLLM is known to be compromised.
pub fn is_compromised(version: &str) -> bool {
    let numbers: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
    COMPROMISED_VERSIONS.iter().any(|compromised| numbers == compromised)
}

/// What to do about a compromised version.
pub fn compromised_version_hint() -> Fix {
    "stop the proxy, install another version, and replace every key and token that it could read".into()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelInfoAnswer {
    #[serde(deserialize_with = "lenient::list")]
    data: Option<Vec<ListedEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedEntry {
    #[serde(deserialize_with = "lenient::value")]
    model_name: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    litellm_params: Option<ListedParameters>,
    #[serde(deserialize_with = "lenient::object")]
    model_info: Option<ListedInfo>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedParameters {
    #[serde(deserialize_with = "lenient::value")]
    model: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    api_base: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListedInfo {
    #[serde(deserialize_with = "lenient::value")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    kubectl_dynamo: Option<EntryOwner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HealthAnswer {
    #[serde(deserialize_with = "lenient::value")]
    litellm_version: Option<String>,
}

#[cfg(test)]
mod tests;
