//! The test operator creates the same objects as the recorded real operators.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;

/// Namespace of the recordings, which their names and labels contain.
const NAMESPACE: &str = "dyn";

pub(crate) async fn v1beta1_graph_creates_the_recorded_deployments(shared: Arc<Shared>) -> Outcome {
    let recorded = include_str!("../recorded/operator-1.5-init-container-and-volume.json");
    assert_matches_recording(&shared, GraphGeneration::V1Beta1, serde_json::from_str(recorded)?).await
}

pub(crate) async fn v1alpha1_graph_creates_the_recorded_deployments(shared: Arc<Shared>) -> Outcome {
    let recorded = include_str!("../recorded/operator-0.9.1-aggregated.json");
    assert_matches_recording(&shared, GraphGeneration::V1Alpha1, serde_json::from_str(recorded)?).await
}

async fn assert_matches_recording(shared: &Shared, generation: GraphGeneration, recorded: Value) -> Outcome {
    let namespace = shared.namespace(generation, NAMESPACE).await?;
    namespace.create_pvc("model-cache").await?;
    let graphs = dynamo::graphs(namespace.client(), generation, NAMESPACE);
    let graph = dynamo::apply(&graphs, &recorded["graph"]).await?;
    let name = graph.metadata.name.unwrap_or_default();
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), NAMESPACE);
    for expected in recorded["deployments"].as_array().ok_or("the recording does not have deployments")? {
        let hash = worker_hash(&graphs, &name, expected).await?;
        let (expected, child) = with_worker_hash(expected, hash.as_deref())?;
        let exists =
            await_condition(deployments.clone(), &child, |found: Option<&Deployment>| found.is_some());
        let actual = serde_json::to_value(exists.await?)?;
        for part in ["/metadata/labels", "/spec"] {
            let (actual, expected) = (actual.pointer(part), expected.pointer(part));
            ensure!(actual == expected, "{child}{part} is\n{actual:?}\nand was recorded as\n{expected:?}");
        }
        let annotations = |object: &Value| -> Vec<String> {
            let annotations = object["metadata"]["annotations"].as_object();
            let names = annotations.into_iter().flatten().map(|(name, _)| name.clone());
            let mut names: Vec<String> = names.filter(|name| name.starts_with("nvidia.com/")).collect();
            names.sort();
            names
        };
        ensure!(annotations(&actual) == annotations(&expected), "{child}: {:?}", annotations(&actual));
    }
    namespace.delete().await
}

/// Returns the hash that the test operator gave the workers, if the recorded Deployment has one.
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

/// Returns the recorded Deployment and its name, with the test operator's hash instead of the recorded one.
fn with_worker_hash(expected: &Value, hash: Option<&str>) -> Outcome<(Value, String)> {
    let mut text = expected.to_string();
    if let (Some(recorded), Some(hash)) =
        (expected["metadata"]["labels"]["nvidia.com/dynamo-worker-hash"].as_str(), hash)
    {
        text = text.replace(recorded, hash);
    }
    let expected: Value = serde_json::from_str(&text)?;
    let name = expected["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok((expected, name))
}
