//! Reads container logs line by line. Invalid UTF-8 is replaced; no other byte is lost.
//! Reconnecting after an interrupted log is left to the caller.

use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::time::timeout;

use super::error::READ_LOG;
use super::{Cluster, ClusterError, Kind, Result};

/// Time without data after which a followed log counts as interrupted. A connection that was lost without an
/// error looks like an idle container. An idle container costs one new request in this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Selects the lines of a log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    pub follow: bool,
    /// Reads the log of the container's previous instance.
    pub previous: bool,
    /// Number of lines from the end; `None` reads all.
    pub tail: Option<i64>,
    pub since_seconds: Option<i64>,
    /// Lines from this time on, in whole seconds, because the client library rounds.
    pub since: Option<jiff::Timestamp>,
    /// Prefixes each line with its timestamp.
    pub timestamps: bool,
}

/// The lines of a container log, including new lines if the log is followed.
pub struct LogLines {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    idle_timeout: Option<Duration>,
}

impl LogLines {
    /// The next line without its line break; `None` after the last line.
    ///
    /// # Errors
    /// An interrupted connection, or a timeout of a followed log. The caller may read on with a new request.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        let reading = self.reader.read_until(b'\n', &mut line);
        let read = match self.idle_timeout {
            Some(limit) => timeout(limit, reading).await?,
            None => reading.await,
        };
        if read? == 0 {
            return Ok(None);
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
        }
        let text = String::from_utf8(line);
        Ok(Some(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())))
    }
}

impl Cluster {
    /// Opens the log of a container.
    ///
    /// # Errors
    /// Every API error, for example if the container has not started yet.
    pub async fn log(&self, pod: &str, container: Option<&str>, options: &LogOptions) -> Result<LogLines> {
        let parameters = LogParams {
            container: container.map(ToOwned::to_owned),
            follow: options.follow,
            previous: options.previous,
            tail_lines: options.tail,
            since_seconds: options.since_seconds,
            since_time: options.since,
            timestamps: options.timestamps,
            ..LogParams::default()
        };
        let read =
            async |client| Api::<Pod>::namespaced(client, &self.namespace).log_stream(pod, &parameters).await;
        let idle_timeout = options.follow.then_some(IDLE_TIMEOUT);
        let reader = match idle_timeout {
            None => self.request(READ_LOG, Kind::Pod, pod, read).await?,
            // The kubelet does not send the response headers of a followed log before its first line.
            Some(limit) => {
                let timeout_error = |_| ClusterError::Unreachable {
                    server: self.server.clone(),
                    cause: format!("no log data from pod \"{pod}\" for {} s", limit.as_secs()),
                };
                timeout(limit, self.request_with_timeout(None, READ_LOG, Kind::Pod, pod, read))
                    .await
                    .map_err(timeout_error)??
            }
        };
        Ok(LogLines { reader: Box::pin(reader), idle_timeout })
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use futures::io::{AsyncReadExt, BufReader, Cursor};

    use super::*;

    #[tokio::test]
    async fn invalid_utf8_is_replaced() {
        let log = Cursor::new(b"one\r\n\xff two\n\nlast\r");
        let mut lines = LogLines { reader: Box::pin(log), idle_timeout: None };
        for expected in [Some("one"), Some("\u{fffd} two"), Some(""), Some("last\r"), None] {
            assert_eq!(lines.next().await.expect("the log is readable").as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn silent_followed_log_times_out() {
        let silent = futures::stream::pending::<std::io::Result<Vec<u8>>>().into_async_read();
        let log = BufReader::new(Cursor::new(b"one\n").chain(silent));
        let mut lines = LogLines { reader: Box::pin(log), idle_timeout: Some(Duration::from_millis(20)) };
        assert_eq!(lines.next().await.expect("the first line is available").as_deref(), Some("one"));
        let error = lines.next().await.expect_err("the log is silent");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
