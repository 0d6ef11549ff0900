//! What the cases share: a model to serve, and the fetcher as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kubectl_dynamo_tests::hub::{Hub, Identity, Repository, Settings};
use kubectl_dynamo_tests::programs::model_fetcher;
use model_fetcher::FetchOptions;
use model_fetcher::contract::{ProgressEvent, RECEIPT_FILE, Receipt};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const MODEL: &str = "acme/tiny-model";
const MIB: usize = 1 << 20;
/// What connections that a run leaves behind may hold between the hub and the fetcher: a few, of some MiB each.
pub(crate) const IN_SOCKETS: u64 = 4 << 20;

/// Bytes that look random and are the same in every run.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A safetensors file with one tensor of `data` bytes.
fn safetensors(seed: u64, data: usize) -> Vec<u8> {
    let header = format!(r#"{{"weight":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.extend(noise(seed, data));
    content
}

/// A model with large, small, empty, nested and oddly named files.
pub(crate) fn model_files(shard_bytes: usize) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("config.json".to_owned(), b"{\"model_type\": \"tiny\"}\n".to_vec());
    files.insert("empty.txt".to_owned(), Vec::new());
    files.insert("tokenizer/vocab.json".to_owned(), noise(3, 5000));
    files.insert("a name with spaces #1.json".to_owned(), b"{}".to_vec());
    for shard in 1..=2 {
        files.insert(format!("model-0000{shard}-of-00002.safetensors"), safetensors(shard, shard_bytes));
    }
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    files.insert("model.safetensors.index.json".to_owned(), index.as_bytes().to_vec());
    files
}

/// Writes `files` into `folder`.
pub(crate) fn write_files(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, content) in files {
        let place = folder.join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, content).unwrap();
    }
}

/// A hub with one model, and an empty volume.
pub(crate) struct Scene {
    pub(crate) hub: Hub,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) served: TempDir,
    pub(crate) volume: TempDir,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Scene {
    /// A model of two shards of 3 MiB.
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default(), 3 * MIB).await
    }

    pub(crate) async fn with(mut settings: Settings, shard_bytes: usize) -> Self {
        let served = tempfile::tempdir().unwrap();
        let volume = tempfile::tempdir().unwrap();
        let files = model_files(shard_bytes);
        write_files(served.path(), &files);
        settings.repositories.push(Repository::from_folder(MODEL, served.path()).unwrap());
        let mut variables = Vec::new();
        if let Some(identity) = &settings.identity {
            let place = identity.write_authority(volume.path()).unwrap();
            variables.push(("SSL_CERT_FILE", place.to_str().unwrap().to_owned()));
        }
        let hub = Hub::start(settings).await.unwrap();
        Self { hub, files, served, volume, variables }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.volume.path().join(MODEL)
    }

    /// `model-fetcher VERB MODEL --into VOLUME …` with nothing else in its environment.
    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        self.command_for(verb, MODEL, arguments)
    }

    fn command_for(&self, verb: &str, model: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(model_fetcher());
        command.env_clear().env("HF_ENDPOINT", &self.hub.url).env("MODEL_FETCHER_PROGRESS", "json");
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.arg(verb).arg(model).arg("--into").arg(self.volume.path()).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, verb: &str, arguments: &[&str]) -> Ended {
        Ended::of(self.command(verb, arguments).spawn().unwrap()).await
    }

    /// `fetch` with `arguments`.
    pub(crate) async fn fetch(&self, arguments: &[&str]) -> Ended {
        self.run("fetch", arguments).await
    }

    /// `fetch` of another model.
    pub(crate) async fn fetch_model(&self, model: &str) -> Ended {
        Ended::of(self.command_for("fetch", model, &[]).spawn().unwrap()).await
    }

    /// What a program that uses the library asks for.
    pub(crate) fn options(&self) -> FetchOptions {
        let mut options = FetchOptions::new(MODEL, self.volume.path());
        options.hub.endpoint = self.hub.url.clone();
        options
    }

    pub(crate) fn receipt(&self) -> Receipt {
        serde_json::from_slice(&std::fs::read(self.folder().join(RECEIPT_FILE)).unwrap()).unwrap()
    }

    /// Every file of the model is there, byte for byte, and nothing unfinished is.
    pub(crate) fn assert_complete(&self) {
        for (path, content) in &self.files {
            let found =
                std::fs::read(self.folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(found == *content, "{path} has other bytes");
        }
        assert_eq!(self.receipt().files.len(), self.files.len());
        assert!(!self.folder().join(".model-fetcher.partial").exists());
        assert!(!self.folder().join(".model-fetcher.lock").exists());
    }

    /// No file under a final name has a wrong byte.
    pub(crate) fn assert_nothing_wrong(&self) {
        for (path, content) in &self.files {
            if let Ok(found) = std::fs::read(self.folder().join(path)) {
                assert!(found == *content, "{path} has wrong bytes under its final name");
            }
        }
    }

    /// The hub sent no more than `bytes` beyond one copy of the model since its requests were forgotten.
    #[track_caller]
    pub(crate) fn assert_sent_again_at_most(&self, bytes: u64) {
        let again = self.hub.bytes_sent().saturating_sub(self.total_bytes());
        assert!(again <= bytes, "{again} bytes were sent again, {bytes} are allowed");
    }

    /// After a fetch that a fault ended: nothing wrong is there, and without the fault the next run completes; of all
    /// that the hub sent since its requests were forgotten, no more than `again` bytes came twice.
    #[track_caller]
    pub(crate) fn assert_recovers(&self, again: u64) -> impl Future<Output = ()> {
        self.assert_nothing_wrong();
        self.hub.heal();
        async move {
            self.fetch(&[]).await.assert_code(0);
            self.assert_complete();
            self.assert_sent_again_at_most(again);
        }
    }

    /// A model of two shards of 3 MiB behind TLS.
    pub(crate) async fn over_tls() -> Self {
        Self::with(tls(), 3 * MIB).await
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.values().map(|content| content.len() as u64).sum()
    }
}

/// A hub with a certificate of an authority made for the test.
pub(crate) fn tls() -> Settings {
    let identity = Identity::generate(&["127.0.0.1"]).unwrap();
    Settings { identity: Some(identity), ..Settings::default() }
}

/// A fetcher that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) events: Vec<ProgressEvent>,
}

impl Ended {
    pub(crate) async fn of(child: Child) -> Self {
        let output = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.stdout.is_empty(), "stdout is for data: {:?}", output.stdout);
        assert!(!stderr.contains("panicked"), "{stderr}");
        let events = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { status: output.status, stderr, events }
    }

    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Ended with this code; what it said otherwise.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: u8) -> &Self {
        assert_eq!(self.code(), i32::from(code), "{}", self.stderr);
        self
    }

    /// The error and hint it ended with.
    #[track_caller]
    pub(crate) fn failure(&self) -> (String, String) {
        match self.events.last() {
            Some(ProgressEvent::Failed { error, hint, .. }) => {
                (error.clone(), hint.clone().unwrap_or_default())
            }
            _ => panic!("no failure in {}", self.stderr),
        }
    }

    /// Bytes it says it fetched.
    #[track_caller]
    pub(crate) fn bytes_fetched(&self) -> u64 {
        match self.events.last() {
            Some(ProgressEvent::Complete { bytes_fetched, .. }) => *bytes_fetched,
            _ => panic!("not complete: {}", self.stderr),
        }
    }
}
