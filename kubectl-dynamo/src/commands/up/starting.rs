//! What each pod does while it comes up, heard from its containers' logs and from events: the model's fetch, the
//! image's pull, the steps of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model_fetcher::contract::ProgressEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

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
/// Before a log that broke off is read on: whoever cut it may be restarting.
const PAUSE: Duration = Duration::from_secs(1);
/// The operator's name for a component's own container.
const MAIN: &str = "main";

/// What was heard of each pod so far.
pub(super) struct Starting {
    cluster: Cluster,
    said: mpsc::Sender<(String, String)>,
    heard: mpsc::Receiver<(String, String)>,
    listened: BTreeSet<String>,
    /// Containers whose logs have ended, perhaps before they did, and when each was heard last.
    broken: BTreeMap<String, Option<Instant>>,
    listeners: JoinSet<Option<(String, Option<Instant>)>>,
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
            broken: BTreeMap::new(),
            listeners: JoinSet::new(),
            doing: BTreeMap::new(),
            images: BTreeMap::new(),
        }
    }

    /// Listens to every container that runs and is not ready; again where its log broke off.
    pub(super) fn listen(&mut self, pods: &[Value]) {
        while let Some(ended) = self.listeners.try_join_next() {
            self.ended(ended);
        }
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
                if self.listeners.len() >= LISTENERS {
                    continue;
                }
                let heard = self.broken.remove(id);
                if self.listened.insert(id.to_owned()) {
                    self.doing.remove(name);
                } else if heard.is_none() {
                    continue;
                }
                let (cluster, said, id) = (self.cluster.clone(), self.said.clone(), id.to_owned());
                let (pod, container) = (name.to_owned(), container.to_owned());
                self.listeners.spawn(async move {
                    let heard = listen(&cluster, pod, &container, heard.flatten(), &said).await?;
                    sleep(PAUSE).await;
                    Some((id, heard))
                });
            }
        }
    }

    fn ended(&mut self, ended: Result<Option<(String, Option<Instant>)>, JoinError>) {
        self.broken.extend(ended.ok().flatten());
    }

    /// Returns when a pod has said something new, or may have to be listened to again.
    pub(super) async fn hear(&mut self) {
        tokio::select! {
            // One sender is our own, so this never ends with `None`.
            Some((pod, words)) = self.heard.recv() => drop(self.doing.insert(pod, words)),
            Some(ended) = self.listeners.join_next() => self.ended(ended),
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

/// Passes on what a container's log says of its start, each step once, from when it was `heard` last. Answers when that
/// is now, once the log has ended; nothing where it may not be read or nobody listens.
async fn listen(
    cluster: &Cluster,
    pod: String,
    container: &str,
    mut heard: Option<Instant>,
    said: &mpsc::Sender<(String, String)>,
) -> Option<Option<Instant>> {
    let since = heard.map(|heard| i64::try_from(heard.elapsed().as_secs() + 1).unwrap_or(i64::MAX));
    let options = LogOptions { follow: true, since_seconds: since, ..LogOptions::default() };
    let mut lines = match cluster.log(&pod, Some(container), &options).await {
        Ok(lines) => lines,
        Err(error) => return error.may_pass().then_some(heard),
    };
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next().await {
        heard = Some(Instant::now());
        let words = match container {
            FETCH_CONTAINER => serde_json::from_str(&line).ok().and_then(|event| fetch_words(&event)),
            _ => start_step(&line).map(|step| step.words),
        };
        let Some(words) = words.filter(|words| *words != last) else { continue };
        last.clone_from(&words);
        said.send((pod.clone(), words)).await.ok()?;
    }
    Some(heard)
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;
    use tokio::time::timeout;

    use super::*;
    use crate::cluster::played;

    #[tokio::test]
    async fn a_log_that_breaks_off_is_listened_to_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let cluster = played::cluster(json!({}), move |_| {
            let times = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match times {
                    0 => played::whole(b"\xff\nCreating mocker engine with config\n"),
                    1 => played::refusal(500, "the node is away"),
                    _ => played::begun(b"Loading weights took 2 seconds\n"),
                }
            }
        });
        let pods = [json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [
            {"name": "main", "containerID": "1", "state": {"running": {}}, "ready": false},
        ]}})];
        let mut starting = Starting::new(&cluster.await);
        let loaded = async {
            while starting.doing.get("a").is_none_or(|doing| doing != "weights loaded in 2 s") {
                starting.listen(&pods);
                starting.hear().await;
            }
        };
        timeout(Duration::from_secs(20), loaded).await.expect("it is heard again");
    }

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
