//! Addresses of a hub: the hub's own, where it redirects to, and who may see the token.
//!
//! One client a lane, so that each has one connection of its own. Where a file's bytes are is asked once; a signed
//! address that has expired is asked for again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, LOCATION, RANGE};
use reqwest::{StatusCode, Url};

use crate::contract::RemoteFile;
use crate::error::Error;
use crate::http::Clients;
use crate::options::{FetchOptions, Token};
use crate::source::answer::no_answer;
use crate::source::{Failure, Later};

const MOST_REDIRECTS: usize = 10;

/// The addresses of one repository.
pub(super) struct Addresses {
    pub(super) base: Url,
    pub(super) clients: Clients,
    token: Option<Token>,
    repository: String,
    lanes: Mutex<HashMap<usize, reqwest::Client>>,
    /// Where the hub sent us for a file: found once, forgotten when it expires.
    known: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Url>>>>>,
}

impl Addresses {
    pub(super) fn new(options: &FetchOptions) -> Result<Self, Error> {
        let base = Url::parse(&options.hub.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::Usage {
                what: format!("{:?} is no address of a hub", options.hub.endpoint),
                hint: "give one such as `--endpoint https://huggingface.co`".into(),
            })?;
        Ok(Self {
            base,
            clients: Clients::new(options.read_timeout)?,
            token: options.hub.token.clone(),
            repository: options.repository.clone(),
            lanes: Mutex::default(),
            known: Mutex::default(),
        })
    }

    /// Sends a GET and follows redirects. The token goes to the hub's own scheme, host and port alone: a signed
    /// address refuses a second kind of authorisation, and another host must not learn it.
    pub(super) async fn follow(
        &self,
        client: &reqwest::Client,
        mut url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<(Url, reqwest::Response), Failure> {
        for _ in 0..=MOST_REDIRECTS {
            let mut request = client.get(url.clone());
            if let Some(token) = self.token.as_ref().filter(|_| url.origin() == self.base.origin()) {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret()));
            }
            if let Some(range) = range {
                request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            }
            let answer = request.send().await.map_err(|error| no_answer(&error, host(&url)))?;
            let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirects {
                return Ok((url, answer));
            }
            let target = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = target.and_then(|location| url.join(location).ok());
            url = next
                .filter(|next| leads_no_lower(&url, next))
                .ok_or_else(|| self.refused(&url, answer.status(), "it redirects to no usable address"))?;
        }
        Err(self.refused(&url, StatusCode::LOOP_DETECTED, "it redirects in circles").into())
    }

    /// An answer of any host for `file`, from the address known for it or from the hub.
    pub(super) async fn ask(
        &self,
        lane: usize,
        commit: &str,
        file: &RemoteFile,
        range: Option<&Range<u64>>,
    ) -> Result<reqwest::Response, Failure> {
        let client = self.lane(lane)?;
        let known = self.known(&file.path);
        let mut address = known.lock().await;
        if let Some(url) = address.clone() {
            drop(address);
            let (_, answer) = self.follow(&client, url.clone(), range).await?;
            if !has_expired(&answer) {
                return Ok(answer);
            }
            // A new address is asked for once, by whoever comes first; the others find it here.
            address = known.lock().await;
            if address.as_ref() == Some(&url) {
                *address = None;
            }
            return Err(Later {
                after: Some(Duration::ZERO),
                ..Later::new("the signed address has expired")
            }
            .into());
        }
        let segments: Vec<&str> = ["resolve", commit].into_iter().chain(file.path.split('/')).collect();
        let (url, answer) = self.follow(&client, self.below(&[], &segments), range).await?;
        if answer.status().is_success() {
            *address = Some(url);
        } else if url.origin() != self.base.origin() && has_expired(&answer) {
            return Err(Later::new(format!("HTTP status {} from {}", answer.status(), host(&url))).into());
        }
        Ok(answer)
    }

    fn known(&self, path: &str) -> Arc<tokio::sync::Mutex<Option<Url>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(path.to_owned()).or_default().clone()
    }

    pub(super) fn lane(&self, lane: usize) -> Result<reqwest::Client, Error> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = lanes.get(&lane) {
            return Ok(client.clone());
        }
        let client = self.clients.client()?;
        lanes.insert(lane, client.clone());
        Ok(client)
    }

    /// `{endpoint}/{before}/{repository}/{after}`, each part percent-encoded.
    pub(super) fn below(&self, before: &[&str], after: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(before).extend(self.repository.split('/')).extend(after);
        }
        url
    }

    fn refused(&self, url: &Url, status: StatusCode, message: &str) -> Error {
        Error::Refused {
            endpoint: host(url),
            what: self.repository.clone(),
            status: status.as_u16(),
            message: message.to_owned(),
        }
    }
}

/// A signed address that is no longer good answers 403 (CloudFront, S3); other stores have other words for it.
fn has_expired(answer: &reqwest::Response) -> bool {
    matches!(answer.status().as_u16(), 401 | 403 | 404 | 410)
}

/// `https` never leads to anything else, and only `http` and `https` are followed.
pub(super) fn leads_no_lower(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    }
}

pub(super) fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}
