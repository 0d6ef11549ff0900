//! What `up` takes from the deployment that is there, and graphs that a file brings.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// A value of `up … --plan -o json`, and who said it.
async fn planned(plugin: &Plugin, words: &[&str], field: &str) -> Outcome<(Value, String)> {
    let said = plugin.run(&[words, &["--plan", "-o", "json"]].concat()).await?.expect(0)?;
    let plan: Value = serde_json::from_str(&said.out)?;
    let found = plan["values"].as_array().and_then(|all| all.iter().find(|one| one["field"] == field));
    let found = found.ok_or_else(|| format!("no {field} in {}", said.out))?;
    Ok((found["value"].clone(), found["source"].as_str().unwrap_or_default().into()))
}

pub(crate) async fn a_change_keeps_every_earlier_choice(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "change").await?;
        let choices = ["--mode=disagg", "--router-mode=kv", "--label=team=search", "--decode-tp=2"];
        plugin.run(&[&UP[..], &choices, &["--", "--max-model-len", "8192"]].concat()).await?.expect(0)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        wait_until_settled(&graphs, generation, 3).await?;
        let before = graphs.get("tiny").await?;

        let change = ["up", "tiny", "--decode-replicas=2"];
        ensure!(
            planned(&plugin, &change, "decode.replicas").await? == (2.into(), "flag".into()),
            "the flag is not taken"
        );
        ensure!(
            planned(&plugin, &change, "router.mode").await? == ("kv".into(), "live object".into()),
            "the router's mode is not the live one"
        );
        ensure!(
            graphs.get("tiny").await?.metadata.resource_version == before.metadata.resource_version,
            "--plan wrote"
        );
        plugin.run(&[&change[..], &["--detach"]].concat()).await?.expect(0)?;
        let after = graphs.get("tiny").await?;
        let (mut was, mut is) = (before.data["spec"].clone(), after.data["spec"].clone());
        for spec in [&mut was, &mut is] {
            match spec["components"].as_array_mut() {
                Some(all) => all.iter_mut().for_each(|one| one["replicas"] = Value::Null),
                None => spec["services"]["decode"]["replicas"] = Value::Null,
            }
            // The older shape carries a hash of each service, which moves with its replicas.
            if let Some(annotations) = spec["services"]["decode"]["annotations"].as_object_mut() {
                annotations.remove("kubectl-dynamo.dev/spec-hash");
            }
        }
        ensure!(was == is, "more than the replicas changed:\n{was:#}\n{is:#}");
        ensure!(
            planned(&plugin, &["up", "tiny"], "decode.replicas").await? == (2.into(), "live object".into()),
            "the next up does not keep the change"
        );
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_setting_never_changes_what_runs(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "settings").await?;
    plugin.run(&UP).await?.expect(0)?;
    let mut command = plugin.command(&["up", "tiny", "--plan", "-o", "json"]);
    let output = command.env("KUBECTL_DYNAMO_WORKER_REPLICAS", "7").output().await?;
    let plan: Value = serde_json::from_slice(&output.stdout)?;
    let values = plan["values"].as_array().cloned().unwrap_or_default();
    let replicas = values.iter().find(|one| one["field"] == "worker.replicas");
    ensure!(replicas.is_some_and(|one| one["value"] == 1), "{plan:#}");
    let said =
        plugin.command(&["up", "tiny", "--detach"]).env("KUBECTL_DYNAMO_WORKER_REPLICAS", "7").output();
    let said = String::from_utf8_lossy(&said.await?.stderr).into_owned();
    ensure!(said.contains("environment says 7"), "it is not said: {said}");
    place.delete().await
}

pub(crate) async fn a_name_without_a_deployment_is_not_taken_for_a_model(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "bare").await?;
    let said = plugin.run(&["up", "qwen", "--replicas=2"]).await?.expect(2)?;
    ensure!(said.err.contains("KD0401") && said.err.contains("up --model qwen"), "{}", said.err);
    ensure!(place.versions(V1Beta1).await?.is_empty(), "it wrote");
    place.delete().await
}

pub(crate) async fn a_graph_of_a_file_is_applied_as_it_is(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "file").await?;
    let render = ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual", "--name=mine"];
    let objects = plugin.run(&render).await?.expect(0)?.out;
    let own =
        objects.replace("app.kubernetes.io/managed-by: kubectl-dynamo", "app.kubernetes.io/part-of: mine");
    let file = ["up", "-f", "-", "--detach"];
    plugin.run_with_input(&file, &own).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let graph = graphs.get("mine").await?;
    let labels = graph.metadata.labels.clone().unwrap_or_default();
    ensure!(labels.get("app.kubernetes.io/part-of").is_some_and(|part| part == "mine"), "{labels:?}");
    let said = plugin.run_with_input(&file, &own).await?.expect(0)?;
    ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);

    let said = plugin.run_with_input(&["up", "-f", "-", "--replicas=2"], &own).await?.expect(2)?;
    ensure!(said.err.contains("KD0007") && said.err.contains("--replicas"), "{}", said.err);
    let older =
        "apiVersion: nvidia.com/v1alpha1\nkind: DynamoGraphDeployment\nmetadata: {name: old}\nspec: {}\n";
    let said = plugin.run_with_input(&file, older).await?.expect(6)?;
    ensure!(said.err.contains("KD0218"), "{}", said.err);
    place.delete().await
}

/// An unchanged `up` is what scripts run again and again. All is counted: discovery, rights and the operator too.
pub(crate) async fn an_unchanged_up_asks_little(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "few").await?;
        plugin.run(&UP).await?.expect(0)?;
        let audit = shared.cluster.control_plane(generation)?.audit();
        let position = audit.position()?;
        let user = "counted";
        let words = [&UP[..], &["--as=counted", "--as-group=system:masters"]].concat();
        let said = plugin.run(&words).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);
        let asked = audit.requests_for(position, user)?;
        ensure!(asked.iter().any(|request| request.resource == "selfsubjectrulesreviews"), "{asked:?}");
        // Three watches of two requests each and the tunnel's come on top where it waits.
        ensure!(asked.len() <= 14, "{} requests: {asked:?}", asked.len());
        let nodes = asked.iter().find(|request| request.resource == "nodes");
        ensure!(nodes.is_none(), "it looks for room though no pod starts");
        place.delete().await?;
    }
    Ok(())
}
