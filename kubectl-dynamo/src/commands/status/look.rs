//! One look at a deployment: everything that its screen shows.

use model_fetcher::contract::ProgressEvent;
use serde_json::Value;

use super::{Verdict, listed};
use crate::cluster::{Cluster, Kind};
use crate::commands::evidence::{Gathered, Logs, gather};
use crate::commands::summary::{Summary, summary};
use crate::commands::{fetcher_log, frontend};
use crate::diagnosis::{self, Diagnosis, diagnose};
use crate::error::Result;
use crate::readiness::{ComponentStanding, JOB_LABEL, components, last_words};
use crate::resources::GraphApi;

/// What was seen.
pub(super) struct View {
    pub summary: Summary,
    pub verdict: Verdict,
    pub components: Vec<ComponentStanding>,
    pub diagnosis: Diagnosis,
    pub gathered: Gathered,
    /// What could not be seen.
    pub skipped: Vec<String>,
    pub fetched: Option<Fetched>,
}

/// A model whose fetch is known to have ended well; the fetcher verifies every byte before it says so.
pub(super) struct Fetched {
    /// Bytes and files, where the fetcher's last words can still be read.
    pub size: Option<(u64, usize)>,
    /// RFC 3339.
    pub at: String,
}

impl View {
    /// Whether everything reports ready and only the frontend's list is awaited.
    pub(super) fn is_unlisted(&self) -> bool {
        self.diagnosis.verdict == diagnosis::Verdict::Reported && !matches!(self.verdict, Verdict::Up { .. })
    }
}

pub(super) async fn look(cluster: &Cluster, graph: Value, api: GraphApi) -> Result<View> {
    let summary = summary(&graph);
    let (gathered, fetched) =
        futures::join!(gather(cluster, graph.clone(), api, Logs::OfWaiting), fetched(cluster, &summary.name));
    let gathered = gathered?;
    let pods = &gathered.evidence.seen.pods;
    let mut components = components(&graph, pods);
    let diagnosis = diagnose(&gathered.evidence);
    let verdict = match diagnosis.verdict.clone() {
        diagnosis::Verdict::Reported => match listed(cluster, &summary.name).await {
            Ok(models) => Verdict::Up { models },
            Err(cause) => Verdict::Down { cause },
        },
        diagnosis::Verdict::ComingUp { waits_for } => Verdict::ComingUp { waits_for, cause: None },
        diagnosis::Verdict::Held { cause } => {
            Verdict::ComingUp { waits_for: cause.to_string(), cause: Some(cause) }
        }
        diagnosis::Verdict::Broken { cause } => Verdict::Down { cause },
    };
    say_steps(&mut components, &gathered);
    let fetched = fetched.or_else(|| fetched_by_pods(pods));
    let skipped = gathered.skipped(cluster);
    Ok(View { summary, verdict, components, diagnosis, gathered, skipped, fetched })
}

/// A pod that runs and is not ready does what its log says last.
fn say_steps(components: &mut [ComponentStanding], gathered: &Gathered) {
    for pod in components.iter_mut().flat_map(|one| &mut one.pods).filter(|pod| !pod.ready) {
        let mut logs = gathered.evidence.logs.iter().filter(|log| log.pod == pod.name);
        let running = pod.doing.starts_with("starting");
        let step = logs.find_map(|log| log.lines.iter().rev().find_map(|line| diagnosis::start_step(line)));
        if let Some(step) = step.filter(|_| running) {
            pod.doing = step.words;
        }
    }
}

/// The fetch Job that ended well, and the size its pod told.
async fn fetched(cluster: &Cluster, name: &str) -> Option<Fetched> {
    let jobs = frontend::fetch_jobs(cluster, name).await.ok()?;
    let job = jobs.iter().rfind(|job| job["status"]["succeeded"].as_u64().is_some())?;
    let at = job["status"]["completionTime"].as_str()?.to_owned();
    let labels = format!("{JOB_LABEL}={}", job["metadata"]["name"].as_str()?);
    let pods = cluster.list(Kind::Pod, &labels, false).await.unwrap_or_default();
    let done = pods.iter().find(|pod| pod["status"]["phase"] == "Succeeded");
    let size = match done.and_then(|pod| pod["metadata"]["name"].as_str()) {
        Some(pod) => size(cluster, pod).await,
        None => None,
    };
    Some(Fetched { size, at })
}

async fn size(cluster: &Cluster, pod: &str) -> Option<(u64, usize)> {
    match fetcher_log::last_words(cluster, pod).await? {
        ProgressEvent::Complete { bytes, files, .. } => Some((bytes, files)),
        _ => None,
    }
}

/// Where no Job ran, each pod's own fetch container looked at the model before the engine started.
fn fetched_by_pods(pods: &[Value]) -> Option<Fetched> {
    let ended = pods.iter().filter_map(last_words).filter(|ended| ended.exit_code == 0);
    let at = ended.map(|ended| ended.at).filter(|at| !at.is_empty()).max()?;
    Some(Fetched { size: None, at })
}
