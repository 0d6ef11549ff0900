//! Shared fixtures: a model to serve, and the fetcher as a process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use kubectl_dynamo_tests::hub::{Hub, HubSettings, Repository, TlsIdentity};
use kubectl_dynamo_tests::programs::model_fetcher;
use model_fetcher::FetchOptions;
use model_fetcher_contract::{FailureReason, ProgressEvent, RECEIPT_FILE, Receipt};
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub(crate) const MODEL: &str = "acme/tiny-model";
const MIB: usize = 1 << 20;
/// Maximum bytes in sockets between hub and fetcher when a run ends: a few connections with some MiB each.
pub(crate) const SOCKET_BUFFER_BYTES: u64 = 4 << 20;

/// Returns pseudo-random bytes that are the same in every run.
pub(crate) fn pseudo_random_bytes(seed: u64, length: usize) -> Vec<u8> {
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

/// Returns a safetensors file with one tensor of `data` bytes.
fn safetensors_file(seed: u64, data: usize) -> Vec<u8> {
    let header = format!(r#"{{"weight":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.extend(pseudo_random_bytes(seed, data));
    content
}

/// Returns a model with large, small, empty, and nested files, and a name with special characters.
pub(crate) fn model_files(shard_bytes: usize) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    files.insert("config.json".to_owned(), b"{\"model_type\": \"tiny\"}\n".to_vec());
    files.insert("empty.txt".to_owned(), Vec::new());
    files.insert("tokenizer/vocab.json".to_owned(), pseudo_random_bytes(3, 5000));
    files.insert("a name with spaces #1.json".to_owned(), b"{}".to_vec());
    for shard in 1..=2 {
        files.insert(format!("model-0000{shard}-of-00002.safetensors"), safetensors_file(shard, shard_bytes));
    }
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    files.insert("model.safetensors.index.json".to_owned(), index.as_bytes().to_vec());
    files
}

/// Writes `files` into `folder`.
pub(crate) fn write_files(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, content) in files {
        let path_on_disk = folder.join(path);
        std::fs::create_dir_all(path_on_disk.parent().unwrap()).unwrap();
        std::fs::write(path_on_disk, content).unwrap();
    }
}

/// A hub with one model, and an empty volume.
pub(crate) struct HubFixture {
    pub(crate) hub: Hub,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) served_folder: TempDir,
    pub(crate) volume: TempDir,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl HubFixture {
    /// Creates a fixture with a model of two shards of 3 MiB.
    pub(crate) async fn new() -> Self {
        Self::with_settings(HubSettings::default(), 3 * MIB).await
    }

    pub(crate) async fn with_settings(mut settings: HubSettings, shard_bytes: usize) -> Self {
        let served_folder = tempfile::tempdir().unwrap();
        let volume = tempfile::tempdir().unwrap();
        let files = model_files(shard_bytes);
        write_files(served_folder.path(), &files);
        settings.repositories.push(Repository::from_folder(MODEL, served_folder.path()).unwrap());
        let mut variables = Vec::new();
        if let Some(identity) = &settings.identity {
            let authority_path = identity.write_authority(volume.path()).unwrap();
            variables.push(("SSL_CERT_FILE", authority_path.to_str().unwrap().to_owned()));
        }
        let hub = Hub::start(settings).await.unwrap();
        Self { hub, files, served_folder, volume, variables }
    }

    /// Replaces the model on the hub by one commit of `files`.
    pub(crate) fn republish(&self) {
        std::fs::remove_dir_all(self.served_folder.path()).unwrap();
        write_files(self.served_folder.path(), &self.files);
        self.hub.publish(Repository::from_folder(MODEL, self.served_folder.path()).unwrap());
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.volume.path().join(MODEL)
    }

    /// Returns the command `model-fetcher VERB MODEL --into VOLUME …` with an otherwise empty environment.
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

    pub(crate) async fn run(&self, verb: &str, arguments: &[&str]) -> FetcherOutput {
        FetcherOutput::from_child(self.command(verb, arguments).spawn().unwrap()).await
    }

    /// Runs `fetch` with `arguments`.
    pub(crate) async fn fetch(&self, arguments: &[&str]) -> FetcherOutput {
        self.run("fetch", arguments).await
    }

    /// Runs `fetch` for another model.
    pub(crate) async fn fetch_model(&self, model: &str) -> FetcherOutput {
        FetcherOutput::from_child(self.command_for("fetch", model, &[]).spawn().unwrap()).await
    }

    /// Returns options for callers of the library.
    pub(crate) fn options(&self) -> FetchOptions {
        let mut options = FetchOptions::new(MODEL, self.volume.path());
        options.hub.endpoint = self.hub.url.as_str().into();
        options
    }

    pub(crate) fn receipt(&self) -> Receipt {
        serde_json::from_slice(&std::fs::read(self.folder().join(RECEIPT_FILE)).unwrap()).unwrap()
    }

    /// Asserts that every file of the model is present with the right bytes and no unfinished file remains.
    pub(crate) fn assert_complete(&self) {
        for (path, content) in &self.files {
            let actual =
                std::fs::read(self.folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(actual == *content, "{path} has wrong bytes");
        }
        assert_eq!(self.receipt().files.len(), self.files.len());
        assert!(!self.folder().join(".model-fetcher.partial").exists());
        assert!(!self.folder().join(".model-fetcher.lock").exists());
    }

    /// Asserts that no file with its final name has a wrong byte.
    pub(crate) fn assert_no_corrupt_files(&self) {
        for (path, content) in &self.files {
            if let Ok(actual) = std::fs::read(self.folder().join(path)) {
                assert!(actual == *content, "{path} has wrong bytes under its final name");
            }
        }
    }

    /// Asserts that the hub sent at most `bytes` more than one copy of the model since its counters were
    /// reset.
    #[track_caller]
    pub(crate) fn assert_resent_at_most(&self, bytes: u64) {
        let resent_bytes = self.hub.bytes_sent().saturating_sub(self.total_bytes());
        assert!(resent_bytes <= bytes, "{resent_bytes} bytes were sent again, at most {bytes} allowed");
    }

    /// Asserts after a failed fetch that no file is wrong and that the next run completes without the fault.
    /// Of all bytes that the hub sent since its counters were reset, at most `again` are repeated.
    #[track_caller]
    pub(crate) fn assert_recovers(&self, resent_bytes: u64) -> impl Future<Output = ()> {
        self.assert_no_corrupt_files();
        self.hub.clear_faults();
        async move {
            self.fetch(&[]).await.assert_exit_code(0);
            self.assert_complete();
            self.assert_resent_at_most(resent_bytes);
        }
    }

    /// Creates a fixture with a model of two shards of 3 MiB and TLS.
    pub(crate) async fn with_tls() -> Self {
        Self::with_settings(tls_settings(), 3 * MIB).await
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.values().map(|content| content.len() as u64).sum()
    }
}

/// Returns settings of a hub with a certificate of a test authority.
pub(crate) fn tls_settings() -> HubSettings {
    let identity = TlsIdentity::generate(&["127.0.0.1"]).unwrap();
    HubSettings { identity: Some(identity), ..HubSettings::default() }
}

/// Output and exit code of a finished fetcher.
pub(crate) struct FetcherOutput {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) events: Vec<ProgressEvent>,
}

impl FetcherOutput {
    pub(crate) async fn from_child(child: Child) -> Self {
        let output = child.wait_with_output().await.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.stdout.is_empty(), "stdout must be empty: {:?}", output.stdout);
        assert!(!stderr.contains("panicked"), "{stderr}");
        let events = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { status: output.status, stderr, events }
    }

    pub(crate) fn exit_code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Asserts the exit code; prints stderr otherwise.
    #[track_caller]
    pub(crate) fn assert_exit_code(&self, code: u8) -> &Self {
        assert_eq!(self.exit_code(), i32::from(code), "{}", self.stderr);
        self
    }

    /// Returns the error and the hint of the `failed` event.
    #[track_caller]
    pub(crate) fn error_and_hint(&self) -> (String, String) {
        match self.events.last() {
            Some(ProgressEvent::Failed { error, hint, .. }) => {
                (error.clone(), hint.clone().unwrap_or_default())
            }
            _ => panic!("no failed event in {}", self.stderr),
        }
    }

    /// Returns the reason of the `failed` event.
    #[track_caller]
    pub(crate) fn reason(&self) -> Option<FailureReason> {
        match self.events.last() {
            Some(ProgressEvent::Failed { reason, .. }) => *reason,
            _ => panic!("no failed event in {}", self.stderr),
        }
    }

    /// Returns the number of fetched bytes from the `complete` event.
    #[track_caller]
    pub(crate) fn bytes_fetched(&self) -> u64 {
        match self.events.last() {
            Some(ProgressEvent::Complete { bytes_fetched, .. }) => *bytes_fetched,
            _ => panic!("not complete: {}", self.stderr),
        }
    }
}
