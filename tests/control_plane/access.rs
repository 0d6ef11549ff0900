//! Ways to an API server: a kubeconfig's own command, a proxy, another authority, a slow or broken connection.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::relay::{ConnectProxy, Relay};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::UP;

pub(crate) async fn a_kubeconfig_may_run_a_command_for_its_credentials(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "exec-plugin").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let mut config = read(plane)?;
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
    let answer = folder.path().join("credential.json");
    std::fs::write(&answer, credential.to_string())?;
    let works = script(folder.path(), "login", &format!("cat {}", answer.display()))?;
    let plugin = Plugin::new(with_command(folder.path(), &config, &works)?, place.name());
    plugin.run(&["list"]).await?.expect(0)?;

    let fails =
        script(folder.path(), "expired", "echo secret-token; echo 'please log in again' >&2; exit 1")?;
    let plugin = Plugin::new(with_command(folder.path(), &config, &fails)?, place.name());
    let said = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(said.err.contains("KD0104") && said.err.contains("expired ended with"), "{}", said.err);
    ensure!(said.err.contains("please log in again"), "{}", said.err);
    ensure!(!said.err.contains("secret-token"), "what the command wrote to stdout is shown");

    let absent = folder.path().join("not-installed");
    let plugin = Plugin::new(with_command(folder.path(), &config, &absent)?, place.name());
    let said = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(said.err.contains("KD0104") && said.err.contains("not-installed"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn a_proxy_is_gone_through(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "proxy").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let proxy = ConnectProxy::start().await?;
    let plugin = Plugin::new(plane.kubeconfig(), place.name());
    let output = plugin.command(&["list"]).env("HTTPS_PROXY", proxy.url()).output().await?;
    ensure!(output.status.success(), "{output:?}");
    let by_variable = proxy.connections();
    ensure!(by_variable > 0, "HTTPS_PROXY was not gone through");

    let folder = tempfile::tempdir()?;
    let mut config = read(plane)?;
    config["clusters"][0]["cluster"]["proxy-url"] = proxy.url().into();
    Plugin::new(write(folder.path(), &config)?, place.name()).run(&["list"]).await?.expect(0)?;
    ensure!(proxy.connections() > by_variable, "the kubeconfig's proxy-url was not gone through");
    place.delete().await
}

pub(crate) async fn another_authority_is_not_trusted_unless_told_to(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "authority").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let mut config = read(plane)?;
    let own = config["clusters"][0]["cluster"]["certificate-authority-data"].take();
    if let Some(cluster) = config["clusters"][0]["cluster"].as_object_mut() {
        cluster.remove("certificate-authority-data");
    }
    let plugin = Plugin::new(write(folder.path(), &config)?, place.name());
    let said = plugin.run(&["list"]).await?.expect(4)?;
    ensure!(said.err.contains("KD0103") && said.err.contains("certificate"), "{}", said.err);

    let authority = folder.path().join("ca.crt");
    let encoded = own.as_str().ok_or("a cluster has an authority")?;
    std::fs::write(&authority, base64::engine::general_purpose::STANDARD.decode(encoded)?)?;
    let authority = authority.to_str().ok_or("a temporary folder's name is text")?;
    plugin.run(&["list", "--certificate-authority", authority]).await?.expect(0)?;
    plugin.run(&["list", "--insecure-skip-tls-verify"]).await?.expect(0)?;
    place.delete().await
}

pub(crate) async fn a_slow_server_is_said_to_be_waited_for(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "slow").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let relay = Relay::to(address(plane)?, Duration::from_secs(2)).await?;
    let plugin = Plugin::new(through(folder.path(), plane, &relay)?, place.name());
    let words = [&UP[..], &["--dry-run=server", "--progress=plain"]].concat();
    let said = plugin.run(&words).await?.expect(0)?;
    let waits = format!("preflight: waiting for https://{} to answer", relay.address());
    ensure!(said.err.starts_with(&waits), "{}", said.err);
    let said = plugin.run(&["list", "--request-timeout=1s"]).await?.expect(4)?;
    ensure!(said.err.contains("KD0103"), "{}", said.err);
    place.delete().await
}

fn read(plane: &ControlPlane) -> Outcome<Value> {
    Ok(serde_json::from_slice(&std::fs::read(plane.kubeconfig())?)?)
}

pub(crate) fn write(folder: &Path, config: &Value) -> Outcome<PathBuf> {
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

pub(crate) fn address(plane: &ControlPlane) -> Outcome<SocketAddr> {
    Ok(plane.server().trim_start_matches("https://").parse()?)
}

/// A kubeconfig whose server is the relay.
pub(crate) fn through(folder: &Path, plane: &ControlPlane, relay: &Relay) -> Outcome<PathBuf> {
    let mut config = read(plane)?;
    config["clusters"][0]["cluster"]["server"] = format!("https://{}", relay.address()).into();
    write(folder, &config)
}

/// A kubeconfig whose user is whom a command says.
fn with_command(folder: &Path, config: &Value, command: &Path) -> Outcome<PathBuf> {
    let mut config = config.clone();
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command,
        "interactiveMode": "Never",
    }});
    write(folder, &config)
}

pub(crate) fn script(folder: &Path, name: &str, body: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
