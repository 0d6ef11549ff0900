//! The Hugging Face Hub, or a mirror that speaks its protocol. The only file that names the hub client.
//!
//! hf-hub resolves revisions. It does not list (its tree loses `lfs.oid`, the sha256) and moves no bytes (it writes
//! to final names without a check), so tree and transfers are requests of our own.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use hf_hub::{HFClient, HFError};
use reqwest::header::{AUTHORIZATION, HeaderMap, LINK, LOCATION, RANGE};
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc::UnboundedSender;

use super::answer::{ContentRange, Question, Refusal};
use super::{Body, Failure, Later, ModelSource, tree};
use crate::contract::{Listing, ProgressEvent, RemoteFile};
use crate::error::Error;
use crate::http::{Clients, reason};
use crate::options::{FetchOptions, HubAccess};
use crate::patience::Patience;

const MOST_REDIRECTS: usize = 10;
const MOST_PAGES: usize = 1000;
const LARGEST_PAGE_BYTES: usize = 16 << 20;
/// Above this the hub may give a file through xet only (huggingface_hub's `MAX_HTTP_DOWNLOAD_SIZE`).
const PLAIN_HTTP_LIMIT_BYTES: u64 = 50_000_000_000;

/// One repository at one revision of a hub.
pub(crate) struct HuggingFace {
    access: HubAccess,
    base: Url,
    repository: String,
    revision: String,
    stall_timeout: Duration,
    clients: Clients,
    api: reqwest::Client,
    lanes: Mutex<HashMap<usize, reqwest::Client>>,
    /// Where the hub sent us for a file: found once, forgotten when it expires.
    addresses: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Url>>>>>,
    notices: UnboundedSender<ProgressEvent>,
}

impl HuggingFace {
    pub(crate) fn new(
        options: &FetchOptions,
        notices: UnboundedSender<ProgressEvent>,
    ) -> Result<Self, Error> {
        let base = Url::parse(&options.hub.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::Usage {
                what: format!("{:?} is no address of a hub", options.hub.endpoint),
                hint: "give one such as `--endpoint https://huggingface.co`".into(),
            })?;
        let clients = Clients::new(options.read_timeout)?;
        Ok(Self {
            access: options.hub.clone(),
            base,
            repository: options.repository.clone(),
            revision: options.revision.clone(),
            stall_timeout: options.stall_timeout,
            api: clients.client()?,
            clients,
            lanes: Mutex::default(),
            addresses: Mutex::default(),
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
            .client(self.clients.following()?)
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
            HFError::Request { source, .. } => return Later::new(reason(&source)).into(),
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
        let mut url = self.address(&["api", "models"], &["tree", commit]);
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
        let mut answer = self.follow(&self.api, url.clone(), None).await?.1;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await.failure(&self.question(commit, None)));
        }
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

    /// Sends a GET and follows redirects. The token goes to the hub's own scheme, host and port alone: a signed
    /// address refuses a second kind of authorisation, and another host must not learn it.
    async fn follow(
        &self,
        client: &reqwest::Client,
        mut url: Url,
        range: Option<&Range<u64>>,
    ) -> Result<(Url, reqwest::Response), Failure> {
        for _ in 0..=MOST_REDIRECTS {
            let mut request = client.get(url.clone());
            if let Some(token) = self.access.token.as_ref().filter(|_| url.origin() == self.base.origin()) {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret()));
            }
            if let Some(range) = range {
                request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
            }
            let answer = request.send().await.map_err(|error| Later::new(reason(&error)))?;
            let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirects {
                return Ok((url, answer));
            }
            let target = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = target.and_then(|location| url.join(location).ok());
            url = next
                .filter(|next| redirect_is_sound(&url, next))
                .ok_or_else(|| self.refused(&url, answer.status(), "it redirects to no usable address"))?;
        }
        Err(self.refused(&url, StatusCode::LOOP_DETECTED, "it redirects in circles").into())
    }

    /// An answer of any host for `file`, from the address known for it or from the hub.
    async fn ask(
        &self,
        lane: usize,
        commit: &str,
        file: &RemoteFile,
        range: Option<&Range<u64>>,
    ) -> Result<reqwest::Response, Failure> {
        let client = self.lane(lane)?;
        let known = self.known_address(&file.path);
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
        let (url, answer) = self.follow(&client, self.address(&[], &segments), range).await?;
        if answer.status().is_success() {
            *address = Some(url);
        } else if url.origin() != self.base.origin() && has_expired(&answer) {
            return Err(Later::new(format!("HTTP status {} from {}", answer.status(), host(&url))).into());
        }
        Ok(answer)
    }

    fn known_address(&self, path: &str) -> Arc<tokio::sync::Mutex<Option<Url>>> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.entry(path.to_owned()).or_default().clone()
    }

    fn lane(&self, lane: usize) -> Result<reqwest::Client, Error> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = lanes.get(&lane) {
            return Ok(client.clone());
        }
        let client = self.clients.client()?;
        lanes.insert(lane, client.clone());
        Ok(client)
    }

    /// `{endpoint}/{before}/{repository}/{after}`, each part percent-encoded.
    fn address(&self, before: &[&str], after: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(before).extend(self.repository.split('/')).extend(after);
        }
        url
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

    fn patience(&self) -> Patience {
        Patience::new(host(&self.base), self.stall_timeout, self.notices.clone())
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

    fn refused(&self, url: &Url, status: StatusCode, message: &str) -> Error {
        Error::Refused {
            endpoint: host(url),
            what: self.repository.clone(),
            status: status.as_u16(),
            message: message.to_owned(),
        }
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
        let whole = range == (0..file.size);
        let answer = self.ask(lane, commit, file, (!whole).then_some(&range)).await?;
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
            StatusCode::BAD_REQUEST if file.size > PLAIN_HTTP_LIMIT_BYTES => {
                return Err(Error::NeedsXet {
                    path: file.path.clone(),
                    size: file.size,
                    endpoint: self.access.endpoint.clone(),
                }
                .into());
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

/// A signed address that is no longer good answers 403 (CloudFront, S3); other stores have other words for it.
fn has_expired(answer: &reqwest::Response) -> bool {
    matches!(answer.status().as_u16(), 401 | 403 | 404 | 410)
}

/// `https` never leads to anything else, and only `http` and `https` are followed.
fn redirect_is_sound(from: &Url, to: &Url) -> bool {
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http",
        _ => false,
    }
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

/// The address in `Link: <…>; rel="next"`.
fn next_page(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let part = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let address = part.trim().strip_prefix('<')?.split_once('>')?.0;
    base.join(address).ok()
}
