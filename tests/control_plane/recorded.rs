//! The operator's part makes of a graph what the real operators were recorded to make of it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;

/// The namespace of the recordings, which their names and labels repeat.
const NAMESPACE: &str = "dyn";
/// Known to the recorded cluster only: where its message broker and its etcd were.
const OF_THAT_CLUSTER: [&str; 2] = ["NATS_SERVER", "ETCD_ENDPOINTS"];

pub(crate) async fn a_v1beta1_graph_becomes_the_recorded_deployments(shared: Arc<Shared>) -> Outcome {
    let recorded = include_str!("../recorded/operator-1.5-init-container-and-volume.json");
    compare(&shared, GraphGeneration::V1Beta1, serde_json::from_str(recorded)?).await
}

pub(crate) async fn a_v1alpha1_graph_becomes_the_recorded_deployments(shared: Arc<Shared>) -> Outcome {
    let recorded = include_str!("../recorded/operator-0.9.1-aggregated.json");
    compare(&shared, GraphGeneration::V1Alpha1, serde_json::from_str(recorded)?).await
}

async fn compare(shared: &Shared, generation: GraphGeneration, recorded: Value) -> Outcome {
    let place = shared.place(generation, NAMESPACE).await?;
    place.claim("model-cache").await?;
    let graphs = dynamo::graphs(place.client(), generation, NAMESPACE);
    let graph = dynamo::apply(&graphs, &recorded["graph"]).await?;
    let name = graph.metadata.name.unwrap_or_default();
    let deployments: Api<Deployment> = Api::namespaced(place.client(), NAMESPACE);
    for expected in recorded["deployments"].as_array().ok_or("a recording without deployments")? {
        let hash = worker_hash(&graphs, &name, expected).await?;
        let (expected, child) = with_hash(expected, hash.as_deref())?;
        let exists =
            await_condition(deployments.clone(), &child, |found: Option<&Deployment>| found.is_some());
        let made = serde_json::to_value(exists.await?)?;
        for part in ["/metadata/labels", "/spec"] {
            let (made, expected) = (made.pointer(part), expected.pointer(part));
            ensure!(made == expected, "{child}{part} is\n{made:?}\nand was recorded as\n{expected:?}");
        }
        let annotations = |object: &Value| -> Vec<String> {
            let annotations = object["metadata"]["annotations"].as_object();
            let names = annotations.into_iter().flatten().map(|(name, _)| name.clone());
            let mut names: Vec<String> = names.filter(|name| name.starts_with("nvidia.com/")).collect();
            names.sort();
            names
        };
        ensure!(annotations(&made) == annotations(&expected), "{child}: {:?}", annotations(&made));
    }
    place.delete().await
}

/// The hash that the operator's part gave the workers, where the recorded Deployment has one.
async fn worker_hash(
    graphs: &Api<kube::api::DynamicObject>,
    name: &str,
    expected: &Value,
) -> Outcome<Option<String>> {
    if expected["metadata"]["labels"]["nvidia.com/dynamo-worker-hash"].is_null() {
        return Ok(None);
    }
    let annotation = "nvidia.com/current-worker-hash-v2";
    let hash = |graph: Option<&kube::api::DynamicObject>| {
        graph.and_then(|graph| graph.metadata.annotations.as_ref()?.get(annotation).cloned())
    };
    let graph = await_condition(graphs.clone(), name, |graph: Option<&kube::api::DynamicObject>| {
        graph.is_some_and(|graph| {
            graph.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(annotation))
        })
    });
    Ok(hash(graph.await?.as_ref()))
}

/// The recorded Deployment and its name, with the operator's own hash in place of the recorded one.
fn with_hash(expected: &Value, hash: Option<&str>) -> Outcome<(Value, String)> {
    let mut text = expected.to_string();
    if let (Some(recorded), Some(hash)) =
        (expected["metadata"]["labels"]["nvidia.com/dynamo-worker-hash"].as_str(), hash)
    {
        text = text.replace(recorded, hash);
    }
    let mut expected: Value = serde_json::from_str(&text)?;
    let containers = expected.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for variables in containers.into_iter().flatten().filter_map(|container| container["env"].as_array_mut())
    {
        variables.retain(|variable| !OF_THAT_CLUSTER.iter().any(|name| variable["name"] == *name));
    }
    let name = expected["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok((expected, name))
}
