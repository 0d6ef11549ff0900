//! The metrics ports of a deployment: which pod or process has one, and how to reach it.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

use crate::chat::{Endpoint, EndpointKind};
use crate::local::state::RunningProcess;
use crate::workflow::metrics_port::metrics_port;
use kubectl_dynamo_cluster::{Cluster, PortForward, PortForwardTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::WorkerRole;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::probe::MonitoredPod;
use kubectl_dynamo_core::readiness::{COMPONENT_TYPE_LABEL, pod_is_ready};

/// The metrics port of one frontend or worker.
pub(super) struct MetricsPort {
    /// The pod or the process.
    pub name: String,
    /// `frontend`, `worker`, `prefill`, or `decode`.
    pub role: String,
    pub port: u16,
    /// What a PodMonitor selects by; `None` on this machine.
    pub pod: Option<MonitoredPod>,
}

impl MetricsPort {
    pub(super) fn of_process(process: &RunningProcess) -> Option<Self> {
        let role = process.role.component_name().to_owned();
        Some(Self { name: process.name.clone(), role, port: process.metrics_port?, pod: None })
    }

    /// The port of a ready pod; `None` for a pod without metrics.
    pub(super) fn of_pod(pod: &ObservedObject<Pod>) -> Option<Self> {
        let component_type = pod.label(COMPONENT_TYPE_LABEL).filter(|_| pod_is_ready(pod))?;
        let role = WorkerRole::from_component_name(component_type)?;
        let monitored = MonitoredPod {
            namespace: pod.namespace().to_owned(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            ports: container_ports(pod),
        };
        Some(Self {
            name: pod.name().to_owned(),
            role: role.component_name().to_owned(),
            port: metrics_port(pod, role),
            pod: Some(monitored),
        })
    }

    pub(super) fn is_frontend(&self) -> bool {
        self.role == WorkerRole::Frontend.component_name()
    }

    /// Connects to the port, through a port-forward if it is in a pod. The connection lasts as long as it.
    pub(super) async fn connect(&self, cluster: Option<&Cluster>) -> Result<(Endpoint, Option<PortForward>)> {
        let (address, tunnel) = match cluster {
            None => ((Ipv4Addr::LOCALHOST, self.port).into(), None),
            Some(cluster) => {
                let target = PortForwardTarget {
                    labels: String::new(),
                    pod: Some(self.name.clone()),
                    name: self.name.clone(),
                    port: self.port,
                };
                let tunnel = cluster.port_forward(target, (Ipv4Addr::LOCALHOST, 0).into()).await?;
                (tunnel.local_address, Some(tunnel))
            }
        };
        Ok((Endpoint::new(&format!("http://{address}/v1"), EndpointKind::Dynamo, None)?, tunnel))
    }
}

fn container_ports(pod: &Pod) -> Vec<(Option<String>, i32)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.map(|port| (port.name.clone(), port.container_port)).collect()
}
