//! Finds the frontends and workers of deployments, in a cluster or on this machine, and where they export metrics.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::connections::{MetricsAddress, ProcessKey};
use crate::context::Context;
use crate::local::state::LocalDeployment;
use crate::workflow::local::lookup::{all_deployments, find_running};
use crate::workflow::lookup;
use crate::workflow::metrics_port::metrics_port;
use crate::workflow::summary::{stored_intent, summarize};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, NamespaceScope};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::{ServingIntent, WorkerRole};
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::{COMPONENT_LABEL, COMPONENT_TYPE_LABEL, GRAPH_LABEL, pod_status};
use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};
use kubectl_dynamo_core::resources::GraphApi;
use kubectl_dynamo_core::top::WorkerIdentity;

/// Which deployments to follow; `None` for all.
pub(crate) enum TopTarget {
    Cluster(Option<String>),
    Local(Option<String>),
}

/// A deployment and its processes.
pub(super) struct DeploymentProcesses {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) model: String,
    /// As the deployment states it; `-` if it is not known.
    pub(super) version: String,
    pub(super) release: &'static Release,
    pub(super) processes: Vec<MetricsProcess>,
}

/// A process of a deployment.
pub(super) struct MetricsProcess {
    pub(super) worker: WorkerIdentity,
    /// `None` while it is not ready.
    address: Option<MetricsAddress>,
}

impl MetricsProcess {
    pub(super) fn key(&self, deployment: &ProcessKey) -> ProcessKey {
        deployment.with(&self.worker.name)
    }

    fn keyed_address(&self, deployment: &ProcessKey) -> Option<(ProcessKey, MetricsAddress)> {
        Some((self.key(deployment), self.address.clone()?))
    }
}

impl DeploymentProcesses {
    pub(super) fn key(&self) -> ProcessKey {
        ProcessKey::new(self.namespace.as_deref().unwrap_or_default(), &self.name)
    }

    /// The frontends that can be scraped.
    pub(super) fn frontend_addresses(&self) -> impl Iterator<Item = (ProcessKey, MetricsAddress)> {
        let key = self.key();
        let frontends = self.processes.iter().filter(|process| process.worker.role == WorkerRole::Frontend);
        frontends.filter_map(move |process| process.keyed_address(&key))
    }

    /// The processes that can be scraped.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (ProcessKey, MetricsAddress)> {
        let key = self.key();
        self.processes.iter().filter_map(move |process| process.keyed_address(&key))
    }
}

/// Where processes are listed.
pub(super) enum ProcessSource {
    Local { name: Option<String> },
    Cluster { cluster: Cluster, api: GraphApi, name: Option<String>, scope: NamespaceScope },
}

impl ProcessSource {
    pub(super) async fn open(target: TopTarget, context: &Context) -> Result<Self> {
        match target {
            TopTarget::Local(name) => Ok(Self::Local { name }),
            TopTarget::Cluster(Some(name)) => {
                let found = lookup::get_deployment(&name, context).await?;
                let (cluster, api) = (found.cluster, found.platform.graph_api);
                Ok(Self::Cluster { cluster, api, name: Some(name), scope: NamespaceScope::OneNamespace })
            }
            TopTarget::Cluster(None) => {
                let cluster = context.cluster().await?;
                let api = cluster.platform().await?.graph_api;
                Ok(Self::Cluster { cluster, api, name: None, scope: context.kube.scope() })
            }
        }
    }

    /// Lists the deployments with their processes, sorted by namespace and name.
    pub(super) async fn list(&self) -> Result<Vec<DeploymentProcesses>> {
        match self {
            Self::Local { name } => {
                let all = match name {
                    Some(name) => vec![find_running(Some(name))?],
                    None => running_deployments()?,
                };
                Ok(all.iter().map(local_processes).collect())
            }
            Self::Cluster { .. } => Ok(self.list_cluster().await?),
        }
    }

    /// Like [`Self::list`], for deployments that were listed before; `None` if the API server does not answer now.
    pub(super) async fn list_again(&self) -> Result<Option<Vec<DeploymentProcesses>>> {
        match self {
            Self::Local { .. } => self.list().await.map(Some),
            Self::Cluster { .. } => match self.list_cluster().await {
                Ok(listed) => Ok(Some(listed)),
                Err(error) if error.is_retryable() => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn list_cluster(&self) -> std::result::Result<Vec<DeploymentProcesses>, ClusterError> {
        let Self::Cluster { cluster, api, name, scope } = self else { return Ok(Vec::new()) };
        let kind = Kind::Graph(*api);
        let selector = match name {
            Some(name) => format!("{GRAPH_LABEL}={name}"),
            None => GRAPH_LABEL.to_owned(),
        };
        let graphs = async {
            match name {
                Some(name) => {
                    let not_found = || ClusterError::NotFound {
                        kind,
                        name: name.clone(),
                        namespace: cluster.namespace.clone(),
                    };
                    Ok(vec![cluster.get(kind, name).await?.ok_or_else(not_found)?])
                }
                None => cluster.list_in(*scope, kind, "").await,
            }
        };
        let (graphs, pods) = futures::join!(graphs, cluster.list_objects_in::<Pod>(*scope, &selector));
        let (graphs, pods) = (graphs?, pods?);
        let mut listed: Vec<_> =
            graphs.iter().map(|graph| cluster_processes(graph, &pods, cluster)).collect();
        listed.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
        Ok(listed)
    }
}

/// Returns all running deployments of this machine. If there is none, the error is that of a lookup without a name.
fn running_deployments() -> Result<Vec<LocalDeployment>> {
    let mut all = all_deployments()?;
    all.retain(LocalDeployment::is_supervised);
    if all.is_empty() {
        all.push(find_running(None)?);
    }
    Ok(all)
}

pub(super) fn local_processes(found: &LocalDeployment) -> DeploymentProcesses {
    let spec = &found.spec;
    let processes = found.processes.iter().map(|process| MetricsProcess {
        worker: WorkerIdentity {
            name: process.name.clone(),
            role: process.role,
            node: None,
            gpus: gpus_of_role(&spec.intent, process.role),
        },
        address: process.metrics_url().filter(|_| process.is_alive()).map(MetricsAddress::Url),
    });
    DeploymentProcesses {
        name: spec.name.clone(),
        namespace: None,
        model: spec.intent.served_model_name.clone(),
        version: spec.version.clone(),
        release: release_of(&spec.version),
        processes: processes.collect(),
    }
}

/// The GPUs of one worker on this machine.
fn gpus_of_role(intent: &ServingIntent, role: WorkerRole) -> u64 {
    if intent.gpus() == 0 {
        return 0;
    }
    let groups = intent.topology.groups();
    let group = groups.iter().find(|(of, _)| *of == role);
    group.map_or(0, |(_, group)| group.parallelism.gpus().into())
}

pub(super) fn cluster_processes(
    graph: &Value,
    pods: &[ObservedObject<Pod>],
    cluster: &Cluster,
) -> DeploymentProcesses {
    let summary = summarize(graph);
    let served = stored_intent(graph).map(|intent| intent.served_model_name);
    let view = GraphView::new(graph);
    let components = view.components();
    let own = pods.iter().filter(|pod| {
        pod.namespace() == summary.namespace
            && pod.label(GRAPH_LABEL) == Some(&summary.name)
            && !pod.is_terminating()
    });
    let process = |pod: &ObservedObject<Pod>| {
        let component = pod.label(COMPONENT_LABEL);
        let component = components.iter().find(|one| Some(one.name) == component);
        let role = component.map(|one| one.role()).filter(|role| !role.is_empty());
        let role = WorkerRole::from_component_name(role.or_else(|| pod.label(COMPONENT_TYPE_LABEL))?)?;
        let status = pod_status(pod);
        let multinode = component.filter(|one| one.nodes() > 1);
        if multinode.is_some() && is_follower(pod) {
            return None;
        }
        Some(MetricsProcess {
            address: status.ready.then(|| MetricsAddress::Pod {
                cluster: in_namespace(cluster, &summary.namespace),
                deployment: summary.name.clone(),
                pod: status.name.clone(),
                port: metrics_port(pod, role),
            }),
            worker: WorkerIdentity {
                name: status.name,
                role,
                node: status.node,
                gpus: multinode.map_or(status.gpus, |one| one.gpus_per_replica()),
            },
        })
    };
    let mut processes: Vec<MetricsProcess> = own.filter_map(process).collect();
    processes.sort_by(|one, other| {
        (one.worker.role, &one.worker.name).cmp(&(other.worker.role, &other.worker.name))
    });
    DeploymentProcesses {
        model: served.unwrap_or(summary.model),
        release: release_of(&summary.release),
        version: summary.release,
        name: summary.name,
        namespace: Some(summary.namespace),
        processes,
    }
}

/// Whether a pod of a worker that spans nodes is not its leader. Only leaders register with Dynamo and export its metrics.
/// LeaderWorkerSet labels its pods, and with Grove the name of the pod tells.
fn is_follower(pod: &ObservedObject<Pod>) -> bool {
    pod.label("role") == Some("worker") || pod.name().contains("-wkr-")
}

fn in_namespace(cluster: &Cluster, namespace: &str) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.namespace = namespace.to_owned();
    cluster
}

/// The release whose metrics have the names of this version. Deployments of other tools do not state theirs.
fn release_of(version: &str) -> &'static Release {
    Release::nearest(version)
        .or_else(|_| Release::nearest(DEFAULT_RELEASE))
        .expect("the catalog has its default")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_cluster::fake_api_server;
    use serde_json::json;

    fn pod(name: &str, component: &str, more: &Value) -> ObservedObject<Pod> {
        let mut labels =
            json!({ GRAPH_LABEL: "big", COMPONENT_LABEL: component, COMPONENT_TYPE_LABEL: component });
        if let (Some(labels), Some(more)) = (labels.as_object_mut(), more.as_object()) {
            labels.extend(more.clone());
        }
        let limits = json!({ "nvidia.com/gpu": "8" });
        let ready = if name.ends_with("starting") { "False" } else { "True" };
        ObservedObject::parse(json!({
            "metadata": { "name": name, "namespace": "dynamo", "labels": labels },
            "spec": { "nodeName": "n", "containers": [{ "name": "main", "resources": { "limits": limits },
                "ports": [{ "name": "system", "containerPort": 9191 }] }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .expect("a pod")
    }

    #[tokio::test]
    async fn workers_are_leaders_with_the_gpus_of_all_their_nodes() {
        let cluster =
            fake_api_server::cluster(json!({}), async |_| fake_api_server::error_response(404, "")).await;
        let template = json!({ "spec": { "containers": [{ "name": "main",
            "resources": { "limits": { "nvidia.com/gpu": "8" } } }] } });
        let graph = json!({
            "metadata": { "name": "big", "namespace": "dynamo" },
            "spec": { "components": [
                { "name": "frontend", "type": "frontend" },
                { "name": "planner", "type": "planner" },
                { "name": "decode", "type": "decode", "multinode": { "nodeCount": 2 }, "podTemplate": template },
            ] },
        });
        let none = json!({});
        let pods = [
            pod("big-0-decode-0-decode-wkr-a", "decode", &none),
            pod("big-0-decode-0-decode-ldr-a", "decode", &none),
            pod("big-decode-0-1", "decode", &json!({ "role": "worker" })),
            pod("big-planner-a", "planner", &none),
            pod("big-frontend-starting", "frontend", &none),
        ];
        let found = cluster_processes(&graph, &pods, &cluster);
        let shown: Vec<_> = found
            .processes
            .iter()
            .map(|process| {
                let port = match &process.address {
                    Some(MetricsAddress::Pod { port, .. }) => Some(*port),
                    _ => None,
                };
                (process.worker.name.as_str(), process.worker.role, process.worker.gpus, port)
            })
            .collect();
        let (frontend, leader) = ("big-frontend-starting", "big-0-decode-0-decode-ldr-a");
        assert_eq!(
            shown,
            [(frontend, WorkerRole::Frontend, 8, None), (leader, WorkerRole::Decode, 16, Some(9191))]
        );
    }
}
