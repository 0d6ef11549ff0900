//! `scale` of several components whose scaling adapters are separate objects.

use serde_json::{Value, json};

use crate::scripted_server::{GRAPHS, KindScript, RejectedPatch, ScriptedServer, graph};

const ADAPTERS: &str = "dynamographdeploymentscalingadapters";
const SCALE: [&str; 7] =
    ["scale", "tiny", "--prefill-replicas=2", "--decode-replicas=3", "--detach", "--timeout", "20s"];

/// A disaggregated graph whose workers have scaling adapters, and those adapters.
fn scripts(rejected: Option<RejectedPatch>) -> [(&'static str, KindScript); 2] {
    let mut graph = graph();
    let worker = |name: &str| json!({ "name": name, "type": name, "replicas": 1, "scalingAdapter": {} });
    graph["spec"]["components"] = json!([worker("prefill"), worker("decode")]);
    let adapter = |component: &str| -> Value {
        json!({
            "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeploymentScalingAdapter",
            "metadata": { "name": format!("tiny-{component}"), "namespace": "serving", "resourceVersion": "1" },
            "spec": { "replicas": 1, "dgdRef": { "name": "tiny", "componentName": component } },
        })
    };
    let adapters = vec![adapter("prefill"), adapter("decode")];
    let graphs = KindScript { objects: vec![graph], ..KindScript::default() };
    [
        (GRAPHS, graphs),
        (ADAPTERS, KindScript { objects: adapters, rejected_patch: rejected, ..KindScript::default() }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_checks_every_adapter_before_the_first_write() {
    let rejected = RejectedPatch { name: "tiny-decode", in_dry_run: true };
    let (server, plugin, _home) = ScriptedServer::start(&scripts(Some(rejected))).await;
    let output = plugin.run(&SCALE).await.expect("the plugin runs");
    assert!(output.code != Some(0) && output.err.contains("denied"), "{output:?}");
    assert_eq!(server.count(&format!("patch {ADAPTERS}")), 0, "an adapter was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_reports_what_was_changed_and_what_was_not() {
    let rejected = RejectedPatch { name: "tiny-decode", in_dry_run: false };
    let (_server, plugin, _home) = ScriptedServer::start(&scripts(Some(rejected))).await;
    let output = plugin.run(&SCALE).await.expect("the plugin runs");
    assert_ne!(output.code, Some(0), "{output:?}");
    let expected = "changed: prefill 1 -> 2 replicas; not changed: decode 1 -> 3 replicas";
    assert!(output.err.contains(expected), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_writes_each_adapter_once() {
    let (server, plugin, _home) = ScriptedServer::start(&scripts(None)).await;
    let output = plugin.run(&SCALE).await.expect("the plugin runs");
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(server.count(&format!("patch {ADAPTERS}")), 2);
}
