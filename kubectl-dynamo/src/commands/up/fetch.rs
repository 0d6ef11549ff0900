//! Waiting for the fetch Job: its own events as progress, its failure as the end.

use std::collections::BTreeMap;

use futures::{AsyncBufReadExt, StreamExt};
use model_fetcher::contract::ProgressEvent;
use serde_json::Value;

use super::error::UpError;
use super::troubled::Troubled;
use crate::cluster::{Cluster, Kind, LogOptions, Seen, Watched};
use crate::error::Result;
use crate::readiness::{JOB_LABEL, Trouble, condition, fetch_trouble, pod_trouble};
use crate::report::{Event, Report, Stage};
use crate::resources::FETCH_CONTAINER;

/// Returns when the Job is complete. Only the Job itself says that it failed: a pod that did may be followed by
/// another. What keeps its pod from starting at all is given [`GRACE`].
pub(in crate::commands) async fn wait(cluster: &Cluster, job: &str, report: &Report) -> Result<()> {
    report.waiting(Stage::ModelFetch, format!("job/{job} to start"));
    let mut events = cluster
        .watch(&[Watched::named(Kind::Job, job), Watched::labelled(Kind::Pod, format!("{JOB_LABEL}={job}"))]);
    let mut seen = Fetching::default();
    let mut troubled = Troubled::default();
    let mut followed = None;
    let mut progress: futures::future::OptionFuture<_> = None.into();
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                seen.remember(event, job)?;
                if seen.is_complete()? {
                    report.done(Stage::ModelFetch, format!("job/{job} complete"));
                    return Ok(());
                }
                let trouble = seen.newest_pod().and_then(pod_trouble);
                troubled.note(trouble.filter(|trouble| !trouble.may_heal() && !matches!(trouble, Trouble::Fetch { .. })));
                seen.report_waiting(report, job);
                if let Some(pod) = seen.running_pod().filter(|pod| followed.as_ref() != Some(pod)) {
                    followed = Some(pod.clone());
                    progress = Some(Box::pin(follow(cluster.clone(), pod, job.to_owned(), report))).into();
                }
            }
            trouble = troubled.lasts() => return Err(trouble.into()),
            // The log ends when the container does; the Job's own condition then tells how.
            Some(()) = &mut progress => progress = None.into(),
        }
    }
}

/// What was seen of a Job and its pods.
#[derive(Default)]
struct Fetching {
    job: Option<Value>,
    pods: BTreeMap<String, Value>,
}

impl Fetching {
    fn remember(&mut self, event: Seen, name: &str) -> Result<()> {
        let pod_name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match event {
            Seen::All(Kind::Job, jobs) => match jobs.into_iter().next() {
                Some(job) => self.job = Some(job),
                None => {
                    let job = serde_json::json!({ "metadata": { "name": name } });
                    return Err(failed(self.job.as_ref().unwrap_or(&job), "it was deleted").into());
                }
            },
            Seen::Now(Kind::Job, job) => self.job = Some(job),
            Seen::Gone(Kind::Job, job) => return Err(failed(&job, "it was deleted").into()),
            Seen::All(Kind::Pod, all) => {
                self.pods = all.into_iter().map(|pod| (pod_name(&pod), pod)).collect()
            }
            Seen::Now(Kind::Pod, pod) => {
                self.pods.insert(pod_name(&pod), pod);
            }
            Seen::Gone(Kind::Pod, pod) => {
                self.pods.remove(&pod_name(&pod));
            }
            // The Job suffices; without a right to its pods there is less to show.
            Seen::Trouble(Kind::Job, error) if !error.may_pass() => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    fn is_complete(&self) -> Result<bool> {
        let Some(job) = &self.job else { return Ok(false) };
        if condition(job, "Failed")["status"] == "True" {
            let reason = condition(job, "Failed")["message"].as_str().unwrap_or("no reason given");
            let trouble = self.own_pods().filter_map(fetch_trouble).last();
            return Err(trouble.map_or_else(|| failed(job, reason).into(), Into::into));
        }
        Ok(condition(job, "Complete")["status"] == "True")
    }

    /// Pods of this very Job, oldest first: those of a Job of the same name that was deleted linger.
    fn own_pods(&self) -> impl Iterator<Item = &Value> {
        let uid = self.job.as_ref().map(|job| &job["metadata"]["uid"]);
        let mut own: Vec<&Value> = self
            .pods
            .values()
            .filter(|pod| uid.is_some_and(|uid| pod["metadata"]["ownerReferences"][0]["uid"] == *uid))
            .collect();
        own.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
        own.into_iter()
    }

    fn newest_pod(&self) -> Option<&Value> {
        self.own_pods().last()
    }

    fn running_pod(&self) -> Option<String> {
        let pod = self.newest_pod().filter(|pod| pod["status"]["phase"] == "Running")?;
        pod["metadata"]["name"].as_str().map(ToOwned::to_owned)
    }

    fn report_waiting(&self, report: &Report, job: &str) {
        let waits_for = match self.newest_pod() {
            None => format!("a pod of job/{job}"),
            Some(pod) if pod["status"]["phase"] == "Running" => return,
            Some(pod) => match pod_trouble(pod) {
                Some(trouble) => trouble.to_string(),
                None => format!("pod {} to start", pod["metadata"]["name"].as_str().unwrap_or_default()),
            },
        };
        report.waiting(Stage::ModelFetch, waits_for);
    }
}

fn failed(job: &Value, reason: &str) -> UpError {
    let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
    UpError::Job { job: text("name"), namespace: text("namespace"), reason: reason.into() }
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
