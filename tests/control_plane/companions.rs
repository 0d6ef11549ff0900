//! The objects that a recipe puts next to its graph: `up -f` applies them, and `down` deletes those that it created.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::json;

use crate::Shared;

const FILE: [&str; 4] = ["up", "-f", "-", "--detach"];

/// A file with a graph and these ConfigMaps.
fn manifest(graph: &str, config_maps: &[&str]) -> String {
    let config_maps = config_maps.iter().map(|name| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{engine.yaml: 'a: 1'}}\n---\n")
    });
    config_maps.collect::<String>() + graph
}

pub(crate) async fn objects_next_to_a_graph_are_applied_and_deleted_with_it(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "companions").await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    let render = |name: &'static str| {
        ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual", "--name", name]
    };
    let first = plugin.run(&render("first")).await?.expect(0)?.out;
    let second = plugin.run(&render("second")).await?.expect(0)?.out;
    let theirs = serde_json::from_value(json!({ "metadata": { "name": "theirs" }, "data": { "b": "2" } }))?;
    config_maps.create(&PostParams::default(), &theirs).await?;

    let file = manifest(&first, &["ours", "shared", "theirs"]);
    let output = plugin.run_with_input(&FILE, &file).await?.expect(0)?;
    ensure!(output.err.contains("configmap/ours created"), "{}", output.err);
    let ours = config_maps.get("ours").await?;
    let labels = ours.metadata.labels.unwrap_or_default();
    ensure!(labels.get("kubectl-dynamo.dev/deployment").is_some_and(|name| name == "first"), "{labels:?}");
    let theirs = config_maps.get("theirs").await?;
    ensure!(theirs.metadata.labels.unwrap_or_default().is_empty(), "the object of another tool is labeled");
    ensure!(theirs.data.unwrap_or_default().len() == 2, "the file is not applied, or replaced the data");
    let output = plugin.run_with_input(&FILE, &file).await?.expect(0)?;
    ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
    // An object that is removed from the file stays listed.
    plugin.run_with_input(&FILE, &manifest(&first, &["shared"])).await?.expect(0)?;
    plugin.run_with_input(&FILE, &manifest(&second, &["shared"])).await?.expect(0)?;

    let output = plugin.run(&["down", "first", "-y"]).await?.expect(0)?;
    for fact in [
        "configmap/ours deleted",
        "configmap/shared is retained: deployment \"second\" uses it",
        "configmap/theirs is retained: deployment \"first\" did not create it",
    ] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    for (name, remains) in [("ours", false), ("shared", true), ("theirs", true)] {
        ensure!(config_maps.get_opt(name).await?.is_some() == remains, "{name}");
    }
    namespace.delete().await
}
