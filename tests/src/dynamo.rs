//! Dynamo's graph deployments as cases write them by hand, and what a frontend answers.

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

/// Where pods of the cases find the model.
pub const MODEL_FOLDER: &str = "/opt/models";

/// The graph deployments of a namespace.
pub fn graphs(client: Client, generation: GraphGeneration, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("nvidia.com", generation.version(), "DynamoGraphDeployment");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

/// A v1beta1 graph of one frontend and one mocker that serves `MODEL_FOLDER/model` from the claim, as `model`.
pub fn aggregated(name: &str, claim: &str, model: &str) -> Value {
    let mount = json!([{"name": claim, "mountPath": MODEL_FOLDER}]);
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

/// A server-side apply of the object as its author.
pub async fn apply(graphs: &Api<DynamicObject>, graph: &Value) -> Result<DynamicObject, Error> {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default();
    graphs.patch(name, &PatchParams::apply("author"), &Patch::Apply(graph)).await
}

/// The state and the Ready condition's reason of a graph.
pub fn state_and_reason(graph: &Value) -> (Option<String>, Option<String>) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (text(&graph["status"]["state"]), text(&graph["status"]["conditions"][0]["reason"]))
}

/// Waits until the operator says that this very specification of the graph is ready.
pub async fn wait_until_ready(graphs: &Api<DynamicObject>, name: &str) -> Outcome {
    let ready =
        await_condition(graphs.clone(), name, |graph: Option<&DynamicObject>| graph.is_some_and(is_ready));
    tokio::time::timeout(Duration::from_secs(300), ready)
        .await
        .map_err(|_| format!("{name} is not ready in time"))??;
    Ok(())
}

fn is_ready(graph: &DynamicObject) -> bool {
    let condition = &graph.data["status"]["conditions"][0];
    condition["status"] == "True" && condition["observedGeneration"].as_i64() == graph.metadata.generation
}

/// The frontend's address as other pods have it: reachable from inside the cluster's network namespace.
pub async fn frontend(client: &Client, namespace: &str, service: &str) -> Outcome<String> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let address = services.get(service).await?.spec.and_then(|spec| spec.cluster_ip);
    Ok(format!("http://{}:8000", address.ok_or("the frontend's service has no address")?))
}

/// One chat completion, asked again while the frontend does not know the model yet or is not reachable yet.
pub async fn chat(frontend: &str, model: &str, prompt: &str) -> Outcome<Value> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let body = json!({"model": model, "max_tokens": 8, "messages": [{"role": "user", "content": prompt}]});
    let limit = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let asked = client.post(format!("{frontend}/v1/chat/completions")).json(&body).send().await;
        let refusal = match asked {
            Ok(answer) if answer.status().is_success() => return Ok(answer.json().await?),
            Ok(answer) => format!("{}: {}", answer.status(), answer.text().await?),
            Err(error) => error.to_string(),
        };
        ensure!(std::time::Instant::now() < limit, "no chat completion from {frontend}: {refusal}");
        // Ready comes a moment before the frontend lists the model, and that moment is no event of Kubernetes.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The same as a v1alpha1 graph.
pub fn aggregated_v1alpha1(name: &str, claim: &str, model: &str) -> Value {
    let mount = json!([{"name": claim, "mountPoint": MODEL_FOLDER}]);
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
