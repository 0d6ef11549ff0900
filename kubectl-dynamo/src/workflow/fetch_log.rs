//! Reads the progress events of the fetcher from the log of a pod.
//! It must not fail a command: a log that cannot be read only reduces the progress output.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use model_fetcher_contract::ProgressEvent;
use tokio::sync::mpsc;
use tokio::time::sleep;

use kubectl_dynamo_cluster::{Cluster, LogOptions};
use kubectl_dynamo_core::readiness::pod_phase;
use kubectl_dynamo_core::resources::FETCH_CONTAINER;

/// The pause before an interrupted log stream is reopened, because the node's kubelet may be restarting.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The number of last lines that are searched for the final event.
const TAIL_LINES: i64 = 5;
/// The number of last lines that are searched for a progress event. There is one each second of a transfer.
const PROGRESS_LINES: i64 = 200;

/// Forwards the events of a pod's fetcher until its container ends. An interrupted log stream is reopened.
/// Without the permission to read logs, no event is sent.
pub(crate) async fn follow(cluster: &Cluster, pod: &str, events: &mpsc::Sender<ProgressEvent>) {
    let mut tail = None;
    loop {
        let options = LogOptions { follow: true, tail, ..LogOptions::default() };
        match cluster.log(pod, Some(FETCH_CONTAINER), &options).await {
            Ok(mut log) => {
                while let Ok(Some(line)) = log.next().await {
                    let Ok(event) = serde_json::from_str(&line) else { continue };
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) if error.is_retryable() => {}
            Err(_) => return,
        }
        sleep(RETRY_INTERVAL).await;
        match cluster.get_object::<Pod>(pod).await {
            Ok(Some(pod)) if pod_phase(&pod) == Some("Running") => tail = Some(1),
            Err(error) if error.is_retryable() => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Returns the final event of a pod's fetcher, if its log can still be read.
pub(crate) async fn final_event(cluster: &Cluster, pod: &str) -> Option<ProgressEvent> {
    let options = LogOptions { tail: Some(TAIL_LINES), ..LogOptions::default() };
    let mut log = cluster.log(pod, Some(FETCH_CONTAINER), &options).await.ok()?;
    let mut result = None;
    while let Ok(Some(line)) = log.next().await {
        let event = serde_json::from_str(&line).ok();
        result = event
            .filter(|event| matches!(event, ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. }))
            .or(result);
    }
    result
}

/// Returns how many bytes were in the folder according to the last progress event of a pod's fetcher; 0 if the fetcher
/// has not transferred anything, and `None` if its log cannot be read.
pub(crate) async fn bytes_in_folder(cluster: &Cluster, pod: &str) -> Option<u64> {
    let options = LogOptions { tail: Some(PROGRESS_LINES), ..LogOptions::default() };
    let mut log = cluster.log(pod, Some(FETCH_CONTAINER), &options).await.ok()?;
    let (mut present, mut bytes) = (0, None);
    while let Ok(Some(line)) = log.next().await {
        match serde_json::from_str(&line) {
            Ok(ProgressEvent::Planned { bytes_present, .. }) => present = bytes_present,
            Ok(ProgressEvent::Progress { bytes_done, .. }) => bytes = Some(bytes_done),
            _ => {}
        }
    }
    Some(bytes.filter(|bytes| *bytes > present).unwrap_or(0))
}
