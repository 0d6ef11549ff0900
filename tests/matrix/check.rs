//! `check` on clusters of every generation of Dynamo's definitions, where no operator runs.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kubectl_dynamo_tests::kubernetes::definitions::Stored;
use kubectl_dynamo_tests::plugin::{Plugin, Said};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Server;
use crate::server::HOMES;

const NAMESPACE: &str = "default";

fn plugin(server: &Server) -> Outcome<Plugin> {
    Ok(Plugin::new(server.cluster.control_plane(None)?.kubeconfig(), NAMESPACE))
}

/// The finding of one check of `check -o json`.
fn finding(said: &Said, name: &str) -> Outcome<Value> {
    let document: Value = serde_json::from_str(&said.out)?;
    let all = document["findings"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["name"] == name).ok_or_else(|| format!("no {name} in {}", said.out).into())
}

pub(crate) async fn the_definitions_of_each_generation_are_told(server: Arc<Server>) -> Outcome {
    let _turn = server.turn.lock().await;
    let client = server.cluster.control_plane(None)?.client();
    let plugin = plugin(&server)?;
    for home in HOMES {
        home.definition.put(&client).await?;
        let said = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
        let stored = match home.definition.stored {
            Stored::V1Alpha1 => "stored as v1alpha1",
            Stored::V1Beta1 => "stored as v1beta1",
        };
        let found = finding(&said, "definitions")?;
        ensure!(found["outcome"] == "passed", "{found}");
        ensure!(found["text"].as_str().is_some_and(|text| text.contains(stored)), "{found}");
        ensure!(finding(&said, "operator")?["code"] == "KD0230", "{}", said.out);
    }
    Ok(())
}

pub(crate) async fn an_operator_that_does_not_run_is_told(server: Arc<Server>) -> Outcome {
    let _turn = server.turn.lock().await;
    let client = server.cluster.control_plane(None)?.client();
    let plugin = plugin(&server)?;
    HOMES[HOMES.len() - 1].definition.put(&client).await?;
    let up = ["up", "acme/tiny", "--backend=mocker", "--storage-class=none", "--detach"];
    let said = plugin.run(&up).await?.expect(6)?;
    ensure!(
        said.err.contains("error [KD0230]") && said.err.contains("no Dynamo operator is there"),
        "{}",
        said.err
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
    let said = plugin.run(&["check", "-o", "json"]).await?.expect(3)?;
    let found = finding(&said, "operator")?;
    ensure!(found["outcome"] == "waits", "{found}");
    ensure!(found["text"].as_str().is_some_and(|text| text.contains("default/operator 0/1")), "{found}");
    let off = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    deployments.patch("operator", &PatchParams::default(), &off).await?;
    let said = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&said, "operator")?["outcome"] == "failed", "{}", said.out);
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
    let said = plugin.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&said, "webhook")?["code"] == "KD0215", "{}", said.out);
    webhooks.delete("silent", &DeleteParams::default()).await?;
    deployments.delete("operator", &DeleteParams::background()).await?;
    Ok(())
}
