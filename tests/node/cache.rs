//! What `down` does with the cache: it stays, one model goes, or the whole claim; never under somebody's feet. And what
//! the verbs of `cache` do on a real volume.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::images::fetcher;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{explained, up};

pub(crate) async fn down_removes_the_model_or_its_claim_when_told_to(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("cache").await?;
    let volume = place.volume("model-cache", "manual").await?;
    let model = volume.join(crate::MODEL);
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &["--name=one"])).await?.expect(0), &place).await?;
    explained(plugin.run(&up(&shared, &["--name=two"])).await?.expect(0), &place).await?;

    let refused = plugin.run(&["down", "one", "-y", "--delete-cache=pvc"]).await?.expect(7)?;
    ensure!(refused.err.contains("KD0414") && refused.err.contains("two-worker"), "{}", refused.err);
    plugin.run(&["status", "one"]).await?.expect(0)?;

    plugin.run(&["down", "two", "-y", "--wait"]).await?.expect(0)?;
    ensure!(
        model.join("model.safetensors").is_file(),
        "the model went with a deployment that did not name it"
    );
    let command = ["down", "one", "-y", "--delete-cache=model", "--progress=plain"];
    explained(plugin.run(&command).await?.expect(0), &place).await?;
    ensure!(!model.exists(), "the model is still there");
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    let left = jobs.list(&ListParams::default()).await?.items;
    ensure!(left.iter().all(|job| job.metadata.deletion_timestamp.is_some()), "jobs stay: {left:?}");

    explained(plugin.run(&up(&shared, &["--name=one"])).await?.expect(0), &place).await?;
    explained(plugin.run(&["down", "one", "-y", "--delete-cache=pvc"]).await?.expect(0), &place).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(place.client(), place.name());
    await_condition(claims, "model-cache", |claim: Option<&PersistentVolumeClaim>| claim.is_none()).await?;
    place.delete().await
}

pub(crate) async fn a_byte_that_changed_on_the_volume_is_found(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("verify").await?;
    let volume = place.volume("model-cache", "manual").await?;
    let model = volume.join(crate::MODEL);
    let plugin = shared.plugin(&place)?;
    let mut pull = vec!["cache", "pull", crate::MODEL, "--storage-class=manual", "--timeout=4m"];
    pull.extend(["--fetcher-image", fetcher::REFERENCE, "--env", &shared.hub_environment]);
    explained(plugin.run(&pull).await?.expect(0), &place).await?;
    let verify = ["cache", "verify", crate::MODEL, "--timeout=4m"];
    let said = explained(plugin.run(&verify).await?.expect(0), &place).await?;
    ensure!(said.out.contains("is what was fetched: commit "), "{}", said.out);

    let weights = model.join("model.safetensors");
    let mut bytes = std::fs::read(&weights)?;
    let last = bytes.last_mut().ok_or("no weights were fetched")?;
    *last ^= 1;
    std::fs::write(&weights, bytes)?;
    let said = explained(plugin.run(&verify).await?.expect(7), &place).await?;
    let fact = "model.safetensors does not match its hash";
    ensure!(said.err.contains("error [KD0422]") && said.err.contains(fact), "{}", said.err);

    explained(plugin.run(&["cache", "rm", crate::MODEL, "-y"]).await?.expect(0), &place).await?;
    ensure!(!model.exists(), "the model is still there");
    let said = plugin.run(&["cache", "list", "-o", "json"]).await?.expect(0)?;
    let listed: Value = serde_json::from_str(&said.out)?;
    ensure!(listed["items"] == json!([]), "{listed:#}");
    explained(plugin.run(&pull).await?.expect(0), &place).await?;
    explained(plugin.run(&verify).await?.expect(0), &place).await?;
    place.delete().await
}
