//! What is found on a cluster and taken account of without being asked: who collects logs, and EKS Auto Mode's nodes.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Server;
use crate::server::HOMES;

const TAINT: &str = "eks.amazonaws.com/compute-type=auto:NoSchedule";

pub(crate) async fn logs_are_json_and_nodes_of_eks_are_borne_where_they_are(server: Arc<Server>) -> Outcome {
    let _turn = server.turn.lock().await;
    let plane = server.cluster.control_plane(None)?;
    let newest = HOMES.last().ok_or("there are definitions")?;
    newest.definition.put(&plane.client()).await?;
    let plugin = Plugin::new(plane.admin_kubeconfig(), "default");
    let render = ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual"];
    let bare = plugin.run(&render).await?.expect(0)?.out;
    ensure!(!bare.contains("DYN_LOGGING_JSONL") && !bare.contains("eks.amazonaws.com"), "{bare}");

    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
    let found = [
        ("monitoring.coreos.com", "PodMonitor", "podmonitors"),
        ("eks.amazonaws.com", "NodeClass", "nodeclasses"),
    ];
    for (group, kind, plural) in found {
        let definition: CustomResourceDefinition = serde_json::from_value(definition(group, kind, plural))?;
        definitions.create(&PostParams::default(), &definition).await?;
        await_condition(definitions.clone(), &format!("{plural}.{group}"), is_crd_established()).await?;
    }
    // Discovery follows what is established a moment later.
    let mut told = String::new();
    for _ in 0..100 {
        told = plugin.run(&render).await?.expect(0)?.out;
        if told.contains("DYN_LOGGING_JSONL") && told.contains("eks.amazonaws.com/compute-type") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    ensure!(told.contains("DYN_LOGGING_JSONL") && told.contains("eks.amazonaws.com/compute-type"), "{told}");
    let plan = plugin.run(&[&render[..], &["--plan", "-o", "json"]].concat()).await?.expect(0)?.out;
    let plan: Value = serde_json::from_str(&plan)?;
    let values = plan["values"].as_array().cloned().unwrap_or_default();
    let toleration = values.iter().find(|value| value["value"] == TAINT);
    ensure!(toleration.is_some_and(|value| value["source"] == "detected"), "{plan:#}");
    for (group, _, plural) in found {
        definitions.delete(&format!("{plural}.{group}"), &DeleteParams::default()).await?;
    }
    Ok(())
}

/// A definition with nothing in it but its name.
fn definition(group: &str, kind: &str, plural: &str) -> Value {
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
