//! Finds the deployment of a cluster that is benchmarked: its served model, the PVC with the tokenizer, and what the
//! record says about it. It only reads.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::Value;

use super::target::ModelOptions;
use super::{BenchError, ClusterRuns};
use crate::chat::{Endpoint, EndpointKind};
use crate::context::Context;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::summary::{frontend_url, stored_intent};
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::bench::{BenchDeployment, BenchTarget};
use kubectl_dynamo_core::change::revision;
use kubectl_dynamo_core::diagnosis::redact_object;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::{Placement, ServingIntent};
use kubectl_dynamo_core::object::{ObjectView, ObservedObject};
use kubectl_dynamo_core::plan::{FetchPlacement, plan_model_cache};
use kubectl_dynamo_core::preflight::GPU_PRODUCT;
use kubectl_dynamo_core::readiness::{GRAPH_LABEL, pod_status};
use kubectl_dynamo_core::resources::{PvcNodes, RELEASE_ANNOTATION};

/// A deployment that is benchmarked from a Job.
pub(super) struct ClusterTarget {
    pub(super) runs: ClusterRuns,
    pub(super) target: BenchTarget,
    pub(super) placement: Placement,
    /// The PVC with the model.
    pub(super) model_pvc: String,
    pub(super) model_pvc_nodes: PvcNodes,
}

/// Finds the deployment and asks its frontend for the served models.
///
/// # Errors
/// A deployment that does not exist, that this plugin did not create, or that does not serve.
pub(super) async fn find(name: &str, options: &ModelOptions, context: &Context) -> Result<ClusterTarget> {
    let ClusterDeployment { cluster, graph, .. } = lookup::get_deployment(name, context).await?;
    let Some(intent) = stored_intent(&graph) else {
        let namespace = cluster.namespace.clone();
        return Err(BenchError::NotManaged { name: name.into(), namespace }.into());
    };
    let requested = options.model.as_deref().unwrap_or(&intent.served_model_name);
    let model = served_model(&cluster, name, requested).await?;
    let model_pvc = intent.cache.pvc().to_owned();
    let (model_pvc_nodes, gpus_by_model) =
        futures::join!(pvc_nodes(&cluster, &model_pvc), gpus_by_model(&cluster, name));
    let tokenizer = match &options.tokenizer {
        Some(folder) => folder.display().to_string(),
        None => model_folder(&intent),
    };
    let deployment = BenchDeployment { gpus_by_model, ..deployment(&graph, &intent) };
    Ok(ClusterTarget {
        target: BenchTarget { url: frontend_url(&graph), model, tokenizer, deployment: Some(deployment) },
        placement: intent.placement,
        model_pvc,
        model_pvc_nodes,
        runs: ClusterRuns { cluster },
    })
}

/// The served name, as the frontend lists it.
async fn served_model(cluster: &Cluster, name: &str, requested: &str) -> Result<String> {
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let tunnel = cluster.port_forward(lookup::frontend_target(name), listen).await?;
    let url = format!("http://{}/v1", tunnel.local_address);
    Ok(Endpoint::new(&url, EndpointKind::Dynamo, None)?.choose_model(Some(requested)).await?)
}

/// The folder of the model in the pods.
fn model_folder(intent: &ServingIntent) -> String {
    let cache = plan_model_cache(intent, FetchPlacement::Job);
    cache.map_or_else(|_| intent.model.to_string(), |cache| cache.model_folder)
}

fn deployment(graph: &Value, intent: &ServingIntent) -> BenchDeployment {
    let view = GraphView::new(graph);
    let components = view.components();
    let workers = || components.iter().filter(|component| component.is_worker());
    // The live numbers: a scaling adapter changes them without changing the request.
    let gpus: u64 = workers().map(|worker| worker.replicas() * worker.gpus_per_replica()).sum();
    let mut images: Vec<String> =
        workers().filter_map(|worker| worker.main_container().image()).map(str::to_owned).collect();
    images.sort_unstable();
    images.dedup();
    BenchDeployment {
        name: view.name().to_owned(),
        place: "cluster".into(),
        namespace: Some(view.namespace().to_owned()),
        revision: revision::number(graph),
        generation: view.generation(),
        images,
        gpus_by_model: BTreeMap::new(),
        version: view.annotation(RELEASE_ANNOTATION).unwrap_or("unknown").to_owned(),
        gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
        // Values of --env can be confidential.
        intent: redact_object(&serde_json::to_value(intent).unwrap_or_default()),
    }
}

/// A volume that only one node can mount is on the node of the workers. Without the permission to read the PVC, the
/// scheduler decides.
async fn pvc_nodes(cluster: &Cluster, pvc: &str) -> PvcNodes {
    let pvc = cluster.get_object::<PersistentVolumeClaim>(pvc).await.ok().flatten();
    let modes = pvc.and_then(|pvc| pvc.spec.as_ref()?.access_modes.clone()).unwrap_or_default();
    let is_shared = |mode: &String| mode == "ReadWriteMany" || mode == "ReadOnlyMany";
    match modes.is_empty() || modes.iter().any(is_shared) {
        true => PvcNodes::Any,
        false => PvcNodes::OfPods { label: GRAPH_LABEL },
    }
}

/// The GPUs of the deployment's pods by the model that the labels of their nodes name. Empty without the permissions.
async fn gpus_by_model(cluster: &Cluster, name: &str) -> BTreeMap<String, u32> {
    let selector = format!("{GRAPH_LABEL}={name}");
    let (pods, nodes) =
        futures::join!(cluster.list_objects::<Pod>(&selector), cluster.list(Kind::Node, GPU_PRODUCT));
    count_gpus(&pods.unwrap_or_default(), &nodes.unwrap_or_default())
}

fn count_gpus(pods: &[ObservedObject<Pod>], nodes: &[Value]) -> BTreeMap<String, u32> {
    let models: BTreeMap<&str, &str> = nodes
        .iter()
        .map(ObjectView::new)
        .filter_map(|node| Some((node.name(), node.label(GPU_PRODUCT)?)))
        .collect();
    let mut counts = BTreeMap::new();
    for pod in pods {
        let status = pod_status(pod);
        let gpus = u32::try_from(status.gpus).unwrap_or(u32::MAX);
        let model = status.node.as_deref().and_then(|node| models.get(node));
        if let (1.., Some(model)) = (gpus, model) {
            *counts.entry((*model).to_owned()).or_default() += gpus;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn gpus_are_counted_by_the_model_of_their_node() {
        let pod = |name: &str, node: &str, gpus: &str| {
            let limits = json!({ "nvidia.com/gpu": gpus });
            let containers = json!([{ "name": "main", "resources": { "limits": limits } }]);
            let pod = json!({ "metadata": { "name": name }, "spec": { "nodeName": node, "containers": containers } });
            ObservedObject::parse(pod).expect("a pod")
        };
        let node = |name: &str, model: &str| json!({ "metadata": { "name": name, "labels": { "nvidia.com/gpu.product": model } } });
        let nodes = [node("one", "NVIDIA-H200"), node("two", "NVIDIA-H100")];
        let pods = [pod("a", "one", "4"), pod("b", "one", "2"), pod("c", "two", "8"), pod("d", "three", "1")];
        let expected = [("NVIDIA-H100", 8), ("NVIDIA-H200", 6)].map(|(name, gpus)| (name.to_owned(), gpus));
        assert_eq!(count_gpus(&pods, &nodes), BTreeMap::from(expected));
    }
}
