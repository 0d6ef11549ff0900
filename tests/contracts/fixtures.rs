//! Reads files that commit df1e54c wrote: nothing may be lost, and nothing may look changed.
//! `fixtures/df1e54c/README.md` describes how the files were created. They are never created again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use kubectl_dynamo::local::state;
use kubectl_dynamo_core::intent::ServingIntent;
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation, plan};
use kubectl_dynamo_core::release::Release;
use kubectl_dynamo_core::resources::{GraphApi, INTENT_ANNOTATION, RELEASE_ANNOTATION, render};
use kubectl_dynamo_tests::hub::HubSettings;
use kubectl_dynamo_tests::outline::outline;
use model_fetcher_contract::{RECEIPT_FILE, Receipt};
use serde_json::{Value, json};

use crate::fetcher::Scene;
use crate::{Home, copy_folder, fixture_folder, frozen};

/// Keys of local deployments whose values are closed sets.
const CLOSED: [&str; 7] = ["apiVersion", "kind", "status", "mode", "router", "backend", "component"];

/// Returns every list of rendered objects, by file name.
fn rendered_lists() -> Vec<(String, String)> {
    let mut lists: Vec<(String, String)> = std::fs::read_dir(fixture_folder().join("objects"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    lists.sort();
    assert_eq!(lists.len(), 15, "{lists:?}");
    lists
}

/// Returns the graph of a list, and the intent in its annotation.
fn graph_and_intent(list: &Value) -> (Value, ServingIntent) {
    let items = list["items"].as_array().unwrap();
    let graph = items.iter().find(|one| one["kind"] == "DynamoGraphDeployment").unwrap().clone();
    let annotation = graph["metadata"]["annotations"][INTENT_ANNOTATION].as_str().unwrap();
    let intent = serde_json::from_str(annotation).unwrap();
    (graph, intent)
}

/// Renders a graph's intent again, as the list that `render -o json` prints.
fn rendered_again(graph: &Value, intent: &ServingIntent) -> Value {
    let annotations = &graph["metadata"]["annotations"];
    let version = annotations[RELEASE_ANNOTATION].as_str().unwrap();
    let release = Release::find(version).unwrap();
    let api = match graph["apiVersion"].as_str().unwrap() {
        "nvidia.com/v1alpha1" => GraphApi::V1Alpha1,
        _ => GraphApi::V1Beta1,
    };
    let plan = plan(intent, release, version, ModelLocation::Volume(FetchPlacement::Job)).unwrap();
    let objects = render(&plan, graph["metadata"]["namespace"].as_str().unwrap(), api);
    let items: Vec<Value> = objects.into_iter().map(|one| one.object).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// Removes the intent annotation from the graph of a list.
fn take_annotation(list: &mut Value) -> String {
    let graph = list["items"].as_array_mut().unwrap().last_mut().unwrap();
    let annotations = graph["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.remove(INTENT_ANNOTATION).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn an_old_intent_renders_the_same_bytes() {
    for (name, text) in rendered_lists() {
        let mut old: Value = serde_json::from_str(&text).unwrap();
        let (graph, intent) = graph_and_intent(&old);
        let mut new = rendered_again(&graph, &intent);
        let written = take_annotation(&mut new);
        take_annotation(&mut old);
        assert_eq!(format!("{new:#}"), format!("{old:#}"), "{name}");
        assert_eq!(serde_json::from_str::<ServingIntent>(&written).unwrap(), intent, "{name}");
    }
}

/// The annotations that this version writes. They may differ from those of df1e54c only on purpose.
#[test]
fn intent_annotations() {
    let mut text = String::new();
    for (name, list) in rendered_lists() {
        let list: Value = serde_json::from_str(&list).unwrap();
        let (_, intent) = graph_and_intent(&list);
        text += &format!("# {name}\n{:#}\n", serde_json::to_value(&intent).unwrap());
    }
    frozen!("intent-annotations", text);
}

/// Copies the model folder and sets the modification times in its receipt, which git does not store.
pub(crate) fn copy_model(to: &Path) {
    let from = fixture_folder().join("volume/acme/tiny");
    copy_folder(&from, to);
    let receipt: Receipt = serde_json::from_slice(&std::fs::read(to.join(RECEIPT_FILE)).unwrap()).unwrap();
    for file in &receipt.files {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(file.modified).unwrap());
        let file = std::fs::File::options().write(true).open(to.join(&file.path)).unwrap();
        file.set_modified(time).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_receipt_costs_no_request() {
    let scene = Scene::new(HubSettings::default(), 64).await;
    copy_model(&scene.folder());
    for verb in ["check", "fetch", "verify"] {
        let ended = scene.run(verb, &[]).await;
        assert_eq!(ended.code, 0, "{verb}: {}", ended.stderr);
        assert!(ended.stderr.contains(r#""bytes_fetched":0"#), "{verb}: {}", ended.stderr);
    }
    assert_eq!(scene.hub.requests(), []);
}

/// A fetch that was killed goes on from what is written, without that being sent again.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_unfinished_fetch_continues() {
    const WEIGHTS: usize = 1 << 20;
    const WRITTEN: u64 = 570_000;
    let served = tempfile::tempdir().unwrap();
    std::fs::write(served.path().join("config.json"), "{\"model_type\": \"qwen3\"}\n").unwrap();
    let mut header =
        format!(r#"{{"weight":{{"dtype":"U8","shape":[{WEIGHTS}],"data_offsets":[0,{WEIGHTS}]}}}}"#)
            .into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header);
    weights.resize(weights.len() + WEIGHTS, 0);
    std::fs::write(served.path().join("model.safetensors"), weights).unwrap();
    let scene = Scene::of_model(HubSettings::default(), "acme/slow", served).await;
    copy_folder(&fixture_folder().join("volume/acme/slow"), &scene.folder());
    let ended = scene.run("fetch", &["--lease-timeout", "1s"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let sent = scene.hub.bytes_sent();
    assert!(sent <= WEIGHTS as u64 + 100 - WRITTEN, "{sent} bytes were sent");
    assert_eq!(scene.run("verify", &[]).await.code, 0);
}

#[test]
fn an_old_config_file_means_the_same() {
    let home = Home::new();
    let user = home.path().join(".config/kubectl-dynamo");
    std::fs::create_dir_all(&user).unwrap();
    let from = fixture_folder().join("config");
    std::fs::copy(from.join("user.toml"), user.join("config.toml")).unwrap();
    std::fs::copy(from.join("project.toml"), home.path().join(".kubectl-dynamo.toml")).unwrap();
    // The source of a setting is prose, and the order follows the precedence of the files.
    let settings = |document: Value| -> Vec<(String, Value)> {
        let all = document["settings"].as_array().cloned().unwrap_or_default();
        let mut settings: Vec<(String, Value)> =
            all.iter().map(|one| (one["field"].to_string(), one["value"].clone())).collect();
        settings.sort_by(|(one, _), (other, _)| one.cmp(other));
        settings
    };
    let old = settings(read_json(&from.join("settings.json")));
    assert_eq!(old.len(), 10);
    assert_eq!(settings(home.json(&["config", "list", "-o", "json"], 0)), old);
}

/// Creates a home whose state folder contains deployments started by df1e54c; their processes do not run
/// anymore.
fn home_with_state() -> Home {
    let home = Home::new();
    copy_folder(&fixture_folder().join("state"), &home.path().join(".local/state/kubectl-dynamo"));
    home
}

#[test]
fn an_old_local_deployment_is_read() {
    let home = home_with_state();
    let list = home.json(&["list", "--local", "-o", "json"], 0);
    frozen!("json-list-local", outline([&list], &CLOSED));
    let pair = &list["items"][0];
    assert_eq!((&pair["name"], &pair["status"]), (&"pair".into(), &"exited".into()));
    assert_eq!((&pair["ready"], &pair["desired"]), (&0.into(), &4.into()));
    assert_eq!(pair["processes"][3]["exitStatus"], "signal 9");
    for name in ["pair", "tiny"] {
        let status = home.json(&["status", name, "--local", "-o", "json"], 1);
        assert_eq!((&status["name"], &status["verdict"]), (&name.into(), &"DOWN".into()));
        let logs = home.stdout(&["logs", name, "--local"], 0);
        assert!(logs.contains("dynamo.mocker"), "{logs}");
        home.stdout(&["down", name, "--local", "-y"], 0);
    }
    assert_eq!(home.json(&["list", "--local", "-o", "json"], 0)["items"], json!([]));
}

/// Renames the keys and values that df1e54c wrote and that this version only reads.
fn in_new_words(value: &Value) -> Value {
    let renamed = |word: &str| {
        match word {
            "claim" => "pvc",
            "made" => "managed",
            "combined" => "aggregated",
            "ended" => "exitStatus",
            "withoutEnvironment" => "removedEnvironment",
            other => other,
        }
        .to_owned()
    };
    match value {
        Value::String(word) => renamed(word).into(),
        Value::Array(items) => items.iter().map(in_new_words).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (renamed(key), in_new_words(value))).collect()
        }
        other => other.clone(),
    }
}

/// All three records of a deployment are read without changes.
#[test]
fn an_old_state_folder_is_read_whole() {
    let mut records = Vec::new();
    for name in ["pair", "tiny"] {
        let folder = fixture_folder().join("state/local").join(name);
        let found = state::read(&folder).unwrap();
        let deployment = read_json(&folder.join("deployment.json"));
        assert_eq!(serde_json::to_value(&found.spec).unwrap(), in_new_words(&deployment));
        assert_eq!(found.spec.difference(&found.spec.intent, "1.6.1", None), None);
        let running = read_json(&folder.join("running.json"));
        assert_eq!(serde_json::to_value(&found.processes).unwrap(), in_new_words(&running["processes"]));
        let launch = read_json(&folder.join("launch.json"));
        let processes: Vec<Value> =
            launch.as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
        assert_eq!(state::logs(&folder).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), processes);
        let record = json!({ "deployment.json": deployment, "launch.json": launch, "running.json": running });
        records.push(in_new_words(&record));
    }
    let closed = ["role", "kind", "backend", "mode", "accessMode"];
    frozen!("local-state", outline(&records, &closed));
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
