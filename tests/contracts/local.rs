//! A serving local deployment, with an interpreter that returns fixed answers instead of Dynamo.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use kubectl_dynamo_core::release::MOCKER_PACKAGES;
use kubectl_dynamo_tests::outline::outline;
use serde_json::{Value, json};

use crate::fixtures::read_json;
use crate::{Home, fixture_folder, frozen};

const RELEASE: &str = "1.6.1";
const INTERPRETER: &str = include_str!("interpreter.py");

/// A home with a runtime in which a deployment is started; dropping it stops the deployment.
struct Served {
    home: Home,
    name: &'static str,
}

impl Served {
    fn new(name: &'static str) -> Self {
        let home = Home::new();
        let runtime = home.path().join(".cache/kubectl-dynamo/runtimes").join(RELEASE);
        std::fs::create_dir_all(runtime.join("bin")).unwrap();
        let interpreter = runtime.join("bin/python3");
        std::fs::write(&interpreter, INTERPRETER).unwrap();
        std::fs::set_permissions(&interpreter, std::fs::Permissions::from_mode(0o755)).unwrap();
        let own = ["ai-dynamo", "ai-dynamo-runtime"].map(|name| format!("{name}=={RELEASE}\n"));
        let others = MOCKER_PACKAGES.iter().map(|name| format!("{name}\n"));
        let installed: String = own.into_iter().chain(others).collect();
        std::fs::write(runtime.join("kubectl-dynamo.installed"), installed).unwrap();
        Self { home, name }
    }

    /// Runs `up` with these flags and returns its events.
    fn up(&self, flags: &[&str]) -> Vec<Value> {
        let words =
            ["up", "--local", "--detach", "--progress=json", "--release", RELEASE, "--name", self.name];
        let output = self.home.run(&[&words[..], flags].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join(".local/state/kubectl-dynamo/local").join(self.name)
    }

    /// Replaces the record of a deployment by the one that df1e54c wrote, with this home and this port.
    fn replace_record(&self) {
        let own = read_json(&self.folder().join("deployment.json"));
        let old = fixture_folder().join("state/local").join(self.name).join("deployment.json");
        let old = std::fs::read_to_string(old).unwrap();
        let mut old: Value =
            serde_json::from_str(&old.replace("/home/user", &self.home.path().display().to_string()))
                .unwrap();
        old["port"] = own["port"].clone();
        std::fs::write(self.folder().join("deployment.json"), old.to_string()).unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.home.run(&["down", self.name, "--local", "-y"]);
    }
}

#[test]
fn documents_of_a_deployment_that_serves() {
    let served = Served::new("tiny");
    let events = served.up(&[]);
    assert_eq!(events[0]["event"], "plan");
    let done: Vec<&Value> =
        events.iter().filter(|event| event["event"] == "done").map(|event| &event["stage"]).collect();
    assert_eq!(done, ["runtime", "model-fetch", "ready", "smoke-test"]);

    let closed =
        ["apiVersion", "kind", "status", "verdict", "mode", "router", "backend", "component", "finishReason"];
    let status = served.home.json(&["status", "tiny", "--local", "-o", "json"], 0);
    frozen!("json-status-local", outline([&status], &closed));
    assert_eq!((&status["verdict"], &status["status"]), (&"UP".into(), &"running".into()));
    let chat = served.home.json(&["chat", "tiny", "--local", "-o", "json", "hello"], 0);
    frozen!("json-chat", outline([&chat], &closed));
    let top = served.home.json(&["top", "--local", "--once", "--interval", "200ms", "-o", "json"], 0);
    frozen!("json-top", outline([&top], &[&closed[..], &["role"]].concat()));
}

/// A newer plugin finds a deployment that df1e54c started and leaves it unchanged.
#[test]
fn an_old_record_of_a_deployment_that_serves_is_unchanged() {
    let pair = ["--mode=disagg", "--router-mode=kv", "--env=LEVEL=debug", "--prefill-replicas=2"];
    for (name, flags) in
        [("tiny", Vec::new()), ("pair", [&pair[..], &["--", "--speedup-ratio", "10"]].concat())]
    {
        let served = Served::new(name);
        served.up(&flags);
        let running = read_json(&served.folder().join("running.json"));
        served.replace_record();
        let events = served.up(&flags);
        let kinds: Vec<&Value> = events.iter().map(|event| &event["event"]).collect();
        assert_eq!(kinds, ["done", "summary"], "{events:?}");
        assert_eq!(events[0]["stage"], "ready");
        assert_eq!(read_json(&served.folder().join("running.json")), running, "processes were started again");
        let list = served.home.json(&["list", "--local", "-o", "json"], 0);
        assert_eq!(list["items"][0]["status"], json!("running"));
    }
}
