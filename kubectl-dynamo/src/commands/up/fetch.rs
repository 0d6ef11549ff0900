//! Waiting for the fetch Job: its own events as progress, its failure as the end.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use model_fetcher::contract::ProgressEvent;
use serde_json::Value;
use tokio::sync::mpsc;

use super::error::UpError;
use super::troubled::Troubled;
use crate::cluster::{Cluster, Kind, Seen, Watched};
use crate::commands::fetcher_log;
use crate::diagnosis::{Evidence, cause_of};
use crate::error::{Error, Result};
use crate::readiness::{
    JOB_LABEL, Observation, Trouble, condition, fetch_trouble, holds, job_trouble, pod_standing, pod_trouble,
    pods_of_job,
};
use crate::report::units::{bytes, clock};
use crate::report::{Event, Report, Stage};

/// Events of the fetcher that may wait to be shown.
const BACKLOG: usize = 64;

/// Returns when the Job is complete. Only the Job itself says that it failed: a pod that did may be followed by
/// another. What keeps its pod from starting at all is given a little time.
pub(in crate::commands) async fn wait(
    cluster: &Cluster,
    job: &str,
    stage: Stage,
    report: &Report,
) -> Result<()> {
    report.waiting(stage, format!("job/{job} to start"));
    let mut events = cluster.watch(&[
        Watched::named(Kind::Job, job),
        Watched::labelled(Kind::Pod, format!("{JOB_LABEL}={job}")),
        Watched {
            fields: format!("involvedObject.kind=Job,involvedObject.name={job}"),
            ..Watched::labelled(Kind::Event, "")
        },
    ]);
    let mut seen = Fetching::of(stage);
    let mut troubled = Troubled::default();
    let (said, mut heard) = mpsc::channel(BACKLOG);
    let mut followed = None;
    let mut following: futures::future::OptionFuture<_> = None.into();
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                seen.remember(event, job, report)?;
                match seen.ending() {
                    Some(Ending::Complete) => {
                        report.done(stage, seen.outcome(cluster, job).await);
                        return Ok(());
                    }
                    Some(Ending::Failed { reason }) => return Err(seen.failure(cluster, job, reason).await),
                    None => {}
                }
                let trouble = seen.newest_pod().map_or_else(|| seen.refused(), pod_trouble);
                let is_the_jobs_word =
                    |trouble: &Trouble| matches!(trouble, Trouble::Fetch { .. }) && !trouble.is_of_another_revision();
                let lasting = |trouble: &Trouble| !trouble.may_heal() && !is_the_jobs_word(trouble);
                troubled.note(trouble.filter(lasting));
                seen.report_waiting(report, job);
                if let Some(pod) = seen.running_pod().filter(|pod| followed.as_ref() != Some(pod)) {
                    followed = Some(pod.clone());
                    let (cluster, said) = (cluster.clone(), said.clone());
                    following = Some(Box::pin(async move { fetcher_log::follow(&cluster, &pod, &said).await })).into();
                }
            }
            Some(event) = heard.recv() => seen.hear(event, job, report),
            trouble = troubled.lasts() => return Err(cause_of(&trouble, &seen.evidence()).into()),
            // The log ends when the container does; the Job's own condition then tells how.
            Some(()) = &mut following => following = None.into(),
        }
    }
}

/// How a Job ended.
enum Ending {
    Complete,
    Failed { reason: String },
}

/// What was seen of a Job and its pods, and heard of the fetcher in them.
struct Fetching {
    /// What is waited for: a fetch, or work on a model that is there.
    stage: Stage,
    job: Option<Value>,
    pods: BTreeMap<String, Value>,
    /// Why no pod could be made, each time that was tried.
    refusals: Vec<Value>,
    /// Whether the way to the API server was last said to be what is waited for.
    away: bool,
    /// Files that were hashed again, and their bytes.
    hashed: (usize, u64),
}

impl Fetching {
    fn of(stage: Stage) -> Self {
        let (job, pods, refusals) = Default::default();
        Self { stage, job, pods, refusals, away: false, hashed: (0, 0) }
    }

    fn remember(&mut self, event: Seen, name: &str, report: &Report) -> Result<()> {
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
            Seen::All(Kind::Event, all) => self.refusals = all,
            Seen::Now(Kind::Event, event) => self.refusals.push(event),
            Seen::Trouble(kind, error) if error.may_pass() => {
                report.waiting(self.stage, format!("the API server: {kind}: {error}"));
                self.away = true;
            }
            // The Job suffices; without a right to its pods there is less to show.
            Seen::Trouble(Kind::Job, error) => return Err(error.into()),
            _ => {}
        }
        Ok(())
    }

    /// Shows what the fetcher says.
    fn hear(&mut self, event: ProgressEvent, job: &str, report: &Report) {
        match event {
            ProgressEvent::Progress {
                bytes_done,
                bytes_total,
                bytes_per_second,
                eta_seconds,
                files_done,
                files_total,
                ..
            } => report.event(&Event::Transfer {
                stage: self.stage,
                done: bytes_done,
                total: bytes_total,
                bytes_per_second,
                eta_seconds,
                note: format!("{files_done}/{files_total} files  job/{job}"),
            }),
            ProgressEvent::Waiting { detail, .. } => report.waiting(self.stage, detail),
            // While it fetches, the bar says as much.
            ProgressEvent::FileVerified { bytes: size, .. } if self.stage == Stage::ModelCache => {
                self.hashed = (self.hashed.0 + 1, self.hashed.1 + size);
                report
                    .waiting(self.stage, format!("{} files hashed, {}", self.hashed.0, bytes(self.hashed.1)));
            }
            ProgressEvent::Warning { text } => report.warn(None, text, None),
            _ => {}
        }
    }

    fn ending(&self) -> Option<Ending> {
        let job = self.job.as_ref()?;
        let failed = condition(job, "Failed");
        if failed["status"] == "True" {
            let reason = failed["message"].as_str().unwrap_or("no reason given").to_owned();
            return Some(Ending::Failed { reason });
        }
        holds(job, "Complete").then_some(Ending::Complete)
    }

    /// What came of it, in the fetcher's own last words where they can be read.
    async fn outcome(&self, cluster: &Cluster, job: &str) -> String {
        let said = match self.newest_pod().map(pod_name) {
            Some(pod) => fetcher_log::last_words(cluster, &pod).await,
            None => None,
        };
        match said {
            Some(ProgressEvent::Complete { files, bytes: size, bytes_fetched: 0, .. }) => {
                format!("{} were there already, {files} files verified  job/{job}", bytes(size))
            }
            Some(ProgressEvent::Complete { files, bytes: size, seconds, .. }) => {
                let took = clock(Duration::from_secs_f64(seconds.max(0.0)));
                format!("{} in {took}, {files} files verified  job/{job}", bytes(size))
            }
            _ => format!("job/{job} complete"),
        }
    }

    /// Why it failed, in the fetcher's words: those that its pod's status keeps, or else its log.
    async fn failure(&mut self, cluster: &Cluster, job: &str, reason: String) -> Error {
        // The Job may be seen to fail before its pod is.
        if let Ok(pods) = cluster.list(Kind::Pod, &format!("{JOB_LABEL}={job}"), false).await {
            self.pods.extend(pods.into_iter().map(|pod| (pod_name(&pod), pod)));
        }
        if let Some(trouble) = self.own_pods().into_iter().rev().find_map(fetch_trouble) {
            return trouble.into();
        }
        if let Some(pod) = self.newest_pod().map(pod_name)
            && let Some(ProgressEvent::Failed { exit_code, error, .. }) =
                fetcher_log::last_words(cluster, &pod).await
        {
            let place = format!("pod {pod}");
            return Trouble::Fetch { place, exit_code: exit_code.into(), message: error }.into();
        }
        failed(self.job.as_ref().unwrap_or(&Value::Null), &reason).into()
    }

    fn own_pods(&self) -> Vec<&Value> {
        self.job.as_ref().map(|job| pods_of_job(job, self.pods.values())).unwrap_or_default()
    }

    fn newest_pod(&self) -> Option<&Value> {
        self.own_pods().pop()
    }

    /// Whom a fix speaks of: the deployment that the Job was made for.
    fn evidence(&self) -> Evidence {
        let metadata = self.job.as_ref().map_or(&Value::Null, |job| &job["metadata"]);
        let name = &metadata["labels"]["app.kubernetes.io/name"];
        let graph = serde_json::json!({ "metadata": { "name": name, "namespace": metadata["namespace"] } });
        Evidence { seen: Observation { graph: Some(graph), ..Observation::default() }, ..Evidence::default() }
    }

    /// Why there is no pod.
    fn refused(&self) -> Option<Trouble> {
        let job = self.job.as_ref()?;
        self.refusals.iter().rev().find_map(|event| job_trouble(job, event))
    }

    fn running_pod(&self) -> Option<String> {
        self.newest_pod().filter(|pod| pod["status"]["phase"] == "Running").map(pod_name)
    }

    fn report_waiting(&mut self, report: &Report, job: &str) {
        let was_away = std::mem::take(&mut self.away);
        let waits_for = match self.newest_pod() {
            None => self
                .refused()
                .map_or_else(|| format!("a pod of job/{job}"), |why| format!("a pod of job/{job}: {why}")),
            Some(pod) if pod["status"]["phase"] == "Running" && !was_away => return,
            Some(pod) if pod["status"]["phase"] == "Running" => format!("pod {} to go on", pod_name(pod)),
            Some(pod) => match pod_trouble(pod) {
                Some(trouble @ Trouble::Fetch { .. }) => format!("another try of job/{job}: {trouble}"),
                Some(trouble) => format!("job/{job} to go on: {trouble}"),
                None => format!("pod {} to start ({})", pod_name(pod), pod_standing(pod).doing),
            },
        };
        report.waiting(self.stage, waits_for);
    }
}

fn pod_name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn failed(job: &Value, reason: &str) -> UpError {
    let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
    UpError::Job { job: text("name"), namespace: text("namespace"), reason: reason.into() }
}
