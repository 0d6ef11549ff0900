//! Problems of real pods are reported with their cause, and early if they cannot resolve themselves.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use crate::plugin::{up_args, with_pod_details};

pub(crate) async fn detached_up_becomes_ready(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("detached").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    plugin.run(&up_args(&shared, &["--detach"])).await?.expect(0)?;
    let output = with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    ensure!(output.err.contains("smoke test: done"), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn unpullable_image_is_reported(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("image").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let output =
        plugin.run(&up_args(&shared, &["--image=registry.invalid/runtime:1.6.1"])).await?.expect(1)?;
    ensure!(output.err.contains("error [KD05"), "{}", output.err);
    ensure!(output.err.contains("registry.invalid/runtime:1.6.1"), "{}", output.err);
    assert_evidence_is_saved(&output.err)?;
    assert_report_contains_logs(&plugin).await?;
    let output = plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
    for fact in [
        "deployment \"tiny\" is not serving",
        "DynamoGraphDeployment/tiny",
        "(registry.invalid)",
        "cause    KD05",
        "fix ",
    ] {
        ensure!(output.out.contains(fact), "{fact} is not in {}", output.out);
    }
    namespace.delete().await
}

pub(crate) async fn unschedulable_worker_waits_and_crashing_worker_fails(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("gpus").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let args: Vec<&str> =
        up_args(&shared, &["--backend=vllm"]).into_iter().filter(|arg| *arg != "--backend=mocker").collect();
    let output = plugin.run(&args).await?.expect(5)?;
    ensure!(output.err.contains("error [KD0308]: no node has GPUs"), "{}", output.err);
    // A user who knows that a node will be added may continue.
    let args = [args.as_slice(), &["--ignore-preflight=KD0308"]].concat();
    let (running, lines) = plugin.run_until(&args, "Insufficient nvidia.com/gpu").await?;
    let mut running = running.ok_or_else(|| format!("up did not wait for a GPU:\n{}", lines.join("\n")))?;
    // The image does not contain vLLM: once scheduled, the worker crashes.
    node::set_gpus(shared.cluster.control_plane(shared.generation())?, 8).await?;
    let status = running.wait().await?;
    ensure!(status.code() == Some(1), "{status:?}\n{}", namespace.describe().await?);
    let output = plugin.run(&["status", "tiny"]).await?.expect(1)?;
    ensure!(output.out.contains("KD06"), "{}", output.out);
    let output = plugin.run(&["diagnose", "tiny", "-o", "json"]).await?.expect(1)?;
    let diagnosis: Value = serde_json::from_str(&output.out)?;
    ensure!(
        diagnosis["cause"]["code"].as_str().is_some_and(|code| code.starts_with("KD06")),
        "{diagnosis:#}"
    );
    // The kubelet reports the back-off after the restart by which `up` knew the failure.
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let output = plugin.run(&["events", "tiny"]).await?.expect(0)?;
        ensure!(output.out.contains("FailedScheduling"), "{}", output.out);
        if output.out.contains("BackOff") {
            break;
        }
        ensure!(Instant::now() < limit, "no back-off: {}", output.out);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    namespace.delete().await
}

/// The pods of 0.9.1 need etcd although they discover each other through Kubernetes.
pub(crate) async fn pods_without_etcd_report_the_discovery_service(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("no-etcd").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    // Nothing listens on this port of the node. A variable of the user takes precedence over that of the operator.
    let no_etcd = format!("ETCD_ENDPOINTS={}:9", node::ADDRESS);
    let output = plugin.run(&up_args(&shared, &["--env", &no_etcd])).await?.expect(6)?;
    let message = format!("the discovery service is not responding {}:9", node::ADDRESS);
    for fact in ["error [KD0704]", &message, "evidence: "] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    let output = plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
    ensure!(output.out.contains("KD0704"), "{}", output.out);
    namespace.delete().await
}

pub(crate) async fn failed_change_is_rolled_back_and_serves_again(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("rollback").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    let change =
        ["up", "tiny", "--timeout=4m", "--rollback-on-failure", "--", "--no-such-flag-of-the-mocker", "1"];
    let output = plugin.run(&change).await?;
    // The exit code is that of the failure, and both errors are printed.
    ensure!(
        output.code == Some(2) && output.err.contains("error [KD0608]"),
        "{:?}: {}",
        output.code,
        output.err
    );
    ensure!(output.err.contains("rolled back to the previous spec (now revision 3)"), "{}", output.err);
    let answer = plugin.run(&["chat", "tiny", "Still there?"]).await?.expect(0)?;
    ensure!(!answer.out.trim().is_empty(), "the deployment does not answer");
    let history = plugin.run(&["rollout", "history", "tiny"]).await?.expect(0)?;
    ensure!(history.out.contains("rollback of a failed up"), "{}", history.out);
    plugin.run(&["rollout", "status", "tiny"]).await?.expect(0)?;
    namespace.delete().await
}

pub(crate) async fn unresponsive_node_is_reported_until_it_recovers(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("lost").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    let nodes: Api<Node> = Api::all(namespace.client());
    let has_readiness =
        |expected: bool| move |node: Option<&Node>| node.is_some_and(|node| node::is_ready(node) == expected);
    shared.cluster.signal_program("kubelet", Signal::STOP)?;
    // The cluster waits most of a minute for a heartbeat.
    await_condition(nodes.clone(), node::NAME, has_readiness(false)).await?;
    // The graph remains ready until the operator notices.
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["conditions"][0]["status"] == "False")
    })
    .await?;
    let output = plugin.run(&["status", "tiny", "--wait", "--timeout=10s"]).await?.expect(3)?;
    let fact = format!("node \"{}\" is not responding", node::NAME);
    ensure!(output.out.contains("KD0316") && output.out.contains(&fact), "{}", output.out);
    let output = plugin.run(&["diagnose", "tiny"]).await?;
    ensure!(output.out.contains("KD0316") && output.out.contains(&fact), "{:?}: {}", output.code, output.out);
    shared.cluster.signal_program("kubelet", Signal::CONT)?;
    await_condition(nodes, node::NAME, has_readiness(true)).await?;
    plugin.run(&["status", "tiny", "--wait"]).await?.expect(0)?;
    plugin.run(&["chat", "tiny", "Still there?"]).await?.expect(0)?;
    namespace.delete().await
}

/// The support bundle contains the logs of the containers, and tar can extract it.
async fn assert_report_contains_logs(plugin: &Plugin) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("report.tar.gz").display().to_string();
    plugin.run(&["report", "tiny", "-f", &path]).await?.expect(0)?;
    let listed = Command::new("tar").args(["--list", "--file", &path]).output().await?;
    let listed = String::from_utf8(listed.stdout)?;
    let has = |end: &str| listed.lines().any(|line| line.ends_with(end));
    ensure!(has("/report.json") && has("/pods.json") && has(".log"), "{listed}");
    Ok(())
}

/// The evidence folder of a failed `up` contains what is needed for a bug report.
fn assert_evidence_is_saved(stderr: &str) -> Outcome {
    let (_, rest) =
        stderr.split_once("evidence: ").ok_or_else(|| format!("no evidence folder is printed:\n{stderr}"))?;
    let folder = Path::new(rest.lines().next().unwrap_or_default().trim());
    for file in ["graph.json", "pods.json", "events.txt", "diagnosis.txt"] {
        let text = std::fs::read_to_string(folder.join(file))?;
        ensure!(text.contains("tiny"), "{file} does not mention the deployment: {text}");
    }
    Ok(())
}
