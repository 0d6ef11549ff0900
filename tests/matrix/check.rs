//! `check` on clusters with every generation of Dynamo's CRDs and without an operator.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kubectl_dynamo_tests::kubernetes::definition_sets::DEFINITION_SETS;
use kubectl_dynamo_tests::kubernetes::definitions::StoredVersion;
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::SharedServer;

const NAMESPACE: &str = "default";

fn server_plugin(server: &SharedServer) -> Outcome<Plugin> {
    Ok(Plugin::new(server.cluster.control_plane(None)?.audited_kubeconfig(), NAMESPACE))
}

/// Returns the finding of one check from `check -o json`.
fn finding(output: &PluginOutput, name: &str) -> Outcome<Value> {
    let document: Value = serde_json::from_str(&output.out)?;
    let all = document["findings"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|one| one["name"] == name)
        .ok_or_else(|| format!("no {name} in {}", output.out).into())
}

pub(crate) async fn check_reports_the_stored_api_version(server: Arc<SharedServer>) -> Outcome {
    let _turn = server.exclusive.lock().await;
    let client = server.cluster.control_plane(None)?.client();
    let plugin = server_plugin(&server)?;
    for home in DEFINITION_SETS {
        home.definition.install(&client).await?;
        let output = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
        let stored = match home.definition.stored_version {
            StoredVersion::V1Alpha1 => "stored as v1alpha1",
            StoredVersion::V1Beta1 => "stored as v1beta1",
        };
        let found = finding(&output, "crds")?;
        ensure!(found["outcome"] == "passed", "{found}");
        ensure!(found["text"].as_str().is_some_and(|text| text.contains(stored)), "{found}");
        ensure!(finding(&output, "operator")?["code"] == "KD0230", "{}", output.out);
    }
    Ok(())
}

pub(crate) async fn check_reports_an_operator_that_is_not_running(server: Arc<SharedServer>) -> Outcome {
    let _turn = server.exclusive.lock().await;
    let client = server.cluster.control_plane(None)?.client();
    let plugin = server_plugin(&server)?;
    DEFINITION_SETS[DEFINITION_SETS.len() - 1].definition.install(&client).await?;
    let up = ["up", "acme/tiny", "--backend=mocker", "--storage-class=none", "--detach"];
    let output = plugin.run(&up).await?.expect(6)?;
    ensure!(
        output.err.contains("error [KD0230]") && output.err.contains("no Dynamo operator found"),
        "{}",
        output.err
    );

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let labels = json!({ "control-plane": "controller-manager" });
    let operator = json!({
        "metadata": { "name": "operator", "labels": labels },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels },
            "spec": { "containers": [{ "name": "manager", "image": "registry.test/kubernetes-operator:1.5.1" }] },
        } },
    });
    deployments.create(&PostParams::default(), &serde_json::from_value(operator)?).await?;
    let output = plugin.run(&["check", "-o", "json"]).await?.expect(3)?;
    let found = finding(&output, "operator")?;
    ensure!(found["outcome"] == "waiting", "{found}");
    ensure!(
        found["text"]
            .as_str()
            .is_some_and(|text| text.contains("deployment \"default/operator\" has 0/1 ready pods")),
        "{found}"
    );
    // The default release is the newest one that this operator supports, not the newest one of the plugin.
    let model = ["acme/tiny", "--backend=mocker", "--storage-class=none"];
    let plan = plugin.run(&[&["up"], &model[..], &["--plan", "-o", "json"]].concat()).await?.expect(0)?;
    let plan: Value = serde_json::from_str(&plan.out)?;
    let values = plan["values"].as_array().cloned().unwrap_or_default();
    let release = values.iter().find(|one| one["field"] == "release").cloned().unwrap_or_default();
    ensure!(release["value"] == "1.5.1" && release["source"] == "detected", "{release}");
    let output = plugin.run(&[&["check"], &model[..], &["-o", "json"]].concat()).await?;
    ensure!(finding(&output, "operator-version")?["outcome"] == "passed", "{}", output.out);
    let scaled_down = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    deployments.patch("operator", &PatchParams::default(), &scaled_down).await?;
    let output = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&output, "operator")?["outcome"] == "failed", "{}", output.out);
    let ready = Patch::Merge(json!({ "status": { "replicas": 1, "readyReplicas": 1 } }));
    deployments.patch_status("operator", &PatchParams::default(), &ready).await?;

    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let webhook = json!({ "metadata": { "name": "silent" }, "webhooks": [{
        "name": "vdynamographdeployment.kb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": { "service": { "namespace": NAMESPACE, "name": "no-such-service" } },
        "rules": [{ "apiGroups": ["nvidia.com"], "apiVersions": ["*"], "operations": ["CREATE"],
            "resources": ["dynamographdeployments"] }],
    }] });
    webhooks.create(&PostParams::default(), &serde_json::from_value(webhook)?).await?;
    let output = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&output, "webhook")?["code"] == "KD0215", "{}", output.out);
    webhooks.delete("silent", &DeleteParams::default()).await?;
    deployments.delete("operator", &DeleteParams::background()).await?;
    Ok(())
}
