//! Lists a revision: its commit, all pages of its tree, and the proof that no file is missing.
//!
//! The end of a listing is never inferred from one header: the description of the revision names all files, and
//! the tree must contain them. A mirror without tree, but with hashes in the description, is enough.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use reqwest::Url;
use reqwest::header::LINK;

use super::HuggingFace;
use super::hub_client::host_and_port;
use crate::error::FetcherError;
use crate::source::content_coding::{self, ContentCoding};
use crate::source::response::find_substitute;
use crate::source::revision::RevisionInfo;
use crate::source::tree::{self, PageFiles, is_commit};
use crate::source::{Retryable, SourceError, link_header};
use model_fetcher_contract::{Listing, ProgressEvent, RemoteFile, UnusableFile};

const MAX_PAGES: usize = 1000;
/// Limit of one answer. The description of a revision names all of its files.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A proxy in between may cut an answer. Chosen: an answer that is cut five times does not change, as after the waits
/// between them (about 4 s).
const MAX_TRUNCATED_ANSWERS: u32 = 5;

/// The body and the next page of an API answer.
struct ApiAnswer {
    json: Vec<u8>,
    next: Option<String>,
}

/// Answer to a request that a mirror may not support.
enum ApiSupport<T> {
    Answered(T),
    /// The mirror answered 404 without a code of the hub.
    Unsupported,
}

impl HuggingFace {
    /// Lists the revision and proves that the listing is complete.
    pub(super) async fn list_revision(&self) -> Result<Listing, FetcherError> {
        let (commit, info) = self.describe_revision().await?;
        let files = match self.list_tree(&commit).await? {
            ApiSupport::Answered(files) => self.add_missing_hashes(&commit, files).await?,
            ApiSupport::Unsupported => self.require_blobs(&commit).await?,
        };
        let listing = tree::build_listing(commit, files);
        match info.filter(RevisionInfo::has_siblings) {
            Some(info) => self.require_all_files(&listing, &info)?,
            None => self.warn(format!(
                "{} does not name the files of a revision, so it is not proven that none is missing",
                self.endpoint
            )),
        }
        Ok(listing)
    }

    /// Returns the commit of the revision and its description. A mirror may only serve the tree of a commit.
    async fn describe_revision(&self) -> Result<(String, Option<RevisionInfo>), FetcherError> {
        let url = self.client.repository_url(&["api", "models"], &["revision", &self.revision]);
        let answer = self.request_api(&url, &self.revision).await?;
        let info = match answer {
            ApiSupport::Answered(answer) => {
                RevisionInfo::parse(&answer.json).map_err(|error| self.unsuitable(error.to_string()))?
            }
            ApiSupport::Unsupported if is_commit(&self.revision) => {
                return Ok((self.revision.clone(), None));
            }
            ApiSupport::Unsupported => {
                let repository = self.repository.clone();
                return Err(FetcherError::RepositoryNotFound { repository, endpoint: self.endpoint.clone() });
            }
        };
        if is_commit(&self.revision) {
            let is_other = info.commit().is_ok_and(|commit| commit != self.revision);
            let reason = || format!("it describes another commit than {}", self.revision);
            return if is_other {
                Err(self.unsuitable(reason()))
            } else {
                Ok((self.revision.clone(), Some(info)))
            };
        }
        let commit = info.commit().map_err(|error| self.unsuitable(error.to_string()))?;
        Ok((commit, Some(info)))
    }

    /// Fetches all pages of the tree of `commit`.
    async fn list_tree(&self, commit: &str) -> Result<ApiSupport<PageFiles>, FetcherError> {
        let mut url = self.client.repository_url(&["api", "models"], &["tree", commit]);
        url.set_query(Some("recursive=true"));
        let mut files = PageFiles::default();
        let mut requested_urls = HashSet::new();
        loop {
            if !requested_urls.insert(url.clone()) || requested_urls.len() > MAX_PAGES {
                return Err(self.bad_listing("pages repeat or do not end".into()));
            }
            let answer = self.request_api(&url, commit).await;
            let answer = match answer.map_err(|error| self.explain_stale_tree(error, commit))? {
                ApiSupport::Answered(answer) => answer,
                ApiSupport::Unsupported if requested_urls.len() == 1 => {
                    return Ok(ApiSupport::Unsupported);
                }
                ApiSupport::Unsupported => {
                    return Err(self.bad_listing("a page of the tree was not found".into()));
                }
            };
            let page = tree::parse_page(&answer.json).map_err(|error| self.unsuitable(error.to_string()))?;
            files.0.extend(page.0);
            files.1.extend(page.1);
            let Some(next) = answer.next else { return Ok(ApiSupport::Answered(files)) };
            url = next_page(&url, &next).ok_or_else(|| {
                self.bad_listing(format!("the address of the next page is invalid: {next:?}"))
            })?;
        }
    }

    /// Lists the files in the description of `commit`, for a mirror without trees.
    async fn require_blobs(&self, commit: &str) -> Result<PageFiles, FetcherError> {
        let reason =
            "it serves neither the tree of a commit nor the hashes of its files, so nothing can be verified";
        self.list_blobs(commit).await?.ok_or_else(|| self.unsuitable(reason.into()))
    }

    /// Takes hashes that the tree lacks from the description of `commit`, if a mirror has them there.
    async fn add_missing_hashes(&self, commit: &str, files: PageFiles) -> Result<PageFiles, FetcherError> {
        let (mut usable, unusable) = files;
        let lacks_hash = |file: &UnusableFile| tree::validate_path(&file.path).is_ok();
        if !unusable.iter().any(lacks_hash) {
            return Ok((usable, unusable));
        }
        let described = self.list_blobs(commit).await?.unwrap_or_default().0;
        let mut described: HashMap<String, RemoteFile> =
            described.into_iter().map(|file| (file.path.clone(), file)).collect();
        let (found, missing): (Vec<_>, Vec<_>) =
            unusable.into_iter().partition(|file| lacks_hash(file) && described.contains_key(&file.path));
        usable.extend(found.iter().filter_map(|file| described.remove(&file.path)));
        Ok((usable, missing))
    }

    async fn list_blobs(&self, commit: &str) -> Result<Option<PageFiles>, FetcherError> {
        let mut url = self.client.repository_url(&["api", "models"], &["revision", commit]);
        url.set_query(Some("blobs=true"));
        match self.request_api(&url, commit).await? {
            ApiSupport::Answered(answer) => Ok(RevisionInfo::parse(&answer.json)
                .map_err(|error| self.unsuitable(error.to_string()))?
                .into_files()),
            ApiSupport::Unsupported => Ok(None),
        }
    }

    /// A mirror can know a newer commit than its trees.
    fn explain_stale_tree(&self, error: FetcherError, commit: &str) -> FetcherError {
        match error {
            FetcherError::RevisionNotFound { .. } if commit != self.revision => self.unsuitable(format!(
                "it reports commit {commit} for revision {:?}, and does not serve its files",
                self.revision
            )),
            other => other,
        }
    }

    fn require_all_files(&self, listing: &Listing, info: &RevisionInfo) -> Result<(), FetcherError> {
        let listed: HashSet<&str> = listing.paths().collect();
        let Some((path, missing)) = info.missing_path(|path| listed.contains(path)) else { return Ok(()) };
        Err(FetcherError::IncompleteListing {
            repository: self.repository.clone(),
            endpoint: self.endpoint.clone(),
            reason: format!("its listing lacks {missing} files of the revision, for example {path:?}"),
        })
    }

    /// Requests an API answer until it is complete. Returns `Unsupported` for 404 without a code of the hub.
    async fn request_api(&self, url: &Url, revision: &str) -> Result<ApiSupport<ApiAnswer>, FetcherError> {
        let mut retry_policy = self.retry_policy();
        let mut truncated_answers = 0;
        loop {
            match self.request_api_once(url, revision).await {
                Ok(ApiSupport::Answered(answer)) if ends_early(&answer.json) => {
                    truncated_answers += 1;
                    let reason = format!("{} returned an answer that ends early", host_and_port(url));
                    if truncated_answers == MAX_TRUNCATED_ANSWERS {
                        return Err(self.unsuitable(reason));
                    }
                    retry_policy.wait(&Retryable::new(reason)).await?;
                }
                Ok(answer) => return Ok(answer),
                Err(SourceError::Permanent(error)) => return Err(error),
                Err(SourceError::Retryable(retryable)) => retry_policy.wait(&retryable).await?,
            }
        }
    }

    async fn request_api_once(
        &self,
        url: &Url,
        revision: &str,
    ) -> Result<ApiSupport<ApiAnswer>, SourceError> {
        let response = self.get_api(url).await?;
        if !response.status().is_success() {
            let http_error = self.read_http_error(response).await;
            if http_error.status == 404 && http_error.code.is_none() {
                return Ok(ApiSupport::Unsupported);
            }
            return Err(http_error.into_source_error(&self.request_info(revision, None)));
        }
        let headers = response.headers();
        let links: Vec<String> = headers
            .get_all(LINK)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        let next = link_header::next_target(links.iter().map(String::as_str)).map(str::to_owned);
        let json = self.read_answer(response).await?;
        match find_substitute(&json) {
            Some(what) => Err(FetcherError::WrongContent {
                endpoint: host_and_port(url),
                path: format!("the listing of repository \"{}\"", self.repository),
                what: what.to_owned(),
            }
            .into()),
            None => Ok(ApiSupport::Answered(ApiAnswer { json, next })),
        }
    }

    /// Reads the body of an answer, compressed or not.
    pub(super) async fn read_answer(&self, response: reqwest::Response) -> Result<Vec<u8>, SourceError> {
        let coding = ContentCoding::from_headers(response.headers());
        if let ContentCoding::Unknown(name) = &coding {
            let reason =
                format!("its answer is compressed with {name:?} although no compression was requested");
            return Err(self.unsuitable(reason).into());
        }
        let mut segments = content_coding::decode(&coding, super::body_segments(response));
        let mut body = Vec::new();
        while let Some(segment) = segments.next().await {
            body.extend_from_slice(&segment.map_err(|error| Retryable::new(error.to_string()))?);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(self.bad_listing("an answer has more than 64 MiB".into()).into());
            }
        }
        Ok(body)
    }

    fn warn(&self, text: String) {
        // A closed receiver only means that nothing shows the events.
        let _ = self.events.send(ProgressEvent::Warning { text });
    }

    fn unsuitable(&self, reason: String) -> FetcherError {
        let (repository, endpoint) = (self.repository.clone(), self.endpoint.clone());
        FetcherError::UnsuitableHub { repository, endpoint, reason }
    }
}

/// Returns whether a body is the start of valid JSON.
fn ends_early(json: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(json).is_err_and(|error| error.is_eof())
}

/// Returns the URL of the next page. Only its query is used if it has one: a mirror may return URLs of the hub that
/// it mirrors. The host never changes.
fn next_page(url: &Url, target: &str) -> Option<Url> {
    let next = url.join(target).ok()?;
    let mut url = url.clone();
    match next.query() {
        Some(query) => url.set_query(Some(query)),
        None => {
            url.set_path(next.path());
            url.set_query(None);
        }
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_page_is_at_the_same_host() {
        let url = Url::parse("http://mirror/hub/api/models/a/b/tree/c?recursive=true").unwrap();
        let next = |target: &str| next_page(&url, target).map(|next| next.to_string()).unwrap_or_default();
        let page = "http://mirror/hub/api/models/a/b/tree/c?cursor=2";
        assert_eq!(next("https://huggingface.co/api/models/a/b/tree/c?cursor=2"), page);
        assert_eq!(next("?cursor=2"), page);
        assert_eq!(next("/other?cursor=2"), page);
        assert_eq!(next("/hub/api/models/a/b/tree/c/2"), "http://mirror/hub/api/models/a/b/tree/c/2");
        assert_eq!(next("http://["), "");
    }
}
