//! The port on which a pod exports the metrics of Dynamo.

use k8s_openapi::api::core::v1::Pod;

use kubectl_dynamo_core::intent::WorkerRole;

/// The names and numbers that the operator gives to the ports with metrics.
const FRONTEND_PORT: (&str, u16) = ("http", 8000);
const WORKER_PORT: (&str, u16) = ("system", 9090);

/// Returns the number of the port, or the operator's number if the pod does not name one.
pub(crate) fn metrics_port(pod: &Pod, role: WorkerRole) -> u16 {
    let (name, default) = if role == WorkerRole::Frontend { FRONTEND_PORT } else { WORKER_PORT };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(name));
    named.and_then(|port| u16::try_from(port.container_port).ok()).unwrap_or(default)
}
