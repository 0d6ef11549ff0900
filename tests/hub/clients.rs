//! Unmodified clients against the test hub, and folders shared between them and the fetcher.

use std::path::{Path, PathBuf};

use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::hub::{HubHost, HubSettings, Repository, RepositoryAccess, TlsIdentity};
use tokio::process::Command;

use crate::support::{HubFixture, MODEL};

const HUGGINGFACE_HUB_VERSION: &str = "2.4.0";

/// Returns a Python with huggingface_hub: `KUBECTL_DYNAMO_TEST_HF_PYTHON`, else one installed once in the
/// cache folder.
fn find_python() -> Option<PathBuf> {
    if let Some(configured) =
        std::env::var_os("KUBECTL_DYNAMO_TEST_HF_PYTHON").filter(|configured| !configured.is_empty())
    {
        return Some(configured.into());
    }
    static PYTHON: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    match PYTHON.get_or_init(install_python) {
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

fn install_python() -> Result<PathBuf, String> {
    let folder = cache::folder().join(format!("huggingface-hub-{HUGGINGFACE_HUB_VERSION}"));
    let python = folder.join("bin/python");
    let is_usable = |python: &Path| run_program(python, &["-c", "import huggingface_hub"]).is_ok();
    if is_usable(&python) {
        return Ok(python);
    }
    let system = which::which("python3").map_err(|error| format!("python3 not found: {error}"))?;
    let folder_name = folder.to_str().ok_or("the path of the cache folder is not valid UTF-8")?;
    run_program(&system, &["-m", "venv", "--clear", folder_name])?;
    let package = format!("huggingface_hub=={HUGGINGFACE_HUB_VERSION}");
    run_program(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package])?;
    Ok(python)
}

fn run_program(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {}: {}", program.display(), arguments.join(" "), stderr.trim()))
}

/// Runs a Python script against the hub with an otherwise empty environment.
async fn run_script(
    python: &Path,
    fixture: &HubFixture,
    variables: &[(&str, &str)],
    script: &str,
) -> std::process::Output {
    let mut command = Command::new(python);
    let authority = fixture.variables.iter().filter(|(name, _)| *name == "SSL_CERT_FILE");
    command.env_clear().envs(authority.map(|(name, value)| (*name, value)));
    command.env("HF_ENDPOINT", &fixture.hub.url).env("HOME", fixture.volume.path());
    command.env("HF_HUB_DISABLE_TELEMETRY", "1").env("PATH", "/usr/bin:/bin");
    command.envs(variables.iter().copied());
    command.args(["-c", script]).arg(MODEL).arg(fixture.folder());
    command.output().await.unwrap()
}

const SNAPSHOT_SCRIPT: &str = "\
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1], local_dir=sys.argv[2], revision='main'))
";

fn assert_success(output: &std::process::Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn assert_same_files(fixture: &HubFixture) {
    for (path, content) in &fixture.files {
        assert!(std::fs::read(fixture.folder().join(path)).unwrap() == *content, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fetcher_verifies_and_accepts_huggingface_hub_snapshot() {
    let Some(python) = find_python() else { return };
    let fixture = HubFixture::new().await;
    assert_success(&run_script(&python, &fixture, &[], SNAPSHOT_SCRIPT).await);
    assert_same_files(&fixture);
    fixture.hub.reset_statistics();
    assert_eq!(fixture.fetch(&[]).await.assert_exit_code(0).bytes_fetched(), 0);
    let files = fixture.hub.requests().into_iter().filter(|request| request.path.contains("resolve")).count();
    assert_eq!(files, 0, "no file is requested");
    fixture.run("check", &[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn huggingface_hub_accepts_fetched_folder_as_complete() {
    let Some(python) = find_python() else { return };
    let fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.hub.reset_statistics();
    assert_success(&run_script(&python, &fixture, &[], SNAPSHOT_SCRIPT).await);
    let requests = fixture.hub.requests();
    assert!(requests.iter().all(|request| !request.path.contains("resolve")), "{requests:?}");
    assert!(requests.iter().all(|request| request.host == HubHost::Hub));
    fixture.hub.reset_statistics();
    assert_success(&run_script(&python, &fixture, &[("HF_HUB_OFFLINE", "1")], SNAPSHOT_SCRIPT).await);
    assert_eq!(fixture.hub.requests(), []);
    fixture.run("check", &[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn huggingface_hub_completes_snapshot_with_tls() {
    let Some(python) = find_python() else { return };
    let identity = TlsIdentity::generate(&["127.0.0.1"]).unwrap();
    let fixture = HubFixture::with_settings(
        HubSettings { identity: Some(identity), ..HubSettings::default() },
        1 << 20,
    )
    .await;
    assert_success(&run_script(&python, &fixture, &[], SNAPSHOT_SCRIPT).await);
    assert_same_files(&fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn huggingface_hub_reports_gated_repository() {
    let Some(python) = find_python() else { return };
    let fixture = HubFixture::new().await;
    let gated = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    fixture.hub.publish(gated.with_access(RepositoryAccess::Gated { token: "hf_right".into() }));
    let output = run_script(&python, &fixture, &[], SNAPSHOT_SCRIPT).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("GatedRepoError"), "{stderr}");
    assert_success(&run_script(&python, &fixture, &[("HF_TOKEN", "hf_right")], SNAPSHOT_SCRIPT).await);
    assert_same_files(&fixture);
}

#[tokio::test(flavor = "multi_thread")]
async fn hf_hub_completes_a_snapshot() {
    let fixture = HubFixture::new().await;
    let client =
        hf_hub::HFClient::builder().endpoint(fixture.hub.url.clone()).cache_enabled(false).build().unwrap();
    let (owner, name) = hf_hub::split_id(MODEL);
    let model = client.model(owner, name);
    let snapshot = model.snapshot_download().local_dir(fixture.folder()).send().await;
    snapshot.unwrap();
    assert_same_files(&fixture);
}
