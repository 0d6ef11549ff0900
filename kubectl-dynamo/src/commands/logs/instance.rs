//! The log of one container from its start to its end, over every stream that the server cuts in between.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::position::Position;
use super::shown::Shown;
use crate::cluster::{Cluster, ClusterError, Kind, LogOptions};

/// A line to print, or why a container's log cannot be read.
pub(super) type ReadLine = std::result::Result<String, ClusterError>;

/// Between two tries that bring nothing, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Tries without a line before a log that is not followed is given up.
const TRIES: u32 = 5;

/// One container between two restarts.
pub(super) struct Instance {
    pub cluster: Cluster,
    pub pod: String,
    pub container: &'static str,
    pub id: String,
    /// Which of its lines are wanted at first.
    pub options: LogOptions,
    pub shown: Shown,
    pub lines: mpsc::Sender<ReadLine>,
}

/// How a stream ended.
enum Stream {
    /// The server says that this is all.
    Complete,
    Cut,
    /// Nobody reads any more.
    Unread,
}

/// What became of a container.
enum Container {
    Runs,
    /// It ended and is the pod's last.
    Over,
    /// It ended and another took its place.
    Replaced,
    Gone,
    /// Nobody can tell now.
    Unknown,
}

impl Instance {
    /// Reads it to its end, or without following to what is there now.
    pub(super) async fn read(self) {
        let (begun, mut position) = (Instant::now(), Position::default());
        let mut options = LogOptions { timestamps: true, ..self.options.clone() };
        let (mut over, mut told, mut pause, mut tries) = (false, false, PAUSE, 0);
        loop {
            let before = position.lines();
            match self.stream(&options, &mut position).await {
                Ok(Stream::Unread) => return,
                Ok(Stream::Complete) if over || !self.options.follow => return,
                Ok(Stream::Complete | Stream::Cut) => {}
                Err(error) if error.may_pass() && self.options.follow => {
                    // A node that does not answer may be gone for good.
                    let is_of_node = matches!(error, ClusterError::Server { .. });
                    if is_of_node && !std::mem::replace(&mut told, true) {
                        let _ = self.lines.send(Err(error)).await;
                    }
                }
                Err(ClusterError::NotFound { .. }) if self.options.follow => return,
                Err(error) => {
                    let _ = self.lines.send(Err(error)).await;
                    return;
                }
            }
            if position.lines() == before {
                tries += 1;
                if !self.options.follow && tries == TRIES {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else {
                (told, pause, tries) = (false, PAUSE, 0);
            }
            if self.options.follow {
                match self.container().await {
                    Container::Runs | Container::Unknown => {}
                    Container::Over => over = true,
                    Container::Replaced => (over, options.previous) = (true, true),
                    Container::Gone => return,
                }
            }
            if let Some(since) = position.resume() {
                options = LogOptions { since: Some(since), tail: None, since_seconds: None, ..options };
            } else if self.options.tail == Some(0) {
                // Nothing of what was there is wanted, and all that has come since.
                let since = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX).max(1);
                options = LogOptions { since_seconds: Some(since), tail: None, ..options };
            }
            options.follow = self.options.follow && !over;
        }
    }

    async fn stream(
        &self,
        options: &LogOptions,
        position: &mut Position,
    ) -> std::result::Result<Stream, ClusterError> {
        let mut lines = self.cluster.log(&self.pod, Some(self.container), options).await?;
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(Stream::Complete),
                Err(_) => return Ok(Stream::Cut),
            };
            let Some(line) = position.take(&line).and_then(|line| self.shown.line(&line)) else { continue };
            if self.lines.send(Ok(line)).await.is_err() {
                return Ok(Stream::Unread);
            }
        }
    }

    async fn container(&self) -> Container {
        match self.cluster.get(Kind::Pod, &self.pod).await {
            Ok(None) => Container::Gone,
            Ok(Some(pod)) => match status(&pod, self.container) {
                Some(status) if status["containerID"] != *self.id => Container::Replaced,
                Some(status) if status["state"]["running"].is_object() => Container::Runs,
                Some(_) => Container::Over,
                None => Container::Gone,
            },
            Err(_) => Container::Unknown,
        }
    }
}

/// What a pod says of one of its containers.
pub(super) fn status<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
        .find(|status| status["name"] == container)
}
