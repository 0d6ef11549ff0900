//! What a hub's answer means: its error codes, its rate limits, its `Content-Range`.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RETRY_AFTER};

use super::{Failure, Later};
use crate::error::Error;
use crate::http::{certificate_problem, reason};

/// Who asked for what: the facts an error needs.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) repository: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) endpoint: &'a str,
    /// The file, or `None` for an API call.
    pub(crate) path: Option<&'a str>,
    pub(crate) token_given: bool,
}

/// What a request that got no answer from `endpoint` means.
pub(crate) fn no_answer(error: &reqwest::Error, endpoint: String) -> Failure {
    match certificate_problem(error) {
        Some(reason) => Error::Untrusted { endpoint, reason }.into(),
        None => Later { unreachable: error.is_connect(), ..Later::new(reason(error)) }.into(),
    }
}

/// The part of an answer that says why it is not a success.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// `X-Error-Code`.
    pub(crate) code: Option<String>,
    /// `X-Error-Message`, or the JSON body's `error`.
    pub(crate) message: Option<String>,
    /// `Retry-After`, or the time left of a `RateLimit` window.
    pub(crate) after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status: status.as_u16(),
            code: text(headers, "x-error-code"),
            message: text(headers, "x-error-message"),
            after: wait_asked_for(headers),
        }
    }

    /// The failure this refusal means to `question`.
    pub(crate) fn failure(self, question: &Question<'_>) -> Failure {
        if let Some(later) = self.later() {
            return later.into();
        }
        let repository = question.repository.to_owned();
        let endpoint = question.endpoint.to_owned();
        let token_given = question.token_given;
        let message = self.message.clone().unwrap_or_else(|| format!("HTTP status {}", self.status));
        let error = match (self.code.as_deref(), self.status) {
            (Some("GatedRepo"), _) => Error::Gated { repository, endpoint, message, token_given },
            (Some("RevisionNotFound"), _) => {
                Error::RevisionNotFound { repository, revision: question.revision.to_owned(), endpoint }
            }
            (Some("EntryNotFound"), _) => Error::FileNotFound {
                repository,
                path: question.path.unwrap_or_default().to_owned(),
                commit: question.revision.to_owned(),
            },
            // The hub answers an anonymous caller 401 both for a private repository and for none at all.
            (_, 401 | 403) => Error::Unauthorized { repository, endpoint, message, token_given },
            (Some("RepoNotFound"), _) | (None, 404) => Error::RepositoryNotFound { repository, endpoint },
            _ => Error::Refused {
                endpoint,
                what: question.path.unwrap_or(question.repository).to_owned(),
                status: self.status,
                message,
            },
        };
        error.into()
    }

    fn later(&self) -> Option<Later> {
        let rate_limited = self.status == 429;
        let may_pass = rate_limited || matches!(self.status, 408 | 425 | 500 | 502 | 503 | 504);
        may_pass.then(|| Later {
            reason: match &self.message {
                Some(message) => format!("HTTP status {}: {message}", self.status),
                None => format!("HTTP status {}", self.status),
            },
            after: self.after,
            rate_limited,
            unreachable: false,
        })
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Seconds from `Retry-After`, else one more than `t=` of an exhausted `RateLimit`, the hub's own header
/// (`RateLimit: "api";r=0;t=55`).
pub(crate) fn wait_asked_for(headers: &HeaderMap) -> Option<Duration> {
    if let Some(seconds) = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok())
    {
        return Some(Duration::from_secs(seconds));
    }
    let limit = text(headers, "ratelimit")?;
    let parameter = |name: &str| {
        limit
            .split(';')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    (parameter("r") == Some(0)).then(|| parameter("t"))?.map(|seconds| Duration::from_secs(seconds + 1))
}

/// A parsed `Content-Range: bytes first-last/size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// `None` for `*`.
    pub(crate) size: Option<u64>,
}

impl ContentRange {
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = Self {
            first: digits(first)?,
            last: digits(last)?,
            size: if size == "*" { None } else { Some(digits(size)?) },
        };
        let ends_inside = range.size.is_none_or(|size| range.last < size);
        (range.first <= range.last && ends_inside).then_some(range)
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    reqwest::header::HeaderName::from_static(name),
                    reqwest::header::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn question() -> Question<'static> {
        Question {
            repository: "org/model",
            revision: "main",
            endpoint: "https://hub",
            path: None,
            token_given: false,
        }
    }

    #[test]
    fn a_server_says_when_to_come_back() {
        let seconds = |pairs| wait_asked_for(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=55")]), Some(56));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=12;t=55")]), None);
        assert_eq!(seconds(&[("ratelimit", "nonsense")]), None);
        assert_eq!(seconds(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), None);
    }

    #[test]
    fn error_codes_become_exit_codes() {
        let cases: [(u16, Option<&str>, u8); 7] = [
            (401, Some("RepoNotFound"), 10),
            (401, Some("GatedRepo"), 10),
            (403, Some("GatedRepo"), 10),
            (404, Some("RepoNotFound"), 11),
            (404, Some("RevisionNotFound"), 11),
            (404, Some("EntryNotFound"), 11),
            (418, None, 13),
        ];
        for (status, code, expected) in cases {
            let refusal = Refusal { status, code: code.map(str::to_owned), ..Refusal::default() };
            match refusal.failure(&question()) {
                Failure::Final(error) => assert_eq!(error.exit_code(), expected, "{status} {code:?}"),
                Failure::Later(later) => panic!("{status} {code:?} is not final: {later:?}"),
            }
        }
    }

    #[test]
    fn overload_passes() {
        for status in [429, 500, 502, 503, 504] {
            let refusal = Refusal { status, ..Refusal::default() };
            assert!(matches!(refusal.failure(&question()), Failure::Later(_)), "{status}");
        }
    }

    #[test]
    fn content_range_is_read_strictly() {
        let parsed = ContentRange::parse("bytes 5-9/10");
        assert_eq!(parsed, Some(ContentRange { first: 5, last: 9, size: Some(10) }));
        assert_eq!(ContentRange::parse("bytes 0-0/*"), Some(ContentRange { first: 0, last: 0, size: None }));
        for wrong in
            ["", "bytes */10", "bytes 9-5/10", "bytes 5-10/10", "bytes +1-2/3", "lines 1-2/3", "bytes 1-2"]
        {
            assert_eq!(ContentRange::parse(wrong), None, "{wrong}");
        }
    }
}
