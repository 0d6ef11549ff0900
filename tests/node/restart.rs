//! A restart goes through the states that were recorded of the real operators, and replaces every pod.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use kubectl_dynamo_core::readiness::GRAPH_LABEL;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::operator::record_changes;
use crate::plugin::{up_args, with_pod_details};

/// Phase and component of `status.restart`.
type RestartStep = [Option<String>; 2];

/// Its steps, in the order of both recordings.
const RECORDED: [[Option<&str>; 2]; 4] = [
    [None, None],
    [Some("Restarting"), Some("frontend")],
    [Some("Restarting"), Some("worker")],
    [Some("Completed"), None],
];

pub(crate) async fn restart_replaces_every_pod_and_passes_the_smoke_test(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("restart").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    let before = running_pod_uids(namespace.client(), namespace.name()).await?;
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    let mut observed = record_changes(&graphs, "tiny", restart_step);
    observed.wait_for(|steps| !steps.is_empty()).await?;
    let restarted = plugin.run(&["rollout", "restart", "tiny", "-y", "--timeout=4m"]).await?.expect(0);
    let output = with_pod_details(restarted, &namespace).await?;
    ensure!(output.err.contains("smoke test"), "{}", output.err);
    let observed = observed
        .wait_for(|steps| steps.last().is_some_and(|step| step[0].as_deref() == Some("Completed")))
        .await?
        .clone();
    let expected: Vec<RestartStep> =
        RECORDED.iter().map(|step| step.map(|value| value.map(str::to_owned))).collect();
    ensure!(observed == expected, "the restart was {observed:?}");
    let after = running_pod_uids(namespace.client(), namespace.name()).await?;
    ensure!(after.len() == before.len() && after.is_disjoint(&before), "{before:?}, then {after:?}");
    namespace.delete().await
}

/// Returns the uids of the graph's pods that are not being deleted.
async fn running_pod_uids(client: Client, namespace: &str) -> Outcome<BTreeSet<String>> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let all = pods.list(&ListParams::default().labels(&format!("{GRAPH_LABEL}=tiny"))).await?;
    let is_running = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    Ok(all.items.into_iter().filter(is_running).filter_map(|pod| pod.uid()).collect())
}

fn restart_step(graph: &Value) -> RestartStep {
    let restart = &graph["status"]["restart"];
    [&restart["phase"], &restart["inProgress"][0]].map(|value| value.as_str().map(str::to_owned))
}
