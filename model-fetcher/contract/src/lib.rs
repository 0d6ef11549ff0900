//! The contract between model-fetcher and its callers: paths, exit codes, environment names, the receipt, and
//! the progress events.
//!
//! Pods, scripts, and the plugin read these. Fields are added; if one is renamed, its old name stays as an alias for
//! reading. An exit code keeps its meaning. This crate does no I/O.

mod listing;
mod names;
mod text;
mod user_agent;
pub mod weights;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use listing::{Listing, RemoteFile, UnusableFile};
pub use names::{is_repository_name, is_revision};
pub use text::{printable_name, printable_text, redact_userinfo};
pub use user_agent::user_agent;

/// Default model root in a pod. A model is in `/opt/models/<org>/<model>`.
pub const DEFAULT_INTO: &str = "/opt/models";

/// File name of the receipt in a model folder. It is written last, so a folder that has one was complete and
/// verified.
pub const RECEIPT_FILE: &str = ".model-fetcher.json";

/// File name of the lock in a model folder. It exists while a fetcher writes to the folder.
pub const LOCK_FILE: &str = ".model-fetcher.lock";

/// Folder of unfinished files inside a model folder. Nothing in it is part of the model.
pub const WORK_FOLDER: &str = ".model-fetcher.partial";

/// Suffix of an unfinished file's name. No other program uses it.
pub const PARTIAL_SUFFIX: &str = ".mfpart";

/// Default path of the file that Kubernetes reads a container's termination message from.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// Revision used when none is given.
pub const DEFAULT_REVISION: &str = "main";

/// Hub used when no endpoint is given.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Exit codes of the program.
pub mod exit {
    /// The folder is complete and verified.
    pub const COMPLETE: u8 = 0;
    /// The folder is not complete, or contains another revision.
    pub const NOT_COMPLETE: u8 = 1;
    /// The command line is invalid.
    pub const USAGE: u8 = 2;
    /// The hub requires a token, rejects the one given, or the repository is gated.
    pub const ACCESS: u8 = 10;
    /// The repository, revision, or file was not found.
    pub const NOT_FOUND: u8 = 11;
    /// The volume is full, read-only, or not writable by this user.
    pub const DISK: u8 = 12;
    /// The network failed: no data for the stall timeout, an unexpected status, a certificate that is not trusted, a proxy
    /// that requires authentication, or a failure of the HTTP client. A Job retries it, because a proxy or a network policy
    /// may be set up at the same time as the pod.
    pub const NETWORK: u8 = 13;
    /// A file does not match its hash, the list of files is invalid or not complete, or the hub returns something else
    /// than the file. The program has already tried again over another connection where that can help.
    pub const CONTENT: u8 = 14;
    /// Another fetcher held the lock for longer than the lock timeout, took over the folder, or uses the folder that is
    /// to be removed.
    pub const LOCKED: u8 = 15;
    /// Interrupted by SIGINT; rerun the same command to resume.
    pub const INTERRUPTED: u8 = 130;
    /// Interrupted by SIGTERM; rerun the same command to resume.
    pub const TERMINATED: u8 = 143;
    /// Codes whose cause stays until a user acts. A Job does not retry them, and their hints do not say to run the same
    /// command again.
    pub const PERMANENT: [u8; 5] = [USAGE, ACCESS, NOT_FOUND, DISK, CONTENT];
}

/// Names of the environment variables that the program and its callers set. Each flag also has a `MODEL_FETCHER_`
/// variable. The program also reads `XDG_CACHE_HOME` and `HOME` (the token), `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the
/// proxies: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and `NO_PROXY`, also in lowercase.
pub mod environment {
    /// The hub token.
    pub const HF_TOKEN: &str = "HF_TOKEN";
    /// Path of a file that contains the token.
    pub const HF_TOKEN_PATH: &str = "HF_TOKEN_PATH";
    /// Home folder of the Hugging Face libraries. The token is read from its file `token`.
    pub const HF_HOME: &str = "HF_HOME";
    /// Base URL of another hub or a mirror, with or without a path.
    pub const HF_ENDPOINT: &str = "HF_ENDPOINT";
    /// Disables network access.
    pub const HF_HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
    /// Disables network access. This is the name that transformers uses.
    pub const TRANSFORMERS_OFFLINE: &str = "TRANSFORMERS_OFFLINE";
    /// Read timeout in seconds. A connection without data for this long is closed.
    pub const HF_HUB_DOWNLOAD_TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";
    /// Disables xet.
    pub const HF_HUB_DISABLE_XET: &str = "HF_HUB_DISABLE_XET";
    /// Copy of the weights to fetch: a value of vLLM's `--load-format`.
    pub const LOAD_FORMAT: &str = "MODEL_FETCHER_LOAD_FORMAT";
    /// Progress format on stderr. The plugin sets it to `json` in its pods.
    pub const PROGRESS: &str = "MODEL_FETCHER_PROGRESS";
    /// Path of the termination message file, instead of [`super::TERMINATION_LOG`].
    pub const TERMINATION_LOG: &str = "MODEL_FETCHER_TERMINATION_LOG";
}

/// Returns the folder of `repository` (`org/name`) below `into`.
pub fn model_folder(into: &Path, repository: &str) -> PathBuf {
    repository.split('/').fold(into.to_path_buf(), |folder, part| folder.join(part))
}

/// Proof that a folder is complete: its files, their source, and their checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of the receipt format.
    pub format: u32,
    /// `org/name`.
    pub repository: String,
    /// Base URL of the hub or mirror it was fetched from.
    pub endpoint: String,
    /// The requested revision.
    pub revision: String,
    /// The fetched commit: 40 hexadecimal digits.
    pub commit: String,
    /// The files in the folder, sorted by path.
    pub files: Vec<ReceiptFile>,
    /// Paths of the commit that the filters excluded, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(alias = "left_out")]
    pub excluded: Vec<String>,
    /// Time when the last file was verified (RFC 3339).
    pub completed_at: String,
    /// Name and version of the program that wrote the receipt.
    pub fetcher: String,
}

impl Receipt {
    /// Returns the paths of the files in the folder, then those that the filters excluded.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let files = self.files.iter().map(|file| &file.path);
        files.chain(&self.excluded).map(String::as_str)
    }

    /// Returns the total size of the files in the folder in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().fold(0, |total, file| total.saturating_add(file.size))
    }
}

/// Returns the free space that the fetcher requires on a volume for `missing` bytes: 2 % and 256 KiB more, for the file
/// system's own blocks, records, and the receipt.
pub fn required_space(missing: u64) -> u64 {
    missing.saturating_add(missing / 50).saturating_add(256 << 10)
}

/// The receipt format this program writes and reads.
pub const RECEIPT_FORMAT: u32 = 1;

/// One verified file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Path inside the repository, separated by `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Checksum that the content matched.
    #[serde(flatten)]
    pub checksum: Checksum,
    /// Modification time after verification, in nanoseconds since the Unix epoch.
    pub modified: i64,
}

/// Expected hash of a file's content, in lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// sha256 of the content, for files in Git LFS storage.
    Sha256(String),
    /// sha1 of git's blob header and the content, for files stored in git.
    GitSha1(String),
}

impl Checksum {
    /// Returns the hexadecimal digits without the algorithm.
    pub fn digits(&self) -> &str {
        match self {
            Checksum::Sha256(digits) | Checksum::GitSha1(digits) => digits,
        }
    }
}

/// A progress event. With `--progress json` each event is one JSON object on one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ProgressEvent {
    /// The program starts to fetch a repository.
    Started { repository: String, revision: String, folder: PathBuf },
    /// The commit and its files are known. `bytes_present` counts bytes already in the folder, finished or
    /// not.
    Planned { commit: String, files: usize, bytes: u64, files_to_fetch: usize, bytes_present: u64 },
    /// Sent at least once a second during a transfer. `bytes_done` counts bytes in the folder.
    Progress {
        bytes_done: u64,
        bytes_total: u64,
        bytes_verified: u64,
        files_done: usize,
        files_total: usize,
        bytes_per_second: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        eta_seconds: Option<u64>,
        retries: u64,
        connections: usize,
        /// The first few files that connections are fetching.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fetching: Vec<FileProgress>,
    },
    /// A file has its final name and its hash is verified.
    FileVerified { path: String, bytes: u64 },
    /// The fetch waits for a known reason. `seconds` is the time already waited for [`WaitReason::Lock`], and the delay
    /// before the next request for the other reasons. Connections wait at the same time, so their delays do not add up,
    /// and at most one event per second is sent for all of them.
    Waiting { reason: WaitReason, detail: String, seconds: u64 },
    /// A problem that does not stop the fetch.
    Warning { text: String },
    /// The receipt was written, or an existing receipt is valid.
    Complete { folder: PathBuf, commit: String, files: usize, bytes: u64, bytes_fetched: u64, seconds: f64 },
    /// A model folder was removed. `existed` is false if the folder did not exist.
    Removed {
        folder: PathBuf,
        #[serde(alias = "was_there")]
        existed: bool,
    },
    /// The program exits without a complete folder. Older versions do not set `reason`.
    Failed {
        exit_code: u8,
        error: String,
        hint: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<FailureReason>,
    },
}

/// Why the program exited without a complete folder. Programs use this value and never match the error text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The folder contains another revision, complete.
    OtherRevision,
    /// `check`, `verify`, or `--offline`: the folder is not complete.
    NotComplete,
    /// An argument or option is invalid.
    Usage,
    /// The hub requires a token, rejects the one given, or the repository is gated.
    Access,
    /// The repository, revision, or file was not found, or the filters select nothing.
    NotFound,
    /// The volume is full, read-only, or not writable by this user.
    Disk,
    /// The network, the hub, or the HTTP client failed.
    Network,
    /// Content does not match the hub's listing, or the listing is invalid.
    Content,
    /// Another fetcher holds the lock, or took over the folder.
    Locked,
    /// A signal stopped the program.
    Interrupted,
    /// A reason written by a newer version.
    #[serde(other)]
    Unknown,
}

/// Prefix of the last line of a termination message. A [`FailureReason`] follows.
const REASON_LINE: &str = "reason: ";

impl FailureReason {
    /// Returns the last line of a termination message.
    pub fn termination_line(self) -> String {
        let word = serde_json::to_value(self).unwrap_or_default();
        format!("{REASON_LINE}{}", word.as_str().unwrap_or_default())
    }

    /// Splits a termination message into its text and its reason. Kubernetes uses the container's log if the
    /// program could not write a message, so the input may also be a log that ends with a `failed` event. The
    /// text of such a log is returned unchanged.
    pub fn split(message: &str) -> (&str, Option<Self>) {
        let message = message.trim_end();
        let (text, last) = message.rsplit_once('\n').unwrap_or(("", message));
        if let Some(word) = last.trim_start().strip_prefix(REASON_LINE) {
            let word = serde_json::Value::String(word.to_owned());
            return (text.trim_end(), Some(serde_json::from_value(word).unwrap_or(Self::Unknown)));
        }
        match serde_json::from_str(last) {
            Ok(ProgressEvent::Failed { reason, .. }) => (message, reason),
            _ => (message, None),
        }
    }
}

/// Progress of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    pub path: String,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// Why the fetch waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Another fetcher writes to the folder.
    Lock,
    /// The hub requires a delay before the next request.
    RateLimit,
    /// A request failed and is retried.
    Retry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_folder_is_nested_in_organization() {
        assert_eq!(
            model_folder(Path::new("/opt/models"), "Qwen/Qwen3-0.6B"),
            PathBuf::from("/opt/models/Qwen/Qwen3-0.6B")
        );
        assert_eq!(model_folder(Path::new("m"), "gpt2"), PathBuf::from("m/gpt2"));
    }

    #[test]
    fn receipt_file_serializes_as_flat_json() {
        let file = ReceiptFile {
            path: "config.json".into(),
            size: 7,
            checksum: Checksum::GitSha1("ab".into()),
            modified: 12,
        };
        let json = serde_json::to_string(&file).unwrap();
        assert_eq!(json, r#"{"path":"config.json","size":7,"git_sha1":"ab","modified":12}"#);
        assert_eq!(serde_json::from_str::<ReceiptFile>(&json).unwrap(), file);
    }

    fn failed(reason: Option<FailureReason>) -> ProgressEvent {
        ProgressEvent::Failed { exit_code: 1, error: "e".into(), hint: None, reason }
    }

    #[test]
    fn a_failure_has_a_reason_that_is_optional_and_extensible() {
        let json = r#"{"event":"failed","exit_code":1,"error":"e","hint":null,"reason":"other_revision"}"#;
        assert_eq!(serde_json::to_string(&failed(Some(FailureReason::OtherRevision))).unwrap(), json);
        let old = r#"{"event":"failed","exit_code":1,"error":"e","hint":null}"#;
        assert_eq!(serde_json::to_string(&failed(None)).unwrap(), old);
        let newer = json.replace("other_revision", "out_of_quota");
        for (json, reason) in
            [(json, Some(FailureReason::OtherRevision)), (old, None), (&newer, Some(FailureReason::Unknown))]
        {
            assert_eq!(serde_json::from_str::<ProgressEvent>(json).unwrap(), failed(reason), "{json}");
        }
    }

    #[test]
    fn a_termination_message_ends_with_its_reason() {
        let message = format!("error: x\n  hint: y\n{}\n", FailureReason::OtherRevision.termination_line());
        assert_eq!(message.lines().last(), Some("reason: other_revision"));
        for (message, text, reason) in [
            (message.as_str(), "error: x\n  hint: y", Some(FailureReason::OtherRevision)),
            ("error: x\nreason: out_of_quota", "error: x", Some(FailureReason::Unknown)),
            ("reason: disk", "", Some(FailureReason::Disk)),
            // Only the last line counts: other lines may quote the hub.
            ("error: x\nreason: disk\n  hint: y", "error: x\nreason: disk\n  hint: y", None),
            ("error: x\n  hint: y\n", "error: x\n  hint: y", None),
            ("", "", None),
        ] {
            assert_eq!(FailureReason::split(message), (text, reason), "{message:?}");
        }
        let log = format!("x\n{}", serde_json::to_string(&failed(Some(FailureReason::Access))).unwrap());
        assert_eq!(FailureReason::split(&log), (log.as_str(), Some(FailureReason::Access)));
    }

    #[test]
    fn events_serialize_with_event_tag() {
        let event = ProgressEvent::Waiting {
            reason: WaitReason::RateLimit,
            detail: "huggingface.co".into(),
            seconds: 3,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"waiting","reason":"rate_limit","detail":"huggingface.co","seconds":3}"#
        );
    }
}
