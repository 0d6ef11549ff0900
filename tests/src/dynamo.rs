//! Hand-written graph deployments for test cases, and requests to a frontend.
//! It does not use the code under test.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::images::runtime;
use crate::kubernetes::definitions::GraphGeneration;
use crate::{Outcome, ensure};

/// Mount path of the model in test pods.
pub const MODEL_FOLDER: &str = "/opt/models";

/// Returns the API for graph deployments in a namespace.
pub fn graphs(client: Client, generation: GraphGeneration, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("nvidia.com", generation.version(), "DynamoGraphDeployment");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

/// Returns a v1beta1 graph with one frontend and one mocker that serves `MODEL_FOLDER/model` from the PVC as
/// `model`.
pub fn aggregated_graph(name: &str, pvc: &str, model: &str) -> Value {
    let mount = json!([{"name": pvc, "mountPath": MODEL_FOLDER}]);
    let path = format!("{MODEL_FOLDER}/{model}");
    json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"components": [
            {
                "name": "Frontend",
                "type": "frontend",
                "replicas": 1,
                "podTemplate": {"spec": {"containers": [
                    {"name": "main", "image": runtime::REFERENCE, "volumeMounts": mount},
                ]}},
            },
            {
                "name": "worker",
                "type": "worker",
                "replicas": 1,
                "podTemplate": {"spec": {"containers": [{
                    "name": "main",
                    "image": runtime::REFERENCE,
                    "command": ["python3", "-m", "dynamo.mocker"],
                    "args": ["--model-path", path, "--model-name", model],
                    "volumeMounts": mount,
                }]}},
            },
        ]},
    })
}

/// Applies the object with server-side apply as its author.
pub async fn apply(graphs: &Api<DynamicObject>, graph: &Value) -> Result<DynamicObject, Error> {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default();
    graphs.patch(name, &PatchParams::apply("author"), &Patch::Apply(graph)).await
}

/// Returns the state and the reason of the Ready condition of a graph.
pub fn state_and_reason(graph: &Value) -> (Option<String>, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (text(&graph["status"]["state"]), text(&graph["status"]["conditions"][0]["reason"]))
}

/// Waits until the operator reports the current generation of the graph as ready.
pub async fn wait_until_ready(graphs: &Api<DynamicObject>, name: &str) -> Outcome {
    let ready =
        await_condition(graphs.clone(), name, |graph: Option<&DynamicObject>| graph.is_some_and(is_ready));
    tokio::time::timeout(Duration::from_secs(300), ready)
        .await
        .map_err(|_| format!("timed out waiting for {name} to become ready"))??;
    Ok(())
}

fn is_ready(graph: &DynamicObject) -> bool {
    let condition = &graph.data["status"]["conditions"][0];
    condition["status"] == "True" && condition["observedGeneration"].as_i64() == graph.metadata.generation
}

/// Returns the frontend's URL inside the cluster's network namespace.
pub async fn frontend_url(client: &Client, namespace: &str, service: &str) -> Outcome<String> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let address = services.get(service).await?.spec.and_then(|spec| spec.cluster_ip);
    Ok(format!("http://{}:8000", address.ok_or("the frontend's Service does not have a cluster IP")?))
}

/// Sends one chat completion. Retries while the frontend is unreachable or does not list the model yet.
pub async fn chat(frontend: &str, model: &str, prompt: &str) -> Outcome<Value> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let body = json!({"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": prompt}]});
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let result = client.post(format!("{frontend}/v1/chat/completions")).json(&body).send().await;
        let failure = match result {
            Ok(answer) if answer.status().is_success() => return Ok(answer.json().await?),
            Ok(answer) => format!("{}: {}", answer.status(), answer.text().await?),
            Err(error) => error.to_string(),
        };
        ensure!(std::time::Instant::now() < limit, "no chat completion from {frontend}: {failure}");
        // The graph becomes ready shortly before the frontend lists the model, and Kubernetes does not have an event
        // for that.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns the same graph as v1alpha1.
pub fn aggregated_graph_v1alpha1(name: &str, pvc: &str, model: &str) -> Value {
    let mount = json!([{"name": pvc, "mountPoint": MODEL_FOLDER}]);
    let path = format!("{MODEL_FOLDER}/{model}");
    json!({
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": name},
        "spec": {"services": {
            "Frontend": {
                "componentType": "frontend",
                "replicas": 1,
                "volumeMounts": mount,
                "extraPodSpec": {"mainContainer": {
                    "image": runtime::REFERENCE,
                    "command": ["python3", "-m", "dynamo.frontend"],
                }},
            },
            "Worker": {
                "componentType": "worker",
                "replicas": 1,
                "volumeMounts": mount,
                "extraPodSpec": {"mainContainer": {
                    "image": runtime::REFERENCE,
                    "command": ["python3", "-m", "dynamo.mocker"],
                    "args": ["--model-path", path, "--model-name", model],
                }},
            },
        }},
    })
}
