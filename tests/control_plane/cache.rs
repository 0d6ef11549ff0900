//! Models on claims: what the API tells of them, and the verbs that fetch, verify and remove them. No pod runs; what
//! a kubelet would say of one is said by the cases.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo::readiness::JOB_LABEL;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::kubernetes::pods::{Doing, pretend, run_jobs};
use kubectl_dynamo_tests::plugin::{Plugin, Said};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::UP;

/// What the fetcher says of a model that is complete.
pub(crate) const COMPLETE: &str =
    "complete: /opt/models/acme/tiny at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s";

pub(crate) const PULL: [&str; 5] =
    ["cache", "pull", "acme/tiny", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];

/// Lets the pod of the fetch Job end well, and waits until the Job is complete.
async fn fetched(place: &CaseNamespace) -> Outcome<String> {
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    let job = jobs.list(&ListParams::default()).await?.items.pop().and_then(|job| job.metadata.name);
    let job = job.ok_or("there is no fetch Job")?;
    let labels = format!("{JOB_LABEL}={job}");
    pretend(place.client(), place.name(), &labels, 1, Doing::Ended(0, COMPLETE)).await?;
    let is_complete = |job: Option<&Job>| {
        job.is_some_and(|job| job.status.as_ref().is_some_and(|one| one.succeeded == Some(1)))
    };
    await_condition(jobs, &job, is_complete).await?;
    Ok(job)
}

/// Runs a verb whose Jobs end so.
async fn with_jobs(place: &CaseNamespace, plugin: &Plugin, words: &[&str], ends: Doing) -> Outcome<Said> {
    tokio::select! {
        said = plugin.run(words) => said,
        ended = run_jobs(place.client(), place.name(), ends, || async {}) => {
            Err(format!("the watch of pods ended: {ended:?}").into())
        }
    }
}

async fn listed(plugin: &Plugin) -> Outcome<Value> {
    Ok(serde_json::from_str(&plugin.run(&["cache", "list", "-o", "json"]).await?.expect(0)?.out)?)
}

pub(crate) async fn what_is_on_a_claim_is_known_without_a_pod(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "cache-list").await?;
    let said = plugin.run(&["cache", "list"]).await?.expect(0)?;
    ensure!(
        said.out.is_empty() && said.err.contains("no claim for models in namespace cache-list"),
        "{}",
        said.err
    );
    plugin.run(&UP).await?.expect(0)?;
    ensure!(listed(&plugin).await?["items"][0]["state"] == "fetching", "the fetch goes on");
    let job = fetched(&place).await?;

    let position = shared.cluster.control_plane(V1Beta1)?.audit().position()?;
    let said = plugin.run(&["cache", "list"]).await?.expect(0)?;
    let row = said.out.lines().nth(1).unwrap_or_default().to_owned();
    for word in [
        "model-cache ",
        "acme/tiny ",
        "main ",
        "24.00 MiB ",
        "5 ",
        "complete, verified ",
        "dynamographdeployment/tiny",
    ] {
        ensure!(row.contains(word), "no {word} in {}", said.out);
    }
    let one = listed(&plugin).await?["items"][0].take();
    ensure!(one["commit"] == "0123456789ab" && one["files"] == 5 && one["jobs"] == json!([job]), "{one:#}");
    ensure!(plugin.run(&["cache", "list", "-o", "name"]).await?.out == "acme/tiny@main\n", "another name");
    let said = plugin.run(&["cache", "list", "-A", "-o", "wide"]).await?.expect(0)?;
    ensure!(said.out.contains("cache-list ") && said.out.contains(&job), "{}", said.out);
    for request in shared.cluster.control_plane(V1Beta1)?.audit().requests_since(position, place.name())? {
        ensure!(!request.writes(), "a list wrote: {request:?}");
    }

    // A claim of ours whose models nobody tells of.
    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    jobs.delete(&job, &DeleteParams::background()).await?;
    let said = plugin.run(&["cache", "list"]).await?.expect(0)?;
    ensure!(said.out.contains("model-cache") && said.out.contains("unknown"), "{}", said.out);
    ensure!(
        said.err.contains("kubectl dynamo cache verify MODEL --cache model-cache -n cache-list"),
        "{}",
        said.err
    );
    place.delete().await
}

pub(crate) async fn a_model_that_is_used_stays_and_an_idle_one_goes(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "cache-rm").await?;
    plugin.run(&UP).await?.expect(0)?;
    fetched(&place).await?;
    let said = plugin.run(&["cache", "rm", "acme/tiny", "-y"]).await?.expect(7)?;
    ensure!(said.err.contains("KD0414") && said.err.contains("dynamographdeployment/tiny"), "{}", said.err);
    let said = plugin.run(&["cache", "prune", "-y"]).await?.expect(0)?;
    ensure!(said.err.contains("every model that is known is used"), "{}", said.err);

    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let said = plugin.run(&["down", "tiny", "-y"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0106"), "a model that stays is no deployment: {}", said.err);
    let said = plugin.run(&["cache", "prune", "--dry-run"]).await?.expect(0)?;
    ensure!(said.out == "acme/tiny@main on pvc/model-cache, 24.00 MiB\n", "{}", said.out);
    let said = plugin.run(&["cache", "prune"]).await?.expect(2)?;
    ensure!(said.err.contains("KD0002"), "nobody was asked: {}", said.err);
    ensure!(listed(&plugin).await?["items"][0]["state"] == "complete", "a look removed it");

    let removed = Doing::Ended(0, "removed: /opt/models/acme/tiny");
    let said = with_jobs(&place, &plugin, &["cache", "prune", "-y"], removed).await?.expect(0)?;
    ensure!(said.err.contains("acme/tiny@main is removed from pvc/model-cache"), "{}", said.err);
    let left = listed(&plugin).await?;
    ensure!(left["items"] == json!([]) && left["claims"][0]["name"] == "model-cache", "{left:#}");
    place.delete().await
}

pub(crate) async fn a_pull_is_what_up_goes_on_with(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "cache-pull").await?;
    let said = plugin.run(&[&PULL[..], &["--access-mode=ReadWriteOnce"]].concat()).await?.expect(7)?;
    ensure!(said.err.contains("KD0421"), "{}", said.err);
    ensure!(place.versions(V1Beta1).await?.is_empty(), "a refused pull made something");
    let said = with_jobs(&place, &plugin, &PULL, Doing::Ended(0, COMPLETE)).await?.expect(0)?;
    ensure!(said.err.contains("job/fetch-tiny-main-") && said.err.contains("complete"), "{}", said.err);
    ensure!(
        said.err.contains("kubectl dynamo up acme/tiny --cache model-cache -n cache-pull"),
        "{}",
        said.err
    );
    let said = plugin.run(&PULL).await?.expect(0)?;
    ensure!(said.err.contains("persistentvolumeclaim/model-cache kept"), "{}", said.err);
    let before = place.versions(V1Beta1).await?;
    let said = plugin.run(&UP).await?.expect(0)?;
    ensure!(
        said.err.contains("job/fetch-tiny-main-") && said.err.matches(" kept").count() == 2,
        "{}",
        said.err
    );
    ensure!(place.versions(V1Beta1).await?.len() == before.len() + 1, "up made more than the graph");
    place.delete().await
}

pub(crate) async fn a_file_that_changed_ends_with_seven(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "cache-verify").await?;
    let said = plugin.run(&["cache", "verify", "acme/tiny"]).await?.expect(7)?;
    ensure!(said.err.contains("KD0411"), "{}", said.err);
    with_jobs(&place, &plugin, &PULL, Doing::Ended(0, COMPLETE)).await?.expect(0)?;
    let verify = ["cache", "verify", "acme/tiny"];
    let said = with_jobs(&place, &plugin, &verify, Doing::Ended(0, COMPLETE)).await?.expect(0)?;
    ensure!(
        said.out.contains("is what was fetched: commit 0123456789ab, 5 files, 24.00 MiB"),
        "{}",
        said.out
    );
    let changed = "error: /opt/models/acme/tiny is not complete: model.safetensors does not match its hash";
    let said = with_jobs(&place, &plugin, &verify, Doing::Ended(1, changed)).await?.expect(7)?;
    ensure!(said.err.contains("KD0422") && said.err.contains("does not match its hash"), "{}", said.err);
    let remedy = "cache rm acme/tiny@main --cache model-cache -n cache-verify && kubectl dynamo cache pull";
    ensure!(said.err.contains(remedy), "{}", said.err);
    let full = Doing::Ended(12, "error: no space left on the volume");
    let said = with_jobs(&place, &plugin, &verify, full).await?.expect(7)?;
    ensure!(said.err.contains("KD0423") && said.err.contains("no space left"), "{}", said.err);
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    let left: Vec<_> = jobs
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter_map(|job| job.metadata.name)
        .collect();
    ensure!(left.len() == 1 && left[0].starts_with("fetch-"), "{left:?}");

    place.claim("other").await?;
    plugin.run(&[&PULL[..3], &PULL[4..], &["--cache=other", "--detach"]].concat()).await?.expect(0)?;
    let said = plugin.run(&verify).await?.expect(2)?;
    ensure!(said.err.contains("KD0420") && said.err.contains("--cache model-cache"), "{}", said.err);
    place.delete().await
}
