//! A pod with a controllable server and log, for tests of the path between a client and a pod.
//! The program is `probe.py`.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::Outcome;
use crate::images::runtime;

/// Port of its server.
pub const PORT: u16 = 8000;
const PROGRAM: &str = include_str!("probe.py");

/// Returns the pod object of the probe `pod` of the graph `graph`, labeled as its frontend. `words` are its
/// program's arguments.
fn pod_object(graph: &str, pod: &str, args: &[&str]) -> Value {
    let command = ["python3", "-c", PROGRAM].iter().chain(args).collect::<Vec<_>>();
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

/// Creates a probe.
pub async fn create(pods: &Api<Pod>, graph: &str, pod: &str, args: &[&str]) -> Outcome {
    pods.create(&PostParams::default(), &serde_json::from_value(pod_object(graph, pod, args))?).await?;
    Ok(())
}

/// Creates a probe, waits until it is ready, and returns its IP address.
pub async fn start(pods: &Api<Pod>, graph: &str, pod: &str, args: &[&str]) -> Outcome<String> {
    create(pods, graph, pod, args).await?;
    let ready = await_condition(pods.clone(), pod, |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    });
    let ready = tokio::time::timeout(std::time::Duration::from_secs(120), ready).await;
    let pod = ready.map_err(|_| format!("timed out waiting for pod {pod} to become ready"))??;
    let address = pod.and_then(|pod| pod.status?.pod_ip);
    Ok(address.ok_or("a ready pod has an IP address")?)
}
