//! What keeps a pod from becoming ready, where waiting alone may not help.

use model_fetcher::contract::exit as fetcher_exit;
use serde_json::Value;

use super::{condition, last_words};
use crate::error::{Exit, Explain};

/// How often a container may crash before the reason is taken for lasting.
pub(super) const CRASHES: u64 = 2;

/// A reason that a person may have to act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("the model could not be fetched ({place}, model-fetcher exit code {exit_code}): {message}")]
    Fetch { place: String, exit_code: u64, message: String },
    #[error("pod {pod} cannot get image {image}: {message}")]
    Image { pod: String, image: String, message: String },
    #[error("container {container} of pod {pod} cannot be made: {message}")]
    Container { pod: String, namespace: String, container: String, message: String },
    #[error(
        "container {container} of pod {pod} crashes, {restarts} restarts, last exit code {exit_code}{message}"
    )]
    Crash {
        pod: String,
        namespace: String,
        container: String,
        restarts: u64,
        exit_code: u64,
        message: String,
    },
    #[error("pod {pod} cannot be scheduled: {message}")]
    Unschedulable { pod: String, namespace: String, message: String },
    #[error("node {node} of pod {pod} does not answer")]
    Node { pod: String, node: String },
    /// `workload` as kubectl names it: `deployment/tiny-worker`, `job/fetch-tiny`.
    #[error("no pod of {workload} can be made: {message}")]
    Replicas { workload: String, namespace: String, message: String },
    #[error("the operator cannot make component {component}: {message}")]
    Component { component: String, namespace: String, message: String },
    #[error("the operator reports a failure: {message}")]
    Operator { message: String },
}

impl Trouble {
    /// Whether it tells how one attempt ended, so that the next one may end otherwise.
    pub(super) fn is_of_an_attempt(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::Crash { .. })
    }

    /// Whether it may pass without anybody doing anything.
    pub fn may_heal(&self) -> bool {
        match self {
            Self::Unschedulable { message, .. } => !names_a_missing_claim(message),
            Self::Operator { .. } | Self::Node { .. } => true,
            Self::Fetch { exit_code, .. } => {
                let is_final = |code| fetcher_exit::FINAL.contains(&code);
                !self.is_of_another_revision() && !u8::try_from(*exit_code).is_ok_and(is_final)
            }
            Self::Crash { restarts, .. } => *restarts < CRASHES,
            Self::Image { .. } | Self::Container { .. } | Self::Replicas { .. } | Self::Component { .. } => {
                false
            }
        }
    }

    /// Whether a whole folder of another revision is in the way of a fetch, by the fetcher's own words: a verification
    /// that found bytes wanting ends with the same code. Tries of its Job change nothing about it.
    pub fn is_of_another_revision(&self) -> bool {
        let other = u64::from(fetcher_exit::NOT_COMPLETE);
        matches!(self, Self::Fetch { exit_code, message, .. }
            if *exit_code == other && message.contains(" holds revision "))
    }

    /// The pod it is about, where it is about one.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::Image { pod, .. }
            | Self::Container { pod, .. }
            | Self::Crash { pod, .. }
            | Self::Unschedulable { pod, .. }
            | Self::Node { pod, .. } => Some(pod),
            Self::Fetch { place, .. } => place.strip_prefix("pod "),
            Self::Replicas { .. } | Self::Component { .. } | Self::Operator { .. } => None,
        }
    }
}

/// What the scheduler says of a claim that nobody made; one that is not bound yet it calls unbound.
fn names_a_missing_claim(message: &str) -> bool {
    message.contains("persistentvolumeclaim \"") && message.contains("\" not found")
}

impl Explain for Trouble {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Fetch { .. } if self.is_of_another_revision() => "KD0446",
            Self::Fetch { .. } => "KD0410",
            Self::Image { .. } => "KD0501",
            Self::Container { .. } => "KD0502",
            Self::Crash { .. } => "KD0602",
            Self::Unschedulable { .. } => "KD0302",
            Self::Node { .. } => "KD0316",
            Self::Replicas { .. } => "KD0309",
            Self::Component { .. } => "KD0216",
            Self::Operator { .. } => "KD0206",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Fetch { exit_code, .. } if is_access(*exit_code) => {
                "give a token of an account that may read the model: --hf-token-stdin < token.txt".into()
            }
            Self::Fetch { .. } if self.is_of_another_revision() => {
                "remove what is there, which a pod that runs keeps: kubectl dynamo cache rm MODEL; then run the same \
                 command again"
                    .into()
            }
            Self::Fetch { .. } => "mend it, then run the same command again: what was fetched is kept".into(),
            Self::Image { .. } => {
                "check the tag and the right to pull: --image, --fetcher-image, --image-pull-secret".into()
            }
            Self::Container { pod, namespace, .. } => {
                format!("see its events: kubectl describe pod {pod} -n {namespace}")
            }
            Self::Crash { pod, namespace, container, .. } => {
                format!("see its last words: kubectl logs {pod} -c {container} --previous -n {namespace}")
            }
            Self::Unschedulable { pod, namespace, .. } => {
                format!("see what it asks for: kubectl describe pod {pod} -n {namespace}")
            }
            Self::Node { node, .. } => {
                format!(
                    "its pods are made anew elsewhere after five minutes; see it: kubectl describe node {node}"
                )
            }
            Self::Replicas { workload, namespace, .. } => {
                format!("see what refuses it: kubectl describe {workload} -n {namespace}")
            }
            Self::Component { component, namespace, .. } => {
                format!("see it: kubectl describe dynamocomponentdeployments {component} -n {namespace}")
            }
            Self::Operator { .. } => {
                "see the operator's log and: kubectl describe dynamographdeployments".into()
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Fetch { exit_code, .. } if is_access(*exit_code) => Exit::Access,
            Self::Fetch { .. } => Exit::Model,
            Self::Unschedulable { message, .. } if names_a_missing_claim(message) => Exit::Model,
            Self::Unschedulable { .. } => Exit::DoesNotFit,
            Self::Replicas { message, .. } if message.contains("exceeded quota") => Exit::DoesNotFit,
            Self::Replicas { .. } | Self::Component { .. } | Self::Node { .. } => Exit::Failed,
            Self::Image { .. } | Self::Container { .. } | Self::Crash { .. } | Self::Operator { .. } => {
                Exit::Failed
            }
        }
    }
}

fn is_access(exit_code: u64) -> bool {
    exit_code == u64::from(fetcher_exit::ACCESS)
}

/// A workload that may not make its pods: a quota, a limit or an admission rule refuses them.
pub(super) fn workload_trouble(workload: &Value) -> Option<Trouble> {
    let refused = condition(workload, "ReplicaFailure");
    (refused["status"] == "True").then(|| Trouble::Replicas {
        workload: format!("deployment/{}", text(&workload["metadata"]["name"])),
        namespace: text(&workload["metadata"]["namespace"]),
        message: text(&refused["message"]),
    })
}

/// A Job that may not make its pods: it has no condition for that, only an event.
pub fn job_trouble(job: &Value, event: &Value) -> Option<Trouble> {
    let refused =
        event["reason"] == "FailedCreate" && event["involvedObject"]["uid"] == job["metadata"]["uid"];
    refused.then(|| Trouble::Replicas {
        workload: format!("job/{}", text(&job["metadata"]["name"])),
        namespace: text(&job["metadata"]["namespace"]),
        message: text(&event["message"]).trim_start_matches("Error creating: ").to_owned(),
    })
}

/// A pod whose containers were all ready when its node was heard of last, and whose node is since called lost: only
/// the controller that watches nodes writes the one without the other.
fn node_trouble(pod: &Value) -> Option<Trouble> {
    let statuses = pod["status"]["containerStatuses"].as_array().filter(|all| !all.is_empty())?;
    let lost = pod["status"]["phase"] == "Running"
        && condition(pod, "Ready")["status"] == "False"
        && condition(pod, "ContainersReady")["status"] != "False"
        && pod["spec"]["readinessGates"].is_null()
        && statuses.iter().all(|status| status["ready"] == true);
    let node = pod["spec"]["nodeName"].as_str().filter(|_| lost)?.to_owned();
    Some(Trouble::Node { pod: text(&pod["metadata"]["name"]), node })
}

/// A component deployment whose objects the API server refuses. Healthy ones lose a race for an object now and
/// then, and look for one that is being made; both pass.
pub(super) fn component_trouble(deployment: &Value) -> Option<Trouble> {
    let available = condition(deployment, "Available");
    let message = text(&available["message"]);
    let passes = ["the object has been modified", "dynamocomponentdeployments.nvidia.com"]
        .iter()
        .any(|noise| message.contains(noise));
    let refused = available["status"] == "False" && available["reason"] == "Reconciling" && !passes;
    refused.then(|| Trouble::Component {
        component: text(&deployment["metadata"]["name"]),
        namespace: text(&deployment["metadata"]["namespace"]),
        message: message.trim_start_matches("Failed to reconcile DynamoComponentDeployment: ").to_owned(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The condition of a pod that the scheduler found no node for. A pod with a node may bear one that came late.
pub(super) fn without_node(pod: &Value) -> Option<&Value> {
    let scheduled = condition(pod, "PodScheduled");
    (scheduled["status"] == "False" && !pod["spec"]["nodeName"].is_string()).then_some(scheduled)
}

/// What keeps a pod from becoming ready, if anything does.
pub fn pod_trouble(pod: &Value) -> Option<Trouble> {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text("name"), text("namespace"));
    if let Some(scheduled) = without_node(pod).filter(|scheduled| scheduled["reason"] == "Unschedulable") {
        let message = scheduled["message"].as_str().unwrap_or_default().to_owned();
        return Some(Trouble::Unschedulable { pod: name, namespace, message });
    }
    fetch_trouble(pod).or_else(|| node_trouble(pod)).or_else(|| {
        ["initContainerStatuses", "containerStatuses"]
            .iter()
            .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
            .find_map(|status| container_trouble(&name, &namespace, status))
    })
}

/// A fetch container that ended without a complete model: of an init container or of a Job's pod.
pub fn fetch_trouble(pod: &Value) -> Option<Trouble> {
    let ended = last_words(pod).filter(|ended| ended.exit_code != 0)?;
    Some(Trouble::Fetch {
        place: format!("pod {}", pod["metadata"]["name"].as_str().unwrap_or_default()),
        exit_code: ended.exit_code,
        message: ended.message,
    })
}

fn container_trouble(pod: &str, namespace: &str, status: &Value) -> Option<Trouble> {
    let waiting = &status["state"]["waiting"];
    let message = waiting["message"].as_str().unwrap_or_default().to_owned();
    let container = status["name"].as_str().unwrap_or_default().to_owned();
    let (pod, namespace) = (pod.to_owned(), namespace.to_owned());
    match waiting["reason"].as_str()? {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(Trouble::Image {
                pod,
                image: status["image"].as_str().unwrap_or_default().to_owned(),
                message,
            })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Trouble::Container { pod, namespace, container, message })
        }
        "CrashLoopBackOff" => {
            let ended = &status["lastState"]["terminated"];
            let words = ended["message"].as_str().map(str::trim).filter(|words| !words.is_empty());
            let words = words.map(|words| format!(": {words}")).unwrap_or_default();
            Some(Trouble::Crash {
                pod,
                namespace,
                container,
                restarts: status["restartCount"].as_u64().unwrap_or(0),
                exit_code: ended["exitCode"].as_u64().unwrap_or(0),
                message: words,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::FETCH_CONTAINER;
    use serde_json::json;

    #[test]
    fn a_pod_with_a_node_is_scheduled_whatever_came_late() {
        let mut pod = json!({
            "metadata": { "name": "p" },
            "status": {
                "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }],
                "containerStatuses": [{ "name": "main", "state": { "waiting": { "reason": "ErrImagePull" } } }],
            },
        });
        assert!(matches!(pod_trouble(&pod), Some(Trouble::Unschedulable { .. })));
        pod["spec"] = json!({ "nodeName": "n" });
        assert!(matches!(pod_trouble(&pod), Some(Trouble::Image { .. })));
    }

    #[test]
    fn a_rejected_token_is_final_and_an_access_error() {
        let pod = json!({
            "metadata": { "name": "fetch-x" },
            "status": { "containerStatuses": [{
                "name": FETCH_CONTAINER,
                "state": { "terminated": { "exitCode": 10, "message": "the hub does not accept the token\n" } },
            }] },
        });
        let trouble = pod_trouble(&pod).unwrap();
        assert!(!trouble.may_heal());
        assert_eq!(trouble.exit(), Exit::Access);
        assert!(trouble.to_string().ends_with("the hub does not accept the token"), "{trouble}");
    }

    #[test]
    fn a_pod_of_a_lost_node_is_told_from_one_that_starts() {
        let pod = |ready: &str, containers: &str, container: bool| {
            json!({
                "metadata": { "name": "w" },
                "spec": { "nodeName": "gpu-01" },
                "status": {
                    "phase": "Running",
                    "conditions": [
                        { "type": "Ready", "status": ready }, { "type": "ContainersReady", "status": containers },
                    ],
                    "containerStatuses": [{ "name": "main", "ready": container, "state": { "running": {} } }],
                },
            })
        };
        let lost = pod_trouble(&pod("False", "True", true)).unwrap();
        assert_eq!(lost.to_string(), "node gpu-01 of pod w does not answer");
        assert!(lost.may_heal());
        assert_eq!(pod_trouble(&pod("False", "False", false)), None);
        assert_eq!(pod_trouble(&pod("True", "True", true)), None);
    }

    #[test]
    fn a_network_that_gave_up_is_tried_again() {
        let pod = json!({
            "metadata": { "name": "w" },
            "status": { "initContainerStatuses": [{
                "name": FETCH_CONTAINER,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "exitCode": 13, "reason": "Error" } },
            }] },
        });
        assert!(pod_trouble(&pod).unwrap().may_heal());
    }

    #[test]
    fn one_crash_may_heal_and_two_do_not() {
        let pod = |restarts: u64| {
            json!({
                "metadata": { "name": "w", "namespace": "serving" },
                "status": { "containerStatuses": [{
                    "name": "main", "restartCount": restarts,
                    "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                    "lastState": { "terminated": { "exitCode": 1 } },
                }] },
            })
        };
        assert!(pod_trouble(&pod(1)).unwrap().may_heal());
        let lasting = pod_trouble(&pod(2)).unwrap();
        assert!(!lasting.may_heal());
        let hint = "see its last words: kubectl logs w -c main --previous -n serving";
        assert_eq!(lasting.hint().as_deref(), Some(hint));
    }
}
