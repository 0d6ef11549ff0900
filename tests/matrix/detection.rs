//! What is detected on a cluster and used without a flag: log collectors and nodes of EKS Auto Mode.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definition_sets::DEFINITION_SETS;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::SharedServer;

const TAINT: &str = "eks.amazonaws.com/compute-type=auto:NoSchedule";

pub(crate) async fn detects_log_collector_and_eks_auto_mode(server: Arc<SharedServer>) -> Outcome {
    let _turn = server.exclusive.lock().await;
    let plane = server.cluster.control_plane(None)?;
    let newest = DEFINITION_SETS.last().ok_or("there are CRDs")?;
    newest.definition.install(&plane.client()).await?;
    let plugin = Plugin::new(plane.admin_kubeconfig(), "default");
    let render = ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual"];
    let bare = plugin.run(&render).await?.expect(0)?.out;
    ensure!(!bare.contains("DYN_LOGGING_JSONL") && !bare.contains("eks.amazonaws.com"), "{bare}");

    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
    let detected_kinds = [
        ("monitoring.coreos.com", "PodMonitor", "podmonitors"),
        ("eks.amazonaws.com", "NodeClass", "nodeclasses"),
    ];
    for (group, kind, plural) in detected_kinds {
        let definition: CustomResourceDefinition =
            serde_json::from_value(empty_definition(group, kind, plural))?;
        definitions.create(&PostParams::default(), &definition).await?;
        await_condition(definitions.clone(), &format!("{plural}.{group}"), is_crd_established()).await?;
    }
    // Discovery lists an established CRD with a delay.
    let mut rendered = String::new();
    for _ in 0..100 {
        rendered = plugin.run(&render).await?.expect(0)?.out;
        if rendered.contains("DYN_LOGGING_JSONL") && rendered.contains("eks.amazonaws.com/compute-type") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    ensure!(
        rendered.contains("DYN_LOGGING_JSONL") && rendered.contains("eks.amazonaws.com/compute-type"),
        "{rendered}"
    );
    let plan = plugin.run(&[&render[..], &["--plan", "-o", "json"]].concat()).await?.expect(0)?.out;
    let plan: Value = serde_json::from_str(&plan)?;
    let values = plan["values"].as_array().cloned().unwrap_or_default();
    let toleration = values.iter().find(|value| value["value"] == TAINT);
    ensure!(toleration.is_some_and(|value| value["source"] == "detected"), "{plan:#}");
    for (group, _, plural) in detected_kinds {
        definitions.delete(&format!("{plural}.{group}"), &DeleteParams::default()).await?;
    }
    Ok(())
}

/// Returns a CRD with nothing but its name.
fn empty_definition(group: &str, kind: &str, plural: &str) -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    })
}
