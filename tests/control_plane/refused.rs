//! What the API server answers of its own, each told by its code.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::gate::Refusal;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::json;

use crate::Shared;
use crate::faults::{all_ready, gated, waiting};
use crate::plugin::UP;

pub(crate) async fn what_the_server_cannot_or_will_not_do_is_told_by_its_code(
    shared: Arc<Shared>,
) -> Outcome {
    let on = gated(&shared, V1Beta1, "refused", &json!({})).await?;
    let said = on.plugin.run_with_input(&[&UP[..], &["--hf-token-stdin"]].concat(), "\n").await?.expect(2)?;
    ensure!(said.err.contains("KD0413"), "{}", said.err);
    on.gate.refuse(Some(Refusal {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "the store is read by nobody",
    }));
    let said = on.plugin.run(&["list"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0108") && said.err.contains("read by nobody"), "{}", said.err);
    on.gate.refuse(None);

    // The operator's webhook, of a graph that has the right shape for all else.
    let mut graph = dynamo::aggregated("tiny", "model-cache", "tiny");
    graph["spec"]["components"] = json!([]);
    on.place.claim("model-cache").await?;
    let said =
        on.plugin.run_with_input(&["up", "-f", "-", "--detach"], &graph.to_string()).await?.expect(1)?;
    ensure!(said.err.contains("KD0204") && said.err.contains("at least one component"), "{}", said.err);

    let quotas: Api<ResourceQuota> = Api::namespaced(on.place.client(), on.place.name());
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let counted = |quota: Option<&ResourceQuota>| {
        quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.hard.is_some()))
    };
    await_condition(quotas, "none", counted).await?;
    let words: Vec<&str> = UP.into_iter().filter(|word| *word != "--storage-class=manual").collect();
    let anyway = ["--cache=model-cache", "--ignore-preflight=all"];
    let said = on.plugin.run(&[&words[..], &anyway].concat()).await?.expect(5)?;
    ensure!(said.err.contains("KD0301") && said.err.contains("exceeded quota"), "{}", said.err);
    on.place.delete().await
}

pub(crate) async fn what_is_not_as_it_was_asked_for_is_warned_of(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "warned", &json!({})).await?;
    on.plugin.run(&UP).await?.expect(0)?;
    let said = on.plugin.run(&["port-forward", "tiny"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0801"), "{}", said.err);
    let said = on.plugin.run(&["up", "tiny", "--cache-size=9Ti", "--detach"]).await?.expect(0)?;
    ensure!(said.err.contains("KD0416") && said.err.contains("9Ti"), "{}", said.err);

    on.gate.refuse(Some(Refusal {
        path: "/controllerrevisions",
        method: None,
        code: 500,
        message: "the store is read by nobody",
    }));
    let said = on.plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
    ensure!(said.err.contains("KD0243") && said.err.contains("read by nobody"), "{}", said.err);
    on.place.delete().await
}

/// Pods that nobody lets go: `down` says in time that it cannot wait, and the next `up` does not wait for ever.
pub(crate) async fn pods_that_do_not_end_are_said_and_left(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "endless", &json!({})).await?;
    let up = on.waits().await?;
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;
    on.puppet.hold(true).await?;
    let said = on.plugin.run(&["down", "tiny", "-y", "--wait", "--timeout=5s"]).await?.expect(3)?;
    ensure!(said.err.contains("KD0209") && said.err.contains("tiny-worker"), "{}", said.err);
    let mut up = on.plugin.start(&waiting())?;
    // The model stayed on its claim, and its Job with it.
    up.until("model fetch: done").await?;
    up.until("KD0223").await?;
    up.until("ready: waiting for").await?;
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;
    on.puppet.hold(false).await?;
    on.place.delete().await
}
