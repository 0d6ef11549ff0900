//! The test operator deploys and updates hand-written graphs through the states that were recorded of the
//! real one, and real pods answer.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher::{self, watch_object};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, model};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Shared;

/// State and reason of a status, and the phase of its rollout.
type ObservedState = (Option<String>, Option<String>, Option<String>);

/// The states in `operator-1.5/aggregated-with-rollouts`: a deployment, then a new worker.
const RECORDED: [[Option<&str>; 3]; 6] = [
    [None, None, None],
    [Some("pending"), Some("some_resources_are_not_ready"), None],
    [Some("successful"), Some("all_resources_are_ready"), None],
    [Some("pending"), Some("rolling_update_in_progress"), Some("Pending")],
    [Some("pending"), Some("rolling_update_in_progress"), Some("InProgress")],
    [Some("successful"), Some("all_resources_are_ready"), Some("Completed")],
];

pub(crate) async fn aggregated_graph_answers_before_and_after_rollout(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("aggregated").await?;
    model::write_model(&namespace.create_pvc("model-cache").await?.join("tiny"))?;
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    let mut graph = dynamo::aggregated_graph("agg", "model-cache", "tiny");
    let states = record_changes(&graphs, "agg", observed_state);
    dynamo::apply(&graphs, &graph).await?;
    if let Err(error) = dynamo::wait_until_ready(&graphs, "agg").await {
        return Err(format!("{error}\n{}", namespace.describe().await?).into());
    }
    let frontend = dynamo::frontend_url(&namespace.client(), namespace.name(), "agg-frontend").await?;
    let answer = dynamo::chat(&frontend, "tiny", "hello").await?;
    ensure!(answer["usage"]["completion_tokens"] == 8, "{answer}");

    let main = &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0];
    main["env"] = json!([{"name": "ROLLED", "value": "1"}]);
    dynamo::apply(&graphs, &graph).await?;
    if let Err(error) = dynamo::wait_until_ready(&graphs, "agg").await {
        return Err(format!("{error}\n{}", namespace.describe().await?).into());
    }
    dynamo::chat(&frontend, "tiny", "hello again").await?;
    let states = without_missed_probes(states.borrow().clone());
    let expected: Vec<ObservedState> = RECORDED
        .iter()
        .map(|[state, reason, phase]| {
            (state.map(str::to_owned), reason.map(str::to_owned), phase.map(str::to_owned))
        })
        .collect();
    ensure!(states == expected, "the states were {states:#?}");

    let uid = graphs.get("agg").await?.metadata.uid.ok_or("the object does not have a uid")?;
    graphs.delete("agg", &DeleteParams::default()).await?;
    await_condition(graphs.clone(), "agg", conditions::is_deleted::<DynamicObject>(&uid)).await?;
    namespace.delete().await
}

/// Leaves out the states between which a busy node missed a readiness probe of a pod: the operator then reports that the
/// resources are not ready, and the same success again.
fn without_missed_probes(states: Vec<ObservedState>) -> Vec<ObservedState> {
    let mut kept: Vec<ObservedState> = Vec::new();
    for state in states {
        let is_loss = state.1.as_deref() == Some("some_resources_are_not_ready")
            && kept.last().is_some_and(|last| last.0.as_deref() == Some("successful") && last.2 == state.2);
        if !is_loss && kept.last() != Some(&state) {
            kept.push(state);
        }
    }
    kept
}

fn observed_state(graph: &Value) -> ObservedState {
    let (state, reason) = dynamo::state_and_reason(graph);
    (state, reason, graph["status"]["rollingUpdate"]["phase"].as_str().map(str::to_owned))
}

/// Records a value of the graph from now on, each time that it changes.
pub(crate) fn record_changes<T: PartialEq + Send + Sync + 'static>(
    graphs: &Api<DynamicObject>,
    name: &str,
    read: fn(&Value) -> T,
) -> watch::Receiver<Vec<T>> {
    let (states, receiver) = watch::channel(Vec::new());
    let mut changes = watch_object(graphs.clone(), name).boxed();
    tokio::spawn(async move {
        while let Ok::<_, watcher::Error>(Some(graph)) = changes.try_next().await {
            let Some(graph) = graph else { continue };
            let current = read(&serde_json::to_value(graph).unwrap_or_default());
            states.send_if_modified(|states| {
                let is_new = states.last() != Some(&current);
                if is_new {
                    states.push(current);
                }
                is_new
            });
        }
    });
    receiver
}
