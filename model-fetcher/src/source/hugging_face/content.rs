//! Opens the content of a file in a response, and recognizes answers that are not its content.
//! It must not write or verify bytes.

use std::ops::Range;
use std::sync::PoisonError;

use futures::StreamExt;
use futures::stream;
use reqwest::header::CONTENT_LENGTH;

use super::hub_client::host_and_port;
use super::{HuggingFace, body_segments};
use crate::error::FetcherError;
use crate::source::content_coding::{self, ContentCoding};
use crate::source::response::{ContentRange, find_substitute};
use crate::source::{Retryable, SourceBody, SourceError};
use model_fetcher_contract::{Checksum, RemoteFile};

/// After this many wrong answers in a row the whole file is requested: the server may not support ranges.
const MAX_WRONG_RANGES: u32 = 3;
/// A proxy in between may cause a wrong answer. One that a worker receives this often in a row does not change: the
/// waits in between add up to about 4 to 8 seconds. [`MAX_WRONG_RANGES`] is a part of the same count.
const MAX_WRONG_ANSWERS: u32 = 6;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestExtent {
    WholeFile,
    Range,
}

impl HuggingFace {
    /// Opens a response with status 200: the whole file, possibly compressed, or something else.
    pub(super) async fn open_whole_file(
        &self,
        worker: usize,
        file: &RemoteFile,
        response: reqwest::Response,
        extent: RequestExtent,
    ) -> Result<SourceBody, SourceError> {
        let host = host_and_port(response.url());
        let coding = ContentCoding::from_headers(response.headers());
        if let ContentCoding::Unknown(name) = &coding {
            return Err(self
                .wrong_content(file, &host, format!("a body that is compressed with {name:?}"))
                .into());
        }
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let has_other_length =
            coding == ContentCoding::Identity && length.is_some_and(|length: u64| length != file.size);
        let mut segments = content_coding::decode(&coding, body_segments(response));
        let first = segments.next().await;
        let start = first.as_ref().and_then(|first| first.as_ref().ok()).map_or(&[][..], |first| first);
        // A file may be a web page, and a file in git may be a pointer. Then it has its own length.
        let may_be_content = !has_other_length && (length == Some(file.size) || !is_large(file));
        if let Some(what) = find_substitute(start).filter(|_| !may_be_content) {
            return Err(self.wrong_content(file, &host, what.to_owned()).into());
        }
        if has_other_length {
            let what = format!("{} bytes, expected {}", length.unwrap_or_default(), file.size);
            return Err(match extent {
                RequestExtent::WholeFile => self.wrong_answer(worker, file, &host, what),
                RequestExtent::Range => Retryable::range_refused(format!("{host} returned {what}")).into(),
            });
        }
        self.forget_wrong_answers(worker, file);
        Ok(SourceBody { offset: 0, segments: stream::iter(first).chain(segments).boxed() })
    }

    /// Opens a response with status 206.
    pub(super) fn open_range(
        &self,
        worker: usize,
        file: &RemoteFile,
        response: reqwest::Response,
        range: &Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        let host = host_and_port(response.url());
        // A range of a compressed body is not a range of the file.
        if ContentCoding::from_headers(response.headers()) != ContentCoding::Identity {
            return Err(
                Retryable::range_refused(format!("{host} returned a range of a compressed body")).into()
            );
        }
        let Some(content_range) = ContentRange::from_headers(response.headers()) else {
            return Err(
                Retryable::range_refused(format!("{host} returned a range without Content-Range")).into()
            );
        };
        let is_requested =
            content_range.first == range.start && content_range.size.is_none_or(|size| size == file.size);
        if !is_requested {
            return Err(self.wrong_answer(worker, file, &host, "a different range than requested".into()));
        }
        self.forget_wrong_answers(worker, file);
        Ok(SourceBody { offset: range.start, segments: body_segments(response) })
    }

    /// Counts a wrong answer that `worker` received for `file`. Returns what to do next: retry, request the whole
    /// file, or give up.
    pub(super) fn wrong_answer(
        &self,
        worker: usize,
        file: &RemoteFile,
        host: &str,
        what: String,
    ) -> SourceError {
        let mut wrong_answers = self.wrong_answers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wrong_answers.entry((worker, file.path.clone())).or_default();
        *count += 1;
        match *count {
            MAX_WRONG_RANGES => Retryable::range_refused(format!("{host} returned {what}")).into(),
            MAX_WRONG_ANSWERS.. => self.wrong_content(file, host, what).into(),
            _ => Retryable::new(format!("{host} returned {what}")).into(),
        }
    }

    fn forget_wrong_answers(&self, worker: usize, file: &RemoteFile) {
        let mut wrong_answers = self.wrong_answers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wrong_answers.is_empty() {
            wrong_answers.remove(&(worker, file.path.clone()));
        }
    }

    fn wrong_content(&self, file: &RemoteFile, host: &str, what: String) -> FetcherError {
        FetcherError::WrongContent { endpoint: host.to_owned(), path: file.path.clone(), what }
    }
}

/// Returns whether the file is in LFS storage.
fn is_large(file: &RemoteFile) -> bool {
    matches!(file.checksum, Checksum::Sha256(_))
}
