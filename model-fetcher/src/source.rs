//! Where a model comes from: something that can list a revision and open a file at an offset.

pub(crate) mod answer;
pub(crate) mod folder;
pub(crate) mod hugging_face;
pub(crate) mod tree;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::{Listing, RemoteFile};
use crate::error::Error;

/// A hub, or a folder that mirrors one.
pub(crate) trait ModelSource: Send + Sync + 'static {
    /// Commit and files of the wanted revision.
    fn list(&self) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// Opens `file` of `commit` at `range`. `lane` tells the connections of concurrent callers apart; each caller finishes or
    /// drops one body before it asks for the next.
    fn open(
        &self,
        lane: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Body, Failure>> + Send;

    /// What to call this source in a message.
    fn name(&self) -> &str;
}

/// The bytes of one answer.
pub(crate) struct Body {
    /// Where in the file the first byte belongs: the start asked for, or 0 from a server that ignores ranges.
    pub(crate) offset: u64,
    pub(crate) segments: BoxStream<'static, Result<Bytes, String>>,
}

/// Why a body did not come.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It will not come however often it is asked for.
    Final(Error),
    /// It may come later.
    Later(Later),
}

/// Something that may work when tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Later {
    pub(crate) reason: String,
    /// The server's own word on when.
    pub(crate) after: Option<Duration>,
    pub(crate) rate_limited: bool,
    /// No server was reached, so none was busy either.
    pub(crate) unreachable: bool,
}

impl Later {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), after: None, rate_limited: false, unreachable: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

impl From<Later> for Failure {
    fn from(later: Later) -> Self {
        Failure::Later(later)
    }
}
