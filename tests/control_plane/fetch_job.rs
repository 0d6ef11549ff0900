//! A failed download ends `up` with the fetcher's message and writes evidence.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, PostParams};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::json;

use crate::Shared;
use crate::faults::{set_all_ready, waiting_up_args};

pub(crate) async fn up_fails_when_the_download_fails(shared: Arc<Shared>) -> Outcome {
    for (generation, exit_code, message, exit) in [
        (V1Alpha1, 11, "repository \"acme/tiny\" not found", 7),
        (V1Beta1, 12, "no space on the volume: 3 GiB are missing", 7),
        (V1Beta1, 10, "the hub does not accept the token", 4),
    ] {
        let (namespace, plugin) =
            shared.user_in_namespace(generation, &format!("failed-{exit_code}")).await?;
        let mut up = plugin.start(&waiting_up_args())?;
        up.wait_for_line("model fetch: waiting").await?;
        FakeKubelet::new(&namespace).fail_fetch(exit_code, message).await?;
        let output = up.finish().await?.expect(exit)?;
        for fact in ["KD0410", message, &format!("exit code {exit_code}")] {
            ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
        }
        let (_, rest) = output.err.split_once("evidence: ").ok_or_else(|| output.err.clone())?;
        let folder = Path::new(rest.lines().next().unwrap_or_default().trim());
        for file in ["jobs.json", "pods.json"] {
            ensure!(std::fs::read_to_string(folder.join(file))?.contains("fetch-tiny"), "{file} is empty");
        }
        for verb in ["status", "diagnose"] {
            let output = plugin.run(&[verb, "tiny"]).await?.expect(1)?;
            for fact in ["✗ DOWN  deployment \"tiny\" is not created", "KD0410", message, "fix "] {
                ensure!(output.out.contains(fact), "{verb}: {fact} is not in {}", output.out);
            }
        }
        plugin.run(&["status", "tiny", "--wait"]).await?.expect(1)?;
        // The reason has a line of its own, so that the table fits on a terminal.
        let output = plugin.run(&["cache", "list"]).await?.expect(0)?;
        let is_narrow = output.out.lines().all(|line| line.chars().count() <= 80);
        ensure!(is_narrow && output.out.contains("failed"), "{}", output.out);
        ensure!(output.err.contains("failed: acme/tiny@main on PVC \"model-cache\": "), "{}", output.err);
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        ensure!(graphs.get_opt("tiny").await?.is_none(), "a graph waits for a model that will not come");
        let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the failed Job was deleted");
        namespace.delete().await?;
    }
    Ok(())
}

/// Two deployments of one model share a Job. `down` of the first one must not end the download of the second.
pub(crate) async fn down_of_one_deployment_keeps_a_shared_download(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "shared-fetch").await?;
    let mut first = plugin.start(&waiting_up_args())?;
    first.wait_for_line("model fetch: waiting").await?;
    let other = [&waiting_up_args()[..], &["--name=other"]].concat();
    let mut second = plugin.start(&other)?;
    second.wait_for_line("model fetch: waiting").await?;
    let output = plugin.run(&["status", "other"]).await?;
    ensure!(!output.err.contains("KD0106"), "{}", output.err);
    drop(first);

    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    ensure!(output.err.contains("continues for deployment other"), "{}", output.err);
    ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the Job was deleted");
    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0106"), "{}", output.err);
    FakeKubelet::new(&namespace).finish_fetch().await?;
    second.wait_for_line("dynamographdeployment/other created").await?;
    drop(second);
    namespace.delete().await
}

/// The last deployment that waits for a download ends it.
pub(crate) async fn down_of_the_last_deployment_ends_the_download(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "last-fetch").await?;
    for name in ["tiny", "other"] {
        let mut up = plugin.start(&[&waiting_up_args()[..], &["--name", name]].concat())?;
        up.wait_for_line("model fetch: waiting").await?;
    }
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the Job was deleted");
    let output = plugin.run(&["down", "other", "-y"]).await?.expect(0)?;
    ensure!(output.err.contains("deleted"), "{}", output.err);
    // The graph does not exist yet, but its PVC does.
    ensure!(output.err.contains("pvc/model-cache and its models are retained"), "{}", output.err);
    ensure!(jobs.list(&ListParams::default()).await?.items.is_empty(), "the Job was kept");
    namespace.delete().await
}

/// A model folder contains one revision. Another revision blocks the fetch until a user removes it.
pub(crate) async fn up_fails_if_cache_contains_another_revision(shared: Arc<Shared>) -> Outcome {
    // An older fetcher only writes the message. A newer one also writes the reason and may use a different
    // message.
    for (name, message, text) in [
        ("old", "/opt/models/acme/tiny holds revision 0123456789ab, not main", "holds revision 0123456789ab"),
        (
            "new",
            "error: another one is in /opt/models/acme/tiny\nreason: other_revision\n",
            "another one is in",
        ),
    ] {
        let (namespace, plugin) = shared.user_in_namespace(V1Beta1, &format!("{name}-fetcher")).await?;
        let mut up = plugin.start(&waiting_up_args())?;
        up.wait_for_line("model fetch: waiting").await?;
        FakeKubelet::new(&namespace).fail_fetch(1, message).await?;
        let output = up.finish().await?.expect(7)?;
        for fact in ["error [KD0446]", text, "kubectl dynamo cache rm MODEL"] {
            ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
        }
        ensure!(!output.err.contains("reason: "), "the machine-readable line is printed: {}", output.err);
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn up_waits_for_download_retry(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "tries").await?;
    let kubelet = FakeKubelet::new(&namespace);
    let mut up = plugin.start(&waiting_up_args())?;
    up.wait_for_line("model fetch: waiting").await?;
    kubelet.fail_fetch(13, "no data from the hub for 60 s").await?;
    up.wait_for_line("model fetch: waiting for a retry").await?;
    kubelet.finish_fetch().await?;
    up.wait_for_line("ready: waiting for").await?;
    set_all_ready(&kubelet).await?;
    let output = up.finish().await?.expect(0)?;
    ensure!(output.err.contains("no data from the hub for 60 s"), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn up_fails_when_init_container_download_fails(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "init").await?;
    let classes: Api<StorageClass> = Api::all(namespace.client());
    let class = serde_json::from_value(json!({
        "metadata": {"name": "bound-late"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))?;
    classes.create(&PostParams::default(), &class).await?;
    let more = ["--storage-class=bound-late", "--access-mode=ReadWriteOnce"];
    let args: Vec<&str> =
        waiting_up_args().into_iter().filter(|arg| *arg != "--storage-class=manual").chain(more).collect();
    let mut up = plugin.start(&args)?;
    up.wait_for_line("ready: waiting for").await?;
    let kubelet = FakeKubelet::new(&namespace);
    let worker = kubelet.pod_of_component("worker").await?;
    let terminated = json!({"terminated": {
        "exitCode": 10, "reason": "Error", "message": "the repository is gated and the token does not have access",
    }});
    kubelet.report(&worker, json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [{
            "name": "model-fetch", "state": terminated, "restartCount": 0, "ready": false, "image": "f", "imageID": "",
        }],
    }))
    .await?;
    let output = up.finish().await?.expect(4)?;
    for fact in ["KD0410", "exit code 10", "the repository is gated", "evidence: ", &worker] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    namespace.delete().await
}
