//! LiteLLM in a pod, in front of a deployment in other pods: the entries that `gateway config` writes route through the
//! Service.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::litellm::{KEY, KEY_VARIABLE};
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{up_args, with_pod_details};

/// The image of the proxy. It is only on the node.
pub(crate) const IMAGE: &str = "registry.invalid/litellm:tests";

/// The configuration of another team. A YAML writer would change its comments, its indentation, and its quotes.
const CONFIG: &str = "# The entries of another team.\nmodel_list:\n   - model_name: \"other\"   # theirs\n     litellm_params: {model: openai/other, api_base: \"http://127.0.0.1:9/v1\", api_key: none}\n\ngeneral_settings:\n   master_key: os.environ/LITELLM_MASTER_KEY\n";

/// The ConfigMap with the configuration.
const APPLY: [&str; 7] =
    ["gateway", "config", "--apply-to", "configmap/litellm", "--key", "config.yaml", "--progress=plain"];

fn object<T: DeserializeOwned>(value: Value) -> Outcome<T> {
    Ok(serde_json::from_value(value)?)
}

/// Writes the configuration as another field manager.
async fn write_config(namespace: &CaseNamespace, text: &str) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "litellm" },
        "data": { "config.yaml": text, "other": "kept" },
    });
    maps.patch("litellm", &PatchParams::apply("helm").force(), &Patch::Apply(map)).await?;
    Ok(())
}

/// Returns the resource version of the ConfigMap, and the configuration.
async fn read_config(namespace: &CaseNamespace) -> Outcome<(Option<String>, String)> {
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    let map = maps.get("litellm").await?;
    let version = map.resource_version();
    let data = map.data.unwrap_or_default();
    ensure!(data.get("other").is_some_and(|value| value == "kept"), "{data:?}");
    Ok((version, data.get("config.yaml").cloned().ok_or("the key was removed")?))
}

/// Creates a proxy with a Service, and a configuration that does not have an entry of the deployment yet.
async fn create_proxy(namespace: &CaseNamespace) -> Outcome {
    let (client, name) = (namespace.client(), namespace.name());
    let parameters = PostParams::default();
    let metadata = json!({ "name": "litellm", "labels": { "app": "litellm" } });
    write_config(namespace, CONFIG).await?;
    let ports = json!([{ "port": 4000 }]);
    let service =
        json!({ "metadata": metadata, "spec": { "selector": { "app": "litellm" }, "ports": ports } });
    Api::<Service>::namespaced(client.clone(), name).create(&parameters, &object(service)?).await?;
    let command = ["litellm", "--config", "/etc/litellm/config.yaml", "--host", "0.0.0.0", "--port", "4000"];
    let container = json!({
        "name": "proxy", "image": IMAGE, "imagePullPolicy": "Never", "command": command,
        "env": [
            { "name": KEY_VARIABLE, "value": KEY },
            { "name": "LITELLM_LOCAL_MODEL_COST_MAP", "value": "True" },
            { "name": "HOME", "value": "/tmp" },
        ],
        "readinessProbe": { "tcpSocket": { "port": 4000 }, "periodSeconds": 1 },
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/litellm" }],
    });
    let volumes = json!([{ "name": "config", "configMap": { "name": "litellm" } }]);
    let deployment = json!({
        "metadata": metadata,
        "spec": {
            "selector": { "matchLabels": { "app": "litellm" } },
            "template": {
                "metadata": { "labels": { "app": "litellm" } },
                "spec": { "containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1 },
            },
        },
    });
    Api::<Deployment>::namespaced(client, name).create(&parameters, &object(deployment)?).await?;
    Ok(())
}

/// Waits until the proxy has restarted completely.
async fn wait_for_proxy(plugin: &Plugin, namespace: &CaseNamespace) -> Outcome {
    let rollout = ["rollout", "status", "deployment/litellm", "--timeout=10m"];
    let output = plugin.run_kubectl(&rollout, "").await?;
    ensure!(output.code == Some(0), "{}\n{}", output.err, namespace.describe().await?);
    Ok(())
}

/// Runs a verb of `gateway` against the proxy.
async fn gateway(plugin: &Plugin, url: &str, args: &[&str]) -> Outcome<PluginOutput> {
    let access = ["--url", url, "--api-key-env", KEY_VARIABLE];
    let mut command = plugin.command(&[&["gateway"], args, &access[..]].concat());
    let output = command.env(KEY_VARIABLE, KEY).output().await?;
    Ok(PluginOutput {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

pub(crate) async fn proxy_in_a_pod_routes_through_the_service(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("gateway").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    create_proxy(&namespace).await?;
    let services: Api<Service> = Api::namespaced(namespace.client(), namespace.name());
    let service = services.get("litellm").await?.spec.and_then(|spec| spec.cluster_ip);
    let url = format!("http://{}:4000", service.ok_or("the Service has an address")?);
    wait_for_proxy(&plugin, &namespace).await?;

    // The proxy does not have the entry yet.
    let listed = gateway(&plugin, &url, &["list", "-o", "json"]).await?.expect(0)?;
    let entries: Value = serde_json::from_str(&listed.out)?;
    let missing = |entry: &Value| entry["status"] == "missing" && entry["deployment"] == "tiny";
    ensure!(entries["items"].as_array().is_some_and(|items| items.iter().any(missing)), "{entries:#}");

    // A dry run shows the change and writes nothing.
    let (version, _) = read_config(&namespace).await?;
    let output = plugin.run(&[&APPLY[..], &["--dry-run"]].concat()).await?.expect(0)?;
    let base = format!("http://tiny-frontend.{}.svc", namespace.name());
    ensure!([&*output.out, &*output.err].concat().contains(&base), "the change is not shown: {output:?}");
    ensure!(read_config(&namespace).await?.0 == version, "a dry run changed the ConfigMap");

    let confirmed = [&APPLY[..], &["--restart", "deployment/litellm", "-y"]].concat();
    plugin.run(&confirmed).await?.expect(0)?;
    wait_for_proxy(&plugin, &namespace).await?;
    let (_, config) = read_config(&namespace).await?;
    let theirs: Vec<&str> = config.lines().filter(|line| CONFIG.lines().any(|one| one == *line)).collect();
    ensure!(theirs == CONFIG.lines().collect::<Vec<_>>(), "a line of the other team changed: {config}");
    ensure!(config.contains(&base), "{config}");

    // The old pod can still get a connection, so only the new one may be left.
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    while pods.list(&ListParams::default().labels("app=litellm")).await?.items.len() > 1 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let tested = gateway(&plugin, &url, &["test", "tiny"]).await?.expect(0)?;
    for check in ["unary", "stream"] {
        let line = tested.out.lines().find(|line| line.contains(check)).ok_or("the check is listed")?;
        ensure!(line.contains("the frontends counted 1 request") && line.contains(&base), "{}", tested.out);
    }
    let listed = gateway(&plugin, &url, &["list", "-o", "json"]).await?.expect(0)?;
    let entries: Value = serde_json::from_str(&listed.out)?;
    let is_ok = |entry: &Value| entry["status"] == "ok" && entry["deployment"] == "tiny";
    ensure!(entries["items"].as_array().is_some_and(|items| items.iter().any(is_ok)), "{entries:#}");

    edits_are_complete_or_refused(&plugin, &namespace, &config, &base).await?;

    // A deployment that is gone makes its entry stale.
    plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    let listed = gateway(&plugin, &url, &["list", "-o", "json"]).await?;
    let entries: Value = serde_json::from_str(&listed.out)?;
    let stale = |entry: &Value| {
        entry["status"] == "stale" && entry["apiBase"].as_str().is_some_and(|url| url.starts_with(&base))
    };
    ensure!(entries["items"].as_array().is_some_and(|items| items.iter().any(stale)), "{entries:#}");
    namespace.delete().await
}

/// The same entries change nothing, a text that its owner wrote again gets them back, and a text that cannot be kept is
/// refused. `config` is the text with the entries.
async fn edits_are_complete_or_refused(
    plugin: &Plugin,
    namespace: &CaseNamespace,
    config: &str,
    base: &str,
) -> Outcome {
    let apply = [&APPLY[..], &["-y"]].concat();
    let (version, _) = read_config(namespace).await?;
    plugin.run(&apply).await?.expect(0)?;
    ensure!(read_config(namespace).await?.0 == version, "an unchanged ConfigMap was written");
    write_config(namespace, CONFIG).await?;
    plugin.run(&apply).await?.expect(0)?;
    ensure!(read_config(namespace).await?.1 == config, "{}", read_config(namespace).await?.1);

    let marker = config.lines().find(|line| line.contains("kubectl-dynamo")).ok_or("the first marker")?;
    for broken in [format!("{CONFIG}{marker}\n"), "model_list: [{model_name: a}]\n".into()] {
        write_config(namespace, &broken).await?;
        let output = plugin.run(&apply).await?.expect(1)?;
        ensure!(output.err.contains("error [KD0911]") && output.out.contains(base), "{output:?}");
        ensure!(read_config(namespace).await?.1 == broken, "the text was changed");
    }
    let other_key = ["gateway", "config", "--apply-to", "configmap/litellm", "--key", "absent.yaml", "-y"];
    let output = plugin.run(&other_key).await?.expect(2)?;
    ensure!(output.err.contains("error [KD0912]"), "{}", output.err);
    Ok(())
}
