//! Errors of the API server itself, each reported by its code.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::api_proxy::InjectedError;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::json;

use crate::Shared;
use crate::faults::{set_all_ready, through_api_proxy, waiting_up_args};
use crate::plugin::UP;

pub(crate) async fn api_server_rejection_reports_its_code(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "refused", &json!({})).await?;
    let output =
        fixture.plugin.run_with_input(&[&UP[..], &["--hf-token-stdin"]].concat(), "\n").await?.expect(2)?;
    ensure!(output.err.contains("KD0413"), "{}", output.err);
    fixture.proxy.inject_error(Some(InjectedError {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "the store is unavailable",
    }));
    let output = fixture.plugin.run(&["list"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0108") && output.err.contains("store is unavailable"), "{}", output.err);
    fixture.proxy.inject_error(None);

    // Rejected by the operator's webhook; the graph is valid otherwise.
    let mut graph = dynamo::aggregated_graph("tiny", "model-cache", "tiny");
    graph["spec"]["components"] = json!([]);
    fixture.namespace.create_pvc("model-cache").await?;
    let output =
        fixture.plugin.run_with_input(&["up", "-f", "-", "--detach"], &graph.to_string()).await?.expect(1)?;
    ensure!(output.err.contains("KD0204") && output.err.contains("at least one component"), "{}", output.err);

    let quotas: Api<ResourceQuota> = Api::namespaced(fixture.namespace.client(), fixture.namespace.name());
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let has_status = |quota: Option<&ResourceQuota>| {
        quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.hard.is_some()))
    };
    await_condition(quotas, "none", has_status).await?;
    let args: Vec<&str> = UP.into_iter().filter(|arg| *arg != "--storage-class=manual").collect();
    let ignore_preflight = ["--cache=model-cache", "--ignore-preflight=all"];
    let output = fixture.plugin.run(&[&args[..], &ignore_preflight].concat()).await?.expect(5)?;
    ensure!(output.err.contains("KD0301") && output.err.contains("exceeded quota"), "{}", output.err);
    fixture.namespace.delete().await
}

/// The API server answers 403 also where no permission is missing.
pub(crate) async fn admission_denials_are_not_missing_permissions(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "denied").await?;
    let limits: Api<LimitRange> = Api::namespaced(namespace.client(), namespace.name());
    let limit = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
    let limit = json!({"metadata": {"name": "small"}, "spec": {"limits": [limit]}});
    limits.create(&PostParams::default(), &serde_json::from_value(limit)?).await?;
    let output = plugin.run(&[&UP[..], &["--ignore-preflight=all"]].concat()).await?.expect(5)?;
    for fact in [
        "error [KD0312]",
        "maximum storage usage per PersistentVolumeClaim is 1Gi",
        &format!("kubectl describe limitrange -n {}", namespace.name()),
    ] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    limits.delete("small", &Default::default()).await?;

    let maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    let blocker = json!({"metadata": {"name": "blocker", "finalizers": ["test.kubectl-dynamo.dev/block"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(blocker)?).await?;
    let namespaces: Api<Namespace> = Api::all(namespace.client());
    namespaces.delete(namespace.name(), &Default::default()).await?;
    let is_terminating = |namespace: Option<&Namespace>| {
        let status = namespace.and_then(|namespace| namespace.status.as_ref());
        status.is_some_and(|status| status.phase.as_deref() == Some("Terminating"))
    };
    await_condition(namespaces, namespace.name(), is_terminating).await?;
    let output = plugin.run(&[&UP[..], &["--ignore-preflight=all"]].concat()).await?.expect(1)?;
    ensure!(
        output.err.contains("error [KD0107]") && output.err.contains("it is being terminated"),
        "{}",
        output.err
    );
    let unblocked = json!({"metadata": {"finalizers": null}});
    maps.patch("blocker", &PatchParams::default(), &Patch::Merge(unblocked)).await?;
    Ok(())
}

pub(crate) async fn ignored_changes_and_unrecorded_revisions_are_warnings(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "warned", &json!({})).await?;
    fixture.plugin.run(&UP).await?.expect(0)?;
    let output = fixture.plugin.run(&["port-forward", "tiny"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0801"), "{}", output.err);
    let output = fixture.plugin.run(&["up", "tiny", "--cache-size=9Ti", "--detach"]).await?.expect(0)?;
    ensure!(output.err.contains("KD0416") && output.err.contains("9Ti"), "{}", output.err);

    fixture.proxy.inject_error(Some(InjectedError {
        path: "/controllerrevisions",
        method: None,
        code: 500,
        message: "the store is unavailable",
    }));
    let output = fixture.plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
    ensure!(output.err.contains("KD0243") && output.err.contains("store is unavailable"), "{}", output.err);
    fixture.namespace.delete().await
}

/// Pods that are never removed: `down` reports a timeout, and the next `up` does not wait forever.
pub(crate) async fn stuck_pods_are_reported_and_do_not_block_up(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "endless", &json!({})).await?;
    let up = fixture.start_waiting_up().await?;
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;
    fixture.kubelet.block_deletion(true).await?;
    let output = fixture.plugin.run(&["down", "tiny", "-y", "--wait", "--timeout=5s"]).await?.expect(3)?;
    ensure!(output.err.contains("KD0209") && output.err.contains("tiny-worker"), "{}", output.err);
    let mut up = fixture.plugin.start(&waiting_up_args())?;
    // The model and its Job remain.
    up.wait_for_line("model fetch: done").await?;
    up.wait_for_line("KD0223").await?;
    up.wait_for_line("ready: waiting for").await?;
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;
    fixture.kubelet.block_deletion(false).await?;
    fixture.namespace.delete().await
}
