//! `diff` prints the effect of a change before it is applied, and which deployments `down` selects.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// Arguments of `up` that describe the deployment.
fn intent_args() -> Vec<&'static str> {
    UP[1..].iter().copied().filter(|arg| *arg != "--detach").collect()
}

pub(crate) async fn diff_lists_changed_fields_and_affected_pods(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "diff").await?;
        let unchanged_diff = [&["diff"][..], &intent_args()].concat();
        let output = plugin.run(&unchanged_diff).await?.expect(1)?;
        ensure!(output.out.contains("dynamographdeployment/tiny created"), "{}", output.out);
        ensure!(output.out.contains("1 pod starts"), "{}", output.out);
        ensure!(namespace.resource_versions(generation).await?.is_empty(), "diff left objects");

        plugin.run(&UP).await?.expect(0)?;
        wait_until_settled(&dynamo::graphs(namespace.client(), generation, namespace.name()), generation, 2)
            .await?;
        let output = plugin.run(&unchanged_diff).await?.expect(0)?;
        ensure!(
            output.out.is_empty() && output.err.contains("deployment \"tiny\" unchanged"),
            "{}{}",
            output.out,
            output.err
        );

        let output = plugin.run(&["diff", "tiny", "--replicas=2"]).await?.expect(1)?;
        ensure!(output.out.contains("replicas: 1 -> 2"), "{}", output.out);
        ensure!(
            !output.out.contains("kubectl-dynamo.dev/"),
            "the annotation repeats the change: {}",
            output.out
        );
        ensure!(output.out.contains("worker    1 -> 2 replicas, no pods replaced"), "{}", output.out);
        let output = plugin.run(&["diff", "tiny", "--env=A=b", "-o", "json"]).await?.expect(1)?;
        let document: Value = serde_json::from_str(&output.out)?;
        let components = document["components"].as_array().cloned().unwrap_or_default();
        let worker = components.iter().find(|one| one["name"] == "worker");
        ensure!(worker.is_some_and(|one| one["pods"] == "rolling"), "{document:#}");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn failed_diff_does_not_exit_with_the_difference_code(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "nodiff").await?;
    plugin.run(&["diff", "acme/tiny", "--release=7.0.0"]).await?.expect(6)?;
    plugin.run(&["diff", "absent"]).await?.expect(2)?;
    namespace.delete().await
}

pub(crate) async fn down_selector_deletes_only_labeled_deployments(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "labels").await?;
    plugin.run(&[&UP[..], &["--label=team=search"]].concat()).await?.expect(0)?;
    plugin.run(&[&UP[..], &["--name=other"]].concat()).await?.expect(0)?;
    plugin.run(&["down", "-l", "team=search", "-y"]).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let remaining: Vec<String> = graphs
        .list(&Default::default())
        .await?
        .items
        .into_iter()
        // The operator completes the deletion after `down` has ended.
        .filter(|one| one.metadata.deletion_timestamp.is_none())
        .filter_map(|one| one.metadata.name)
        .collect();
    ensure!(remaining == ["other"], "{remaining:?}");
    let output = plugin.run(&["down", "absent", "-y"]).await?;
    ensure!(output.code != Some(0) && output.err.contains("absent"), "{}", output.err);
    namespace.delete().await
}
