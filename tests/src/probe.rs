//! A pod whose server and log do as they are told: for what lies between a client and a pod.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::Outcome;
use crate::images::runtime;

/// The port its server listens on.
pub const PORT: u16 = 8000;
const PROGRAM: &str = include_str!("probe.py");

/// The probe `pod` of the graph `graph`, as its frontend; `words` are for its program.
fn object(graph: &str, pod: &str, words: &[&str]) -> Value {
    let command = ["python3", "-c", PROGRAM].iter().chain(words).collect::<Vec<_>>();
    json!({
        "metadata": {"name": pod, "labels": {
            "nvidia.com/dynamo-graph-deployment-name": graph,
            "nvidia.com/dynamo-component": "Frontend",
            "nvidia.com/dynamo-component-type": "frontend",
        }},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": runtime::REFERENCE,
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "env": [{"name": "POD", "value": pod}],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            }],
        },
    })
}

/// Makes a probe.
pub async fn create(pods: &Api<Pod>, graph: &str, pod: &str, words: &[&str]) -> Outcome {
    pods.create(&PostParams::default(), &serde_json::from_value(object(graph, pod, words))?).await?;
    Ok(())
}

/// Makes a probe and waits until it is ready; answers its address.
pub async fn start(pods: &Api<Pod>, graph: &str, pod: &str, words: &[&str]) -> Outcome<String> {
    create(pods, graph, pod, words).await?;
    let ready = await_condition(pods.clone(), pod, |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    });
    let ready = tokio::time::timeout(std::time::Duration::from_secs(120), ready).await;
    let pod = ready.map_err(|_| format!("{pod} is not ready in time"))??;
    let address = pod.and_then(|pod| pod.status?.pod_ip);
    Ok(address.ok_or("a ready pod has an address")?)
}
