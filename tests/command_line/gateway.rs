//! The gateway verbs without a deployment: invalid command lines, keys that cannot be read, and a scripted proxy.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::assert_fails;
use crate::scripted_server::{KindScript, ScriptedServer};

const URL: &str = "http://127.0.0.1:1";

#[test]
fn invalid_command_lines_are_usage_errors() {
    let config = ["gateway", "config"];
    let apply = ["gateway", "config", "--apply-to"];
    let list = ["gateway", "list", "--url", URL];
    for (arguments, code, messages) in [
        (vec!["gateway", "test", "tiny"], "KD0001", ["--url <URL>"]),
        (vec!["gateway", "test", "--url", URL], "KD0001", ["<NAME>"]),
        ([&apply[..], &["litellm", "--key", "k"]].concat(), "KD0001", ["use configmap/NAME"]),
        ([&apply[..], &["secret/litellm", "--key", "k"]].concat(), "KD0001", ["use configmap/NAME"]),
        ([&apply[..], &["configmap/litellm"]].concat(), "KD0001", ["--key <KEY>"]),
        ([&config[..], &["--key", "k"]].concat(), "KD0001", ["--apply-to"]),
        ([&config[..], &["--restart", "deployment/x"]].concat(), "KD0001", ["--apply-to"]),
        ([&apply[..], &["cm/litellm", "--key", "k", "--local"]].concat(), "KD0001", ["cannot be used with"]),
        ([&apply[..], &["cm/x", "--key", "k", "--restart", "x"]].concat(), "KD0001", ["use deployment/NAME"]),
        ([&list[..], &["--api-key-secret", "litellm"]].concat(), "KD0001", ["use NAME/KEY"]),
        (
            [&list[..], &["--api-key-secret", "a/b", "--api-key-env", "A"]].concat(),
            "KD0001",
            ["cannot be used with"],
        ),
        ([&list[..], &["--api-key-env", "NOT_SET"]].concat(), "KD0812", ["\"NOT_SET\" is not set"]),
        (vec!["gateway", "list", "--local", "--url", "litellm:4000"], "KD0804", ["litellm:4000"]),
        (vec!["gateway", "config", "a", "-A", "--kubeconfig", "kubeconfig"], "KD0001", ["-A cannot be used"]),
    ] {
        assert_fails(&arguments, 2, code, &messages);
    }
}

#[test]
fn local_deployment_must_exist() {
    assert_fails(&["gateway", "config", "tiny", "--local"], 1, "KD0520", &["\"tiny\" not found"]);
    let output = crate::run(&["gateway", "config", "--local"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout.is_empty(), "{stderr}");
    assert!(stderr.contains("no deployment that serves a model was found"), "{stderr}");
}

#[tokio::test]
async fn missing_key_of_a_secret_is_named() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "litellm" },
        "data": { "other": "c2VjcmV0LXZhbHVl", "binary": "/w==" },
    });
    let config_map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "litellm" }, "data": { "other": "text" },
    });
    let script = |object: &Value| KindScript { objects: vec![object.clone()], ..KindScript::default() };
    let kinds = [("secrets", script(&secret)), ("configmaps", script(&config_map))];
    let (_server, plugin, _home) = ScriptedServer::start(&kinds).await;
    let list = ["gateway", "list", "--url", URL, "--api-key-secret"];
    let apply = ["gateway", "config", "--key", "config.yaml", "--apply-to"];
    for (arguments, exit, messages) in [
        (
            [&list[..], &["litellm/master-key"]].concat(),
            2,
            ["KD0912", "Secret \"litellm\"", "\"master-key\""],
        ),
        (
            [&list[..], &["litellm/binary"]].concat(),
            2,
            ["KD0912", "Secret \"litellm\"", "or its value is not text"],
        ),
        ([&list[..], &["missing/key"]].concat(), 1, ["KD0106", "Secret \"missing\"", "not found"]),
        ([&apply[..], &["cm/litellm"]].concat(), 2, ["KD0912", "ConfigMap \"litellm\"", "\"config.yaml\""]),
        ([&apply[..], &["cm/missing"]].concat(), 1, ["KD0106", "ConfigMap \"missing\"", "not found"]),
        // The key is read, and nothing listens at the URL.
        ([&list[..], &["litellm/other"]].concat(), 1, ["KD0901", URL, "cannot reach the gateway"]),
    ] {
        let output = plugin.run(&arguments).await.expect("the plugin runs");
        assert_eq!(output.code, Some(exit), "{arguments:?}: {}", output.err);
        for message in messages {
            assert!(output.err.contains(message), "{arguments:?} does not print `{message}`: {}", output.err);
        }
        assert!(!output.err.contains("secret-value") && output.out.is_empty(), "{}", output.err);
    }
}

/// Answers as a proxy without entries that reports this version, as long as the test program runs.
fn serve_proxy(version: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A client that disconnects early is not an error.
            let _ = respond(connection, version);
        }
    });
    format!("http://{address}")
}

fn respond(mut connection: TcpStream, version: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = match first.starts_with("GET /model/info ") {
        true => json!({ "data": [] }),
        false => json!({ "status": "healthy", "litellm_version": version }),
    };
    write!(connection, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}")
}

#[test]
fn compromised_version_is_a_warning() {
    for (version, is_compromised) in [("1.82.7", true), ("1.82.8", true), ("1.108.7", false)] {
        let url = serve_proxy(version);
        let output = crate::run(&["gateway", "list", "--local", "--url", &url, "-o", "json"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stderr.contains("warning [KD0909]: "), is_compromised, "{stderr}");
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&document["version"], &document["items"]), (&version.into(), &json!([])));
    }
}
