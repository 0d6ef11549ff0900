//! Sends requests to a hub: its URLs, its redirects, and which host receives the token or the password.
//!
//! Each worker has its own client and therefore its own connection. The URL of a file's content is resolved
//! once, and again when a signed URL has expired.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION, RANGE};
use reqwest::{StatusCode, Url};

use crate::error::FetcherError;
use crate::http::HttpClientFactory;
use crate::options::proxy::is_supported;
use crate::options::{FetchOptions, HubAccess};
use crate::source::response::transport_error;
use crate::source::{Retryable, SourceError};
use model_fetcher_contract::{RemoteFile, redact_userinfo};

const MAX_REDIRECTS: usize = 10;

/// Client for one repository of a hub.
pub(super) struct HubClient {
    /// URL of the hub, without user name and password.
    pub(super) base: Url,
    factory: HttpClientFactory,
    /// Value of `Authorization` for the hub itself.
    authorization: Option<HeaderValue>,
    repository: String,
    worker_clients: Mutex<HashMap<usize, reqwest::Client>>,
    /// Redirect target of each file: resolved once, removed when it expires.
    file_urls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Url>>>>>,
}

impl HubClient {
    pub(super) fn new(options: &FetchOptions) -> Result<Self, FetcherError> {
        let endpoint = &options.hub.endpoint;
        let base = Url::parse(endpoint.secret_url())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| FetcherError::Usage {
                what: format!("\"{endpoint}\" is not a valid hub URL"),
                hint: "use a URL such as `--endpoint https://huggingface.co`".into(),
            })?;
        let authorization = authorization(&base, &options.hub)?;
        let host = base.host_str().unwrap_or_default();
        let proxy = options.hub.proxy.proxy_for(base.scheme(), host, base.port_or_known_default());
        if let Some(proxy) = proxy.filter(|proxy| !is_supported(proxy)) {
            return Err(FetcherError::Usage {
                what: format!("proxy \"{}\" is not supported", redact_userinfo(proxy)),
                hint: "set HTTPS_PROXY to a URL such as http://PROXY:3128, or list the hub in NO_PROXY"
                    .into(),
            });
        }
        Ok(Self {
            base: without_userinfo(base),
            factory: HttpClientFactory::new(options)?,
            authorization,
            repository: options.repository.clone(),
            worker_clients: Mutex::default(),
            file_urls: Mutex::default(),
        })
    }

    /// Sends a GET and follows redirects. The token is sent only to the hub's scheme, host, and port: a
    /// signed URL rejects a second kind of authorization, and other hosts must not receive the token.
    pub(super) async fn get_following_redirects(
        &self,
        client: &reqwest::Client,
        mut url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<(Url, reqwest::Response), SourceError> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = client.get(url.clone());
            if let Some(value) = self.authorization.as_ref().filter(|_| url.origin() == self.base.origin()) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            if let Some(range) = range {
                request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            }
            let response =
                request.send().await.map_err(|error| transport_error(&error, host_and_port(&url)))?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return Ok((url, response));
            }
            let target = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = target.and_then(|location| url.join(location).ok());
            url = next.filter(|next| is_not_downgrade(&url, next)).ok_or_else(|| {
                self.unexpected_response(&url, response.status(), "invalid redirect target")
            })?;
        }
        Err(self.unexpected_response(&url, StatusCode::LOOP_DETECTED, "redirect loop").into())
    }

    /// Requests `file` from its cached URL or from the hub, and returns the response of any host.
    pub(super) async fn request_file(
        &self,
        worker: usize,
        commit: &str,
        file: &RemoteFile,
        range: Option<&Range<u64>>,
    ) -> Result<reqwest::Response, SourceError> {
        let client = self.client_for(worker)?;
        let cache_entry = self.file_urls(&file.path);
        let mut cached_url = cache_entry.lock().await;
        if let Some(url) = cached_url.clone() {
            drop(cached_url);
            let (_, response) = self.get_following_redirects(&client, url.clone(), range).await?;
            if !is_expired(&response) {
                return Ok(response);
            }
            // The first worker requests a new URL; the others wait for the lock and use it.
            cached_url = cache_entry.lock().await;
            if cached_url.as_ref() == Some(&url) {
                *cached_url = None;
            }
            return Err(Retryable {
                retry_after: Some(Duration::ZERO),
                ..Retryable::new("the signed URL has expired")
            }
            .into());
        }
        let segments: Vec<&str> = ["resolve", commit].into_iter().chain(file.path.split('/')).collect();
        let (url, response) =
            self.get_following_redirects(&client, self.repository_url(&[], &segments), range).await?;
        if response.status().is_success() {
            *cached_url = Some(url);
        } else if url.origin() != self.base.origin() && is_expired(&response) {
            return Err(Retryable::new(format!(
                "HTTP status {} from {}",
                response.status(),
                host_and_port(&url)
            ))
            .into());
        }
        Ok(response)
    }

    fn file_urls(&self, path: &str) -> Arc<tokio::sync::Mutex<Option<Url>>> {
        let mut file_urls = self.file_urls.lock().unwrap_or_else(PoisonError::into_inner);
        file_urls.entry(path.to_owned()).or_default().clone()
    }

    pub(super) fn client_for(&self, worker: usize) -> Result<reqwest::Client, FetcherError> {
        let mut worker_clients = self.worker_clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = worker_clients.get(&worker) {
            return Ok(client.clone());
        }
        let client = self.factory.client()?;
        worker_clients.insert(worker, client.clone());
        Ok(client)
    }

    /// Returns `{endpoint}/{prefix}/{repository}/{suffix}`, with each part percent-encoded.
    pub(super) fn repository_url(&self, prefix: &[&str], suffix: &[&str]) -> Url {
        let segments = prefix.iter().copied().chain(self.repository.split('/')).chain(suffix.iter().copied());
        let mut path = self.base.path().trim_end_matches('/').to_owned();
        // The URL library drops tabs and line breaks, which a file name can contain, so they are encoded first.
        segments.for_each(|segment| path.extend(["/", &percent_encode(segment)]));
        let mut url = self.base.clone();
        url.set_path(&path);
        url
    }

    fn unexpected_response(&self, url: &Url, status: StatusCode, message: &str) -> FetcherError {
        FetcherError::UnexpectedResponse {
            endpoint: host_and_port(url),
            what: self.repository.clone(),
            status: status.as_u16(),
            message: message.to_owned(),
        }
    }
}

/// Returns the value of `Authorization`: the password in the URL, as in other clients, else the token.
///
/// # Errors
/// No header can carry the token.
fn authorization(base: &Url, access: &HubAccess) -> Result<Option<HeaderValue>, FetcherError> {
    let text = if !base.username().is_empty() || base.password().is_some() {
        let mut pair = percent_decode(base.username());
        pair.push(b':');
        pair.extend(percent_decode(base.password().unwrap_or_default()));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    } else {
        let Some(token) = &access.token else { return Ok(None) };
        if let Some(problem) = token.problem() {
            return Err(FetcherError::InvalidToken { problem });
        }
        format!("Bearer {}", token.secret())
    };
    let value = HeaderValue::from_str(&text);
    let mut value =
        value.map_err(|_| FetcherError::InvalidToken { problem: "cannot be sent in a header" })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn without_userinfo(mut url: Url) -> Url {
    // Both only fail for URLs without a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn percent_encode(segment: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| if is_kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    segment.bytes().map(encode).collect()
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let escaped = (*first == b'%').then(|| std::str::from_utf8(more.get(..2)?).ok()).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &more[2..];
            }
            None => {
                decoded.push(*first);
                rest = more;
            }
        }
    }
    decoded
}

/// Returns whether a signed URL has expired. CloudFront and S3 answer 403; other stores use other codes.
fn is_expired(response: &reqwest::Response) -> bool {
    matches!(response.status().as_u16(), 401 | 403 | 404 | 410)
}

/// Returns whether a redirect is allowed: `https` only to `https`, and only `http` and `https`.
pub(super) fn is_not_downgrade(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    }
}

pub(super) fn host_and_port(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_name_has_its_own_url() {
        let mut options = FetchOptions::new("org/model", "/models");
        options.hub.endpoint = "https://us%40er:s3cret@mirror/hub".into();
        let client = HubClient::new(&options).unwrap();
        let url = |parts: &[&str]| client.repository_url(&[], parts).to_string();
        let base = "https://mirror/hub/org/model/resolve";
        for (name, expected) in [
            ("Icon\r", "Icon%0D"),
            ("a\tb\nc", "a%09b%0Ac"),
            ("per%41cent#?", "per%2541cent%23%3F"),
            ("onnx\\x", "onnx%5Cx"),
            ("12:34", "12%3A34"),
            ("模", "%E6%A8%A1"),
        ] {
            assert_eq!(url(&["resolve", "refs/pr/1", name]), format!("{base}/refs%2Fpr%2F1/{expected}"));
        }
        assert_eq!(client.authorization.unwrap(), "Basic dXNAZXI6czNjcmV0");
    }
}
