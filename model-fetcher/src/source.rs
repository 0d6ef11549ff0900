//! Sources of models: a source lists a revision and opens a file at an offset.
//! A source must not verify content; the transfer does.

pub(crate) mod content_coding;
pub(crate) mod hugging_face;
pub(crate) mod link_header;
pub(crate) mod listing_error;
pub(crate) mod mirror_folder;
pub(crate) mod response;
pub(crate) mod revision;
pub(crate) mod tree;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::FetcherError;
use crate::http::innermost_reason;
use model_fetcher_contract::{Listing, RemoteFile};

/// A hub, or a folder that mirrors one.
pub(crate) trait ModelSource: Send + Sync + 'static {
    /// Lists the commit and the files of the requested revision.
    fn list(&self) -> impl Future<Output = Result<Listing, FetcherError>> + Send;

    /// Opens `file` of `commit` at `range`. `worker` identifies the connection of a concurrent caller. Each
    /// caller finishes or drops one body before it requests the next.
    fn open(
        &self,
        worker: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> impl Future<Output = Result<SourceBody, SourceError>> + Send;

    /// Returns the name of this source for messages.
    fn name(&self) -> &str;
}

/// The body of one response.
pub(crate) struct SourceBody {
    /// Offset of the first byte in the file: the requested start, or 0 from a server that ignores ranges.
    pub(crate) offset: u64,
    pub(crate) segments: BoxStream<'static, Result<Bytes, BodyError>>,
}

/// Why a body ended before its last byte.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("{}", innermost_reason(.0))]
    Http(reqwest::Error),
    #[error("the compressed body is invalid: {0}")]
    InvalidCompression(std::io::Error),
    #[error("cannot read the mirror: {0}")]
    Mirror(std::io::Error),
    /// The thread that reads the mirror failed.
    #[error(transparent)]
    Reader(tokio::task::JoinError),
    /// The message of the xet client, without secrets.
    #[cfg(feature = "xet")]
    #[error("{0}")]
    Xet(String),
    #[cfg(feature = "xet")]
    #[error("timed out waiting for xet data")]
    XetTimeout,
}

/// Why a source did not return a body.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// The request can never succeed.
    Permanent(FetcherError),
    /// The request may succeed later.
    Retryable(Retryable),
}

/// An error that may not occur on a retry, of the same request or of one without a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retryable {
    pub(crate) reason: String,
    /// Delay that the server requested.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) is_rate_limited: bool,
    /// No server was reached.
    pub(crate) is_unreachable: bool,
    /// The server does not answer this range correctly, but may return the whole file.
    pub(crate) refuses_range: bool,
}

impl Retryable {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
            is_rate_limited: false,
            is_unreachable: false,
            refuses_range: false,
        }
    }

    /// Returns whether the server sent the time when its rate limit ends.
    pub(crate) fn is_rate_limit_delay(&self) -> bool {
        self.is_rate_limited && self.retry_after.is_some()
    }

    pub(crate) fn range_refused(reason: impl Into<String>) -> Self {
        Self { refuses_range: true, ..Self::new(reason) }
    }
}

impl From<FetcherError> for SourceError {
    fn from(error: FetcherError) -> Self {
        SourceError::Permanent(error)
    }
}

impl From<Retryable> for SourceError {
    fn from(retryable: Retryable) -> Self {
        SourceError::Retryable(retryable)
    }
}
