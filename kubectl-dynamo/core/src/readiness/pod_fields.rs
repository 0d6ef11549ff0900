//! Fields of a pod that several modules read: conditions, the phase, the node, and the states of its containers.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec};

use crate::object::ObjectFields;

/// Returns the condition of a pod.
pub fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Returns the phase of a pod, such as `Running`.
pub fn pod_phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// Returns the node of a scheduled pod.
pub(super) fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Returns the states of a pod's init containers and containers, in this order.
pub fn container_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

/// Returns the states of a pod's containers without its init containers.
pub(crate) fn main_containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten())
}

/// Returns how the current or the previous run of a container ended.
pub(crate) fn last_termination(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let states = [&status.state, &status.last_state];
    states.into_iter().flatten().find_map(|state| state.terminated.as_ref())
}

/// Returns the names of the PVCs that a pod spec mounts.
pub fn mounted_pvcs(pod: &PodSpec) -> impl Iterator<Item = &str> {
    let volumes = pod.volumes.iter().flatten();
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// Returns whether a container runs.
pub fn is_running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Returns whether the pod's `Ready` condition is true and the pod is not being deleted.
pub fn pod_is_ready(pod: &Pod) -> bool {
    !pod.is_terminating() && pod_condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Returns a count or an exit code as an unsigned number. The API server never sends a negative one.
pub(crate) fn count(number: i32) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Returns the seconds from the creation of a pod to the last change of its `Ready` condition.
pub(super) fn ready_after_seconds(pod: &Pod) -> Option<u64> {
    let created = pod.metadata.creation_timestamp.as_ref()?.0;
    let ready = pod_condition(pod, "Ready")?.last_transition_time.as_ref()?.0;
    u64::try_from(ready.duration_since(created).as_secs()).ok()
}
