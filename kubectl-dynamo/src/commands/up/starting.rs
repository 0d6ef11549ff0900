//! What each pod does while it comes up, heard from its containers' logs and from events: the model's fetch, the
//! image's pull, the steps of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use model_fetcher::contract::ProgressEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, LogOptions};
use crate::diagnosis::start_step;
use crate::readiness::{ComponentStanding, PodStanding};
use crate::report::units::{bytes, clock};
use crate::report::{Mark, PodLine};
use crate::resources::FETCH_CONTAINER;

/// How many containers are listened to at once.
const LISTENERS: usize = 24;
/// Steps that may wait to be shown.
const BACKLOG: usize = 256;
/// The operator's name for a component's own container.
const MAIN: &str = "main";

/// What was heard of each pod so far.
pub(super) struct Starting {
    cluster: Cluster,
    said: mpsc::Sender<(String, String)>,
    heard: mpsc::Receiver<(String, String)>,
    listened: BTreeSet<String>,
    listeners: JoinSet<()>,
    /// What each pod does, by its log.
    doing: BTreeMap<String, String>,
    /// What each pod's image took.
    images: BTreeMap<String, String>,
}

impl Starting {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let (said, heard) = mpsc::channel(BACKLOG);
        Self {
            cluster: cluster.clone(),
            said,
            heard,
            listened: BTreeSet::new(),
            listeners: JoinSet::new(),
            doing: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }

    /// Listens to every container that runs and is not ready.
    pub(super) fn listen(&mut self, pods: &[Value]) {
        while self.listeners.try_join_next().is_some() {}
        for pod in pods.iter().filter(|pod| !crate::readiness::pod_is_ready(pod)) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let statuses = ["initContainerStatuses", "containerStatuses"]
                .into_iter()
                .flat_map(|field| pod["status"][field].as_array().into_iter().flatten());
            for status in statuses.filter(|status| status["state"]["running"].is_object()) {
                let container = status["name"].as_str().filter(|name| [FETCH_CONTAINER, MAIN].contains(name));
                let (Some(container), Some(id)) = (container, status["containerID"].as_str()) else {
                    continue;
                };
                if self.listeners.len() < LISTENERS && self.listened.insert(id.to_owned()) {
                    self.doing.remove(name);
                    let (cluster, said) = (self.cluster.clone(), self.said.clone());
                    let (name, container) = (name.to_owned(), container.to_owned());
                    self.listeners.spawn(async move { listen(&cluster, name, &container, &said).await });
                }
            }
        }
    }

    /// Returns when a pod has said something new.
    pub(super) async fn hear(&mut self) {
        // One sender is our own, so this never ends with `None`.
        if let Some((pod, words)) = self.heard.recv().await {
            self.doing.insert(pod, words);
        }
    }

    /// Takes note of an event about a pod's image.
    pub(super) fn note(&mut self, event: &Value) {
        let Some(pod) = event["involvedObject"]["name"].as_str() else { return };
        let message = event["message"].as_str().unwrap_or_default();
        let words = match event["reason"].as_str() {
            Some("Pulling") => Some("pulling the image".to_owned()),
            Some("Pulled") => pulled(message),
            _ => None,
        };
        if let Some(words) = words {
            self.images.insert(pod.to_owned(), words);
        }
    }

    /// One line for each pod, in the order of the components.
    pub(super) fn lines(&self, graph: &str, components: &[ComponentStanding]) -> Vec<PodLine> {
        let line = |component: &ComponentStanding, pod: &PodStanding| PodLine {
            component: component.name.to_lowercase(),
            ready: component.ready,
            wanted: component.wanted,
            short: short(graph, component, pod),
            pod: pod.name.clone(),
            mark: match &pod.trouble {
                _ if pod.ready => Mark::Ready,
                Some(trouble) if !trouble.may_heal() => Mark::Troubled,
                _ => Mark::Working,
            },
            doing: self.doing(pod),
            node: pod.node.clone(),
            note: self.images.get(&pod.name).filter(|words| words.contains("took")).cloned(),
            ready_after_seconds: pod.ready_after_seconds,
        };
        let of = |component| move |pod| line(component, pod);
        let mut lines = Vec::new();
        for component in components {
            lines.extend(component.pods.iter().filter(|pod| !pod.superseded).map(of(component)));
        }
        lines
    }

    fn doing(&self, pod: &PodStanding) -> String {
        let by_log = pod.doing.starts_with("starting") || pod.doing.starts_with("init container");
        let pulls = || self.images.get(&pod.name).filter(|words| words.starts_with("pulling"));
        match (self.doing.get(&pod.name).filter(|_| by_log), pod.doing.as_str()) {
            (Some(words), _) => words.clone(),
            (None, "ContainerCreating" | "PodInitializing" | "Pending") => {
                pulls().cloned().unwrap_or_else(|| "making the container".into())
            }
            (None, doing) => doing.to_owned(),
        }
    }
}

/// A pod's name without what every pod of the component has in front.
fn short(graph: &str, component: &ComponentStanding, pod: &PodStanding) -> String {
    let prefix = format!("{graph}-{}-", component.name.to_lowercase());
    pod.name.strip_prefix(&prefix).unwrap_or(&pod.name).to_owned()
}

/// From the kubelet's words: `Successfully pulled image "x" in 48.1s (48.1s including waiting). Image size: 5 bytes.`
fn pulled(message: &str) -> Option<String> {
    let took = message.strip_prefix("Successfully pulled image ")?.split(" in ").nth(1)?.split(' ').next()?;
    let size = message.split("Image size: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let size = size.map(|size: u64| format!(" of {}", bytes(size))).unwrap_or_default();
    Some(format!("image{size} took {took}"))
}

/// Passes on what a container's log says of its start, each step once.
async fn listen(cluster: &Cluster, pod: String, container: &str, said: &mpsc::Sender<(String, String)>) {
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let Ok(log) = cluster.log(&pod, Some(container), &options).await else { return };
    let mut lines = log.lines();
    let mut last = String::new();
    while let Some(Ok(line)) = lines.next().await {
        let words = match container {
            FETCH_CONTAINER => serde_json::from_str(&line).ok().and_then(|event| fetch_words(&event)),
            _ => start_step(&line).map(|step| step.words),
        };
        let Some(words) = words.filter(|words| *words != last) else { continue };
        last.clone_from(&words);
        if said.send((pod.clone(), words)).await.is_err() {
            return;
        }
    }
}

/// An event of the fetcher in a few words.
fn fetch_words(event: &ProgressEvent) -> Option<String> {
    Some(match event {
        ProgressEvent::Progress { bytes_done, bytes_total, bytes_per_second, eta_seconds, .. } => {
            let left = eta_seconds
                .map(|seconds| format!(", {} left", clock(Duration::from_secs(seconds))))
                .unwrap_or_default();
            format!(
                "fetching the model {}/{}, {}/s{left}",
                bytes(*bytes_done),
                bytes(*bytes_total),
                bytes(*bytes_per_second)
            )
        }
        ProgressEvent::Waiting { detail, .. } => format!("fetch waits: {detail}"),
        ProgressEvent::Complete { files, .. } => format!("model complete, {files} files verified"),
        ProgressEvent::Failed { error, .. } => format!("fetch failed: {error}"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_words_tell_size_and_time_of_an_image() {
        let message = r#"Successfully pulled image "r/x:1" in 48.123s (48.123s including waiting). Image size: 10523566080 bytes."#;
        assert_eq!(pulled(message).as_deref(), Some("image of 9.8 GiB took 48.123s"));
        assert_eq!(pulled(r#"Container image "r/x:1" already present on machine"#), None);
    }

    #[test]
    fn the_fetchers_events_become_a_line() {
        let line = r#"{"event":"progress","bytes_done":22870720512,"bytes_total":35326106009,"bytes_verified":0,"files_done":3,"files_total":19,"bytes_per_second":432013312,"eta_seconds":29,"retries":0,"connections":8}"#;
        let event = serde_json::from_str(line).expect("the fetcher writes such lines");
        let words = "fetching the model 21.3 GiB/32.8 GiB, 412.0 MiB/s, 0:29 left";
        assert_eq!(fetch_words(&event).as_deref(), Some(words));
    }
}
