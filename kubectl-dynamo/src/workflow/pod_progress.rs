//! The progress of each starting pod, from its container logs and from events: model fetch, image pull, and
//! the start steps of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use model_fetcher_contract::ProgressEvent;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};

use crate::report::units::{bytes, clock};
use crate::report::{PodLine, PodMark};
use kubectl_dynamo_cluster::{Cluster, LogOptions, parse_object};
use kubectl_dynamo_core::diagnosis::start_step;
use kubectl_dynamo_core::error;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::{
    ComponentStatus, ObjectChange, PodState, PodStatus, container_statuses, is_running, pod_is_ready,
};
use kubectl_dynamo_core::resources::FETCH_CONTAINER;

/// Maximum number of logs that are followed at once.
const MAX_LOG_STREAMS: usize = 24;
/// Maximum number of steps that wait to be shown.
const BACKLOG: usize = 256;
/// Delay before an interrupted log is followed again: the server or the node may be restarting.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Name that the operator gives the main container of a component.
const MAIN: &str = "main";

/// The last image pull of a pod.
enum ImagePull {
    Running,
    /// The text names the size and the duration.
    Completed(String),
}

/// The progress of the starting pods so far.
pub(crate) struct PodProgress {
    cluster: Cluster,
    sender: mpsc::Sender<(String, String)>,
    receiver: mpsc::Receiver<(String, String)>,
    followed_containers: BTreeSet<String>,
    /// Containers whose log stream has ended, possibly before the container, and the time of the last line.
    ended_streams: BTreeMap<String, Option<Instant>>,
    streams: JoinSet<Option<(String, Option<Instant>)>>,
    /// Current step of each pod, from its log.
    log_steps: BTreeMap<String, String>,
    /// The image pull of each pod.
    image_pulls: BTreeMap<String, ImagePull>,
}

impl PodProgress {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        Self {
            cluster: cluster.clone(),
            sender,
            receiver,
            followed_containers: BTreeSet::new(),
            ended_streams: BTreeMap::new(),
            streams: JoinSet::new(),
            log_steps: BTreeMap::new(),
            image_pulls: BTreeMap::new(),
        }
    }

    /// Follows the log of every running container that is not ready, and resumes interrupted logs.
    pub(crate) fn follow_logs(&mut self, pods: &[ObservedObject<Pod>]) {
        while let Some(result) = self.streams.try_join_next() {
            self.record_ended_stream(result);
        }
        for pod in pods.iter().filter(|pod| !pod_is_ready(pod)) {
            let name = pod.name();
            for status in container_statuses(pod).filter(|status| is_running(status)) {
                let container = status.name.as_str();
                let Some(id) = status.container_id.as_deref() else { continue };
                if ![FETCH_CONTAINER, MAIN].contains(&container) {
                    continue;
                }
                if self.streams.len() >= MAX_LOG_STREAMS {
                    continue;
                }
                let last_line_at = self.ended_streams.remove(id);
                if self.followed_containers.insert(id.to_owned()) {
                    self.log_steps.remove(name);
                } else if last_line_at.is_none() {
                    continue;
                }
                let (cluster, sender, id) = (self.cluster.clone(), self.sender.clone(), id.to_owned());
                let (pod, container) = (name.to_owned(), container.to_owned());
                self.streams.spawn(async move {
                    let last_line_at =
                        stream_steps(&cluster, pod, &container, last_line_at.flatten(), &sender).await?;
                    sleep(RETRY_DELAY).await;
                    Some((id, last_line_at))
                });
            }
        }
    }

    fn record_ended_stream(&mut self, result: Result<Option<(String, Option<Instant>)>, JoinError>) {
        self.ended_streams.extend(result.ok().flatten());
    }

    /// Waits until a pod has a new step or a log stream has ended.
    pub(crate) async fn next_update(&mut self) {
        tokio::select! {
            // `self` holds one sender, so this never returns `None`.
            Some((pod, step)) = self.receiver.recv() => drop(self.log_steps.insert(pod, step)),
            Some(result) = self.streams.join_next() => self.record_ended_stream(result),
        }
    }

    /// Records the events of a watch.
    ///
    /// # Errors
    /// An event that does not have the fields of its kind.
    pub(crate) fn record_events(&mut self, change: ObjectChange<Value>) -> error::Result<()> {
        match change.try_map(parse_object::<Event>)? {
            ObjectChange::Listed(all) => all.iter().for_each(|event| self.record_event(event)),
            ObjectChange::Applied(event) => self.record_event(&event),
            ObjectChange::Deleted(_) => {}
        }
        Ok(())
    }

    /// Records an event about the image of a pod.
    fn record_event(&mut self, event: &Event) {
        let Some(pod) = &event.involved_object.name else { return };
        let message = event.message.as_deref().unwrap_or_default();
        let pull = match event.reason.as_deref() {
            Some("Pulling") => Some(ImagePull::Running),
            Some("Pulled") => image_pull_text(message).map(ImagePull::Completed),
            _ => None,
        };
        if let Some(pull) = pull {
            self.image_pulls.insert(pod.to_owned(), pull);
        }
    }

    /// Returns one line for each pod, in the order of the components.
    pub(crate) fn lines(&self, graph: &str, components: &[ComponentStatus]) -> Vec<PodLine> {
        let line = |component: &ComponentStatus, pod: &PodStatus| PodLine {
            component: component.name.to_lowercase(),
            ready: component.ready,
            desired: component.desired,
            short_name: short_pod_name(graph, component, pod),
            pod: pod.name.clone(),
            mark: match &pod.problem {
                _ if pod.ready => PodMark::Ready,
                Some(problem) if !problem.is_transient() => PodMark::Failing,
                _ => PodMark::Starting,
            },
            status_text: self.current_step(pod),
            node: pod.node.clone(),
            note: match self.image_pulls.get(&pod.name) {
                Some(ImagePull::Completed(text)) => Some(text.clone()),
                Some(ImagePull::Running) | None => None,
            },
            ready_after_seconds: pod.ready_after_seconds,
        };
        let to_line = |component| move |pod| line(component, pod);
        let mut lines = Vec::new();
        for component in components {
            lines.extend(component.pods.iter().filter(|pod| !pod.superseded).map(to_line(component)));
        }
        lines
    }

    fn current_step(&self, pod: &PodStatus) -> String {
        match (pod.state, self.log_steps.get(&pod.name), self.image_pulls.get(&pod.name)) {
            (PodState::Starting | PodState::Initializing, Some(step), _) => step.clone(),
            (PodState::Pending | PodState::CreatingContainers, _, Some(ImagePull::Running)) => {
                "pulling image".into()
            }
            (PodState::Pending | PodState::CreatingContainers, ..) => "creating container".into(),
            _ => pod.status_text.clone(),
        }
    }
}

/// Returns the name of a pod without the prefix that all pods of the component share.
fn short_pod_name(graph: &str, component: &ComponentStatus, pod: &PodStatus) -> String {
    let prefix = format!("{graph}-{}-", component.name.to_lowercase());
    pod.name.strip_prefix(&prefix).unwrap_or(&pod.name).to_owned()
}

/// Parses the kubelet's message `Successfully pulled image "x" in 48.1s (48.1s including waiting). Image
/// size: 5 bytes.`
fn image_pull_text(message: &str) -> Option<String> {
    let duration =
        message.strip_prefix("Successfully pulled image ")?.split(" in ").nth(1)?.split(' ').next()?;
    let size = message.split("Image size: ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let size = size.map(|size: u64| format!(" of {}", bytes(size))).unwrap_or_default();
    Some(format!("image{size} pulled in {duration}"))
}

/// Follows a container log from the time of its last line and sends each start step once. Returns the time of
/// the last line when the log ends, or `None` if the log cannot be read or the receiver is gone.
async fn stream_steps(
    cluster: &Cluster,
    pod: String,
    container: &str,
    mut last_line_at: Option<Instant>,
    sender: &mpsc::Sender<(String, String)>,
) -> Option<Option<Instant>> {
    let since = last_line_at.map(|heard| i64::try_from(heard.elapsed().as_secs() + 1).unwrap_or(i64::MAX));
    let options = LogOptions { follow: true, since_seconds: since, ..LogOptions::default() };
    let mut lines = match cluster.log(&pod, Some(container), &options).await {
        Ok(lines) => lines,
        Err(error) => return error.is_retryable().then_some(last_line_at),
    };
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next().await {
        last_line_at = Some(Instant::now());
        let step = match container {
            FETCH_CONTAINER => serde_json::from_str(&line).ok().and_then(|event| fetch_text(&event)),
            _ => start_step(&line).map(|step| step.text),
        };
        let Some(step) = step.filter(|step| *step != last) else { continue };
        last.clone_from(&step);
        sender.send((pod.clone(), step)).await.ok()?;
    }
    Some(last_line_at)
}

/// Describes an event of the fetcher in one line.
fn fetch_text(event: &ProgressEvent) -> Option<String> {
    Some(match event {
        ProgressEvent::Progress { bytes_done, bytes_total, bytes_per_second, eta_seconds, .. } => {
            let remaining = eta_seconds
                .map(|seconds| format!(", {} left", clock(Duration::from_secs(seconds))))
                .unwrap_or_default();
            format!(
                "fetching model {}/{}, {}/s{remaining}",
                bytes(*bytes_done),
                bytes(*bytes_total),
                bytes(*bytes_per_second)
            )
        }
        ProgressEvent::Waiting { detail, .. } => format!("fetch waiting: {detail}"),
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
    use kubectl_dynamo_cluster::fake_api_server;

    #[tokio::test]
    async fn interrupted_log_is_followed_again() {
        let requests = Arc::new(AtomicUsize::new(0));
        let cluster = fake_api_server::cluster(json!({}), move |_| {
            let request_number = requests.fetch_add(1, Ordering::Relaxed);
            async move {
                match request_number {
                    0 => fake_api_server::complete_body(b"\xff\nCreating mocker engine with config\n"),
                    1 => fake_api_server::error_response(500, "the node is unavailable"),
                    _ => fake_api_server::unfinished_body(b"Loading weights took 2 seconds\n"),
                }
            }
        });
        let pod = json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [
            {"name": "main", "containerID": "1", "state": {"running": {}}, "ready": false},
        ]}});
        let pods = [ObservedObject::parse(pod).expect("a pod")];
        let mut pod_progress = PodProgress::new(&cluster.await);
        let loaded = async {
            while pod_progress.log_steps.get("a").is_none_or(|doing| doing != "weights loaded in 2 s") {
                pod_progress.follow_logs(&pods);
                pod_progress.next_update().await;
            }
        };
        timeout(Duration::from_secs(20), loaded).await.expect("the log is followed again");
    }

    #[test]
    fn parses_image_size_and_pull_time() {
        let message = r#"Successfully pulled image "r/x:1" in 48.123s (48.123s including waiting). Image size: 10523566080 bytes."#;
        assert_eq!(image_pull_text(message).as_deref(), Some("image of 9.8 GiB pulled in 48.123s"));
        assert_eq!(image_pull_text(r#"Container image "r/x:1" already present on machine"#), None);
    }

    #[test]
    fn formats_fetch_progress() {
        let line = r#"{"event":"progress","bytes_done":22870720512,"bytes_total":35326106009,"bytes_verified":0,"files_done":3,"files_total":19,"bytes_per_second":432013312,"eta_seconds":29,"retries":0,"connections":8}"#;
        let event = serde_json::from_str(line).expect("the line is an event of the fetcher");
        let expected = "fetching model 21.3 GiB/32.8 GiB, 412.0 MiB/s, 0:29 left";
        assert_eq!(fetch_text(&event).as_deref(), Some(expected));
    }
}
