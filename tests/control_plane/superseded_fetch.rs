//! An `up` with other inputs replaces the unfinished fetch Job of an earlier one.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::terminal::TestTerminal;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{ProxiedNamespace, through_api_proxy, waiting_up_args};

const CHANGE: &str = "--env=HF_ENDPOINT=http://127.0.0.1:1";

fn changed_up() -> Vec<&'static str> {
    [&waiting_up_args()[..], &[CHANGE]].concat()
}

/// Returns the names of the fetch Jobs that are not being deleted.
async fn jobs(namespace: &CaseNamespace) -> Outcome<Vec<String>> {
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let all = jobs.list(&ListParams::default()).await?;
    let current = all.iter().filter(|job| job.metadata.deletion_timestamp.is_none());
    Ok(current.map(ResourceExt::name_any).collect())
}

/// Starts a fetch, which the case's proxy reports to have fetched 1 GiB of the model.
async fn fetch_with_bytes(fixture: &ProxiedNamespace) -> Outcome<String> {
    let mut first = fixture.plugin.start(&waiting_up_args())?;
    first.wait_for_line("model fetch: waiting").await?;
    let pod = fixture.kubelet.pod_of_job().await?;
    let running = json!({"running": {}});
    let status = json!({
        "name": "model-fetch", "state": running, "restartCount": 0, "ready": true, "image": "f", "imageID": "",
    });
    fixture.kubelet.report(&pod, json!({"phase": "Running", "containerStatuses": [status]})).await?;
    let progress = json!({
        "event": "progress", "bytes_done": 1_u64 << 30, "bytes_total": 1_u64 << 33, "bytes_verified": 0,
        "files_done": 0, "files_total": 3, "bytes_per_second": 1000, "retries": 0, "connections": 8,
    });
    fixture.proxy.inject_object("/log?", progress);
    jobs(&fixture.namespace).await?.pop().ok_or_else(|| "no fetch Job".into())
}

pub(crate) async fn job_without_bytes_is_replaced_without_a_prompt(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "no-bytes").await?;
        let mut first = plugin.start(&waiting_up_args())?;
        first.wait_for_line("model fetch: waiting").await?;
        let before = jobs(&namespace).await?;
        let mut second = plugin.start(&changed_up())?;
        second.wait_for_line("with other settings and has not fetched anything").await?;
        second.wait_for_line(&format!("job/{} deleted", before[0])).await?;
        second.wait_for_line("model fetch: waiting").await?;
        let after = jobs(&namespace).await?;
        ensure!(after.len() == 1 && after != before, "{before:?} became {after:?}");
        let output = first.finish().await?.expect(7)?;
        ensure!(output.err.contains("it was deleted"), "{}", output.err);
        // The same request again joins its Job.
        let mut third = plugin.start(&changed_up())?;
        third.wait_for_line("model fetch: waiting").await?;
        ensure!(jobs(&namespace).await? == after, "the same request replaced its Job");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn job_with_bytes_is_deleted_after_confirmation(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "bytes", &json!({})).await?;
    let before = fetch_with_bytes(&fixture).await?;
    // Without a terminal.
    let output = fixture.plugin.run(&changed_up()).await?.expect(2)?;
    for fact in ["KD0002", "--yes", "acme/tiny@main with other settings, 1.0 GiB so far"] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    ensure!(jobs(&fixture.namespace).await? == [before.clone()], "the Job was deleted without confirmation");
    // Declined in a terminal.
    let line = fixture.plugin.shell_line(&changed_up().join(" "));
    let declined = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let mut terminal = TestTerminal::start(&line, Path::new("/"), &[("TERM", "xterm")])
            .map_err(|error| error.to_string())?;
        terminal.wait_for("start the new fetch?")?;
        terminal.type_line("n")?;
        terminal.finish()
    });
    let (status, screen) = declined.await??;
    ensure!(status.success() && screen.contains("nothing was changed"), "{screen}");
    ensure!(jobs(&fixture.namespace).await? == [before.clone()], "the Job was deleted after \"n\"");

    let mut second = fixture.plugin.start(&[&changed_up()[..], &["-y"]].concat())?;
    second.wait_for_line(&format!("job/{before} deleted")).await?;
    second.wait_for_line("model fetch: waiting").await?;
    ensure!(!jobs(&fixture.namespace).await?.contains(&before), "the Job was kept");
    fixture.namespace.delete().await
}

pub(crate) async fn plan_and_dry_run_show_the_superseded_job(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "shown", &json!({})).await?;
    let before = fetch_with_bytes(&fixture).await?;
    let plan = |more: &'static [&'static str]| [&changed_up()[..], &["--plan"], more].concat();
    let output = fixture.plugin.run(&plan(&[])).await?.expect(0)?;
    let line =
        format!("job/{before} of an earlier up fetches acme/tiny@main with other settings, 1.0 GiB so far");
    ensure!(output.out.contains(&line) && output.out.contains("up deletes it"), "{}", output.out);
    let output = fixture.plugin.run(&plan(&["-o", "json"])).await?.expect(0)?;
    let document: Value = serde_json::from_str(&output.out)?;
    let expected = json!([{
        "name": before, "model": "acme/tiny@main", "bytesFetched": 1_u64 << 30, "deleted": true,
    }]);
    ensure!(document["supersededJobs"] == expected, "{document:#}");
    let dry_run = [&changed_up()[..], &["--dry-run=server"]].concat();
    let output = fixture.plugin.run(&dry_run).await?.expect(0)?;
    ensure!(output.out.contains(&format!("job/{before} deleted (server dry run)")), "{}", output.out);
    ensure!(jobs(&fixture.namespace).await? == [before], "a dry run deleted the Job");
    fixture.namespace.delete().await
}

/// A Job that another deployment waits for is not deleted.
pub(crate) async fn job_of_another_deployment_continues(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "shared-before").await?;
    for name in ["tiny", "other"] {
        let mut up = plugin.start(&[&waiting_up_args()[..], &["--name", name]].concat())?;
        up.wait_for_line("model fetch: waiting").await?;
    }
    let before = jobs(&namespace).await?;
    let mut changed = plugin.start(&changed_up())?;
    changed.wait_for_line(&format!("job/{} continues for deployment other", before[0])).await?;
    changed.wait_for_line("model fetch: waiting").await?;
    let after = jobs(&namespace).await?;
    ensure!(after.len() == 2 && after.contains(&before[0]), "{before:?} became {after:?}");
    // The deployment left the first Job, so it ends only its own.
    drop(changed);
    plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    ensure!(jobs(&namespace).await? == before, "the other deployment's Job was deleted");
    namespace.delete().await
}
