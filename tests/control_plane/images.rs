//! What `check` and `up` report about images that the nodes cannot pull, with a real API server and registries on
//! loopback.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use k8s_openapi::api::core::v1::{Node, Secret, ServiceAccount};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kubectl_dynamo::registry::{RegistryClient, RegistryError};
use kubectl_dynamo_core::registry::{RegistryCredentials, RegistryImage};
use kubectl_dynamo_tests::images::fetcher::{AARCH64, X86_64, build_archive_of, write_program_header};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::plugin::{IMAGE_CHECK, Plugin};
use kubectl_dynamo_tests::registry::{LOGIN, RegistryProgram, TestRegistry};
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
    let login =
        json!({ "auths": { registry.address().to_string(): { "username": LOGIN.0, "password": LOGIN.1 } } });
    create_pull_secret(&namespace, login.to_string().as_bytes()).await?;
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

/// The registry is a real one, which receives the images from the commands of the how-to "Private registry".
pub(crate) async fn pushed_images_are_found_with_the_login_of_the_push(shared: Arc<Shared>) -> Outcome {
    if let Some(reason) = RegistryProgram::missing_reason() {
        ensure!(std::env::var_os("REQUIRE_ALL_TIERS").is_none_or(|value| value != "1"), "{reason}");
        // A closed stderr does not matter.
        let _ = writeln!(std::io::stderr().lock(), "no image is pushed to a registry: {reason}");
        return Ok(());
    }
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "image-push").await?;
    let folder = tempfile::tempdir()?;
    let registry = RegistryProgram::start(folder.path())?;
    let login = folder.path().join("config.json");
    log_in(&registry.host(), &login)?;
    let amd64 = write_program_header(folder.path(), "amd64", X86_64)?;
    let arm64 = write_program_header(folder.path(), "arm64", AARCH64)?;
    let image = |name: &str| format!("{}/team/{name}:1", registry.host());
    let credentials = RegistryCredentials { username: LOGIN.0.into(), password: LOGIN.1.into() };
    for (name, programs, architectures) in
        [("both", &[amd64, arm64.clone()][..], &["amd64", "arm64"][..]), ("single", &[arm64], &["arm64"])]
    {
        let archive = build_archive_of(programs, folder.path(), &image(name))?;
        push(&archive, &image(name), &login)?;
        let pushed = RegistryImage::parse(&image(name));
        let client = RegistryClient::new(&pushed)?;
        ensure!(client.architectures(None).await == Err(RegistryError::Denied), "{name} is public");
        let found = client.architectures(Some(&credentials)).await?;
        ensure!(found == architectures, "{name}: {found:?}");
    }

    let (both, single, missing) = (image("both"), image("single"), image("missing"));
    let (_, out, _) = run(&plugin, &arguments("check", &both, &single)).await?;
    // The operator may add a Secret to the pods of the deployment.
    ensure!(
        out.contains("! fetcher-image    KD0504") && out.contains("- runtime-image    skipped, registry"),
        "{out}"
    );
    create_pull_secret(&namespace, &fs::read(&login)?).await?;
    let with_secret =
        |fetcher| [arguments("check", &both, fetcher), vec!["--image-pull-secret=regcred"]].concat();
    let (_, out, _) = run(&plugin, &with_secret(&single)).await?;
    ensure!(out.contains("✔ fetcher-image") && out.contains("✔ runtime-image"), "{out}");
    let (_, out, _) = run(&plugin, &with_secret(&missing)).await?;
    ensure!(out.contains("! fetcher-image    KD0503"), "{out}");
    namespace.delete().await
}

/// Writes a file with the login for a registry.
fn log_in(host: &str, file: &Path) -> Outcome {
    let mut login = Command::new("skopeo")
        .args(["login", "--tls-verify=false", "--username", LOGIN.0, "--password-stdin", "--authfile"])
        .arg(file)
        .arg(host)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    login.stdin.take().ok_or("stdin is a pipe")?.write_all(LOGIN.1.as_bytes())?;
    ensure!(login.wait()?.success(), "skopeo login failed");
    Ok(())
}

/// Pushes the image in an archive with all its platforms.
fn push(archive: &Path, image: &str, login: &Path) -> Outcome {
    let output = Command::new("skopeo")
        .args(["copy", "--all", "--dest-tls-verify=false", "--authfile"])
        .arg(login)
        .arg(format!("oci-archive:{}", archive.display()))
        .arg(format!("docker://{image}"))
        .output()?;
    ensure!(output.status.success(), "skopeo copy: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Creates the Secret `regcred` from the file that a login wrote.
async fn create_pull_secret(namespace: &CaseNamespace, login: &[u8]) -> Outcome {
    let encoded = base64::engine::general_purpose::STANDARD.encode(login);
    let secret = json!({
        "metadata": { "name": "regcred" }, "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": encoded },
    });
    let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
    secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    Ok(())
}
