//! The contract of model-fetcher: files in a model folder, progress events, and the termination message.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kubectl_dynamo_tests::hub::{Hub, HubSettings, Repository};
use kubectl_dynamo_tests::outline::outline;
use kubectl_dynamo_tests::{model, programs};
use model_fetcher_contract::{
    FailureReason, FileProgress, LOCK_FILE, PARTIAL_SUFFIX, ProgressEvent, RECEIPT_FILE, WORK_FOLDER,
    WaitReason,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::frozen;

pub(crate) const MODEL: &str = "acme/tiny";

/// A hub that serves one model, and an empty volume with a file for the termination message.
pub(crate) struct Scene {
    pub(crate) hub: Hub,
    model: &'static str,
    served: TempDir,
    volume: TempDir,
}

/// Result of a run of the fetcher.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stderr: String,
    pub(crate) termination_message: String,
}

impl Scene {
    pub(crate) async fn new(settings: HubSettings, weight_bytes: usize) -> Self {
        let served = tempfile::tempdir().unwrap();
        model::write_model_with_weights(served.path(), weight_bytes).unwrap();
        Self::of_model(settings, MODEL, served).await
    }

    /// A hub that serves this folder as the model.
    pub(crate) async fn of_model(settings: HubSettings, model: &'static str, served: TempDir) -> Self {
        let repositories = vec![Repository::from_folder(model, served.path()).unwrap()];
        let hub = Hub::start(HubSettings { repositories, ..settings }).await.unwrap();
        let volume = tempfile::tempdir().unwrap();
        std::fs::write(volume.path().join("termination-log"), "").unwrap();
        Self { hub, model, served, volume }
    }

    pub(crate) fn into(&self) -> &Path {
        self.volume.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.volume.path().join(self.model)
    }

    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::model_fetcher());
        command.env_clear().env("HF_ENDPOINT", &self.hub.url).env("MODEL_FETCHER_PROGRESS", "json");
        command.env("MODEL_FETCHER_TERMINATION_LOG", self.volume.path().join("termination-log"));
        command.arg(verb).arg(self.model).arg("--into").arg(self.into()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, verb: &str, arguments: &[&str]) -> Ended {
        let output = self.command(verb, arguments).output().await.unwrap();
        let written = std::fs::read_to_string(self.volume.path().join("termination-log")).unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            termination_message: written,
        }
    }

    /// Replaces the parts of a text that differ between runs.
    pub(crate) fn masked(&self, text: &str) -> String {
        let text = text.replace(&self.into().display().to_string(), "/opt/models");
        text.replace(&self.hub.url, "http://hub.test")
    }

    async fn publish_another_revision(&self) {
        std::fs::write(self.served.path().join("README.md"), "another revision\n").unwrap();
        let mut repository = Repository::from_folder(MODEL, self.served.path()).unwrap();
        repository.add_revision("v2", self.served.path()).unwrap();
        self.hub.publish(repository);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipt_and_files() {
    let scene = Scene::new(HubSettings::default(), 64).await;
    let ended = scene.run("fetch", &["--exclude", "generation_config.json"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let receipt: Value =
        serde_json::from_slice(&std::fs::read(scene.folder().join(RECEIPT_FILE)).unwrap()).unwrap();
    frozen!("fetcher-receipt", outline([&receipt], &["format", "revision", "repository"]));
    frozen!("fetcher-files", files_below(&scene.folder()).join("\n"));
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_and_work_folder() {
    let settings = HubSettings { connection_rate: Some(256 << 10), ..HubSettings::default() };
    let scene = Scene::new(settings, 32 << 20).await;
    let mut child = scene.command("fetch", &["--connections", "2"]).spawn().unwrap();
    let (lock, length, written) = loop {
        assert_eq!(child.try_wait().unwrap(), None, "the fetcher exited before its lock was found");
        let content = std::fs::read(scene.folder().join(LOCK_FILE)).unwrap_or_default();
        let lock = serde_json::from_slice::<Value>(&content).ok().filter(|lock| lock["beat"] != 0);
        if let Some(lock) = lock
            && let Some(written) = record_of_unfinished_files(&scene.folder(), &lock)
        {
            break (lock, content.len(), written);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    child.kill().await.unwrap();
    frozen!("fetcher-lock", format!("{length} bytes\n{}", outline([&lock], &[])));
    frozen!("fetcher-work", outline([&written], &[]));
}

/// Returns the record of the written ranges of unfinished files, once such a file exists.
fn record_of_unfinished_files(folder: &Path, lock: &Value) -> Option<Value> {
    let folder = folder.join(WORK_FOLDER).join(lock["token"].as_str().unwrap());
    let mut record: Value = serde_json::from_slice(&std::fs::read(folder.join("written.json")).ok()?).ok()?;
    let (name, ranges) = record["files"].as_object()?.iter().next()?;
    assert!(name.ends_with(PARTIAL_SUFFIX) && folder.join(name).is_file(), "{record}");
    record["files"] = json!({ "FILE.mfpart": ranges });
    Some(record)
}

/// Returns every event, with every optional field set once and unset once.
pub(crate) fn every_event() -> Vec<ProgressEvent> {
    let text = || "text".to_owned();
    let mut events = vec![
        ProgressEvent::Started { repository: text(), revision: text(), folder: "/folder".into() },
        ProgressEvent::Planned { commit: text(), files: 1, bytes: 1, files_to_fetch: 1, bytes_present: 1 },
        ProgressEvent::FileVerified { path: text(), bytes: 1 },
        ProgressEvent::Warning { text: text() },
        ProgressEvent::Complete {
            folder: "/folder".into(),
            commit: text(),
            files: 1,
            bytes: 1,
            bytes_fetched: 1,
            seconds: 0.5,
        },
        ProgressEvent::Removed { folder: "/folder".into(), existed: true },
    ];
    for reason in [WaitReason::Lock, WaitReason::RateLimit, WaitReason::Retry] {
        events.push(ProgressEvent::Waiting { reason, detail: text(), seconds: 1 });
    }
    for set in [false, true] {
        let file = FileProgress { path: text(), bytes_done: 1, bytes_total: 1 };
        events.push(ProgressEvent::Progress {
            bytes_done: 1,
            bytes_total: 1,
            bytes_verified: 1,
            files_done: 1,
            files_total: 1,
            bytes_per_second: 1,
            eta_seconds: set.then_some(1),
            retries: 1,
            connections: 1,
            fetching: if set { vec![file] } else { Vec::new() },
        });
        let reason = set.then_some(FailureReason::OtherRevision);
        events.push(ProgressEvent::Failed { exit_code: 1, error: text(), hint: set.then(text), reason });
    }
    events
}

/// Does not compile if `every_event` misses a new event.
fn name(event: &ProgressEvent) -> &'static str {
    match event {
        ProgressEvent::Started { .. } => "started",
        ProgressEvent::Planned { .. } => "planned",
        ProgressEvent::Progress { .. } => "progress",
        ProgressEvent::FileVerified { .. } => "file_verified",
        ProgressEvent::Waiting { .. } => "waiting",
        ProgressEvent::Warning { .. } => "warning",
        ProgressEvent::Complete { .. } => "complete",
        ProgressEvent::Removed { .. } => "removed",
        ProgressEvent::Failed { .. } => "failed",
    }
}

#[test]
fn progress_events_of_the_fetcher() {
    let mut by_name: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for event in every_event() {
        by_name.entry(name(&event)).or_default().push(serde_json::to_value(&event).unwrap());
    }
    assert_eq!(by_name.len(), 9);
    let text: Vec<String> = by_name.values().map(|events| outline(events, &["event", "reason"])).collect();
    frozen!("progress-events-of-the-fetcher", text.join("\n"));
}

/// The termination message of a container. It is prose, except for the parts that `matched_text` lists.
#[tokio::test(flavor = "multi_thread")]
async fn termination_messages() {
    let scene = Scene::new(HubSettings::default(), 64).await;
    let mut text = String::new();
    let mut add = |what: &str, ended: &Ended| {
        text += &format!("# {what}, exit code {}\n{}", ended.code, scene.masked(&ended.termination_message));
    };
    add("check of an empty folder", &scene.run("check", &[]).await);
    add("fetch of a missing revision", &scene.run("fetch", &["--revision", "absent"]).await);
    add("fetch", &scene.run("fetch", &[]).await);
    add("check", &scene.run("check", &[]).await);
    scene.publish_another_revision().await;
    add("fetch over another revision", &scene.run("fetch", &["--revision", "v2"]).await);
    std::fs::write(scene.folder().join("config.json"), "{}").unwrap();
    add("verify of a changed file", &scene.run("verify", &[]).await);
    insta::with_settings!({ filters => vec![(r"fetched in \d+\.\d s", "fetched in [time] s")] }, {
        frozen!("fetcher-termination-messages", text);
    });
}
