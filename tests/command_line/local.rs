//! Local deployments without the Dynamo runtime: recorded state and a process that was left running.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kubectl_dynamo_tests::programs;
use tempfile::TempDir;

/// Returns a home with the record of a deployment, whose processes have exited, and the folder of the record.
fn home_with_deployment() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let folder = home.path().join(".local/state/kubectl-dynamo/local/tiny");
    std::fs::create_dir_all(&folder).expect("the folder");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/df1e54c/state/local/tiny");
    for file in ["deployment.json", "launch.json", "running.json"] {
        std::fs::copy(fixture.join(file), folder.join(file)).expect("the record of the deployment");
    }
    (home, folder)
}

#[test]
fn endpoint_local_prints_the_url_in_every_format() {
    let (home, _) = home_with_deployment();
    let run = |args: &[&str]| {
        let mut command = Command::new(programs::kubectl_dynamo());
        let output =
            command.args(args).env_clear().env("HOME", home.path()).output().expect("the plugin runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (exit, url, stderr) = run(&["endpoint", "tiny", "--local", "-o", "url"]);
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/v1\n"), "{url}");
    let url = url.trim_end();
    let (_, environment, _) = run(&["endpoint", "--local", "-o", "env"]);
    assert_eq!(environment, format!("export OPENAI_BASE_URL='{url}'\nexport OPENAI_MODEL='tiny'\n"));
    let (_, json, _) = run(&["endpoint", "tiny", "--local", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((document["url"].as_str(), &document["models"][0]), (Some(url), &"tiny".into()));
    assert_eq!(document["namespace"], serde_json::Value::Null);
    let (exit, _, stderr) = run(&["endpoint", "other", "--local"]);
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(stderr.contains("KD0520") && stderr.contains("kubectl dynamo list --local"), "{stderr}");
}

#[test]
fn status_local_reports_leftover_processes_and_does_not_end_them() {
    let (home, folder) = home_with_deployment();
    let mut process = Command::new("sleep");
    process.arg("600").env("KUBECTL_DYNAMO_LOCAL_DEPLOYMENT", &folder).stdout(Stdio::null());
    let mut process = process.spawn().expect("sleep starts");
    let output = Command::new(programs::kubectl_dynamo())
        .args(["status", "tiny", "--local"])
        .env_clear()
        .env("HOME", home.path())
        .output()
        .expect("the plugin runs");
    let is_running = process.try_wait().expect("its state is known").is_none();
    process.kill().expect("it can be ended");
    process.wait().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(is_running, "status ended the process: {stderr}");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("1 process of deployment \"tiny\" is still running"), "{stderr}");
    assert!(stderr.contains("kubectl dynamo down tiny --local"), "{stderr}");
}
