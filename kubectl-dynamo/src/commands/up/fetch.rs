//! Waiting for the fetch Job: its own events as progress, its failure as the end.

use std::collections::BTreeMap;

use futures::{AsyncBufReadExt, StreamExt};
use model_fetcher::contract::ProgressEvent;
use serde_json::Value;

use super::error::UpError;
use crate::cluster::{Cluster, Kind, LogOptions, Seen, Watched};
use crate::error::Result;
use crate::readiness::{Trouble, condition, fetch_trouble, pod_trouble};
use crate::report::{Event, Report, Stage};
use crate::resources::FETCH_CONTAINER;

/// Kubernetes puts a Job's name on its pods as this label.
const JOB_LABEL: &str = "batch.kubernetes.io/job-name";

/// Returns when the Job is complete.
pub(in crate::commands) async fn wait(cluster: &Cluster, job: &str, report: &Report) -> Result<()> {
    report.waiting(Stage::ModelFetch, format!("job/{job} to start"));
    let mut events = cluster
        .watch(&[Watched::named(Kind::Job, job), Watched::labelled(Kind::Pod, format!("{JOB_LABEL}={job}"))]);
    let mut pods = BTreeMap::new();
    let mut followed = None;
    let mut progress: futures::future::OptionFuture<_> = None.into();
    loop {
        tokio::select! {
            Some(seen) = events.next() => {
                if job_ended(&seen, &pods)? {
                    report.done(Stage::ModelFetch, format!("job/{job} complete"));
                    return Ok(());
                }
                remember_pods(seen, &mut pods)?;
                if let Some(trouble) = pods.values().filter_map(pod_trouble).find(|t| !t.may_heal()) {
                    return Err(trouble.into());
                }
                report_waiting(report, job, &pods);
                if let Some(pod) = running_pod(&pods).filter(|pod| followed.as_ref() != Some(pod)) {
                    followed = Some(pod.clone());
                    progress = Some(Box::pin(follow(cluster.clone(), pod, job.to_owned(), report))).into();
                }
            }
            // The log ends when the container does; the Job's own condition then tells how.
            Some(()) = &mut progress => progress = None.into(),
        }
    }
}

/// Whether the Job says that it is complete.
fn job_ended(seen: &Seen, pods: &BTreeMap<String, Value>) -> Result<bool> {
    let job = match seen {
        Seen::All(Kind::Job, jobs) => jobs.first(),
        Seen::Now(Kind::Job, job) => Some(job),
        Seen::Gone(Kind::Job, job) => return Err(failed(job, "it was deleted").into()),
        _ => None,
    };
    let Some(job) = job else { return Ok(false) };
    if condition(job, "Failed")["status"] == "True" {
        let trouble = pods.values().find_map(fetch_trouble);
        let reason = condition(job, "Failed")["message"].as_str().unwrap_or("no reason given");
        return Err(trouble.map_or_else(|| failed(job, reason).into(), Into::into));
    }
    Ok(condition(job, "Complete")["status"] == "True")
}

fn failed(job: &Value, reason: &str) -> UpError {
    let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
    UpError::Job { job: text("name"), namespace: text("namespace"), reason: reason.into() }
}

fn remember_pods(seen: Seen, pods: &mut BTreeMap<String, Value>) -> Result<()> {
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match seen {
        Seen::All(Kind::Pod, all) => *pods = all.into_iter().map(|pod| (name(&pod), pod)).collect(),
        Seen::Now(Kind::Pod, pod) => {
            pods.insert(name(&pod), pod);
        }
        Seen::Gone(Kind::Pod, pod) => {
            pods.remove(&name(&pod));
        }
        Seen::Trouble(_, error) if !error.may_pass() => return Err(error.into()),
        _ => {}
    }
    Ok(())
}

fn running_pod(pods: &BTreeMap<String, Value>) -> Option<String> {
    pods.iter().find(|(_, pod)| pod["status"]["phase"] == "Running").map(|(name, _)| name.clone())
}

fn report_waiting(report: &Report, job: &str, pods: &BTreeMap<String, Value>) {
    let waits_for = match pods.values().next_back() {
        None => format!("a pod of job/{job}"),
        Some(pod) if pod["status"]["phase"] == "Running" => return,
        Some(pod) => match pod_trouble(pod) {
            Some(trouble @ Trouble::Unschedulable { .. }) => trouble.to_string(),
            _ => format!("pod {} to start", pod["metadata"]["name"].as_str().unwrap_or_default()),
        },
    };
    report.waiting(Stage::ModelFetch, waits_for);
}

/// Shows what the fetcher says in its log, as far as it can be read.
async fn follow(cluster: Cluster, pod: String, job: String, report: &Report) {
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let Ok(log) = cluster.log(&pod, Some(FETCH_CONTAINER), &options).await else { return };
    let mut lines = log.lines();
    while let Some(Ok(line)) = lines.next().await {
        match serde_json::from_str(&line) {
            Ok(ProgressEvent::Progress {
                bytes_done,
                bytes_total,
                bytes_per_second,
                files_done,
                files_total,
                ..
            }) => {
                report.event(&Event::Transfer {
                    stage: Stage::ModelFetch,
                    done: bytes_done,
                    total: bytes_total,
                    bytes_per_second,
                    note: format!("{files_done}/{files_total} files  job/{job}"),
                });
            }
            Ok(ProgressEvent::Waiting { detail, .. }) => report.waiting(Stage::ModelFetch, detail),
            Ok(ProgressEvent::Warning { text }) => report.warn(None, text, None),
            Ok(_) | Err(_) => {}
        }
    }
}
