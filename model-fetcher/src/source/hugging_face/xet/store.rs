//! The store behind xet, by the hub's own library; only in builds with the feature `xet`.
//!
//! The library puts a range together from chunks of a content-addressed store. The file's hash is checked behind it as
//! behind every other source. It keeps nothing outside the model's folder, reports nothing to anybody, and may hold
//! only a small part of a file in memory.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::MutexGuard;
use xet::error::XetError;
use xet::xet_session::{XetConfig, XetDownloadStreamGroup, XetFileInfo, XetSessionBuilder};

use crate::contract::{RemoteFile, WORK_FOLDER};
use crate::error::Error;
use crate::options::FetchOptions;
use crate::source::hugging_face::addresses::leads_no_lower;
use crate::source::{Body, Failure, Later};
use crate::store::work::XET_FOLDER;

/// A token is renewed this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// The library fetches blocks of up to 64 MiB before it gives their first byte, so it is waited for longer than for a
/// plain answer.
const READ_TIMEOUT_FACTOR: u32 = 6;
/// Where the library's own defaults would take gigabytes.
const BUFFERS: [(&str, &str); 5] = [
    ("telemetry.enabled", "false"),
    ("reconstruction.download_buffer_size", "16mb"),
    ("reconstruction.download_buffer_perfile_size", "8mb"),
    ("reconstruction.download_buffer_limit", "64mb"),
    ("reconstruction.min_prefetch_buffer", "64mb"),
];

/// What the hub answers to `GET /api/models/{id}/xet-read-token/{commit}`. Holds a token, so it is never shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::source::hugging_face) struct XetAccess {
    cas_url: String,
    access_token: String,
    /// Seconds since 1970.
    exp: u64,
}

impl XetAccess {
    /// Whether the store is one that a hub at `base` may send us to.
    pub(in crate::source::hugging_face) fn is_sound(&self, base: &Url) -> bool {
        Url::parse(&self.cas_url).is_ok_and(|url| leads_no_lower(base, &url))
    }
}

/// The store behind one hub.
pub(in crate::source::hugging_face) struct XetStore {
    folder: PathBuf,
    read_timeout: Duration,
    connection: tokio::sync::Mutex<Option<Connection>>,
}

/// An authorised way to the store.
pub(in crate::source::hugging_face) struct Connection {
    group: XetDownloadStreamGroup,
    ends: SystemTime,
}

impl XetStore {
    pub(in crate::source::hugging_face) fn new(options: &FetchOptions) -> Self {
        Self {
            folder: options.folder().join(WORK_FOLDER).join(XET_FOLDER),
            read_timeout: options.read_timeout * READ_TIMEOUT_FACTOR,
            connection: tokio::sync::Mutex::default(),
        }
    }

    /// The connection, for one caller at a time: the first one makes it.
    pub(in crate::source::hugging_face) async fn connection(&self) -> MutexGuard<'_, Option<Connection>> {
        let mut connection = self.connection.lock().await;
        let ends_soon = |held: &Connection| held.ends <= SystemTime::now() + TOKEN_MARGIN;
        if connection.as_ref().is_some_and(ends_soon) {
            *connection = None;
        }
        connection
    }

    /// Connects with a token that was just given.
    pub(in crate::source::hugging_face) async fn connect(
        &self,
        access: XetAccess,
    ) -> Result<Connection, Failure> {
        let unusable = |error: String| Error::Client { reason: format!("xet: {error}") };
        let config = BUFFERS.iter().try_fold(XetConfig::new(), |config, (name, value)| {
            config.with_config(name, value).map_err(|error| unusable(error.to_string()))
        })?;
        let session = XetSessionBuilder::new_with_config(config)
            .with_cache_dir(&self.folder)
            .with_tokio_handle(tokio::runtime::Handle::current())
            .build()
            .map_err(|error| failure(&error))?;
        let group = session
            .new_download_stream_group()
            .map_err(|error| failure(&error))?
            .with_endpoint(access.cas_url)
            .with_token_info(access.access_token, access.exp)
            .build()
            .await
            .map_err(|error| failure(&error))?;
        Ok(Connection { group, ends: SystemTime::UNIX_EPOCH + Duration::from_secs(access.exp) })
    }

    /// A range of `file`.
    pub(in crate::source::hugging_face) async fn open(
        &self,
        group: XetDownloadStreamGroup,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<Body, Failure> {
        let hash = file.xet_hash.clone().unwrap_or_default();
        let offset = range.start;
        let opened = group.download_stream(XetFileInfo::new(hash, file.size), Some(range)).await;
        let stream = opened.map_err(|error| failure(&error))?;
        let read_timeout = self.read_timeout;
        let segments = futures::stream::unfold(stream, move |mut stream| async move {
            let segment = match tokio::time::timeout(read_timeout, stream.next()).await {
                Ok(Ok(Some(bytes))) => Ok(bytes),
                Ok(Ok(None)) => return None,
                Ok(Err(error)) => Err(words(&error)),
                Err(_) => Err("xet gave nothing in time".to_owned()),
            };
            Some((segment, stream))
        });
        Ok(Body { offset, segments: segments.boxed() })
    }
}

impl Connection {
    pub(in crate::source::hugging_face) fn group(&self) -> XetDownloadStreamGroup {
        self.group.clone()
    }
}

fn failure(error: &XetError) -> Failure {
    let later = Later { rate_limited: matches!(error, XetError::RateLimited(_)), ..Later::new(words(error)) };
    later.into()
}

/// The error without addresses: a signed one is a secret.
fn words(error: &XetError) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| if word.contains("://") { "(address)" } else { word });
    format!("xet: {}", words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_no_signed_address() {
        let error = XetError::Network("get https://store/x?Signature=secret failed".into());
        assert_eq!(words(&error), "xet: Network error: get (address) failed");
    }

    #[test]
    fn a_store_without_tls_is_refused_behind_a_hub_with_it() {
        let access = XetAccess { cas_url: "http://store".into(), access_token: String::new(), exp: 0 };
        assert!(!access.is_sound(&Url::parse("https://hub").unwrap()));
        assert!(access.is_sound(&Url::parse("http://hub").unwrap()));
    }

    #[test]
    fn the_limits_are_names_the_library_knows() {
        let config = BUFFERS
            .iter()
            .try_fold(XetConfig::default(), |config, (name, value)| config.with_config(name, value));
        assert!(!config.unwrap().telemetry.enabled);
    }
}
