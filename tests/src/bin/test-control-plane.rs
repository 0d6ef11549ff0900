//! A control plane with many graphs and pods for benchmarks. Prints one line when it is ready, and exits when
//! its stdin is closed.

use std::error::Error;
use std::io::{Read, Write};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout};
use kubectl_dynamo_tests::{Outcome, dynamo};
use serde_json::{Value, json};

const USAGE: &str = "test-control-plane VERSION GRAPHS PODS-EACH
Prints `ready NETWORK-NAMESPACE KUBECONFIG`, with GRAPHS graphs in ten namespaces.
";
/// Number of objects created in parallel.
const CONCURRENCY: usize = 16;
const NAMESPACES: usize = 10;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [version, graphs, pods] = arguments.as_slice() else { return Err(USAGE.into()) };
    let generation = [GraphGeneration::V1Beta1, GraphGeneration::V1Alpha1]
        .into_iter()
        .find(|generation| generation.version() == version)
        .ok_or(USAGE)?;
    let (graphs, pods) = (graphs.parse()?, pods.parse()?);
    let prepared = kubernetes::prepare(ClusterLayout::ControlPlanes)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    let plane = cluster.control_plane(generation)?;
    runtime.block_on(fill(plane.client(), generation, graphs, pods))?;
    let namespace = cluster.namespace_name();
    writeln!(std::io::stdout().lock(), "ready {namespace} {}", plane.admin_kubeconfig().display())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn fill(client: kube::Client, generation: GraphGeneration, graphs: usize, pods: usize) -> Outcome {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for index in 0..NAMESPACES {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace_name(index)}}))?;
        namespaces.create(&PostParams::default(), &object).await?;
    }
    // A pod is not admitted before its service account exists.
    for index in 0..NAMESPACES {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace_name(index));
        await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await?;
    }
    futures::stream::iter((0..graphs).map(Ok))
        .try_for_each_concurrent(CONCURRENCY, |index| {
            create_deployment(client.clone(), generation, index, pods)
        })
        .await
}

/// Creates one graph with its pods and the objects and status fields of an operator that `list` reads.
async fn create_deployment(
    client: kube::Client,
    generation: GraphGeneration,
    index: usize,
    pods: usize,
) -> Outcome {
    let parameters = PostParams::default();
    let graphs = dynamo::graphs(client.clone(), generation, &namespace_name(index));
    let created = graphs.create(&parameters, &serde_json::from_value(graph(generation, index))?).await?;
    let ready = json!({"status": {"state": "successful", "conditions": [{
        "type": "Ready", "status": "True", "reason": "all_resources_are_ready", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    graphs.patch_status(&format!("graph-{index}"), &PatchParams::default(), &Patch::Merge(ready)).await?;
    if generation == GraphGeneration::V1Alpha1 {
        let kind = GroupVersionKind::gvk("nvidia.com", generation.version(), "DynamoComponentDeployment");
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &namespace_name(index), &ApiResource::from_gvk(&kind));
        for component in ["frontend", "worker"] {
            let object = serde_json::from_value(component_deployment(&created, index, component))?;
            api.create(&parameters, &object).await?;
        }
    }
    let api: Api<Pod> = Api::namespaced(client, &namespace_name(index));
    for number in 0..pods {
        api.create(&parameters, &serde_json::from_value(pod(index, number))?).await?;
    }
    Ok(())
}

fn component_deployment(graph: &DynamicObject, index: usize, component: &str) -> Value {
    json!({
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoComponentDeployment",
        "metadata": {
            "name": format!("graph-{index}-{component}"),
            "labels": {"nvidia.com/dynamo-graph-deployment-name": format!("graph-{index}")},
            "ownerReferences": [{
                "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
                "name": format!("graph-{index}"), "uid": graph.metadata.uid,
            }],
        },
        "spec": {"backendFramework": "vllm", "componentType": component},
    })
}

fn namespace_name(index: usize) -> String {
    format!("team-{}", index % NAMESPACES)
}

fn graph(generation: GraphGeneration, index: usize) -> Value {
    let container = json!({"name": "main", "image": "registry.test/vllm-runtime:1.6.1"});
    let spec = match generation {
        GraphGeneration::V1Beta1 => json!({"backendFramework": "vllm", "components": [
            {"name": "frontend", "type": "frontend", "replicas": 1, "podTemplate": {"spec": {"containers": [container]}}},
            {"name": "worker", "type": "worker", "replicas": 9, "podTemplate": {"spec": {"containers": [container]}}},
        ]}),
        GraphGeneration::V1Alpha1 => json!({"backendFramework": "vllm", "services": {
            "frontend": {"componentType": "frontend", "replicas": 1, "extraPodSpec": {"mainContainer": container}},
            "worker": {"componentType": "worker", "replicas": 9, "extraPodSpec": {"mainContainer": container}},
        }}),
    };
    json!({
        "apiVersion": format!("nvidia.com/{}", generation.version()),
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": format!("graph-{index}")},
        "spec": spec,
    })
}

fn pod(graph: usize, number: usize) -> Value {
    let (component, role) = if number == 0 { ("frontend", "frontend") } else { ("worker", "worker") };
    json!({
        "metadata": {"name": format!("graph-{graph}-{component}-{number}"), "labels": {
            "nvidia.com/dynamo-graph-deployment-name": format!("graph-{graph}"),
            "nvidia.com/dynamo-component": component,
            "nvidia.com/dynamo-component-type": role,
        }},
        "spec": {
            "nodeName": format!("node-{}", number % 8),
            "containers": [{"name": "main", "image": "registry.test/vllm-runtime:1.6.1"}],
        },
    })
}
