//! A download that fails ends `up` with the fetcher's own words, and the evidence is kept.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, ListParams, PostParams};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::json;

use crate::Shared;
use crate::faults::{all_ready, waiting};

pub(crate) async fn a_failed_download_ends_it_at_once(shared: Arc<Shared>) -> Outcome {
    for (generation, exit_code, words, exit) in [
        (V1Alpha1, 11, "the hub has no acme/tiny", 7),
        (V1Beta1, 12, "no space on the volume: 3 GiB are missing", 7),
        (V1Beta1, 10, "the hub does not accept the token", 4),
    ] {
        let (place, plugin) = shared.user(generation, &format!("failed-{exit_code}")).await?;
        let mut up = plugin.start(&waiting())?;
        up.until("model fetch: waiting").await?;
        Puppet::of(&place).fail_fetch(exit_code, words).await?;
        let said = up.end().await?.expect(exit)?;
        for fact in ["KD0410", words, &format!("exit code {exit_code}")] {
            ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
        }
        let (_, rest) = said.err.split_once("evidence: ").ok_or_else(|| said.err.clone())?;
        let folder = Path::new(rest.lines().next().unwrap_or_default().trim());
        for file in ["jobs.json", "pods.json"] {
            ensure!(
                std::fs::read_to_string(folder.join(file))?.contains("fetch-tiny"),
                "{file} says nothing"
            );
        }
        for verb in ["status", "diagnose"] {
            let said = plugin.run(&[verb, "tiny"]).await?.expect(1)?;
            for fact in ["✗ DOWN  tiny is not created", "KD0410", words, "fix "] {
                ensure!(said.out.contains(fact), "{verb}: {fact} is not in {}", said.out);
            }
        }
        plugin.run(&["status", "tiny", "--wait"]).await?.expect(1)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        ensure!(graphs.get_opt("tiny").await?.is_none(), "a graph waits for a model that will not come");
        let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the failed Job was deleted");
        place.delete().await?;
    }
    Ok(())
}

/// The folder of a model holds one revision: another one is in the way until somebody removes it.
pub(crate) async fn another_revision_in_the_folder_ends_it(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "other-revision").await?;
    let mut up = plugin.start(&waiting())?;
    up.until("model fetch: waiting").await?;
    Puppet::of(&place).fail_fetch(1, "/opt/models/acme/tiny holds revision 0123456789ab, not main").await?;
    let said = up.end().await?.expect(7)?;
    for fact in ["error [KD0446]", "holds revision 0123456789ab", "kubectl dynamo cache rm MODEL"] {
        ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
    }
    place.delete().await
}

pub(crate) async fn a_download_that_is_tried_again_is_waited_for(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "tries").await?;
    let puppet = Puppet::of(&place);
    let mut up = plugin.start(&waiting())?;
    up.until("model fetch: waiting").await?;
    puppet.fail_fetch(13, "the hub gave nothing for 60 s").await?;
    up.until("model fetch: waiting for another try").await?;
    puppet.finish_fetch().await?;
    up.until("ready: waiting for").await?;
    all_ready(&puppet).await?;
    let said = up.end().await?.expect(0)?;
    ensure!(said.err.contains("the hub gave nothing for 60 s"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn an_init_containers_failed_download_ends_it_at_once(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "init").await?;
    let classes: Api<StorageClass> = Api::all(place.client());
    let class = serde_json::from_value(json!({
        "metadata": {"name": "bound-late"},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))?;
    classes.create(&PostParams::default(), &class).await?;
    let more = ["--storage-class=bound-late", "--access-mode=ReadWriteOnce"];
    let words: Vec<&str> =
        waiting().into_iter().filter(|word| *word != "--storage-class=manual").chain(more).collect();
    let mut up = plugin.start(&words)?;
    up.until("ready: waiting for").await?;
    let puppet = Puppet::of(&place);
    let worker = puppet.pod_of("worker").await?;
    let ended = json!({"terminated": {
        "exitCode": 10, "reason": "Error", "message": "the repository is gated and the token has no access",
    }});
    puppet.report(&worker, json!({
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [{
            "name": "model-fetch", "state": ended, "restartCount": 0, "ready": false, "image": "f", "imageID": "",
        }],
    }))
    .await?;
    let said = up.end().await?.expect(4)?;
    for fact in ["KD0410", "exit code 10", "the repository is gated", "evidence: ", &worker] {
        ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
    }
    place.delete().await
}
