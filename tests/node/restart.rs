//! A restart goes through the states that the real operators were recorded in, and what serves then is every pod anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use kubectl_dynamo::readiness::GRAPH_LABEL;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::operator::record;
use crate::plugin::{explained, up};

/// Phase and component of `status.restart`.
type Step = [Option<String>; 2];

/// Each step of it, in the order of both recordings.
const RECORDED: [[Option<&str>; 2]; 4] = [
    [None, None],
    [Some("Restarting"), Some("frontend")],
    [Some("Restarting"), Some("worker")],
    [Some("Completed"), None],
];

pub(crate) async fn a_restart_starts_every_pod_anew_and_ends_with_an_answer(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("restart").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    let before = pods(place.client(), place.name()).await?;
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    let mut seen = record(&graphs, "tiny", step);
    seen.wait_for(|steps| !steps.is_empty()).await?;
    let restarted = plugin.run(&["rollout", "restart", "tiny", "--timeout=4m"]).await?.expect(0);
    let said = explained(restarted, &place).await?;
    ensure!(said.err.contains("smoke test"), "{}", said.err);
    let seen = seen
        .wait_for(|steps| steps.last().is_some_and(|step| step[0].as_deref() == Some("Completed")))
        .await?
        .clone();
    let expected: Vec<Step> = RECORDED.iter().map(|step| step.map(|word| word.map(str::to_owned))).collect();
    ensure!(seen == expected, "the restart was {seen:?}");
    let after = pods(place.client(), place.name()).await?;
    ensure!(after.len() == before.len() && after.is_disjoint(&before), "{before:?}, then {after:?}");
    place.delete().await
}

/// The uids of the graph's pods that are not on their way out.
async fn pods(client: Client, namespace: &str) -> Outcome<BTreeSet<String>> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let all = pods.list(&ListParams::default().labels(&format!("{GRAPH_LABEL}=tiny"))).await?;
    let stays = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    Ok(all.items.into_iter().filter(stays).filter_map(|pod| pod.uid()).collect())
}

fn step(graph: &Value) -> Step {
    let restart = &graph["status"]["restart"];
    [&restart["phase"], &restart["inProgress"][0]].map(|word| word.as_str().map(str::to_owned))
}
