//! The keys and types of `-o json` for the verbs that need no cluster.

use std::path::Path;

use kubectl_dynamo_tests::model;
use kubectl_dynamo_tests::outline::outline;
use serde_json::Value;

use crate::{Home, frozen};

const OFFLINE: [&str; 6] =
    ["acme/tiny", "--release=1.6.1", "--graph-api=v1beta1", "-o", "json", "-n=serving"];

#[test]
fn version() {
    let document = Home::new().json(&["version", "-o", "json"], 0);
    frozen!("json-version", outline([&document], &["apiVersion", "kind"]));
}

#[test]
fn settings() {
    let home = Home::new();
    for (field, value) in [("cache.size", "50Gi"), ("frontend.replicas", "2"), ("nodeSelector.pool", "l40")] {
        home.stdout(&["config", "set", field, value], 0);
    }
    home.stdout(&["config", "set", "--project", "trustRemoteCode", "true"], 0);
    let document = home.json(&["config", "list", "-o", "json"], 0);
    frozen!("json-config-list", outline([&document], &["apiVersion", "kind", "field"]));
    assert_eq!(home.stdout(&["config", "get", "cache.size"], 0), "50Gi\n");
}

/// The schema of requests: names and values in files for `-f`.
#[test]
fn request_schema() {
    frozen!("json-config-schema", Home::new().stdout(&["config", "schema"], 0));
}

#[test]
fn objects() {
    let home = Home::new();
    let document = home.json(&[&["render"], &OFFLINE[..]].concat(), 0);
    frozen!("json-render", outline([&document], &["apiVersion", "kind"]));
}

#[test]
fn plan() {
    let home = Home::new();
    let documents: Vec<Value> =
        [&["--replicas=2"][..], &["--mode=disagg", "--router-mode=kv", "--kv-offload=cpu=1Gi"]]
            .iter()
            .map(|flags| home.json(&[&["render", "--plan"], &OFFLINE[..], flags].concat(), 0))
            .collect();
    let closed = ["apiVersion", "kind", "field", "source", "graphApi"];
    frozen!("json-plan", outline(&documents, &closed));
}

#[test]
fn fit() {
    let home = Home::new();
    let folder = home.path().join("model");
    model::write_model_with_weights(&folder, 1 << 20).unwrap();
    let shapes = fits(&home, &folder, &[]);
    frozen!("json-fit", outline([&shapes], &["apiVersion", "kind", "hardware"]));
    let roles = fits(&home, &folder, &["--mode=disagg", "--kv-offload=cpu=1Gi,disk=2Gi"]);
    frozen!("json-fit-roles", outline([&roles], &["apiVersion", "kind", "role"]));
}

fn fits(home: &Home, folder: &Path, flags: &[&str]) -> Value {
    let model = folder.to_str().unwrap();
    home.json(&[&["fit", model, "--gpu=h100-80g:8", "-o", "json"], flags].concat(), 0)
}

#[test]
fn roles_of_personas() {
    let home = Home::new();
    let mut text = String::new();
    for persona in ["viewer", "deployer", "platform"] {
        text += &format!("# {persona}\n");
        text += &home.stdout(&["rbac", "generate", "--persona", persona, "--user=jane", "-n=serving"], 0);
    }
    frozen!("rbac", text);
}
