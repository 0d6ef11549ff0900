//! What `check` and `up` report about images that the nodes cannot pull, with a real API server and a registry on
//! loopback.

use std::sync::Arc;

use base64::Engine;
use k8s_openapi::api::core::v1::{Node, Secret, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::plugin::{IMAGE_CHECK, Plugin};
use kubectl_dynamo_tests::registry::{LOGIN, TestRegistry};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::preflight::{create_node, delete_node_and_namespace};

/// Runs the plugin with requests to registries but not to the hub. Returns the exit code, stdout, and stderr.
async fn run(plugin: &Plugin, args: &[&str]) -> Outcome<(Option<i32>, String, String)> {
    let mut command = plugin.command(args);
    command.env_remove(IMAGE_CHECK).env("HF_HUB_OFFLINE", "1");
    let output = command.output().await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

fn arguments<'a>(verb: &'a str, image: &'a str, fetcher: &'a str) -> Vec<&'a str> {
    let mut args = vec![verb, "acme/tiny", "--backend=mocker", "--storage-class=manual", "--release=1.6.1"];
    args.extend(["--image", image, "--fetcher-image", fetcher]);
    args
}

pub(crate) async fn missing_image_is_reported_before_the_job_waits(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "images").await?;
    let registry = TestRegistry::start().await?;
    let (open, missing) = (registry.image("open"), registry.image("missing"));
    let (code, out, _) = run(&plugin, &arguments("check", &open, &missing)).await?;
    ensure!(
        code == Some(0) && out.contains("! fetcher-image    KD0503") && out.contains("✔ runtime-image"),
        "{out}"
    );
    let up = [arguments("up", &open, &missing), vec!["--detach"]].concat();
    let (code, _, err) = run(&plugin, &[&up[..], &["--dry-run=client"]].concat()).await?;
    ensure!(code == Some(0) && !err.contains("KD0503"), "{err}");
    let (code, _, err) = run(&plugin, &up).await?;
    ensure!(code == Some(0) && err.contains("warning [KD0503]") && err.contains(&missing), "{err}");

    // Only a change of an image is looked up again.
    let before = registry.requests().len();
    let (code, _, err) = run(&plugin, &["up", "tiny", "--env=A=b", "--detach"]).await?;
    ensure!(code == Some(0), "{err}");
    ensure!(registry.requests().len() == before, "{:?}", registry.requests());
    let (code, _, err) =
        run(&plugin, &["up", "tiny", "--image", &missing, "--release=1.6.1", "--detach"]).await?;
    ensure!(code == Some(0) && err.contains("warning [KD0503]"), "{err}");
    namespace.delete().await
}

pub(crate) async fn pull_secrets_of_pods_are_used_for_the_registry(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "image-secrets").await?;
    let registry = TestRegistry::start().await?;
    let (open, private) = (registry.image("open"), registry.image("private"));
    let check = arguments("check", &open, &private);
    let (_, out, _) = run(&plugin, &check).await?;
    ensure!(out.contains("! fetcher-image    KD0504"), "{out}");
    create_pull_secret(&namespace, &registry.address().to_string()).await?;
    let (_, out, err) = run(&plugin, &[&check[..], &["--image-pull-secret=regcred"]].concat()).await?;
    ensure!(out.contains("✔ fetcher-image"), "{out}");
    ensure!(!format!("{out}{err}").contains(LOGIN.1), "{out}{err}");

    let accounts: Api<ServiceAccount> = Api::namespaced(namespace.client(), namespace.name());
    let secrets = json!({ "imagePullSecrets": [{ "name": "regcred" }] });
    accounts.patch("default", &PatchParams::default(), &Patch::Merge(secrets)).await?;
    let (_, out, _) = run(&plugin, &check).await?;
    ensure!(out.contains("✔ fetcher-image"), "{out}");
    namespace.delete().await
}

pub(crate) async fn image_for_another_architecture_is_reported(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "image-arch").await?;
    create_node(&namespace, "image-arch", "image-arch-1", 4).await?;
    let nodes: Api<Node> = Api::all(namespace.client());
    let labels = json!({ "metadata": { "labels": { "kubernetes.io/arch": "amd64" } } });
    nodes.patch("image-arch-1", &PatchParams::default(), &Patch::Merge(labels)).await?;
    let registry = TestRegistry::start().await?;
    let (open, arm) = (registry.image("open"), registry.image("arm"));
    let mut check = arguments("check", &open, &arm);
    check.retain(|arg| *arg != "--backend=mocker");
    check.extend(["--node-selector=case=image-arch", "--toleration=case=image-arch:NoSchedule", "-o=json"]);
    let (_, out, _) = run(&plugin, &check).await?;
    let document: Value = serde_json::from_str(&out)?;
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    let code = |name: &str| findings.iter().find(|one| one["name"] == name).map(|one| one["code"].clone());
    ensure!(code("fetcher-image") == Some("KD0532".into()), "{out}");
    ensure!(code("runtime-image") == Some(Value::Null), "{out}");
    delete_node_and_namespace(namespace, "image-arch-1").await
}

async fn create_pull_secret(namespace: &CaseNamespace, registry: &str) -> Outcome {
    let auths = json!({ "auths": { registry: { "username": LOGIN.0, "password": LOGIN.1 } } });
    let encoded = base64::engine::general_purpose::STANDARD.encode(auths.to_string());
    let secret = json!({
        "metadata": { "name": "regcred" }, "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": encoded },
    });
    let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}
