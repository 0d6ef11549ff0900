//! Ways to reach an API server: an exec credential plugin, a proxy, another CA, a slow or broken connection.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kubectl_dynamo_tests::cuttable_proxy::{ConnectProxy, CuttableProxy};
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::UP;

pub(crate) async fn kubeconfig_exec_plugin_provides_credentials(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "exec-plugin").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let mut config = read_kubeconfig(plane)?;
    let user = config["users"][0]["user"].take();
    let text = |field: &str| -> Outcome<String> {
        let encoded = user[field].as_str().ok_or("a user has a certificate")?;
        Ok(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded)?)?)
    };
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {
            "clientCertificateData": text("client-certificate-data")?,
            "clientKeyData": text("client-key-data")?,
        },
    });
    let credential_file = folder.path().join("credential.json");
    std::fs::write(&credential_file, credential.to_string())?;
    let working_command =
        write_script(folder.path(), "login", &format!("cat {}", credential_file.display()))?;
    let plugin =
        Plugin::new(kubeconfig_with_exec(folder.path(), &config, &working_command)?, namespace.name());
    plugin.run(&["list"]).await?.expect(0)?;

    let failing_command =
        write_script(folder.path(), "expired", "echo secret-token; echo 'please log in again' >&2; exit 1")?;
    let plugin =
        Plugin::new(kubeconfig_with_exec(folder.path(), &config, &failing_command)?, namespace.name());
    let output = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(output.err.contains("KD0104") && output.err.contains("expired failed with"), "{}", output.err);
    ensure!(output.err.contains("please log in again"), "{}", output.err);
    ensure!(!output.err.contains("secret-token"), "the stdout of the credential plugin is printed");

    let missing_command = folder.path().join("not-installed");
    let plugin =
        Plugin::new(kubeconfig_with_exec(folder.path(), &config, &missing_command)?, namespace.name());
    let output = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(output.err.contains("KD0104") && output.err.contains("not-installed"), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn uses_proxy_from_environment_and_kubeconfig(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "proxy").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let proxy = ConnectProxy::start().await?;
    let plugin = Plugin::new(plane.audited_kubeconfig(), namespace.name());
    let output = plugin.command(&["list"]).env("HTTPS_PROXY", proxy.url()).output().await?;
    ensure!(output.status.success(), "{output:?}");
    let connections_before = proxy.connections();
    ensure!(connections_before > 0, "HTTPS_PROXY was not used");

    let folder = tempfile::tempdir()?;
    let mut config = read_kubeconfig(plane)?;
    config["clusters"][0]["cluster"]["proxy-url"] = proxy.url().into();
    Plugin::new(write_kubeconfig(folder.path(), &config)?, namespace.name())
        .run(&["list"])
        .await?
        .expect(0)?;
    ensure!(proxy.connections() > connections_before, "the kubeconfig's proxy-url was not used");
    namespace.delete().await
}

pub(crate) async fn rejects_untrusted_certificate_authority(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "authority").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let mut config = read_kubeconfig(plane)?;
    let authority_data = config["clusters"][0]["cluster"]["certificate-authority-data"].take();
    if let Some(cluster) = config["clusters"][0]["cluster"].as_object_mut() {
        cluster.remove("certificate-authority-data");
    }
    let plugin = Plugin::new(write_kubeconfig(folder.path(), &config)?, namespace.name());
    let output = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(output.err.contains("KD0103") && output.err.contains("certificate"), "{}", output.err);

    let authority = folder.path().join("ca.crt");
    let encoded = authority_data.as_str().ok_or("a cluster has an authority")?;
    std::fs::write(&authority, base64::engine::general_purpose::STANDARD.decode(encoded)?)?;
    let authority = authority.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    plugin.run(&["list", "--certificate-authority", authority]).await?.expect(0)?;
    plugin.run(&["list", "--insecure-skip-tls-verify"]).await?.expect(0)?;
    namespace.delete().await
}

pub(crate) async fn reports_waiting_for_slow_api_server(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "slow").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let proxy = CuttableProxy::with_connection_delay(server_address(plane)?, Duration::from_secs(2)).await?;
    let plugin = Plugin::new(kubeconfig_through_proxy(folder.path(), plane, &proxy)?, namespace.name());
    let args = [&UP[..], &["--dry-run=server", "--progress=plain"]].concat();
    let output = plugin.run(&args).await?.expect(0)?;
    let waiting_line = format!("preflight: waiting for https://{} to answer", proxy.address());
    ensure!(output.err.starts_with(&waiting_line), "{}", output.err);
    let output = plugin.run(&["list", "--request-timeout=1s"]).await?.expect(4)?;
    ensure!(output.err.contains("KD0103"), "{}", output.err);
    namespace.delete().await
}

fn read_kubeconfig(plane: &ControlPlane) -> Outcome<Value> {
    Ok(serde_json::from_slice(&std::fs::read(plane.audited_kubeconfig())?)?)
}

pub(crate) fn write_kubeconfig(folder: &Path, config: &Value) -> Outcome<PathBuf> {
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

pub(crate) fn server_address(plane: &ControlPlane) -> Outcome<SocketAddr> {
    Ok(plane.server().trim_start_matches("https://").parse()?)
}

/// Writes a kubeconfig whose server is the proxy.
pub(crate) fn kubeconfig_through_proxy(
    folder: &Path,
    plane: &ControlPlane,
    proxy: &CuttableProxy,
) -> Outcome<PathBuf> {
    let mut config = read_kubeconfig(plane)?;
    config["clusters"][0]["cluster"]["server"] = format!("https://{}", proxy.address()).into();
    write_kubeconfig(folder, &config)
}

/// Writes a kubeconfig whose user comes from a credential plugin.
fn kubeconfig_with_exec(folder: &Path, config: &Value, command: &Path) -> Outcome<PathBuf> {
    let mut config = config.clone();
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "interactiveMode": "Never",
    }});
    write_kubeconfig(folder, &config)
}

pub(crate) fn write_script(folder: &Path, name: &str, body: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
