//! Interprets the hub's responses: error codes, rate limits, `Content-Range`, and bodies that are not the file.
//! It must not send requests.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, DATE, HeaderMap, RETRY_AFTER, WWW_AUTHENTICATE};

use super::{Retryable, SourceError};
use crate::error::FetcherError;
use crate::http::{find_certificate_problem, innermost_reason};

/// What was requested, for error messages.
#[derive(Debug, Clone)]
pub(crate) struct RequestInfo<'a> {
    pub(crate) repository: &'a str,
    pub(crate) revision: &'a str,
    pub(crate) endpoint: &'a str,
    /// The requested file, or `None` for an API call.
    pub(crate) path: Option<&'a str>,
    pub(crate) has_token: bool,
}

/// Converts an error of a request that did not get a response from `endpoint`.
pub(crate) fn transport_error(error: &reqwest::Error, endpoint: String) -> SourceError {
    match find_certificate_problem(error) {
        Some(reason) => FetcherError::Untrusted { endpoint, reason }.into(),
        // The request cannot be sent, now or later.
        None if error.is_builder() => FetcherError::Client { reason: innermost_reason(error) }.into(),
        None => {
            Retryable { is_unreachable: error.is_connect(), ..Retryable::new(innermost_reason(error)) }.into()
        }
    }
}

/// Status, error headers, and message of an unsuccessful response.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpError {
    pub(crate) status: u16,
    /// `X-Error-Code`.
    pub(crate) code: Option<String>,
    /// `X-Error-Message`, or the JSON body's `error`.
    pub(crate) message: Option<String>,
    /// The server requires a user name and a password, which the hub never does.
    pub(crate) requires_password: bool,
    /// `Retry-After`, or the remaining time of a `RateLimit` window.
    pub(crate) retry_after: Option<Duration>,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status: status.as_u16(),
            code: header_text(headers, "x-error-code"),
            message: header_text(headers, "x-error-message"),
            requires_password: header_text(headers, WWW_AUTHENTICATE.as_str())
                .is_some_and(|scheme| scheme.to_ascii_lowercase().starts_with("basic")),
            retry_after: retry_delay(headers),
        }
    }

    /// Converts the response to a source error for the request of `context`.
    pub(crate) fn into_source_error(self, context: &RequestInfo<'_>) -> SourceError {
        if let Some(retryable) = self.to_retryable() {
            return retryable.into();
        }
        let repository = context.repository.to_owned();
        let endpoint = context.endpoint.to_owned();
        let has_token = context.has_token;
        let mut message = self.message.clone().unwrap_or_else(|| format!("HTTP status {}", self.status));
        if self.requires_password {
            message.push_str("; the server requires a user name and a password in the URL of the endpoint");
        }
        let error = match (self.code.as_deref(), self.status) {
            (Some("GatedRepo"), _) => FetcherError::Gated { repository, endpoint, message, has_token },
            (Some("RevisionNotFound"), _) => {
                FetcherError::RevisionNotFound { repository, revision: context.revision.to_owned(), endpoint }
            }
            (Some("EntryNotFound"), _) => FetcherError::FileNotFound {
                repository,
                path: context.path.unwrap_or_default().to_owned(),
                commit: context.revision.to_owned(),
            },
            // A mirror without the hub's codes. The listing was found, so the repository exists.
            (None, 404) if context.path.is_some() => FetcherError::FileNotFound {
                repository,
                path: context.path.unwrap_or_default().to_owned(),
                commit: context.revision.to_owned(),
            },
            // The hub returns 401 to anonymous callers both for a private and for a missing repository.
            (_, 401 | 403) => FetcherError::Unauthorized { repository, endpoint, message, has_token },
            (Some("RepoNotFound"), _) | (None, 404) => {
                FetcherError::RepositoryNotFound { repository, endpoint }
            }
            (_, 407) => FetcherError::ProxyAuthentication { message },
            _ => FetcherError::UnexpectedResponse {
                endpoint,
                what: context.path.unwrap_or(context.repository).to_owned(),
                status: self.status,
                message,
            },
        };
        error.into()
    }

    /// Every 5xx may be over soon, also those of proxies in front of the hub (520 to 530). The others are known to
    /// be temporary.
    fn to_retryable(&self) -> Option<Retryable> {
        let is_rate_limited = self.status == 429;
        let is_retryable = is_rate_limited || matches!(self.status, 408 | 421 | 423 | 425 | 500..=599);
        is_retryable.then(|| Retryable {
            reason: match &self.message {
                Some(message) => format!("HTTP status {}: {message}", self.status),
                None => format!("HTTP status {}", self.status),
            },
            retry_after: self.retry_after,
            is_rate_limited,
            is_unreachable: false,
            refuses_range: false,
        })
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Returns the delay that the server requests: `Retry-After` in seconds or as a date, else one second more than
/// `t=` of an exhausted `RateLimit` (`RateLimit: "api";r=0;t=55`, a header of the hub). A delay that is over is
/// none, so that the retry does not happen at once.
pub(crate) fn retry_delay(headers: &HeaderMap) -> Option<Duration> {
    let retry_after = header_text(headers, RETRY_AFTER.as_str());
    if let Some(delay) = retry_after.and_then(|text| parse_retry_after(text.trim(), server_time(headers))) {
        return Some(delay).filter(|delay| !delay.is_zero());
    }
    let limit = header_text(headers, "ratelimit")?;
    let parameter = |name: &str| {
        limit
            .split(';')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    (parameter("r") == Some(0))
        .then(|| parameter("t"))?
        .map(|seconds| Duration::from_secs(seconds.saturating_add(1)))
}

/// Parses `Retry-After`: seconds, or a date in one of HTTP's three formats.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the time at the server, so that a wrong clock of this machine does not matter.
fn server_time(headers: &HeaderMap) -> SystemTime {
    let date = header_text(headers, DATE.as_str()).and_then(|text| httpdate::parse_http_date(&text).ok());
    date.unwrap_or_else(SystemTime::now)
}

/// Start of a Git LFS pointer file.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Returns what the start of a body is if it is not the content of a file: a Git LFS pointer or a web page.
pub(crate) fn find_substitute(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(LFS_POINTER) {
        return Some("the Git LFS pointer instead of the content");
    }
    let text = start.trim_ascii_start();
    let has_prefix =
        |prefix: &[u8]| text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    (has_prefix(b"<!doctype html") || has_prefix(b"<html")).then_some("a web page, such as a login page,")
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
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = Self {
            first: parse_digits(first)?,
            last: parse_digits(last)?,
            size: if size == "*" { None } else { Some(parse_digits(size)?) },
        };
        let is_within_size = range.size.is_none_or(|size| range.last < size);
        (range.first <= range.last && is_within_size).then_some(range)
    }
}

fn parse_digits(text: &str) -> Option<u64> {
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

    fn request_info() -> RequestInfo<'static> {
        RequestInfo {
            repository: "org/model",
            revision: "main",
            endpoint: "https://hub",
            path: None,
            has_token: false,
        }
    }

    #[test]
    fn reads_retry_delay_from_headers() {
        let seconds = |pairs| retry_delay(&headers(pairs)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[("retry-after", "7")]), Some(7));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=55")]), Some(56));
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=12;t=55")]), None);
        assert_eq!(seconds(&[("ratelimit", "nonsense")]), None);
        assert_eq!(seconds(&[("ratelimit", "\"api\";r=0;t=18446744073709551615")]), Some(u64::MAX));
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let delay = |retry_after: &'static str| {
            retry_delay(&headers(&[("date", date), ("retry-after", retry_after)]))
                .map(|wait| wait.as_millis())
        };
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:06 GMT"), Some(6000));
        assert_eq!(delay("Wednesday, 21-Oct-15 07:29:00 GMT"), Some(60_000));
        assert_eq!(delay("Wed Oct 21 07:28:01 2015"), Some(1000));
        assert_eq!(delay("1.5"), Some(1500));
        assert_eq!(delay(" 7 "), Some(7000));
        // What is over, and what is not a time, is left to the backoff.
        for retry_after in ["Wed, 21 Oct 2015 07:27:00 GMT", "0", "-1", "soon", "nan", "1e400", ""] {
            assert_eq!(delay(retry_after), None, "{retry_after}");
        }
    }

    #[test]
    fn substitutes_of_content_are_recognized() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n";
        assert!(find_substitute(lfs).unwrap().contains("LFS pointer"));
        for page in ["<!DOCTYPE html><p>", "\n <HTML lang=en>", "<html>"] {
            assert!(find_substitute(page.as_bytes()).unwrap().contains("web page"), "{page}");
        }
        for content in ["", "{\"a\": 1}", "<", "version 2", "<svg>"] {
            assert_eq!(find_substitute(content.as_bytes()), None, "{content}");
        }
    }

    #[test]
    fn hub_error_codes_map_to_exit_codes() {
        let cases: [(u16, Option<&str>, u8); 8] = [
            (401, Some("RepoNotFound"), 10),
            (401, Some("GatedRepo"), 10),
            (403, Some("GatedRepo"), 10),
            (404, Some("RepoNotFound"), 11),
            (404, Some("RevisionNotFound"), 11),
            (404, Some("EntryNotFound"), 11),
            (407, None, 13),
            (418, None, 13),
        ];
        for (status, code, expected) in cases {
            let http_error = HttpError { status, code: code.map(str::to_owned), ..HttpError::default() };
            match http_error.into_source_error(&request_info()) {
                SourceError::Permanent(error) => assert_eq!(error.exit_code(), expected, "{status} {code:?}"),
                other => panic!("{status} {code:?} is not permanent: {other:?}"),
            }
        }
    }

    #[test]
    fn http_429_and_5xx_are_retryable() {
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 507, 520, 522, 524, 530, 599] {
            let http_error = HttpError { status, ..HttpError::default() };
            assert!(
                matches!(http_error.into_source_error(&request_info()), SourceError::Retryable(_)),
                "{status}"
            );
        }
    }

    #[test]
    fn content_range_is_parsed_strictly() {
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
