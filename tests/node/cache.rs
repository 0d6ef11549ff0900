//! How `down` treats the cache: keep it, remove one model, or delete the PVC, but never while another
//! deployment uses it. Also the `cache` verbs on a real volume.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::images::fetcher;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{up_args, with_pod_details};

pub(crate) async fn down_delete_cache_removes_model_or_pvc(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("cache").await?;
    let volume = namespace.create_volume("model-cache", "manual").await?;
    let model = volume.join(crate::MODEL);
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &["--name=one"])).await?.expect(0), &namespace).await?;
    with_pod_details(plugin.run(&up_args(&shared, &["--name=two"])).await?.expect(0), &namespace).await?;

    let rejected = plugin.run(&["down", "one", "-y", "--delete-cache=pvc"]).await?.expect(7)?;
    ensure!(rejected.err.contains("KD0414") && rejected.err.contains("two-worker"), "{}", rejected.err);
    plugin.run(&["status", "one"]).await?.expect(0)?;

    plugin.run(&["down", "two", "-y", "--wait"]).await?.expect(0)?;
    ensure!(
        model.join("model.safetensors").is_file(),
        "the model was removed with a deployment that does not use it"
    );
    let command = ["down", "one", "-y", "--delete-cache=model", "--progress=plain"];
    with_pod_details(plugin.run(&command).await?.expect(0), &namespace).await?;
    ensure!(!model.exists(), "the model was not removed");
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let remaining = jobs.list(&ListParams::default()).await?.items;
    ensure!(
        remaining.iter().all(|job| job.metadata.deletion_timestamp.is_some()),
        "Jobs were not deleted: {remaining:?}"
    );

    with_pod_details(plugin.run(&up_args(&shared, &["--name=one"])).await?.expect(0), &namespace).await?;
    with_pod_details(plugin.run(&["down", "one", "-y", "--delete-cache=pvc"]).await?.expect(0), &namespace)
        .await?;
    let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client(), namespace.name());
    await_condition(pvcs, "model-cache", |pvc: Option<&PersistentVolumeClaim>| pvc.is_none()).await?;
    namespace.delete().await
}

pub(crate) async fn cache_verify_detects_a_changed_byte(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("verify").await?;
    let volume = namespace.create_volume("model-cache", "manual").await?;
    let model = volume.join(crate::MODEL);
    let plugin = shared.plugin(&namespace)?;
    let mut pull = vec!["cache", "pull", crate::MODEL, "--storage-class=manual", "--timeout=4m"];
    pull.extend(["--fetcher-image", fetcher::REFERENCE, "--env", &shared.hub_environment]);
    with_pod_details(plugin.run(&pull).await?.expect(0), &namespace).await?;
    let verify = ["cache", "verify", crate::MODEL, "--timeout=4m"];
    let output = with_pod_details(plugin.run(&verify).await?.expect(0), &namespace).await?;
    ensure!(output.out.contains("is verified: commit "), "{}", output.out);

    let weights = model.join("model.safetensors");
    let mut bytes = std::fs::read(&weights)?;
    let last = bytes.last_mut().ok_or("no weights were fetched")?;
    *last ^= 1;
    std::fs::write(&weights, bytes)?;
    let output = with_pod_details(plugin.run(&verify).await?.expect(7), &namespace).await?;
    let fact = "model.safetensors does not match its hash";
    ensure!(output.err.contains("error [KD0422]") && output.err.contains(fact), "{}", output.err);

    with_pod_details(plugin.run(&["cache", "rm", crate::MODEL, "-y"]).await?.expect(0), &namespace).await?;
    ensure!(!model.exists(), "the model was not removed");
    let output = plugin.run(&["cache", "list", "-o", "json"]).await?.expect(0)?;
    let listed: Value = serde_json::from_str(&output.out)?;
    ensure!(listed["items"] == json!([]), "{listed:#}");
    with_pod_details(plugin.run(&pull).await?.expect(0), &namespace).await?;
    with_pod_details(plugin.run(&verify).await?.expect(0), &namespace).await?;
    namespace.delete().await
}
