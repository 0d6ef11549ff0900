//! What is kept of each change, and going back to it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{Api, ListParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// The spec and the wish of the graph, as JSON.
async fn graph(place: &CaseNamespace, generation: GraphGeneration) -> Outcome<Value> {
    let graph = dynamo::graphs(place.client(), generation, place.name()).get("tiny").await?;
    Ok(serde_json::to_value(graph)?)
}

/// Waits until the operator has filled in what it fills in.
async fn settled(place: &CaseNamespace, generation: GraphGeneration) -> Outcome {
    wait_until_settled(&dynamo::graphs(place.client(), generation, place.name()), generation, 2).await
}

async fn history(plugin: &Plugin) -> Outcome<Vec<(i64, String)>> {
    let said = plugin.run(&["rollout", "history", "tiny", "-o", "json"]).await?.expect(0)?;
    let document: Value = serde_json::from_str(&said.out)?;
    let revisions = document["revisions"].as_array().cloned().unwrap_or_default();
    let one = |one: &Value| {
        (one["revision"].as_i64().unwrap_or_default(), one["cause"].as_str().unwrap_or_default().to_owned())
    };
    Ok(revisions.iter().map(one).collect())
}

fn numbers(history: &[(i64, String)]) -> Vec<i64> {
    history.iter().map(|(number, _)| *number).collect()
}

pub(crate) async fn each_change_is_kept_and_undone(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "revisions").await?;
        plugin.run(&UP).await?.expect(0)?;
        settled(&place, generation).await?;
        let first = graph(&place, generation).await?;
        plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
        plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(0)?;
        let third = graph(&place, generation).await?;
        ensure!(third["metadata"]["labels"]["kubectl-dynamo.dev/revision"] == "3", "{}", third["metadata"]);
        let kept = history(&plugin).await?;
        ensure!(numbers(&kept) == [1, 2, 3] && kept[2].1 == "scale", "{kept:?}");
        plugin.run(&[&UP[..], &["--env=A=b", "--replicas=2"]].concat()).await?.expect(0)?;
        ensure!(history(&plugin).await? == kept, "an unchanged up is a revision");

        let said = plugin.run(&["rollout", "history", "tiny"]).await?.expect(0)?;
        ensure!(said.out.contains("REVISION") && said.out.contains("CHANGE-CAUSE"), "{}", said.out);
        ensure!(said.out.contains("replicas 1 -> 2"), "{}", said.out);
        let said =
            plugin.run(&["rollout", "history", "tiny", "--revision=2", "-o", "json"]).await?.expect(0)?;
        let second: Value = serde_json::from_str(&said.out)?;
        ensure!(second["kind"] == "DynamoGraphDeployment", "{second:#}");

        // The first revision again: with nothing else, and under the newest number.
        plugin.run(&["rollout", "undo", "tiny", "--to-revision=1", "--dry-run=server"]).await?.expect(0)?;
        ensure!(graph(&place, generation).await?["spec"] == third["spec"], "a dry run wrote");
        plugin.run(&["rollout", "undo", "tiny", "--to-revision=1", "--detach"]).await?.expect(0)?;
        let back = graph(&place, generation).await?;
        ensure!(back["spec"] == first["spec"], "{:#}\n{:#}", back["spec"], first["spec"]);
        ensure!(numbers(&history(&plugin).await?) == [2, 3, 4], "{:?}", history(&plugin).await?);
        let said = plugin.run(&UP).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);
        plugin.run(&["rollout", "undo", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(graph(&place, generation).await?["spec"] == third["spec"], "undo is not the one before");

        let said = plugin.run(&["rollout", "undo", "tiny", "--to-revision=9"]).await?.expect(2)?;
        ensure!(said.err.contains("KD0240") && said.err.contains("2 4 5"), "{}", said.err);
        let said = plugin.run(&["rollout", "status", "tiny", "--revision=2"]).await?.expect(1)?;
        ensure!(said.err.contains("KD0242"), "{}", said.err);
        plugin.run(&["rollout", "status", "tiny", "--watch=false"]).await?.expect(3)?;
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn ten_revisions_are_kept_and_go_with_their_graph(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "ten").await?;
    plugin.run(&UP).await?.expect(0)?;
    let said = plugin.run(&["rollout", "undo", "tiny"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0241"), "{}", said.err);
    for replicas in 2..=12 {
        let replicas = format!("--frontend-replicas={replicas}");
        plugin.run(&["scale", "tiny", &replicas, "--detach"]).await?.expect(0)?;
    }
    ensure!(numbers(&history(&plugin).await?) == (3..=12).collect::<Vec<i64>>(), "not the last ten");

    // What is there is kept first where nothing has kept it.
    let kept: Api<ControllerRevision> = Api::namespaced(place.client(), place.name());
    for one in kept.list(&ListParams::default()).await?.items {
        ensure!(one.metadata.owner_references.is_some(), "a revision of nobody");
        kept.delete(&one.metadata.name.unwrap_or_default(), &Default::default()).await?;
    }
    plugin.run(&["scale", "tiny", "--frontend-replicas=1", "--detach"]).await?.expect(0)?;
    ensure!(numbers(&history(&plugin).await?) == [12, 13], "{:?}", history(&plugin).await?);
    place.delete().await
}

pub(crate) async fn a_restart_is_asked_for_and_left_alone_by_up(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "restart").await?;
        plugin.run(&UP).await?.expect(0)?;
        plugin.run(&["rollout", "restart", "tiny", "--detach"]).await?.expect(0)?;
        let asked = graph(&place, generation).await?["spec"]["restart"]["id"].clone();
        ensure!(asked.is_string(), "no restart is asked for");
        let said = plugin.run(&UP).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);
        ensure!(graph(&place, generation).await?["spec"]["restart"]["id"] == asked, "up took it away");
        plugin.run(&["rollout", "restart", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(graph(&place, generation).await?["spec"]["restart"]["id"] != asked, "not a second time");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_change_that_is_not_ready_in_time_is_taken_back(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "back").await?;
        plugin.run(&UP).await?.expect(0)?;
        settled(&place, generation).await?;
        let before = graph(&place, generation).await?;
        // No pod runs here, so neither the change nor what was there before is ever ready.
        let change = ["up", "tiny", "--env=A=b", "--timeout=8s", "--rollback-on-failure"];
        let said = plugin.run(&change).await?.expect(3)?;
        ensure!(said.err.contains("error [KD0207]"), "{}", said.err);
        ensure!(said.err.contains("rolling back failed too"), "{}", said.err);
        let after = graph(&place, generation).await?;
        ensure!(after["spec"] == before["spec"], "{:#}\n{:#}\n{}", before["spec"], after["spec"], said.err);
        let kept = history(&plugin).await?;
        ensure!(numbers(&kept) == [2, 3] && kept[1].1 == "rollback of a failed up", "{kept:?}");
        place.delete().await?;
    }
    Ok(())
}
