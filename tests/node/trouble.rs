//! What goes wrong in real pods is told with its cause, early where it cannot heal.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::node;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::Shared;
use crate::plugin::{explained, up};

pub(crate) async fn a_detached_up_comes_up_by_itself(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("detached").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    plugin.run(&up(&shared, &["--detach"])).await?.expect(0)?;
    let said = explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    ensure!(said.err.contains("smoke test: done"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn an_image_that_cannot_be_pulled_is_named(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("image").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let said = plugin.run(&up(&shared, &["--image=registry.invalid/runtime:1.6.1"])).await?.expect(1)?;
    ensure!(said.err.contains("error [KD05"), "{}", said.err);
    ensure!(said.err.contains("registry.invalid/runtime:1.6.1"), "{}", said.err);
    evidence_is_kept(&said.err)?;
    report_has_the_logs(&plugin).await?;
    let said = plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
    for fact in
        ["tiny does not serve", "DynamoGraphDeployment/tiny", "(registry.invalid)", "cause    KD05", "fix "]
    {
        ensure!(said.out.contains(fact), "{fact} is not in {}", said.out);
    }
    place.delete().await
}

pub(crate) async fn a_worker_without_a_gpu_waits_and_one_that_crashes_ends_it(
    shared: Arc<Shared>,
) -> Outcome {
    let place = shared.place("gpus").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let words: Vec<&str> =
        up(&shared, &["--backend=vllm"]).into_iter().filter(|word| *word != "--backend=mocker").collect();
    let said = plugin.run(&words).await?.expect(5)?;
    ensure!(said.err.contains("error [KD0308]: no node offers GPUs"), "{}", said.err);
    // Whoever knows that a node comes may go on all the same.
    let words = [words.as_slice(), &["--ignore-preflight=KD0308"]].concat();
    let (running, seen) = plugin.run_until(&words, "Insufficient nvidia.com/gpu").await?;
    let mut running = running.ok_or_else(|| format!("it did not wait for a GPU:\n{}", seen.join("\n")))?;
    // The image has no vLLM: scheduled at last, the worker crashes.
    node::set_gpus(shared.cluster.control_plane(shared.generation())?, 8).await?;
    let status = running.wait().await?;
    ensure!(status.code() == Some(1), "{status:?}\n{}", place.describe().await?);
    let said = plugin.run(&["status", "tiny"]).await?.expect(1)?;
    ensure!(said.out.contains("KD06"), "{}", said.out);
    let said = plugin.run(&["diagnose", "tiny", "-o", "json"]).await?.expect(1)?;
    let diagnosis: Value = serde_json::from_str(&said.out)?;
    ensure!(
        diagnosis["cause"]["code"].as_str().is_some_and(|code| code.starts_with("KD06")),
        "{diagnosis:#}"
    );
    let said = plugin.run(&["events", "tiny"]).await?.expect(0)?;
    ensure!(said.out.contains("BackOff") && said.out.contains("FailedScheduling"), "{}", said.out);
    place.delete().await
}

pub(crate) async fn a_change_that_fails_is_rolled_back_and_answers_again(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("rollback").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    let change =
        ["up", "tiny", "--timeout=4m", "--rollback-on-failure", "--", "--no-such-flag-of-the-mocker", "1"];
    let said = plugin.run(&change).await?;
    // The exit code is that of the failure, and both are said.
    ensure!(said.code == Some(2) && said.err.contains("error [KD0608]"), "{:?}: {}", said.code, said.err);
    ensure!(said.err.contains("what was there before serves again, as revision 3"), "{}", said.err);
    let answer = plugin.run(&["chat", "tiny", "Still there?"]).await?.expect(0)?;
    ensure!(!answer.out.trim().is_empty(), "it does not answer");
    let history = plugin.run(&["rollout", "history", "tiny"]).await?.expect(0)?;
    ensure!(history.out.contains("rollback of a failed up"), "{}", history.out);
    plugin.run(&["rollout", "status", "tiny"]).await?.expect(0)?;
    place.delete().await
}

pub(crate) async fn a_node_whose_kubelet_stops_is_named_until_it_goes_on(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("lost").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    let nodes: Api<Node> = Api::all(place.client());
    let answers =
        |expected: bool| move |node: Option<&Node>| node.is_some_and(|node| node::is_ready(node) == expected);
    shared.cluster.send("kubelet", Signal::STOP)?;
    // The cluster gives it most of a minute to send a heartbeat.
    await_condition(nodes.clone(), node::NAME, answers(false)).await?;
    // Until the operator has heard of it, the graph is still said to be ready.
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["conditions"][0]["status"] == "False")
    })
    .await?;
    let said = plugin.run(&["status", "tiny", "--wait", "--timeout=10s"]).await?.expect(3)?;
    let fact = format!("node {} does not answer", node::NAME);
    ensure!(said.out.contains("KD0316") && said.out.contains(&fact), "{}", said.out);
    let said = plugin.run(&["diagnose", "tiny"]).await?;
    ensure!(said.out.contains("KD0316") && said.out.contains(&fact), "{:?}: {}", said.code, said.out);
    shared.cluster.send("kubelet", Signal::CONT)?;
    await_condition(nodes, node::NAME, answers(true)).await?;
    plugin.run(&["status", "tiny", "--wait"]).await?.expect(0)?;
    plugin.run(&["chat", "tiny", "Still there?"]).await?.expect(0)?;
    place.delete().await
}

/// A report holds what the containers said, and a user's own tar reads it.
async fn report_has_the_logs(plugin: &Plugin) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.tar.gz").display().to_string();
    plugin.run(&["report", "tiny", "-f", &path]).await?.expect(0)?;
    let listed = Command::new("tar").args(["--list", "--file", &path]).output().await?;
    let listed = String::from_utf8(listed.stdout)?;
    let has = |end: &str| listed.lines().any(|line| line.ends_with(end));
    ensure!(has("/report.json") && has("/pods.json") && has(".log"), "{listed}");
    Ok(())
}

/// The folder of evidence that a failed `up` names holds what a person needs to ask for help.
fn evidence_is_kept(said: &str) -> Outcome {
    let (_, rest) = said.split_once("evidence: ").ok_or_else(|| format!("no evidence is named:\n{said}"))?;
    let folder = Path::new(rest.lines().next().unwrap_or_default().trim());
    for file in ["graph.json", "pods.json", "events.txt", "diagnosis.txt"] {
        let text = std::fs::read_to_string(folder.join(file))?;
        ensure!(text.contains("tiny"), "{file} does not speak of the deployment: {text}");
    }
    Ok(())
}
