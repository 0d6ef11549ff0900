//! The Hugging Face Hub, or a mirror with the same protocol.
//!
//! All requests are sent by this crate. The hf-hub crate hides the headers and the body of an answer, and they
//! decide whether a retry helps, what a mirror lacks, and whether a listing is complete.

mod content;
mod hub_client;
mod listing;
mod xet;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc::UnboundedSender;

use self::content::RequestExtent;
use self::hub_client::{HubClient, host_and_port};
use self::xet::XetPolicy;
#[cfg(feature = "xet")]
use self::xet::{XetAccess, XetStore};
use super::response::{HttpError, RequestInfo};
use super::{BodyError, ModelSource, SourceBody, SourceError};
use crate::error::{FetcherError, XetUnavailable};
use crate::options::FetchOptions;
use crate::retry::{RetryLimits, RetryPolicy};
use model_fetcher_contract::{Listing, ProgressEvent, RemoteFile};

/// Worker number of the API's connection.
const API_WORKER: usize = usize::MAX;

/// One repository at one revision of a hub.
pub(crate) struct HuggingFace {
    client: HubClient,
    xet: XetPolicy,
    #[cfg(feature = "xet")]
    store: XetStore,
    /// The endpoint as it is printed.
    endpoint: String,
    has_token: bool,
    repository: String,
    revision: String,
    limits: RetryLimits,
    events: UnboundedSender<ProgressEvent>,
    /// Number of wrong answers in a row, for each worker and file.
    wrong_answers: Mutex<HashMap<(usize, String), u32>>,
}

impl HuggingFace {
    pub(crate) fn new(
        options: &FetchOptions,
        events: UnboundedSender<ProgressEvent>,
    ) -> Result<Self, FetcherError> {
        Ok(Self {
            client: HubClient::new(options)?,
            xet: XetPolicy::new(options),
            #[cfg(feature = "xet")]
            store: XetStore::new(options),
            endpoint: options.hub.endpoint.to_string(),
            has_token: options.hub.token.is_some(),
            repository: options.repository.clone(),
            revision: options.revision.clone(),
            limits: RetryLimits::from_options(options),
            events,
            wrong_answers: Mutex::default(),
        })
    }

    /// Sends a GET to the hub's API.
    async fn get_api(&self, url: &Url) -> Result<reqwest::Response, SourceError> {
        let client = self.client.client_for(API_WORKER)?;
        let (_, response) = self.client.get_following_redirects(&client, url.clone(), None).await?;
        Ok(response)
    }

    async fn read_http_error(&self, response: reqwest::Response) -> HttpError {
        let mut http_error = HttpError::new(response.status(), response.headers());
        if http_error.message.is_none() {
            let body = self.read_answer(response).await.unwrap_or_default();
            let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            http_error.message = json.and_then(|json| Some(json.get("error")?.as_str()?.to_owned()));
        }
        http_error
    }

    #[cfg(not(feature = "xet"))]
    async fn open_through_xet(
        &self,
        _: &str,
        file: &RemoteFile,
        _: Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        Err(self.xet_required_error(file, XetUnavailable::NotBuiltIn).into())
    }

    /// Opens a range of `file` through xet, with a token that the hub grants for `commit`.
    #[cfg(feature = "xet")]
    async fn open_through_xet(
        &self,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        let url = self.client.repository_url(&["api", "models"], &["xet-read-token", commit]);
        let mut connection = self.store.connection().await;
        let group = match connection.as_ref() {
            Some(connection) => connection.group(),
            None => {
                let response = self.get_api(&url).await?;
                if !response.status().is_success() {
                    let http_error = self.read_http_error(response).await;
                    return Err(http_error.into_source_error(&self.request_info(commit, None)));
                }
                let json = self.read_answer(response).await?;
                let access: XetAccess = serde_json::from_slice(&json)
                    .map_err(|error| self.bad_listing(format!("the xet token is not valid JSON: {error}")))?;
                if !access.is_allowed_for(&self.client.base) {
                    return Err(self.bad_listing("the URL of its xet storage is invalid".into()).into());
                }
                connection.insert(self.store.connect(access).await?).group()
            }
        };
        drop(connection);
        self.store.open(group, file, range).await
    }

    fn xet_required_error(&self, file: &RemoteFile, why: XetUnavailable) -> FetcherError {
        let (path, endpoint) = (file.path.clone(), self.endpoint.clone());
        FetcherError::NeedsXet { repository: self.repository.clone(), path, size: file.size, endpoint, why }
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::new(host_and_port(&self.client.base), self.limits, self.events.clone())
    }

    fn request_info<'a>(&'a self, revision: &'a str, path: Option<&'a str>) -> RequestInfo<'a> {
        RequestInfo {
            repository: &self.repository,
            revision,
            endpoint: &self.endpoint,
            path,
            has_token: self.has_token,
        }
    }

    fn bad_listing(&self, reason: String) -> FetcherError {
        FetcherError::BadListing { repository: self.repository.clone(), reason }
    }
}

impl ModelSource for HuggingFace {
    async fn list(&self) -> Result<Listing, FetcherError> {
        self.list_revision().await
    }

    async fn open(
        &self,
        worker: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        if self.xet.is_used_for(file) {
            return self.open_through_xet(commit, file, range).await;
        }
        let (extent, requested) = match range == (0..file.size) {
            true => (RequestExtent::WholeFile, None),
            false => (RequestExtent::Range, Some(&range)),
        };
        let response = self.client.request_file(worker, commit, file, requested).await?;
        match response.status() {
            StatusCode::OK => self.open_whole_file(worker, file, response, extent).await,
            StatusCode::PARTIAL_CONTENT => self.open_range(worker, file, response, &range),
            // Some servers answer this although the range exists.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let host = host_and_port(response.url());
                Err(self.wrong_answer(worker, file, &host, "HTTP status 416".into()))
            }
            StatusCode::BAD_REQUEST if file.size > self.xet.plain_http_limit_bytes => {
                self.xet.switch_to_xet(file).map_err(|why| self.xet_required_error(file, why))?;
                self.open_through_xet(commit, file, range).await
            }
            _ => Err(self
                .read_http_error(response)
                .await
                .into_source_error(&self.request_info(commit, Some(&file.path)))),
        }
    }

    fn name(&self) -> &str {
        &self.endpoint
    }
}

/// Returns the body of a response.
fn body_segments(response: reqwest::Response) -> BoxStream<'static, Result<Bytes, BodyError>> {
    response.bytes_stream().map(|segment| segment.map_err(BodyError::Http)).boxed()
}
