//! Asks a registry for an image, as a container runtime does before it pulls. Only the manifest and the configuration of
//! an image are read. Tokens and passwords are sent only with TLS, or to this machine, and are never part of a message.

mod challenge;

use std::time::Duration;

use base64::Engine;
use model_fetcher::client_proxy;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::timeout;

use crate::chat::innermost_cause;
use crate::settings;
use challenge::Challenge;
use kubectl_dynamo_core::registry::{
    RegistryCredentials, RegistryImage, RegistryManifest, image_architecture, is_loopback,
};
use kubectl_dynamo_core::user_agent;

/// The time after which a registry counts as unreachable, as in an isolated network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The maximum time to read the configuration of an image, which only has its architecture.
const CONFIG_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum size of a document. Registries reject manifests that are larger.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;
const MAX_REDIRECTS: usize = 5;

/// The documents that describe an image: an index or the manifest of one platform, in the format of OCI or Docker.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry does not show an image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("the registry does not have the image")]
    NotFound,
    #[error("the registry denies access")]
    Denied,
    /// No response, or one that does not show whether the image exists. The text says what the registry did.
    #[error("{0}")]
    Inconclusive(String),
}

impl From<reqwest::Error> for RegistryError {
    fn from(error: reqwest::Error) -> Self {
        // The URL of a redirect can contain a signature.
        Self::Inconclusive(format!("cannot be reached: {}", innermost_cause(&error.without_url())))
    }
}

/// The response of a token service.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
}

/// A client for one registry.
#[derive(Debug)]
pub struct RegistryClient<'a> {
    client: Client,
    image: &'a RegistryImage,
}

impl<'a> RegistryClient<'a> {
    /// Creates a client for the registry of an image.
    ///
    /// # Errors
    /// This machine does not have usable CA certificates.
    pub fn new(image: &'a RegistryImage) -> Result<Self, RegistryError> {
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::custom(follow_redirect))
            .user_agent(user_agent("kubectl-dynamo", env!("CARGO_PKG_VERSION")));
        let builder = match image.is_on_this_machine() {
            // A proxy cannot reach loopback on this machine.
            true => builder.no_proxy(),
            false => builder.proxy(client_proxy(settings::proxy())),
        };
        Ok(Self { client: builder.build()?, image })
    }

    /// Returns the CPU architectures of Linux for which the registry has the image. The list is empty if they are
    /// unknown. Without credentials, the request is anonymous.
    ///
    /// # Errors
    /// No such image, a denied request, or no usable response.
    pub async fn architectures(
        &self,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Vec<String>, RegistryError> {
        let url = parse_url(&self.image.manifest_url())?;
        let mut authorization = None;
        let mut response = self.get(url.clone(), None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            authorization = Some(self.authorize(&Challenge::from_response(&response)?, credentials).await?);
            response = self.get(url, authorization.clone()).await?;
        }
        check_status(response.status())?;
        let manifest = RegistryManifest::parse(&read_document(response).await?);
        match manifest
            .ok_or_else(|| RegistryError::Inconclusive("does not respond with a manifest".into()))?
        {
            RegistryManifest::Index { architectures } => Ok(architectures),
            RegistryManifest::Image { config: None } => Ok(Vec::new()),
            RegistryManifest::Image { config: Some(digest) } => {
                // Without it, the image is still known to exist.
                let config = timeout(CONFIG_TIMEOUT, self.read_blob(&digest, authorization)).await;
                let config = config.ok().and_then(Result::ok);
                Ok(config.and_then(|config| image_architecture(&config)).into_iter().collect())
            }
        }
    }

    async fn read_blob(
        &self,
        digest: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Vec<u8>, RegistryError> {
        let response = self.get(parse_url(&self.image.blob_url(digest))?, authorization).await?;
        check_status(response.status())?;
        read_document(response).await
    }

    async fn get(&self, url: Url, authorization: Option<HeaderValue>) -> Result<Response, RegistryError> {
        let request = self.client.get(url).header(ACCEPT, MANIFEST_TYPES);
        let request = match authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        Ok(request.send().await?)
    }

    /// Returns the header that a challenge asks for.
    async fn authorize(
        &self,
        challenge: &Challenge,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<HeaderValue, RegistryError> {
        let basic = credentials.map(basic_authorization).transpose()?;
        match challenge {
            Challenge::Basic => basic.ok_or(RegistryError::Denied),
            Challenge::Bearer { realm, service, scope } => {
                let mut url = parse_url(realm)?;
                if url.scheme() != "https" && !url.host_str().is_some_and(is_loopback) {
                    return Err(RegistryError::Inconclusive("names a token service without TLS".into()));
                }
                url.query_pairs_mut()
                    .extend_pairs(service.iter().map(|service| ("service", service)))
                    .append_pair("scope", scope.as_deref().unwrap_or(&self.image.pull_scope()));
                let response = self.get(url, basic).await?;
                match response.status() {
                    StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => return Err(RegistryError::Denied),
                    status => check_status(status)?,
                }
                let response: TokenResponse =
                    serde_json::from_slice(&read_document(response).await?).map_err(|_| no_token())?;
                let token = response.token.or(response.access_token).ok_or_else(no_token)?;
                sensitive(&format!("Bearer {token}"))
            }
        }
    }
}

/// Follows a few redirects, such as to the storage of a registry, but not from TLS to plain text. The HTTP library sends
/// credentials only to the first host.
fn follow_redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_encrypted = attempt.previous().iter().all(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if was_encrypted && attempt.url().scheme() != "https" {
        attempt.error("a redirect leads to an address without TLS")
    } else {
        attempt.follow()
    }
}

fn check_status(status: StatusCode) -> Result<(), RegistryError> {
    match status {
        StatusCode::NOT_FOUND => Err(RegistryError::NotFound),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied),
        status if status.is_success() => Ok(()),
        status => Err(RegistryError::Inconclusive(format!("responds with status {}", status.as_u16()))),
    }
}

async fn read_document(mut response: Response) -> Result<Vec<u8>, RegistryError> {
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if document.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(RegistryError::Inconclusive("responds with a document that is too large".into()));
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

fn basic_authorization(credentials: &RegistryCredentials) -> Result<HeaderValue, RegistryError> {
    let RegistryCredentials { username, password } = credentials;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    sensitive(&format!("Basic {encoded}"))
}

/// Returns the value of a header that no log shows.
fn sensitive(text: &str) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| no_token())?;
    value.set_sensitive(true);
    Ok(value)
}

fn no_token() -> RegistryError {
    RegistryError::Inconclusive("does not respond with a usable token".into())
}

fn parse_url(url: &str) -> Result<Url, RegistryError> {
    Url::parse(url).map_err(|error| RegistryError::Inconclusive(format!("names an invalid address: {error}")))
}
