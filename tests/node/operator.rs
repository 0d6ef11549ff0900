//! The operator's part deploys and changes what hand-written graphs ask for, through the states that the real one
//! was recorded in, and real pods answer.

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
type Standing = (Option<String>, Option<String>, Option<String>);

/// What `operator-1.5/aggregated-with-rollouts` went through, each time it changed: a deployment, then a new worker.
const RECORDED: [[Option<&str>; 3]; 6] = [
    [None, None, None],
    [Some("pending"), Some("some_resources_are_not_ready"), None],
    [Some("successful"), Some("all_resources_are_ready"), None],
    [Some("pending"), Some("rolling_update_in_progress"), Some("Pending")],
    [Some("pending"), Some("rolling_update_in_progress"), Some("InProgress")],
    [Some("successful"), Some("all_resources_are_ready"), Some("Completed")],
];

pub(crate) async fn an_aggregated_graph_answers_before_and_after_a_rollout(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("aggregated").await?;
    model::write(&place.claim("model-cache").await?.join("tiny"))?;
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    let mut graph = dynamo::aggregated("agg", "model-cache", "tiny");
    let seen = record(&graphs, "agg", standing);
    dynamo::apply(&graphs, &graph).await?;
    if let Err(error) = dynamo::wait_until_ready(&graphs, "agg").await {
        return Err(format!("{error}\n{}", place.describe().await?).into());
    }
    let frontend = dynamo::frontend(&place.client(), place.name(), "agg-frontend").await?;
    let answer = dynamo::chat(&frontend, "tiny", "hello").await?;
    ensure!(answer["usage"]["completion_tokens"] == 8, "{answer}");

    let main = &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0];
    main["env"] = json!([{"name": "ROLLED", "value": "1"}]);
    dynamo::apply(&graphs, &graph).await?;
    if let Err(error) = dynamo::wait_until_ready(&graphs, "agg").await {
        return Err(format!("{error}\n{}", place.describe().await?).into());
    }
    dynamo::chat(&frontend, "tiny", "hello again").await?;
    let seen = seen.borrow().clone();
    let expected: Vec<Standing> = RECORDED
        .iter()
        .map(|[state, reason, phase]| {
            (state.map(str::to_owned), reason.map(str::to_owned), phase.map(str::to_owned))
        })
        .collect();
    ensure!(seen == expected, "the states were {seen:#?}");

    let uid = graphs.get("agg").await?.metadata.uid.ok_or("an object without a uid")?;
    graphs.delete("agg", &DeleteParams::default()).await?;
    await_condition(graphs.clone(), "agg", conditions::is_deleted::<DynamicObject>(&uid)).await?;
    place.delete().await
}

fn standing(graph: &Value) -> Standing {
    let (state, reason) = dynamo::state_and_reason(graph);
    (state, reason, graph["status"]["rollingUpdate"]["phase"].as_str().map(str::to_owned))
}

/// Notes what is read of the graph from now on, each time that it changes.
pub(crate) fn record<T: PartialEq + Send + Sync + 'static>(
    graphs: &Api<DynamicObject>,
    name: &str,
    read: fn(&Value) -> T,
) -> watch::Receiver<Vec<T>> {
    let (noted, seen) = watch::channel(Vec::new());
    let mut changes = watch_object(graphs.clone(), name).boxed();
    tokio::spawn(async move {
        while let Ok::<_, watcher::Error>(Some(graph)) = changes.try_next().await {
            let Some(graph) = graph else { continue };
            let now = read(&serde_json::to_value(graph).unwrap_or_default());
            noted.send_if_modified(|noted| {
                let is_new = noted.last() != Some(&now);
                if is_new {
                    noted.push(now);
                }
                is_new
            });
        }
    });
    seen
}
