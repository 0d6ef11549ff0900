//! Reads files from xet storage with the hub's xet library; only in builds with the feature `xet`.
//!
//! The library assembles a range from chunks of a content-addressed store. The file's hash is verified
//! afterwards, as for every other source. The library must not write outside the model folder, must not send
//! telemetry, and may buffer only a small part of a file in memory.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::MutexGuard;
use xet::error::XetError;
use xet::xet_session::{XetConfig, XetDownloadStreamGroup, XetFileInfo, XetSessionBuilder};

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::source::hugging_face::hub_client::is_not_downgrade;
use crate::source::{BodyError, Retryable, SourceBody, SourceError};
use crate::store::staging::XET_FOLDER;
use model_fetcher_contract::{RemoteFile, WORK_FOLDER};

/// A token is renewed this long before it expires.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// The library fetches blocks of up to 64 MiB before it returns their first byte, so its read timeout is
/// longer than that of plain HTTP: with the default of 20 s, 64 MiB may arrive at 0.5 MiB/s.
const READ_TIMEOUT_FACTOR: u32 = 6;
/// Overrides of the library's defaults, which use gigabytes of memory. Chosen: one block of 64 MiB is the least that
/// it works with.
const BUFFERS: [(&str, &str); 5] = [
    ("telemetry.enabled", "false"),
    ("reconstruction.download_buffer_size", "16mb"),
    ("reconstruction.download_buffer_perfile_size", "8mb"),
    ("reconstruction.download_buffer_limit", "64mb"),
    ("reconstruction.min_prefetch_buffer", "64mb"),
];

/// Response of `GET /api/models/{id}/xet-read-token/{commit}`. It contains a token and is never logged.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::hugging_face) struct XetAccess {
    cas_url: String,
    access_token: String,
    /// Expiration in seconds since the Unix epoch.
    exp: u64,
}

impl XetAccess {
    /// Returns whether a hub at `base` may refer to this store.
    pub(in crate::source::hugging_face) fn is_allowed_for(&self, base: &Url) -> bool {
        Url::parse(&self.cas_url).is_ok_and(|url| is_not_downgrade(base, &url))
    }
}

/// The xet storage of one hub.
pub(in crate::source::hugging_face) struct XetStore {
    folder: PathBuf,
    read_timeout: Duration,
    connection: tokio::sync::Mutex<Option<XetConnection>>,
}

/// An authorized connection to the store.
pub(in crate::source::hugging_face) struct XetConnection {
    group: XetDownloadStreamGroup,
    expires: SystemTime,
}

impl XetStore {
    pub(in crate::source::hugging_face) fn new(options: &FetchOptions) -> Self {
        Self {
            folder: options.folder().join(WORK_FOLDER).join(XET_FOLDER),
            read_timeout: options.read_timeout.saturating_mul(READ_TIMEOUT_FACTOR),
            connection: tokio::sync::Mutex::default(),
        }
    }

    /// Locks the connection. The first caller creates it.
    pub(in crate::source::hugging_face) async fn connection(&self) -> MutexGuard<'_, Option<XetConnection>> {
        let mut connection = self.connection.lock().await;
        let expires_soon =
            |connection: &XetConnection| connection.expires <= SystemTime::now() + TOKEN_MARGIN;
        if connection.as_ref().is_some_and(expires_soon) {
            *connection = None;
        }
        connection
    }

    /// Connects with a new token.
    pub(in crate::source::hugging_face) async fn connect(
        &self,
        access: XetAccess,
    ) -> Result<XetConnection, SourceError> {
        let unusable = |error: String| FetcherError::Client { reason: format!("xet: {error}") };
        let config = BUFFERS.iter().try_fold(XetConfig::new(), |config, (name, value)| {
            config.with_config(name, value).map_err(|error| unusable(error.to_string()))
        })?;
        let session = XetSessionBuilder::new_with_config(config)
            .with_cache_dir(&self.folder)
            .with_tokio_handle(tokio::runtime::Handle::current())
            .build()
            .map_err(|error| source_error(&error))?;
        let group = session
            .new_download_stream_group()
            .map_err(|error| source_error(&error))?
            .with_endpoint(access.cas_url)
            .with_token_info(access.access_token, access.exp)
            .build()
            .await
            .map_err(|error| source_error(&error))?;
        Ok(XetConnection { group, expires: expiration(access.exp) })
    }

    /// Opens a range of `file`.
    pub(in crate::source::hugging_face) async fn open(
        &self,
        group: XetDownloadStreamGroup,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        let hash = file.xet_hash.clone().unwrap_or_default();
        let offset = range.start;
        let opened = group.download_stream(XetFileInfo::new(hash, file.size), Some(range)).await;
        let stream = opened.map_err(|error| source_error(&error))?;
        let read_timeout = self.read_timeout;
        let segments = futures::stream::unfold(stream, move |mut stream| async move {
            let segment = match tokio::time::timeout(read_timeout, stream.next()).await {
                Ok(Ok(Some(bytes))) => Ok(bytes),
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => Err(BodyError::Xet(redacted_text(&error))),
                Err(_) => Err(BodyError::XetTimeout),
            };
            Some((segment, stream))
        });
        Ok(SourceBody { offset, segments: segments.boxed() })
    }
}

/// Returns the time of an expiration in seconds since the Unix epoch. A time that the clock cannot represent is over.
fn expiration(seconds: u64) -> SystemTime {
    let since_epoch = Duration::from_secs(seconds);
    SystemTime::UNIX_EPOCH.checked_add(since_epoch).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl XetConnection {
    pub(in crate::source::hugging_face) fn group(&self) -> XetDownloadStreamGroup {
        self.group.clone()
    }
}

fn source_error(error: &XetError) -> SourceError {
    let is_rate_limited = matches!(error, XetError::RateLimited(_));
    Retryable { is_rate_limited, ..Retryable::new(redacted_text(error)) }.into()
}

/// Formats the error without URLs: a signed one is a secret.
fn redacted_text(error: &XetError) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| if word.contains("://") { "(url)" } else { word });
    format!("xet: {}", words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_redacts_signed_urls() {
        let error = XetError::Network("get https://store/x?Signature=secret failed".into());
        assert_eq!(redacted_text(&error), "xet: Network error: get (url) failed");
    }

    #[test]
    fn absurd_expiration_is_over() {
        assert_eq!(expiration(u64::MAX), SystemTime::UNIX_EPOCH);
        assert!(expiration(4_000_000_000) > SystemTime::now());
    }

    #[test]
    fn rejects_store_without_tls_behind_hub_with_tls() {
        let access = XetAccess { cas_url: "http://store".into(), access_token: String::new(), exp: 0 };
        assert!(!access.is_allowed_for(&Url::parse("https://hub").unwrap()));
        assert!(access.is_allowed_for(&Url::parse("http://hub").unwrap()));
    }

    #[test]
    fn library_accepts_every_override() {
        let config = BUFFERS
            .iter()
            .try_fold(XetConfig::default(), |config, (name, value)| config.with_config(name, value));
        assert!(!config.unwrap().telemetry.enabled);
    }
}
