//! Finds what is probed: every frontend of a deployment in the cluster or on this machine, or a URL.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

use crate::chat::{Endpoint, EndpointKind};
use crate::context::Context;
use crate::local::state;
use crate::workflow::summary::stored_intent;
use crate::workflow::{local, lookup};
use kubectl_dynamo_cluster::{PortForward, PortForwardTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::probe::{ProbePlace, ProbeSubject, RegisteredWorker};
use kubectl_dynamo_core::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL, pod_is_ready};

/// How the user names what is probed.
pub(crate) enum TargetName {
    Cluster(String),
    /// A deployment on this machine; `None` if it is the only one.
    Local(Option<String>),
    Url {
        url: String,
        key: Option<String>,
    },
}

/// One frontend that is probed.
pub(crate) struct ProbedFrontend {
    /// The pod, the process, or the URL.
    pub name: String,
    pub endpoint: Endpoint,
}

/// A deployment or server, and the connections to it.
pub(crate) struct ProbeTarget {
    pub subject: ProbeSubject,
    /// At least one.
    pub frontends: Vec<ProbedFrontend>,
    /// The pods of the deployment by their IP address.
    pod_names: BTreeMap<String, String>,
    /// The connections last as long as these.
    _tunnels: Vec<PortForward>,
}

impl ProbeTarget {
    /// Finds the target. `model` selects a model if the server lists several.
    ///
    /// # Errors
    /// The deployment does not exist or does not have a ready frontend, or the model is not selected.
    pub(crate) async fn find(name: &TargetName, model: Option<&str>, context: &Context) -> Result<Self> {
        let mut pod_names = BTreeMap::new();
        let (place, intent, frontends, tunnels) = match name {
            TargetName::Url { url, key } => {
                let endpoint = Endpoint::new(url, EndpointKind::OpenAiCompatible, key.clone())?;
                let frontend = ProbedFrontend { name: url.clone(), endpoint };
                (ProbePlace::Url { url: url.clone() }, None, vec![frontend], Vec::new())
            }
            TargetName::Local(name) => {
                let found = local::lookup::find_running(name.as_deref())?;
                let place = ProbePlace::Local { name: found.spec.name.clone() };
                let urls = state::frontend_urls(&found.folder).into_iter();
                let frontends =
                    urls.map(|(name, url)| dynamo_frontend(&name, &url)).collect::<Result<_>>()?;
                (place, Some(found.spec.intent), frontends, Vec::new())
            }
            TargetName::Cluster(name) => {
                let found = lookup::get_deployment(name, context).await?;
                let place =
                    ProbePlace::Cluster { name: name.clone(), namespace: found.cluster.namespace.clone() };
                let selector = format!("{GRAPH_LABEL}={name}");
                let pods = found.cluster.list_objects::<Pod>(&selector).await?;
                let (frontends, tunnels) = cluster_frontends(&found, name, &pods).await?;
                pod_names =
                    pods.iter().filter_map(|pod| Some((pod_ip(pod)?, pod.name().to_owned()))).collect();
                (place, stored_intent(&found.graph), frontends, tunnels)
            }
        };
        let served = intent.as_ref().map(|intent| intent.served_model_name.clone());
        let model = match model.map(str::to_owned).or(served) {
            Some(model) if !matches!(place, ProbePlace::Url { .. }) => model,
            requested => frontends[0].endpoint.choose_model(requested.as_deref()).await?,
        };
        Ok(Self { subject: ProbeSubject { place, intent, model }, frontends, pod_names, _tunnels: tunnels })
    }

    /// The name of a worker in messages: its pod if known, and its ID.
    pub(super) fn worker_name(&self, worker: &RegisteredWorker) -> String {
        match worker.host.as_ref().and_then(|host| self.pod_names.get(host)) {
            Some(pod) => format!("{pod} ({})", worker.hex_id()),
            None => worker.hex_id(),
        }
    }

    /// The frontend that receives the requests of most probes.
    pub(super) fn frontend(&self) -> &Endpoint {
        &self.frontends[0].endpoint
    }
}

fn dynamo_frontend(name: &str, url: &str) -> Result<ProbedFrontend> {
    Ok(ProbedFrontend { name: name.to_owned(), endpoint: Endpoint::new(url, EndpointKind::Dynamo, None)? })
}

/// Opens a port-forward to each ready frontend pod.
async fn cluster_frontends(
    found: &lookup::ClusterDeployment,
    name: &str,
    pods: &[ObservedObject<Pod>],
) -> Result<(Vec<ProbedFrontend>, Vec<PortForward>)> {
    let target = lookup::frontend_target(name);
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let is_frontend =
        |pod: &ObservedObject<Pod>| pod.label(COMPONENT_TYPE_LABEL) == Some("frontend") && pod_is_ready(pod);
    let mut pods: Vec<Option<String>> =
        pods.iter().filter(|pod| is_frontend(pod)).map(|pod| Some(pod.name().to_owned())).collect();
    if pods.is_empty() {
        // Its error explains that no pod is ready.
        pods.push(None);
    }
    let (mut frontends, mut tunnels) = (Vec::new(), Vec::new());
    for pod in pods {
        let pod_target = PortForwardTarget { pod: pod.clone(), ..target.clone() };
        let tunnel = found.cluster.port_forward(pod_target, listen).await?;
        let url = format!("http://{}/v1", tunnel.local_address);
        frontends.push(dynamo_frontend(&pod.unwrap_or_else(|| name.to_owned()), &url)?);
        tunnels.push(tunnel);
    }
    Ok((frontends, tunnels))
}

fn pod_ip(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone()
}
