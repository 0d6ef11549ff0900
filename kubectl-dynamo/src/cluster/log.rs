//! Logs of containers, line by line, as bytes come: what is no text in a line is replaced, and nothing else is lost.

use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use tokio::time::timeout;

use super::error::READ_LOG;
use super::{Cluster, ClusterError, Kind, Result};

/// How long a followed log may be silent before it is taken for lost: a path that breaks without a word looks like a
/// container that has nothing to say. It costs an idle container a request in that time.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    pub follow: bool,
    /// Of the container before its last restart.
    pub previous: bool,
    /// The last lines only.
    pub tail: Option<i64>,
    pub since_seconds: Option<i64>,
    /// Lines from this second on; the client library rounds, so it must be a whole one.
    pub since: Option<jiff::Timestamp>,
    /// Each line begins with when it was written.
    pub timestamps: bool,
}

/// The lines that a container has written, and the ones to come of a log that is followed.
pub struct LogLines {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    longest_silence: Option<Duration>,
}

impl LogLines {
    /// The next line, without its end; `None` after the last.
    ///
    /// # Errors
    /// A connection that broke, or where a log is followed has been silent for long: it may be read on.
    pub async fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        let reading = self.reader.read_until(b'\n', &mut line);
        let read = match self.longest_silence {
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
    /// The lines a container has written, and the ones to come when `follow` is set.
    ///
    /// # Errors
    /// Every refusal, also that the container has not started yet.
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
        let longest_silence = options.follow.then_some(LONGEST_SILENCE);
        let reader = match longest_silence {
            None => self.ask(READ_LOG, Kind::Pod, pod, read).await?,
            // A node does not even answer before a followed log's first line.
            Some(limit) => {
                let silent = |_| ClusterError::Unreachable {
                    server: self.server.clone(),
                    cause: format!("no line of {pod} within {} s", limit.as_secs()),
                };
                timeout(limit, self.ask_within(None, READ_LOG, Kind::Pod, pod, read))
                    .await
                    .map_err(silent)??
            }
        };
        Ok(LogLines { reader: Box::pin(reader), longest_silence })
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use futures::io::{AsyncReadExt, BufReader, Cursor};

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_no_text_is_a_line() {
        let log = Cursor::new(b"one\r\n\xff two\n\nlast\r");
        let mut lines = LogLines { reader: Box::pin(log), longest_silence: None };
        for expected in [Some("one"), Some("\u{fffd} two"), Some(""), Some("last\r"), None] {
            assert_eq!(lines.next().await.expect("nothing breaks").as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_followed_log_that_stays_silent_counts_as_broken() {
        let silent = futures::stream::pending::<std::io::Result<Vec<u8>>>().into_async_read();
        let log = BufReader::new(Cursor::new(b"one\n").chain(silent));
        let mut lines = LogLines { reader: Box::pin(log), longest_silence: Some(Duration::from_millis(20)) };
        assert_eq!(lines.next().await.expect("it is there").as_deref(), Some("one"));
        let error = lines.next().await.expect_err("nothing comes");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
