//! The operator's part deploys what a hand-written graph asks for, and real pods answer.

use std::sync::Arc;

use kube::api::{DeleteParams, DynamicObject};
use kube::runtime::wait::{await_condition, conditions};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, model};

use crate::Shared;

pub(crate) async fn an_aggregated_graph_answers_a_chat(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("aggregated").await?;
    model::write(&place.claim("model-cache").await?.join("tiny"))?;
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    dynamo::apply(&graphs, &dynamo::aggregated("agg", "model-cache", "tiny")).await?;
    if let Err(error) = dynamo::wait_until_ready(&graphs, "agg").await {
        return Err(format!("{error}\n{}", place.describe().await?).into());
    }
    let frontend = dynamo::frontend(&place.client(), place.name(), "agg-frontend").await?;
    let answer = dynamo::chat(&frontend, "tiny", "hello").await?;
    ensure!(answer["usage"]["completion_tokens"] == 8, "{answer}");

    let uid = graphs.get("agg").await?.metadata.uid.ok_or("an object without a uid")?;
    graphs.delete("agg", &DeleteParams::default()).await?;
    await_condition(graphs.clone(), "agg", conditions::is_deleted::<DynamicObject>(&uid)).await?;
    place.delete().await
}
