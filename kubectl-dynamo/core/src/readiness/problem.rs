//! Problems that prevent pods from becoming ready, with message, hint, exit code, and whether they are
//! transient.
//! Problems are derived from object status only. Their exact cause is found by `diagnosis`.

mod explain;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod, PodCondition};
use model_fetcher_contract::{FailureReason, exit as fetcher_exit};

use super::pod_fields::{container_statuses, count, node_name, pod_condition, pod_phase};
use super::{Workload, fetch_termination};
use crate::object::{ObjectFields, ObjectView};

/// Number of restarts from which a crash is considered permanent.
pub(super) const CRASH_LOOP_RESTARTS: u64 = 2;

/// A problem of a pod, workload, or component that may require user action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("model fetch failed (pod {pod}, model-fetcher exit code {exit_code}): {message}")]
    Fetch { pod: String, exit_code: u64, message: String, reason: Option<FailureReason> },
    #[error("pod \"{pod}\" cannot pull image \"{image}\": {message}")]
    Image { pod: String, container: String, image: String, message: String },
    #[error("container \"{container}\" of pod \"{pod}\" cannot be created: {message}")]
    Container { pod: String, namespace: String, container: String, message: String },
    #[error(
        "container \"{container}\" of pod \"{pod}\" crashed, {restarts} restarts, \
         last exit code {exit_code}{message}"
    )]
    Crash {
        pod: String,
        namespace: String,
        container: String,
        restarts: u64,
        exit_code: u64,
        message: String,
    },
    #[error("pod \"{pod}\" cannot be scheduled: {message}")]
    Unschedulable { pod: String, namespace: String, message: String },
    #[error("node \"{node}\" of pod \"{pod}\" is not responding")]
    Node { pod: String, node: String },
    /// `workload` is written as in kubectl: `deployment/tiny-worker`, `job/fetch-tiny`.
    #[error("{workload} cannot create pods: {message}")]
    ReplicaFailure { workload: String, namespace: String, message: String },
    #[error("the Dynamo operator cannot create component \"{component}\": {message}")]
    Component { component: String, namespace: String, message: String },
    #[error(
        "deployment/{deployment} does not have the requested {field}: the Dynamo operator has not updated it"
    )]
    OutdatedDeployment { deployment: String, namespace: String, field: String },
    #[error("the Dynamo operator reports a failure: {message}")]
    Operator { message: String },
}

impl Problem {
    /// Returns whether the problem describes one run of a container, so that a restart may resolve it.
    pub(super) fn is_restart_scoped(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::Crash { .. })
    }

    /// Returns whether the problem may resolve without user action.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unschedulable { message, .. } => !mentions_missing_pvc(message),
            Self::Operator { .. } | Self::OutdatedDeployment { .. } | Self::Node { .. } => true,
            Self::Fetch { exit_code, .. } => {
                let is_final = |code| fetcher_exit::PERMANENT.contains(&code);
                !self.is_revision_mismatch() && !u8::try_from(*exit_code).is_ok_and(is_final)
            }
            Self::Crash { restarts, .. } => *restarts < CRASH_LOOP_RESTARTS,
            Self::Image { .. }
            | Self::Container { .. }
            | Self::ReplicaFailure { .. }
            | Self::Component { .. } => false,
        }
    }

    /// Returns whether a complete folder of another revision prevents the fetch. A failed verification has
    /// the same exit code, so the reason or message is checked too. A retry of the Job cannot resolve this
    /// problem.
    pub fn is_revision_mismatch(&self) -> bool {
        let Self::Fetch { exit_code, message, reason, .. } = self else { return false };
        match reason {
            Some(FailureReason::OtherRevision) => true,
            // Older fetchers write this sentence but no reason.
            None | Some(FailureReason::Unknown) => {
                *exit_code == u64::from(fetcher_exit::NOT_COMPLETE) && message.contains(" holds revision ")
            }
            Some(_) => false,
        }
    }

    /// Returns whether only the operator can resolve the problem.
    pub fn depends_on_operator(&self) -> bool {
        matches!(self, Self::Operator { .. } | Self::Component { .. } | Self::OutdatedDeployment { .. })
    }

    /// Returns the name of the affected pod, if the problem is about a pod.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::Image { pod, .. }
            | Self::Container { pod, .. }
            | Self::Crash { pod, .. }
            | Self::Unschedulable { pod, .. }
            | Self::Node { pod, .. }
            | Self::Fetch { pod, .. } => Some(pod),
            Self::ReplicaFailure { .. }
            | Self::Component { .. }
            | Self::OutdatedDeployment { .. }
            | Self::Operator { .. } => None,
        }
    }

    /// Returns the name of the affected container, if the problem is about one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Image { container, .. }
            | Self::Container { container, .. }
            | Self::Crash { container, .. } => Some(container),
            _ => None,
        }
    }

    /// Returns whether the hub denied the fetcher access to the model.
    pub fn is_denied_access(&self) -> bool {
        matches!(self, Self::Fetch { exit_code, .. } if *exit_code == u64::from(fetcher_exit::ACCESS))
    }
}

/// Returns whether the scheduler reports that a PVC does not exist. For existing PVCs it reports "unbound"
/// instead.
fn mentions_missing_pvc(message: &str) -> bool {
    message.contains("persistentvolumeclaim \"") && message.contains("\" not found")
}

/// Returns the problem of a workload that cannot create its pods because of a quota, a LimitRange, or
/// admission.
pub(super) fn workload_problem(workload: &Workload) -> Option<Problem> {
    Some(Problem::ReplicaFailure {
        message: workload.replica_failure()?.to_owned(),
        workload: format!("{}/{}", workload.kind().to_lowercase(), workload.name()),
        namespace: workload.namespace().to_owned(),
    })
}

/// Returns the problem of a Job that cannot create its pods. A Job does not have a condition for this, so the
/// function reads an event.
pub fn job_problem(job: &Job, event: &Event) -> Option<Problem> {
    let is_failure =
        event.reason.as_deref() == Some("FailedCreate") && event.involved_object.uid == job.metadata.uid;
    let message = event.message.as_deref().unwrap_or_default();
    is_failure.then(|| Problem::ReplicaFailure {
        workload: format!("job/{}", job.name()),
        namespace: job.namespace().to_owned(),
        message: message.trim_start_matches("Error creating: ").to_owned(),
    })
}

/// Returns the problem of a pod on a lost node: all its containers are ready, but its `Ready` condition is
/// false. Only the node lifecycle controller writes this combination.
fn node_problem(pod: &Pod) -> Option<Problem> {
    let spec = pod.spec.as_ref()?;
    let statuses = pod.status.as_ref()?.container_statuses.as_ref().filter(|all| !all.is_empty())?;
    let is_false = |kind| pod_condition(pod, kind).is_some_and(|condition| condition.status == "False");
    let is_lost = pod_phase(pod) == Some("Running")
        && is_false("Ready")
        && !is_false("ContainersReady")
        && spec.readiness_gates.is_none()
        && statuses.iter().all(|status| status.ready);
    let node = spec.node_name.clone().filter(|_| is_lost)?;
    Some(Problem::Node { pod: pod.name().to_owned(), node })
}

/// Returns the problem of a component deployment whose objects the API server rejects. Update conflicts and
/// lookups of objects that are being created also occur in healthy deployments and are ignored.
pub(super) fn component_problem(deployment: ObjectView<'_>) -> Option<Problem> {
    let available = deployment.condition("Available")?;
    let message = available.message().unwrap_or_default();
    let is_transient = ["the object has been modified", "dynamocomponentdeployments.nvidia.com"]
        .iter()
        .any(|fragment| message.contains(fragment));
    let is_failure =
        available.status() == "False" && available.reason() == Some("Reconciling") && !is_transient;
    is_failure.then(|| Problem::Component {
        component: deployment.name().to_owned(),
        namespace: deployment.namespace().to_owned(),
        message: message.trim_start_matches("Failed to reconcile DynamoComponentDeployment: ").to_owned(),
    })
}

/// Returns the `PodScheduled` condition of an unscheduled pod. A pod with a node may still have an outdated
/// condition.
pub(super) fn unscheduled_condition(pod: &Pod) -> Option<&PodCondition> {
    let scheduled = pod_condition(pod, "PodScheduled")?;
    (scheduled.status == "False" && node_name(pod).is_none()).then_some(scheduled)
}

/// Returns the problem that prevents a pod from becoming ready, if any.
pub fn pod_problem(pod: &Pod) -> Option<Problem> {
    let (name, namespace) = (pod.name().to_owned(), pod.namespace().to_owned());
    if let Some(scheduled) =
        unscheduled_condition(pod).filter(|scheduled| scheduled.reason.as_deref() == Some("Unschedulable"))
    {
        let message = scheduled.message.clone().unwrap_or_default();
        return Some(Problem::Unschedulable { pod: name, namespace, message });
    }
    fetch_problem(pod)
        .or_else(|| node_problem(pod))
        .or_else(|| container_statuses(pod).find_map(|status| container_problem(&name, &namespace, status)))
}

/// Returns the problem of a failed fetch container (an init container or the container of a Job's pod).
pub fn fetch_problem(pod: &Pod) -> Option<Problem> {
    let termination = fetch_termination(pod).filter(|termination| termination.exit_code != 0)?;
    Some(Problem::Fetch {
        pod: pod.name().to_owned(),
        exit_code: termination.exit_code,
        message: termination.message,
        reason: termination.reason,
    })
}

fn container_problem(pod: &str, namespace: &str, status: &ContainerStatus) -> Option<Problem> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    let container = status.name.clone();
    let (pod, namespace) = (pod.to_owned(), namespace.to_owned());
    match waiting.reason.as_deref()? {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(Problem::Image { pod, container, image: status.image.clone(), message })
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Problem::Container { pod, namespace, container, message })
        }
        "CrashLoopBackOff" => {
            let terminated = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            Some(crash(&pod, &namespace, status, terminated))
        }
        _ => None,
    }
}

/// Returns the problem of a container that exited, from its status and its terminated state.
pub(super) fn crash(
    pod: &str,
    namespace: &str,
    status: &ContainerStatus,
    terminated: Option<&ContainerStateTerminated>,
) -> Problem {
    let message = terminated.and_then(|terminated| terminated.message.as_deref()).map(str::trim);
    let message = message.filter(|message| !message.is_empty());
    Problem::Crash {
        pod: pod.to_owned(),
        namespace: namespace.to_owned(),
        container: status.name.clone(),
        restarts: count(status.restart_count),
        exit_code: terminated.map_or(0, |terminated| count(terminated.exit_code)),
        message: message.map(|message| format!(": {message}")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Exit, Explain};
    use crate::resources::FETCH_CONTAINER;
    use serde_json::{Value, json};

    fn pod_problem(pod: &Value) -> Option<Problem> {
        super::pod_problem(&serde_json::from_value(pod.clone()).expect("a pod"))
    }

    #[test]
    fn node_name_overrides_stale_unschedulable_condition() {
        let mut pod = json!({
            "metadata": { "name": "p" },
            "status": {
                "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }],
                "containerStatuses": [{ "name": "main", "state": { "waiting": { "reason": "ErrImagePull" } } }],
            },
        });
        assert!(matches!(pod_problem(&pod), Some(Problem::Unschedulable { .. })));
        pod["spec"] = json!({ "nodeName": "n" });
        assert!(matches!(pod_problem(&pod), Some(Problem::Image { .. })));
    }

    #[test]
    fn rejected_token_is_permanent_access_error() {
        let pod = json!({
            "metadata": { "name": "fetch-x" },
            "status": { "containerStatuses": [{
                "name": FETCH_CONTAINER,
                "state": { "terminated": { "exitCode": 10, "message": "the hub does not accept the token\n" } },
            }] },
        });
        let problem = pod_problem(&pod).unwrap();
        assert!(!problem.is_transient());
        assert_eq!(problem.exit(), Exit::Access);
        assert!(problem.to_string().ends_with("the hub does not accept the token"), "{problem}");
    }

    #[test]
    fn distinguishes_lost_node_from_starting_pod() {
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
        let problem = pod_problem(&pod("False", "True", true)).unwrap();
        assert_eq!(problem.to_string(), "node \"gpu-01\" of pod \"w\" is not responding");
        assert!(problem.is_transient());
        assert_eq!(pod_problem(&pod("False", "False", false)), None);
        assert_eq!(pod_problem(&pod("True", "True", true)), None);
    }

    #[test]
    fn network_failure_is_transient() {
        let pod = json!({
            "metadata": { "name": "w" },
            "status": { "initContainerStatuses": [{
                "name": FETCH_CONTAINER,
                "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "exitCode": 13, "reason": "Error" } },
            }] },
        });
        assert!(pod_problem(&pod).unwrap().is_transient());
    }

    #[test]
    fn two_crashes_are_permanent() {
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
        assert!(pod_problem(&pod(1)).unwrap().is_transient());
        let permanent = pod_problem(&pod(2)).unwrap();
        assert!(!permanent.is_transient());
        let hint = "show its log with kubectl logs w -n serving -c main --previous";
        assert_eq!(permanent.hint().expect("a hint").to_string(), hint);
    }
}
