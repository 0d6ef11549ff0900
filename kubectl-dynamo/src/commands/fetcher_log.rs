//! What the fetcher says in the log of a pod: its events as they come, and its last words.

use std::time::Duration;

use model_fetcher::contract::ProgressEvent;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cluster::{Cluster, Kind, LogOptions};
use crate::resources::FETCH_CONTAINER;

/// Before a log that broke off is read on: whoever cut it may be restarting.
const PAUSE: Duration = Duration::from_secs(1);
/// How many of the last lines may hold the last words.
const LAST_LINES: i64 = 5;

/// Passes on the events of a pod's fetcher until its container has ended; a log that breaks off before is read on.
/// Who may not read logs hears nothing.
pub(super) async fn follow(cluster: &Cluster, pod: &str, said: &mpsc::Sender<ProgressEvent>) {
    let mut tail = None;
    loop {
        let options = LogOptions { follow: true, tail, ..LogOptions::default() };
        match cluster.log(pod, Some(FETCH_CONTAINER), &options).await {
            Ok(mut log) => {
                while let Ok(Some(line)) = log.next().await {
                    let Ok(event) = serde_json::from_str(&line) else { continue };
                    if said.send(event).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) if error.may_pass() => {}
            Err(_) => return,
        }
        sleep(PAUSE).await;
        match cluster.get(Kind::Pod, pod).await {
            Ok(Some(pod)) if pod["status"]["phase"] == "Running" => tail = Some(1),
            Err(error) if error.may_pass() => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// How a pod's fetcher ended, where its log can still be read.
pub(super) async fn last_words(cluster: &Cluster, pod: &str) -> Option<ProgressEvent> {
    let options = LogOptions { tail: Some(LAST_LINES), ..LogOptions::default() };
    let mut log = cluster.log(pod, Some(FETCH_CONTAINER), &options).await.ok()?;
    let mut last = None;
    while let Ok(Some(line)) = log.next().await {
        let event = serde_json::from_str(&line).ok();
        last = event
            .filter(|event| matches!(event, ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. }))
            .or(last);
    }
    last
}
