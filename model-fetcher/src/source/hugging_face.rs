//! The Hugging Face Hub, or a mirror that speaks its protocol. The only file that names the hub client.
//!
//! hf-hub resolves revisions. It does not list (its tree loses `lfs.oid`, the sha256) and moves no bytes (it writes
//! to final names without a check), so tree and transfers are requests of our own.

mod addresses;
mod xet;

use std::collections::HashSet;
use std::ops::Range;

use futures::StreamExt;
use hf_hub::{HFClient, HFError};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc::UnboundedSender;

use self::addresses::{Addresses, host};
use self::xet::XetPolicy;
#[cfg(feature = "xet")]
use self::xet::{Connection, XetAccess, XetStore};
use super::answer::{ContentRange, Question, Refusal, no_answer};
use super::{Body, Failure, Later, ModelSource, tree};
use crate::contract::{Listing, ProgressEvent, RemoteFile};
use crate::error::{Error, NoXet};
use crate::http::reason;
use crate::options::{FetchOptions, HubAccess};
use crate::patience::{Limits, Patience};

/// The API's own connection.
const API_LANE: usize = usize::MAX;
const MOST_PAGES: usize = 1000;
const LARGEST_PAGE_BYTES: usize = 16 << 20;

/// One repository at one revision of a hub.
pub(crate) struct HuggingFace {
    addresses: Addresses,
    xet: XetPolicy,
    #[cfg(feature = "xet")]
    store: XetStore,
    access: HubAccess,
    repository: String,
    revision: String,
    limits: Limits,
    notices: UnboundedSender<ProgressEvent>,
}

impl HuggingFace {
    pub(crate) fn new(
        options: &FetchOptions,
        notices: UnboundedSender<ProgressEvent>,
    ) -> Result<Self, Error> {
        Ok(Self {
            addresses: Addresses::new(options)?,
            xet: XetPolicy::new(options),
            #[cfg(feature = "xet")]
            store: XetStore::new(options),
            access: options.hub.clone(),
            repository: options.repository.clone(),
            revision: options.revision.clone(),
            limits: Limits::of(options),
            notices,
        })
    }

    /// The commit the revision stands for; no request when it is one already.
    async fn resolve(&self) -> Result<String, Error> {
        if is_commit(&self.revision) {
            return Ok(self.revision.clone());
        }
        let mut patience = self.patience();
        loop {
            match self.resolve_once().await {
                Ok(commit) => return Ok(commit),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Later(later)) => patience.wait(&later).await?,
            }
        }
    }

    async fn resolve_once(&self) -> Result<String, Failure> {
        // Retries are ours: hf-hub's own last half a second and do not know the hub's rate limit header.
        let mut builder = HFClient::builder()
            .endpoint(self.access.endpoint.clone())
            .client(self.addresses.clients.following()?)
            .cache_enabled(false)
            .retry_max_attempts(0);
        if let Some(token) = &self.access.token {
            builder = builder.token(token.secret());
        }
        let client = builder.build().map_err(|error| Error::Client { reason: error.to_string() })?;
        let (owner, name) = hf_hub::split_id(&self.repository);
        let info = client.model(owner, name).info().revision(self.revision.as_str()).send().await;
        let commit = info.map_err(|error| self.hub_failure(error))?.sha.unwrap_or_default();
        if !is_commit(&commit) {
            return Err(self.bad_listing(format!("revision {} has no commit", self.revision)).into());
        }
        Ok(commit)
    }

    /// hf-hub's errors in our words.
    fn hub_failure(&self, error: HFError) -> Failure {
        let (context, after) = match error {
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context } => (Some(context), None),
            HFError::RepoNotFound { context, .. } | HFError::RevisionNotFound { context, .. } => {
                (context, None)
            }
            HFError::RateLimited { retry_after, context } => (Some(context), retry_after),
            HFError::Request { source, .. } => return no_answer(&source, host(&self.addresses.base)),
            other => return self.bad_listing(other.to_string()).into(),
        };
        let refusal = context.map(|context| Refusal {
            status: context.status.as_u16(),
            code: context.error_code,
            message: context.server_message,
            after,
        });
        refusal.unwrap_or_default().failure(&self.question(&self.revision, None))
    }

    /// All pages of the tree of `commit`.
    async fn tree(&self, commit: &str) -> Result<Vec<RemoteFile>, Error> {
        let mut url = self.addresses.below(&["api", "models"], &["tree", commit]);
        url.set_query(Some("recursive=true"));
        let mut files = Vec::new();
        let mut asked = HashSet::new();
        loop {
            if !asked.insert(url.clone()) || asked.len() > MOST_PAGES {
                return Err(self.bad_listing("its pages repeat or never end".into()));
            }
            let (page, next) = self.tree_page(&url, commit).await?;
            files.extend(page);
            match next {
                // Only the cursor is taken: a mirror passes on addresses of the hub it mirrors.
                Some(next) => url.set_query(next.query()),
                None => break,
            }
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        tree::validate_paths(&files).map_err(|reason| self.bad_listing(reason))?;
        Ok(files)
    }

    async fn tree_page(&self, url: &Url, commit: &str) -> Result<(Vec<RemoteFile>, Option<Url>), Error> {
        let mut patience = self.patience();
        loop {
            match self.tree_page_once(url, commit).await {
                Ok((json, next)) => {
                    let page = tree::read_page(&json).map_err(|reason| self.bad_listing(reason))?;
                    return Ok((page, next));
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Later(later)) => patience.wait(&later).await?,
            }
        }
    }

    async fn tree_page_once(&self, url: &Url, commit: &str) -> Result<(Vec<u8>, Option<Url>), Failure> {
        let mut answer = self.api(url, commit).await?;
        let next = next_page(answer.headers(), url);
        let mut json = Vec::new();
        while let Some(segment) = answer.chunk().await.map_err(|error| Later::new(reason(&error)))? {
            json.extend_from_slice(&segment);
            if json.len() > LARGEST_PAGE_BYTES {
                return Err(self.bad_listing("a page has more than 16 MiB".into()).into());
            }
        }
        Ok((json, next))
    }

    /// The answer of the hub's API, if it is one.
    async fn api(&self, url: &Url, commit: &str) -> Result<reqwest::Response, Failure> {
        let client = self.addresses.lane(API_LANE)?;
        let (_, answer) = self.addresses.follow(&client, url.clone(), None).await?;
        match answer.status().is_success() {
            true => Ok(answer),
            false => Err(self.refusal(answer).await.failure(&self.question(commit, None))),
        }
    }

    async fn refusal(&self, answer: reqwest::Response) -> Refusal {
        let mut refusal = Refusal::new(answer.status(), answer.headers());
        if refusal.message.is_none() {
            let body = answer.bytes().await.unwrap_or_default();
            let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            refusal.message = json.and_then(|json| Some(json.get("error")?.as_str()?.to_owned()));
        }
        refusal
    }

    #[cfg(not(feature = "xet"))]
    async fn open_through_xet(&self, _: &str, file: &RemoteFile, _: Range<u64>) -> Result<Body, Failure> {
        Err(self.needs_xet(file, NoXet::NotBuiltIn).into())
    }

    /// A range of `file` through xet, with a token for `commit` that the hub gives.
    #[cfg(feature = "xet")]
    async fn open_through_xet(
        &self,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<Body, Failure> {
        let url = self.addresses.below(&["api", "models"], &["xet-read-token", commit]);
        let mut connection = self.store.connection().await;
        if connection.is_none() {
            let answer = self.api(&url, commit).await?;
            let json = answer.bytes().await.map_err(|error| Later::new(reason(&error)))?;
            let access: XetAccess = serde_json::from_slice(&json)
                .map_err(|error| self.bad_listing(format!("the token for xet is no JSON: {error}")))?;
            if !access.is_sound(&self.addresses.base) {
                return Err(self.bad_listing("its xet storage has no usable address".into()).into());
            }
            *connection = Some(self.store.connect(access).await?);
        }
        let group = connection.as_ref().map(Connection::group);
        drop(connection);
        match group {
            Some(group) => self.store.open(group, file, range).await,
            None => Err(Later::new("no connection to xet storage").into()),
        }
    }

    fn needs_xet(&self, file: &RemoteFile, why: NoXet) -> Error {
        let (path, endpoint) = (file.path.clone(), self.access.endpoint.clone());
        Error::NeedsXet { repository: self.repository.clone(), path, size: file.size, endpoint, why }
    }

    fn patience(&self) -> Patience {
        Patience::new(host(&self.addresses.base), self.limits, self.notices.clone())
    }

    fn question<'a>(&'a self, revision: &'a str, path: Option<&'a str>) -> Question<'a> {
        Question {
            repository: &self.repository,
            revision,
            endpoint: &self.access.endpoint,
            path,
            token_given: self.access.token.is_some(),
        }
    }

    fn bad_listing(&self, reason: String) -> Error {
        Error::BadListing { repository: self.repository.clone(), reason }
    }
}

impl ModelSource for HuggingFace {
    async fn list(&self) -> Result<Listing, Error> {
        let commit = self.resolve().await?;
        let files = self.tree(&commit).await?;
        Ok(Listing { commit, files })
    }

    async fn open(
        &self,
        lane: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<Body, Failure> {
        if self.xet.is_for(file) {
            return self.open_through_xet(commit, file, range).await;
        }
        let whole = range == (0..file.size);
        let answer = self.addresses.ask(lane, commit, file, (!whole).then_some(&range)).await?;
        let offset = match answer.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => {
                let sent = ContentRange::of(answer.headers());
                let fits = sent.is_some_and(|sent| {
                    sent.first == range.start && sent.size.is_none_or(|size| size == file.size)
                });
                if !fits {
                    return Err(Later::new(format!(
                        "{} sent another range than asked for",
                        host(answer.url())
                    ))
                    .into());
                }
                range.start
            }
            StatusCode::BAD_REQUEST if file.size > self.xet.plain_limit_bytes => {
                self.xet.take_over(file).map_err(|why| self.needs_xet(file, why))?;
                return self.open_through_xet(commit, file, range).await;
            }
            _ => return Err(self.refusal(answer).await.failure(&self.question(commit, Some(&file.path)))),
        };
        let segments = answer.bytes_stream().map(|segment| segment.map_err(|error| reason(&error))).boxed();
        Ok(Body { offset, segments })
    }

    fn name(&self) -> &str {
        &self.access.endpoint
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The address in `Link: <…>; rel="next"`.
fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = part.trim().strip_prefix('<')?.split_once('>')?.0;
    base.join(address).ok()
}
