//! Reads the log of a benchmark's pod from the cluster.

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::ClusterRuns;
use super::job_log::{JobLog, LogUpdate};
use kubectl_dynamo_cluster::{Cluster, ClusterError, LogOptions};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::readiness::{JOB_LABEL, pod_phase};
use kubectl_dynamo_core::resources::{BENCH_CONTAINER, bench_object_name};

/// The pause before an interrupted log is opened again, because the node's kubelet may be restarting.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log of a pod that has ended is requested again.
const MAX_FAILURES: u32 = 5;

/// The beginning of the pod's log, one of its lines, or its end.
pub(super) enum LogEvent {
    Start,
    Line(String),
    End,
}

/// Sends the lines of the pod's log, and then its end. An interrupted log is read again from its beginning.
///
/// # Errors
/// A log that cannot be read, for example without the permission.
pub(super) async fn forward_log(cluster: &Cluster, pod: &str, lines: &mpsc::Sender<LogEvent>) -> Result<()> {
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let mut failures = 0;
    loop {
        match cluster.log(pod, Some(BENCH_CONTAINER), &options).await {
            Ok(mut log) => {
                failures = 0;
                if lines.send(LogEvent::Start).await.is_err() {
                    return Ok(());
                }
                let end = loop {
                    let line = match log.next().await {
                        Ok(Some(line)) => line,
                        end => break end,
                    };
                    if lines.send(LogEvent::Line(line)).await.is_err() {
                        return Ok(());
                    }
                };
                // After an interruption, the log is read again, also if its container has ended meanwhile.
                if end.is_ok() && !is_running(cluster, pod).await {
                    break;
                }
            }
            Err(ClusterError::NotFound { .. }) => break,
            Err(error) if error.is_retryable() && is_running(cluster, pod).await => {}
            // The node of an ended pod can be away for a moment.
            Err(error) if error.is_retryable() && failures < MAX_FAILURES => failures += 1,
            Err(error) => return Err(error.into()),
        }
        sleep(RETRY_INTERVAL).await;
    }
    let _ = lines.send(LogEvent::End).await;
    Ok(())
}

/// Whether the pod runs. An API server that does not answer does not know it.
async fn is_running(cluster: &Cluster, pod: &str) -> bool {
    match cluster.get_object::<Pod>(pod).await {
        Ok(pod) => pod.is_some_and(|pod| pod_phase(&pod) == Some("Running")),
        Err(error) => error.is_retryable(),
    }
}

/// Returns the output of AIPerf in the log of a run's Job, as far as it is.
///
/// # Errors
/// Every API error.
pub(super) async fn output_of_job(runs: &ClusterRuns, name: &str) -> Result<Vec<String>> {
    let job = bench_object_name(name);
    let pods = runs.cluster.list_objects::<Pod>(&format!("{JOB_LABEL}={job}")).await?;
    let Some(pod) = pods.last() else { return Ok(Vec::new()) };
    let mut lines = runs.cluster.log(pod.name(), Some(BENCH_CONTAINER), &LogOptions::default()).await?;
    let (mut log, mut output) = (JobLog::default(), Vec::new());
    while let Ok(Some(line)) = lines.next().await {
        if let Some(LogUpdate::Output(line)) = log.read(&line) {
            output.push(line);
        }
    }
    Ok(output)
}
