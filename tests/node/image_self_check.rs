//! Properties of the node and its images that the other cases rely on.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::images::runtime;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::json;

use crate::Shared;

pub(crate) async fn runtime_image_contains_dynamo(shared: Arc<Shared>) -> Outcome {
    let client = shared.cluster.control_plane(GraphGeneration::V1Beta1)?.client();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "runtime"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "main",
                "image": runtime::REFERENCE,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-m", "dynamo.mocker", "--help"],
            }],
        },
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    let has_ended = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let pod = await_condition(pods.clone(), "runtime", has_ended).await?;
    let log = pods.logs("runtime", &LogParams::default()).await?;
    let phase = pod.and_then(|pod| pod.status).and_then(|status| status.phase);
    ensure!(phase.as_deref() == Some("Succeeded"), "{phase:?}: {log}");
    ensure!(log.contains("--disaggregation-mode"), "{log}");
    Ok(())
}
