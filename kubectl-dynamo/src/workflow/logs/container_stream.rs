//! Reads the log of one container instance from start to end. It resumes after every stream that the server
//! or the network interrupts.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::cursor::LogCursor;
use super::format::LineFormat;
use kubectl_dynamo_cluster::{Cluster, ClusterError, LogOptions};
use kubectl_dynamo_core::readiness::{container_statuses, is_running};

/// A line to print, or the error that a container's log cannot be read.
pub(super) type LineResult = std::result::Result<FormattedLine, ClusterError>;

/// A line to print, and when the container wrote it. Messages of the server do not have a time.
#[derive(Debug)]
pub(super) struct FormattedLine {
    pub time: Option<Timestamp>,
    pub text: String,
}

/// First and longest delay between two attempts that return no line.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(250);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(4);
/// Attempts without a line after which reading stops, if the log is not followed.
const MAX_EMPTY_ATTEMPTS: u32 = 5;

/// The log of one container instance: the time between two restarts.
pub(super) struct ContainerStream {
    pub cluster: Cluster,
    pub pod: String,
    pub container: &'static str,
    pub id: String,
    /// Options of the first request.
    pub options: LogOptions,
    pub format: LineFormat,
    pub lines: mpsc::Sender<LineResult>,
}

/// How a stream ended.
enum StreamEnd {
    /// The server sent the end of the log.
    Complete,
    Interrupted,
    /// The receiver was dropped.
    ReceiverClosed,
}

/// The state of a container instance in its pod.
enum ContainerState {
    Running,
    /// It terminated and was not restarted.
    Terminated,
    /// It terminated and a newer instance replaced it.
    Replaced,
    Deleted,
    /// The API server did not answer.
    Unknown,
}

impl ContainerStream {
    /// Reads the log to its end or, without `--follow`, to its current end.
    pub(super) async fn read(self) {
        let (started_at, mut cursor) = (Instant::now(), LogCursor::default());
        let mut options = LogOptions { timestamps: true, ..self.options.clone() };
        let (mut is_terminated, mut error_reported, mut delay, mut attempts) =
            (false, false, MIN_RETRY_DELAY, 0);
        loop {
            let lines_before = cursor.line_count();
            match self.read_stream(&options, &mut cursor).await {
                Ok(StreamEnd::ReceiverClosed) => return,
                Ok(StreamEnd::Complete) if is_terminated || !self.options.follow => return,
                Ok(StreamEnd::Complete | StreamEnd::Interrupted) => {}
                Err(error) if error.is_retryable() && self.options.follow => {
                    // The node may be down for good, so report this once.
                    let is_node_error = matches!(error, ClusterError::Server { .. });
                    if is_node_error && !std::mem::replace(&mut error_reported, true) {
                        let _ = self.lines.send(Err(error)).await;
                    }
                }
                Err(ClusterError::NotFound { .. }) if self.options.follow => return,
                Err(error) => {
                    let _ = self.lines.send(Err(error)).await;
                    return;
                }
            }
            if cursor.line_count() == lines_before {
                attempts += 1;
                if !self.options.follow && attempts == MAX_EMPTY_ATTEMPTS {
                    return;
                }
                sleep(delay).await;
                delay = (delay * 2).min(MAX_RETRY_DELAY);
            } else {
                (error_reported, delay, attempts) = (false, MIN_RETRY_DELAY, 0);
            }
            if self.options.follow {
                match self.container_state().await {
                    ContainerState::Running | ContainerState::Unknown => {}
                    ContainerState::Terminated => is_terminated = true,
                    ContainerState::Replaced => (is_terminated, options.previous) = (true, true),
                    ContainerState::Deleted => return,
                }
            }
            if let Some(since) = cursor.resume() {
                options = LogOptions { since: Some(since), tail: None, since_seconds: None, ..options };
            } else if self.options.tail == Some(0) {
                // `--tail=0` skips existing lines, but all lines since the start of the command are needed.
                let since = i64::try_from(started_at.elapsed().as_secs()).unwrap_or(i64::MAX).max(1);
                options = LogOptions { since_seconds: Some(since), tail: None, ..options };
            }
            options.follow = self.options.follow && !is_terminated;
        }
    }

    async fn read_stream(
        &self,
        options: &LogOptions,
        cursor: &mut LogCursor,
    ) -> std::result::Result<StreamEnd, ClusterError> {
        let mut lines = self.cluster.log(&self.pod, Some(self.container), options).await?;
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(StreamEnd::Complete),
                Err(_) => return Ok(StreamEnd::Interrupted),
            };
            let Some(line) = cursor.accept(&line) else { continue };
            let Some(text) = self.format.format_line(&line) else { continue };
            let formatted = FormattedLine { time: line.timestamp.parse().ok(), text };
            if self.lines.send(Ok(formatted)).await.is_err() {
                return Ok(StreamEnd::ReceiverClosed);
            }
        }
    }

    async fn container_state(&self) -> ContainerState {
        match self.cluster.get_object::<Pod>(&self.pod).await {
            Ok(None) => ContainerState::Deleted,
            Ok(Some(pod)) => match container_status(&pod, self.container) {
                Some(status) if status.container_id.as_ref() != Some(&self.id) => ContainerState::Replaced,
                Some(status) if is_running(status) => ContainerState::Running,
                Some(_) => ContainerState::Terminated,
                None => ContainerState::Deleted,
            },
            Err(_) => ContainerState::Unknown,
        }
    }
}

/// Returns the status of a container in a pod.
pub(super) fn container_status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    container_statuses(pod).find(|status| status.name == container)
}
