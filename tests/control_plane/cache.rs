//! Models on PVCs: what the API shows about them, and the verbs that fetch, verify, and remove them. Pods do
//! not run; the cases report their status.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_core::readiness::JOB_LABEL;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::kubernetes::pod_reports::{PodActivity, report_pods, run_jobs};
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::UP;

/// Termination message of the fetcher for a complete model.
pub(crate) const COMPLETE: &str =
    "complete: /opt/models/acme/tiny at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s";

pub(crate) const PULL: [&str; 5] =
    ["cache", "pull", "acme/tiny", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];

/// Lets the pod of the fetch Job succeed, and waits until the Job is complete.
async fn complete_fetch(namespace: &CaseNamespace) -> Outcome<String> {
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let job = jobs.list(&ListParams::default()).await?.items.pop().and_then(|job| job.metadata.name);
    let job = job.ok_or("fetch Job not found")?;
    let labels = format!("{JOB_LABEL}={job}");
    report_pods(namespace.client(), namespace.name(), &labels, 1, PodActivity::Ended(0, COMPLETE)).await?;
    let is_complete = |job: Option<&Job>| {
        job.is_some_and(|job| job.status.as_ref().is_some_and(|one| one.succeeded == Some(1)))
    };
    await_condition(jobs, &job, is_complete).await?;
    Ok(job)
}

/// Runs a verb whose Jobs exit as given.
async fn run_with_jobs(
    namespace: &CaseNamespace,
    plugin: &Plugin,
    args: &[&str],
    activity: PodActivity,
) -> Outcome<PluginOutput> {
    tokio::select! {
        output = plugin.run(args) => output,
        watch_result = run_jobs(namespace.client(), namespace.name(), activity, || async {}) => {
            Err(format!("the watch of pods ended: {watch_result:?}").into())
        }
    }
}

async fn cache_inventory(plugin: &Plugin) -> Outcome<Value> {
    Ok(serde_json::from_str(&plugin.run(&["cache", "list", "-o", "json"]).await?.expect(0)?.out)?)
}

pub(crate) async fn cache_list_reads_pvc_contents_without_a_pod(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "cache-list").await?;
    let output = plugin.run(&["cache", "list"]).await?.expect(0)?;
    ensure!(
        output.out.is_empty() && output.err.contains("no model PVCs found in namespace \"cache-list\""),
        "{}",
        output.err
    );
    plugin.run(&UP).await?.expect(0)?;
    ensure!(cache_inventory(&plugin).await?["items"][0]["state"] == "fetching", "the fetch is not running");
    let job = complete_fetch(&namespace).await?;

    let position = shared.cluster.control_plane(V1Beta1)?.audit_log().position()?;
    let output = plugin.run(&["cache", "list"]).await?.expect(0)?;
    let row = output.out.lines().nth(1).unwrap_or_default().to_owned();
    for expected in [
        "model-cache ",
        "acme/tiny ",
        "main ",
        "24.00 MiB ",
        "5 ",
        "complete, verified ",
        "dynamographdeployment/tiny",
    ] {
        ensure!(row.contains(expected), "no {expected} in {}", output.out);
    }
    let one = cache_inventory(&plugin).await?["items"][0].take();
    ensure!(one["commit"] == "0123456789ab" && one["files"] == 5 && one["jobs"] == json!([job]), "{one:#}");
    ensure!(plugin.run(&["cache", "list", "-o", "name"]).await?.out == "acme/tiny@main\n", "another name");
    let output = plugin.run(&["cache", "list", "-A", "-o", "wide"]).await?.expect(0)?;
    ensure!(output.out.contains("cache-list ") && output.out.contains(&job), "{}", output.out);
    for request in
        shared.cluster.control_plane(V1Beta1)?.audit_log().requests_since(position, namespace.name())?
    {
        ensure!(!request.is_write(), "a list wrote: {request:?}");
    }

    // A managed PVC without information about its models.
    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    jobs.delete(&job, &DeleteParams::background()).await?;
    let output = plugin.run(&["cache", "list"]).await?.expect(0)?;
    ensure!(output.out.contains("model-cache") && output.out.contains("unknown"), "{}", output.out);
    ensure!(
        output.err.contains("kubectl dynamo cache verify MODEL -n cache-list --cache model-cache"),
        "{}",
        output.err
    );
    namespace.delete().await
}

pub(crate) async fn cache_prune_removes_only_unused_models(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "cache-rm").await?;
    plugin.run(&UP).await?.expect(0)?;
    complete_fetch(&namespace).await?;
    let output = plugin.run(&["cache", "rm", "acme/tiny", "-y"]).await?.expect(7)?;
    ensure!(
        output.err.contains("KD0414") && output.err.contains("dynamographdeployment/tiny"),
        "{}",
        output.err
    );
    let output = plugin.run(&["cache", "prune", "-y"]).await?.expect(0)?;
    ensure!(output.err.contains("no unused models found"), "{}", output.err);

    plugin.run(&["down", "tiny", "-y", "--wait"]).await?.expect(0)?;
    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0106"), "a cached model is not a deployment: {}", output.err);
    let output = plugin.run(&["cache", "prune", "--dry-run"]).await?.expect(0)?;
    ensure!(output.out == "acme/tiny@main on pvc/model-cache, 24.00 MiB\n", "{}", output.out);
    let output = plugin.run(&["cache", "prune"]).await?.expect(2)?;
    ensure!(output.err.contains("KD0002"), "no confirmation was required: {}", output.err);
    ensure!(
        cache_inventory(&plugin).await?["items"][0]["state"] == "complete",
        "a rejected rm removed the model"
    );

    let removed = PodActivity::Ended(0, "removed: /opt/models/acme/tiny");
    let output = run_with_jobs(&namespace, &plugin, &["cache", "prune", "-y"], removed).await?.expect(0)?;
    ensure!(output.err.contains("acme/tiny@main removed from pvc/model-cache"), "{}", output.err);
    let remaining = cache_inventory(&plugin).await?;
    ensure!(
        remaining["items"] == json!([]) && remaining["pvcs"][0]["name"] == "model-cache",
        "{remaining:#}"
    );
    namespace.delete().await
}

pub(crate) async fn up_reuses_a_pulled_model(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "cache-pull").await?;
    let output = plugin.run(&[&PULL[..], &["--access-mode=ReadWriteOnce"]].concat()).await?.expect(7)?;
    ensure!(output.err.contains("KD0421"), "{}", output.err);
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "a rejected pull created an object");
    let output =
        run_with_jobs(&namespace, &plugin, &PULL, PodActivity::Ended(0, COMPLETE)).await?.expect(0)?;
    ensure!(output.err.contains("job/fetch-tiny-main-") && output.err.contains("complete"), "{}", output.err);
    ensure!(
        output.err.contains("kubectl dynamo up acme/tiny -n cache-pull --cache model-cache"),
        "{}",
        output.err
    );
    let output = plugin.run(&PULL).await?.expect(0)?;
    ensure!(output.err.contains("persistentvolumeclaim/model-cache kept"), "{}", output.err);
    let before = namespace.resource_versions(V1Beta1).await?;
    let output = plugin.run(&UP).await?.expect(0)?;
    ensure!(
        output.err.contains("job/fetch-tiny-main-") && output.err.matches(" kept").count() == 2,
        "{}",
        output.err
    );
    ensure!(
        namespace.resource_versions(V1Beta1).await?.len() == before.len() + 1,
        "up created more than the graph"
    );
    namespace.delete().await
}

/// The stored folder is complete, so only an update asks the hub.
pub(crate) async fn cache_pull_update_fetches_again_unless_the_model_is_used(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "cache-update").await?;
    run_with_jobs(&namespace, &plugin, &PULL, PodActivity::Ended(0, COMPLETE)).await?.expect(0)?;
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let updates = async || -> Outcome<Vec<String>> {
        let all = jobs.list(&ListParams::default()).await?.items;
        let container = |job: &Job| job.spec.as_ref()?.template.spec.as_ref()?.containers.first().cloned();
        let args = |job: &Job| container(job).and_then(|container| container.args).unwrap_or_default();
        let updates = all.iter().filter(|job| args(job).iter().any(|arg| arg == "--update"));
        Ok(updates.filter_map(|job| job.metadata.uid.clone()).collect())
    };
    ensure!(updates().await?.is_empty(), "a pull without --update is an update");
    let update = [&PULL[..], &["--update"]].concat();
    let mut known = Vec::new();
    for _ in 0..2 {
        run_with_jobs(&namespace, &plugin, &update, PodActivity::Ended(0, COMPLETE)).await?.expect(0)?;
        let found = updates().await?;
        ensure!(found.len() == 1 && !known.contains(&found[0]), "{found:?}, earlier {known:?}");
        known.extend(found);
    }
    plugin.run(&UP).await?.expect(0)?;
    let output = plugin.run(&update).await?.expect(7)?;
    for fact in ["KD0414", "dynamographdeployment/tiny"] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    ensure!(updates().await? == known[1..], "a refused update created a Job");
    namespace.delete().await
}

pub(crate) async fn cache_verify_exits_7_for_a_changed_file(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "cache-verify").await?;
    let output = plugin.run(&["cache", "verify", "acme/tiny"]).await?.expect(7)?;
    ensure!(output.err.contains("KD0411"), "{}", output.err);
    run_with_jobs(&namespace, &plugin, &PULL, PodActivity::Ended(0, COMPLETE)).await?.expect(0)?;
    let verify = ["cache", "verify", "acme/tiny"];
    let output =
        run_with_jobs(&namespace, &plugin, &verify, PodActivity::Ended(0, COMPLETE)).await?.expect(0)?;
    ensure!(output.out.contains("is verified: commit 0123456789ab, 5 files, 24.00 MiB"), "{}", output.out);
    let changed = "error: /opt/models/acme/tiny is not complete: model.safetensors does not match its hash";
    let output =
        run_with_jobs(&namespace, &plugin, &verify, PodActivity::Ended(1, changed)).await?.expect(7)?;
    ensure!(
        output.err.contains("KD0422") && output.err.contains("does not match its hash"),
        "{}",
        output.err
    );
    for remedy in ["cache rm", "&& kubectl dynamo cache pull"] {
        let command = format!("{remedy} acme/tiny@main -n cache-verify --cache model-cache");
        ensure!(output.err.contains(&command), "{}", output.err);
    }
    let full = PodActivity::Ended(12, "error: no space left on the volume");
    let output = run_with_jobs(&namespace, &plugin, &verify, full).await?.expect(7)?;
    ensure!(output.err.contains("KD0423") && output.err.contains("no space left"), "{}", output.err);
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let remaining: Vec<_> = jobs
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|job| job.metadata.deletion_timestamp.is_none())
        .filter_map(|job| job.metadata.name)
        .collect();
    ensure!(remaining.len() == 1 && remaining[0].starts_with("fetch-"), "{remaining:?}");

    namespace.create_pvc("other").await?;
    plugin.run(&[&PULL[..3], &PULL[4..], &["--cache=other", "--detach"]].concat()).await?.expect(0)?;
    let output = plugin.run(&verify).await?.expect(2)?;
    ensure!(output.err.contains("KD0420") && output.err.contains("--cache model-cache"), "{}", output.err);
    namespace.delete().await
}
