//! The hub as the unmodified clients of others see it, and folders shared between them and the fetcher.

use std::path::{Path, PathBuf};

use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::hub::{Access, Host, Identity, Repository, Settings};
use tokio::process::Command;

use crate::support::{MODEL, Scene};

const HUGGINGFACE_HUB: &str = "2.4.0";

/// A Python with huggingface_hub: named by `KUBECTL_DYNAMO_TEST_HF_PYTHON`, else made once in the cache folder.
fn python() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("KUBECTL_DYNAMO_TEST_HF_PYTHON").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    static MADE: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    match MADE.get_or_init(make_python) {
        Ok(python) => Some(python.clone()),
        Err(reason) => {
            assert!(
                std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"),
                "cannot run: {reason}, and REQUIRE_ALL_TIERS=1"
            );
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "cannot run: {reason}");
            None
        }
    }
}

fn make_python() -> Result<PathBuf, String> {
    let folder = cache::folder().join(format!("huggingface-hub-{HUGGINGFACE_HUB}"));
    let python = folder.join("bin/python");
    let is_usable = |python: &Path| run(python, &["-c", "import huggingface_hub"]).is_ok();
    if is_usable(&python) {
        return Ok(python);
    }
    let system = which::which("python3").map_err(|error| format!("python3 is not here: {error}"))?;
    let place = folder.to_str().ok_or("the cache folder's name is no text")?;
    run(&system, &["-m", "venv", "--clear", place])?;
    let package = format!("huggingface_hub=={HUGGINGFACE_HUB}");
    run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package])?;
    Ok(python)
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {}: {}", program.display(), arguments.join(" "), stderr.trim()))
}

/// Runs a Python script against the hub, with nothing else in its environment.
async fn script(
    python: &Path,
    scene: &Scene,
    variables: &[(&str, &str)],
    script: &str,
) -> std::process::Output {
    let mut command = Command::new(python);
    let authority = scene.variables.iter().filter(|(name, _)| *name == "SSL_CERT_FILE");
    command.env_clear().envs(authority.map(|(name, value)| (*name, value)));
    command.env("HF_ENDPOINT", &scene.hub.url).env("HOME", scene.volume.path());
    command.env("HF_HUB_DISABLE_TELEMETRY", "1").env("PATH", "/usr/bin:/bin");
    command.envs(variables.iter().copied());
    command.args(["-c", script]).arg(MODEL).arg(scene.folder());
    command.output().await.unwrap()
}

const SNAPSHOT: &str = "\
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], local_dir=sys.argv[2], revision='main'))
";

fn assert_success(output: &std::process::Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn assert_same_files(scene: &Scene) {
    for (path, content) in &scene.files {
        assert!(std::fs::read(scene.folder().join(path)).unwrap() == *content, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_completes_a_snapshot_and_the_fetcher_accepts_it_after_a_hash() {
    let Some(python) = python() else { return };
    let scene = Scene::new().await;
    assert_success(&script(&python, &scene, &[], SNAPSHOT).await);
    assert_same_files(&scene);
    scene.hub.forget_requests();
    assert_eq!(scene.fetch(&[]).await.assert_code(0).bytes_fetched(), 0);
    let files = scene.hub.requests().into_iter().filter(|request| request.path.contains("resolve")).count();
    assert_eq!(files, 0, "no file is asked for");
    scene.run("check", &[]).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_takes_a_folder_of_ours_as_complete() {
    let Some(python) = python() else { return };
    let scene = Scene::new().await;
    scene.fetch(&[]).await.assert_code(0);
    scene.hub.forget_requests();
    assert_success(&script(&python, &scene, &[], SNAPSHOT).await);
    let requests = scene.hub.requests();
    assert!(requests.iter().all(|request| !request.path.contains("resolve")), "{requests:?}");
    assert!(requests.iter().all(|request| request.host == Host::Hub));
    scene.hub.forget_requests();
    assert_success(&script(&python, &scene, &[("HF_HUB_OFFLINE", "1")], SNAPSHOT).await);
    assert_eq!(scene.hub.requests(), []);
    scene.run("check", &[]).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_completes_a_snapshot_over_tls() {
    let Some(python) = python() else { return };
    let identity = Identity::generate(&["127.0.0.1"]).unwrap();
    let scene = Scene::with(Settings { identity: Some(identity), ..Settings::default() }, 1 << 20).await;
    assert_success(&script(&python, &scene, &[], SNAPSHOT).await);
    assert_same_files(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_meets_the_gate_as_on_the_real_hub() {
    let Some(python) = python() else { return };
    let scene = Scene::new().await;
    let gated = Repository::from_folder(MODEL, scene.served.path()).unwrap();
    scene.hub.publish(gated.with_access(Access::Gated { token: "hf_right".into() }));
    let output = script(&python, &scene, &[], SNAPSHOT).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("GatedRepoError"), "{stderr}");
    assert_success(&script(&python, &scene, &[("HF_TOKEN", "hf_right")], SNAPSHOT).await);
    assert_same_files(&scene);
}

#[tokio::test(flavor = "multi_thread")]
async fn hf_hub_completes_a_snapshot() {
    let scene = Scene::new().await;
    let client =
        hf_hub::HFClient::builder().endpoint(scene.hub.url.clone()).cache_enabled(false).build().unwrap();
    let (owner, name) = hf_hub::split_id(MODEL);
    let model = client.model(owner, name);
    let snapshot = model.snapshot_download().local_dir(scene.folder()).send().await;
    snapshot.unwrap();
    assert_same_files(&scene);
}
