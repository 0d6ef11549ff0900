//! Revision history and rollback.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::{Api, ListParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::faults::waiting_up_args;
use crate::plugin::{UP, wait_until_settled};

/// Returns the spec and the intent of the graph as JSON.
async fn get_graph(namespace: &CaseNamespace, generation: GraphGeneration) -> Outcome<Value> {
    let graph = dynamo::graphs(namespace.client(), generation, namespace.name()).get("tiny").await?;
    Ok(serde_json::to_value(graph)?)
}

/// Returns the ID of the requested restart, or null.
async fn restart_id(namespace: &CaseNamespace, generation: GraphGeneration) -> Outcome<Value> {
    Ok(get_graph(namespace, generation).await?["spec"]["restart"]["id"].clone())
}

/// Waits until the operator has set its defaults.
async fn wait_until_operator_settled(namespace: &CaseNamespace, generation: GraphGeneration) -> Outcome {
    wait_until_settled(&dynamo::graphs(namespace.client(), generation, namespace.name()), generation, 2).await
}

async fn history(plugin: &Plugin) -> Outcome<Vec<(i64, String)>> {
    let output = plugin.run(&["rollout", "history", "tiny", "-o", "json"]).await?.expect(0)?;
    let document: Value = serde_json::from_str(&output.out)?;
    let revisions = document["revisions"].as_array().cloned().unwrap_or_default();
    let entry = |entry: &Value| {
        (
            entry["revision"].as_i64().unwrap_or_default(),
            entry["cause"].as_str().unwrap_or_default().to_owned(),
        )
    };
    Ok(revisions.iter().map(entry).collect())
}

fn revision_numbers(history: &[(i64, String)]) -> Vec<i64> {
    history.iter().map(|(number, _)| *number).collect()
}

pub(crate) async fn each_change_is_a_revision_and_can_be_undone(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "revisions").await?;
        plugin.run(&UP).await?.expect(0)?;
        wait_until_operator_settled(&namespace, generation).await?;
        let first = get_graph(&namespace, generation).await?;
        plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
        plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(0)?;
        let third = get_graph(&namespace, generation).await?;
        ensure!(third["metadata"]["labels"]["kubectl-dynamo.dev/revision"] == "3", "{}", third["metadata"]);
        let recorded = history(&plugin).await?;
        ensure!(revision_numbers(&recorded) == [1, 2, 3] && recorded[2].1 == "scale", "{recorded:?}");
        plugin.run(&[&UP[..], &["--env=A=b", "--replicas=2"]].concat()).await?.expect(0)?;
        ensure!(history(&plugin).await? == recorded, "an unchanged up created a revision");

        let output = plugin.run(&["rollout", "history", "tiny"]).await?.expect(0)?;
        ensure!(output.out.contains("REVISION") && output.out.contains("CHANGE-CAUSE"), "{}", output.out);
        ensure!(output.out.contains("replicas 1 -> 2"), "{}", output.out);
        let output =
            plugin.run(&["rollout", "history", "tiny", "--revision=2", "-o", "json"]).await?.expect(0)?;
        let second: Value = serde_json::from_str(&output.out)?;
        ensure!(second["kind"] == "DynamoGraphDeployment", "{second:#}");

        // The first revision again, without other changes and with the newest number. It was applied last, although
        // it was created first; times of objects are whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        plugin.run(&["rollout", "undo", "tiny", "--to-revision=1", "--dry-run=server"]).await?.expect(0)?;
        ensure!(get_graph(&namespace, generation).await?["spec"] == third["spec"], "a dry run wrote");
        plugin.run(&["rollout", "undo", "tiny", "--to-revision=1", "--detach"]).await?.expect(0)?;
        let undone = get_graph(&namespace, generation).await?;
        ensure!(undone["spec"] == first["spec"], "{:#}\n{:#}", undone["spec"], first["spec"]);
        ensure!(revision_numbers(&history(&plugin).await?) == [2, 3, 4], "{:?}", history(&plugin).await?);
        let output = plugin.run(&["rollout", "history", "tiny", "-o", "json"]).await?.expect(0)?;
        let document: Value = serde_json::from_str(&output.out)?;
        let time = |index: usize, name: &str| document["revisions"][index][name].as_str().unwrap_or_default();
        let applied = [0, 1, 2].map(|index| time(index, "applied"));
        ensure!(applied.is_sorted() && applied[2] > time(2, "created"), "{document:#}");
        let output = plugin.run(&UP).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        plugin.run(&["rollout", "undo", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(
            get_graph(&namespace, generation).await?["spec"] == third["spec"],
            "undo did not restore the previous revision"
        );

        let output = plugin.run(&["rollout", "undo", "tiny", "--to-revision=9"]).await?.expect(2)?;
        ensure!(output.err.contains("KD0240") && output.err.contains("2 4 5"), "{}", output.err);
        let output = plugin.run(&["rollout", "status", "tiny", "--revision=2"]).await?.expect(1)?;
        ensure!(output.err.contains("KD0242"), "{}", output.err);
        plugin.run(&["rollout", "status", "tiny", "--watch=false"]).await?.expect(3)?;
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn history_is_limited_to_ten_owned_revisions(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "ten").await?;
    plugin.run(&UP).await?.expect(0)?;
    let output = plugin.run(&["rollout", "undo", "tiny"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0241"), "{}", output.err);
    for replicas in 2..=12 {
        let replicas = format!("--frontend-replicas={replicas}");
        plugin.run(&["scale", "tiny", &replicas, "--detach"]).await?.expect(0)?;
    }
    ensure!(
        revision_numbers(&history(&plugin).await?) == (3..=12).collect::<Vec<i64>>(),
        "expected the last ten revisions"
    );

    // The current state is stored first if it has no revision.
    let revisions: Api<ControllerRevision> = Api::namespaced(namespace.client(), namespace.name());
    for one in revisions.list(&ListParams::default()).await?.items {
        ensure!(one.metadata.owner_references.is_some(), "a revision without an owner");
        revisions.delete(&one.metadata.name.unwrap_or_default(), &Default::default()).await?;
    }
    plugin.run(&["scale", "tiny", "--frontend-replicas=1", "--detach"]).await?.expect(0)?;
    ensure!(revision_numbers(&history(&plugin).await?) == [12, 13], "{:?}", history(&plugin).await?);
    namespace.delete().await
}

pub(crate) async fn restart_is_requested_and_preserved_by_up(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "restart").await?;
        plugin.run(&UP).await?.expect(0)?;
        plugin.run(&["rollout", "restart", "tiny", "--detach"]).await?.expect(0)?;
        let first_id = restart_id(&namespace, generation).await?;
        ensure!(first_id.is_string(), "no restart is requested");
        let output = plugin.run(&UP).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        ensure!(restart_id(&namespace, generation).await? == first_id, "up removed the restart");
        plugin.run(&["rollout", "restart", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(restart_id(&namespace, generation).await? != first_id, "no second restart is requested");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn restart_asks_before_requests_are_lost(shared: Arc<Shared>) -> Outcome {
    for (generation, release, loss) in [
        (V1Beta1, None, ["prefill rolling update, surge 1 pod", "2 of 199 requests failed, within 0.4 s"]),
        (
            V1Alpha1,
            Some("--release=0.9.1"),
            ["prefill rolling update", "6 of 149 requests failed, within 4.6 s"],
        ),
    ] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "restart-asks").await?;
        let args: Vec<&str> = waiting_up_args().into_iter().chain(["--mode=disagg"]).chain(release).collect();
        let up = plugin.start(&args)?;
        let kubelet = FakeKubelet::new(&namespace);
        kubelet.finish_fetch().await?;
        for component in ["frontend", "prefill", "decode"] {
            kubelet.set_ready(component).await?;
        }
        up.finish().await?.expect(0)?;
        let restart = ["rollout", "restart", "tiny", "--detach"];
        let output = plugin.run(&restart).await?.expect(2)?;
        for fact in loss.into_iter().chain(["KD0002", "--yes"]) {
            ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
        }
        ensure!(restart_id(&namespace, generation).await?.is_null(), "restarted without consent");
        plugin.run(&[&restart[..], &["-y"]].concat()).await?.expect(0)?;
        ensure!(restart_id(&namespace, generation).await?.is_string(), "not restarted");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn change_that_times_out_is_rolled_back(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "back").await?;
        plugin.run(&UP).await?.expect(0)?;
        wait_until_operator_settled(&namespace, generation).await?;
        let before = get_graph(&namespace, generation).await?;
        // Pods do not run, so neither the change nor the previous state becomes ready.
        // A slow machine can use up a short timeout before anything is applied.
        let mut output = None;
        for timeout in ["--timeout=8s", "--timeout=40s", "--timeout=3m"] {
            let change = ["up", "tiny", "--env=A=b", timeout, "--rollback-on-failure"];
            let ended = plugin.run(&change).await?.expect(3)?;
            let in_time = ended.err.contains("error [KD0207]");
            output = Some(ended);
            if in_time {
                break;
            }
        }
        let output = output.ok_or("the change never ran")?;
        ensure!(output.err.contains("error [KD0207]"), "{}", output.err);
        ensure!(output.err.contains("timed out waiting for the rollback to serve after"), "{}", output.err);
        let after = get_graph(&namespace, generation).await?;
        ensure!(after["spec"] == before["spec"], "{:#}\n{:#}\n{}", before["spec"], after["spec"], output.err);
        let recorded = history(&plugin).await?;
        ensure!(
            revision_numbers(&recorded) == [2, 3] && recorded[1].1 == "rollback of a failed up",
            "{recorded:?}"
        );
        namespace.delete().await?;
    }
    Ok(())
}
