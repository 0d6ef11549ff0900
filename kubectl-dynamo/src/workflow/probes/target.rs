//! Finds what is probed: every frontend of a deployment in the cluster or on this machine, or a URL.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

use super::metrics_port::MetricsPort;
use crate::chat::{Endpoint, EndpointKind};
use crate::context::Context;
use crate::local::state;
use crate::workflow::summary::stored_intent;
use crate::workflow::{local, lookup};
use kubectl_dynamo_cluster::{Cluster, PortForward, PortForwardTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::probe::{ProbePlace, ProbeSubject, RegisteredWorker};
use kubectl_dynamo_core::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL, pod_is_ready};
use kubectl_dynamo_core::release::Release;
use kubectl_dynamo_core::resources::RELEASE_ANNOTATION;

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
    /// The processes with a metrics port; none for a URL.
    pub(super) processes: Vec<MetricsPort>,
    pub(super) cluster: Option<Cluster>,
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
        let mut target = match name {
            TargetName::Url { url, key } => return Self::find_url(url, key.clone(), model).await,
            TargetName::Local(name) => Self::find_local(name.as_deref())?,
            TargetName::Cluster(name) => Self::find_in_cluster(name, context).await?,
        };
        target.subject.model = match model {
            Some(model) => model.to_owned(),
            None if target.subject.model.is_empty() => target.frontend().choose_model(None).await?,
            None => target.subject.model,
        };
        Ok(target)
    }

    async fn find_url(url: &str, key: Option<String>, model: Option<&str>) -> Result<Self> {
        let endpoint = Endpoint::new(url, EndpointKind::OpenAiCompatible, key)?;
        let model = endpoint.choose_model(model).await?;
        let place = ProbePlace::Url { url: url.to_owned() };
        let frontends = vec![ProbedFrontend { name: url.to_owned(), endpoint }];
        let subject = ProbeSubject { place, intent: None, release: None, model };
        Ok(Self::new(subject, frontends))
    }

    /// Finds a deployment on this machine; `None` if it is the only one.
    ///
    /// # Errors
    /// The deployment does not exist or is not running.
    pub(crate) fn find_local(name: Option<&str>) -> Result<Self> {
        let found = local::lookup::find_running(name)?;
        let urls = state::frontend_urls(&found.folder).into_iter();
        let frontends = urls.map(|(name, url)| dynamo_frontend(&name, &url)).collect::<Result<_>>()?;
        let subject = ProbeSubject {
            place: ProbePlace::Local { name: found.spec.name },
            release: Release::nearest(&found.spec.version).ok(),
            model: found.spec.intent.served_model_name.clone(),
            intent: Some(found.spec.intent),
        };
        let processes = found.processes.iter().filter_map(MetricsPort::of_process).collect();
        Ok(Self { processes, ..Self::new(subject, frontends) })
    }

    async fn find_in_cluster(name: &str, context: &Context) -> Result<Self> {
        let found = lookup::get_deployment(name, context).await?;
        let namespace = found.cluster.namespace.clone();
        let pods = found.cluster.list_objects::<Pod>(&format!("{GRAPH_LABEL}={name}")).await?;
        let (frontends, tunnels) = cluster_frontends(&found, name, &pods).await?;
        let intent = stored_intent(&found.graph);
        let version = GraphView::new(&found.graph).annotation(RELEASE_ANNOTATION);
        let subject = ProbeSubject {
            place: ProbePlace::Cluster { name: name.to_owned(), namespace },
            release: version.and_then(|version| Release::nearest(version).ok()),
            model: intent.as_ref().map(|intent| intent.served_model_name.clone()).unwrap_or_default(),
            intent,
        };
        Ok(Self {
            processes: pods.iter().filter_map(MetricsPort::of_pod).collect(),
            cluster: Some(found.cluster),
            pod_names: pods.iter().filter_map(|pod| Some((pod_ip(pod)?, pod.name().to_owned()))).collect(),
            _tunnels: tunnels,
            ..Self::new(subject, frontends)
        })
    }

    fn new(subject: ProbeSubject, frontends: Vec<ProbedFrontend>) -> Self {
        Self {
            subject,
            frontends,
            processes: Vec::new(),
            cluster: None,
            pod_names: BTreeMap::new(),
            _tunnels: Vec::new(),
        }
    }

    /// The name of a worker in messages: its pod if known, and its ID.
    pub(super) fn worker_name(&self, worker: &RegisteredWorker) -> String {
        match worker.host.as_ref().and_then(|host| self.pod_names.get(host)) {
            Some(pod) => format!("{pod} ({})", worker.hex_id()),
            None => worker.hex_id(),
        }
    }

    /// The frontend that receives the requests of most probes.
    pub(crate) fn frontend(&self) -> &Endpoint {
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
