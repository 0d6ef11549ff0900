//! What a change would do, said before it is made, and which deployments `down` means.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// The words of `up` that say what to serve.
fn wish() -> Vec<&'static str> {
    UP[1..].iter().copied().filter(|word| *word != "--detach").collect()
}

pub(crate) async fn a_difference_is_named_by_field_and_pod(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "diff").await?;
        let same = [&["diff"][..], &wish()].concat();
        let said = plugin.run(&same).await?.expect(1)?;
        ensure!(said.out.contains("dynamographdeployment/tiny is created"), "{}", said.out);
        ensure!(said.out.contains("1 pod starts"), "{}", said.out);
        ensure!(place.versions(generation).await?.is_empty(), "diff left objects");

        plugin.run(&UP).await?.expect(0)?;
        wait_until_settled(&dynamo::graphs(place.client(), generation, place.name()), generation, 2).await?;
        let said = plugin.run(&same).await?.expect(0)?;
        ensure!(said.out.is_empty() && said.err.contains("tiny is as asked for"), "{}{}", said.out, said.err);

        let said = plugin.run(&["diff", "tiny", "--replicas=2"]).await?.expect(1)?;
        ensure!(said.out.contains("replicas: 1 -> 2"), "{}", said.out);
        ensure!(said.out.contains("worker    1 -> 2 replicas, no other pod moves"), "{}", said.out);
        let said = plugin.run(&["diff", "tiny", "--env=A=b", "-o", "json"]).await?.expect(1)?;
        let document: Value = serde_json::from_str(&said.out)?;
        let components = document["components"].as_array().cloned().unwrap_or_default();
        let worker = components.iter().find(|one| one["name"] == "worker");
        ensure!(worker.is_some_and(|one| one["pods"] == "rolling"), "{document:#}");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_failure_is_no_difference(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "nodiff").await?;
    plugin.run(&["diff", "acme/tiny", "--release=7.0.0"]).await?.expect(6)?;
    plugin.run(&["diff", "absent"]).await?.expect(2)?;
    place.delete().await
}

pub(crate) async fn down_takes_the_deployments_with_a_label(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "labels").await?;
    plugin.run(&[&UP[..], &["--label=team=search"]].concat()).await?.expect(0)?;
    plugin.run(&[&UP[..], &["--name=other"]].concat()).await?.expect(0)?;
    plugin.run(&["down", "-l", "team=search", "-y"]).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let left: Vec<String> = graphs
        .list(&Default::default())
        .await?
        .items
        .into_iter()
        .filter_map(|one| one.metadata.name)
        .collect();
    ensure!(left == ["other"], "{left:?}");
    let said = plugin.run(&["down", "absent", "-y"]).await?;
    ensure!(said.code != Some(0) && said.err.contains("absent"), "{}", said.err);
    place.delete().await
}
