//! What others rely on: paths, exit codes, environment names, the receipt and the progress events.
//!
//! Pods, scripts and the plugin read these. Fields are added, never renamed; a code keeps its meaning.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where models live in a pod unless told otherwise: `/opt/models/<org>/<model>`.
pub const DEFAULT_INTO: &str = "/opt/models";

/// The receipt in a model's folder. It is written last, so a folder that has it was complete and verified.
pub const RECEIPT_FILE: &str = ".model-fetcher.json";

/// The lease in a model's folder: present while one fetcher writes there.
pub const LOCK_FILE: &str = ".model-fetcher.lock";

/// The folder of unfinished files inside a model's folder. Nothing in it is ever part of the model.
pub const WORK_FOLDER: &str = ".model-fetcher.partial";

/// How an unfinished file's name ends. No other program uses this ending.
pub const PARTIAL_SUFFIX: &str = ".mfpart";

/// Where Kubernetes looks for a container's last words.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// The revision meant when none is named.
pub const DEFAULT_REVISION: &str = "main";

/// The hub meant when none is named.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Exit codes of the program.
pub mod exit {
    /// The folder is complete and verified.
    pub const COMPLETE: u8 = 0;
    /// The folder is not complete, or holds another revision.
    pub const NOT_COMPLETE: u8 = 1;
    /// The command line cannot be understood.
    pub const USAGE: u8 = 2;
    /// The hub wants a token, refuses the one given, or the repository is gated.
    pub const ACCESS: u8 = 10;
    /// No such repository, revision or file.
    pub const NOT_FOUND: u8 = 11;
    /// The volume has no room, is read-only or refuses this user.
    pub const DISK: u8 = 12;
    /// The network gave nothing for longer than the stall timeout.
    pub const NETWORK: u8 = 13;
    /// What the hub sends is not what it lists.
    pub const CONTENT: u8 = 14;
    /// Another fetcher held the lock for longer than the lock timeout.
    pub const LOCKED: u8 = 15;
    /// Ended by SIGINT; the same command continues.
    pub const INTERRUPTED: u8 = 130;
    /// Ended by SIGTERM; the same command continues.
    pub const TERMINATED: u8 = 143;
    /// What the same command meets again until somebody acts.
    pub const FINAL: [u8; 5] = [USAGE, ACCESS, NOT_FOUND, DISK, CONTENT];
}

/// Names of the environment variables the program reads. Each flag has a `MODEL_FETCHER_` one beside these.
pub mod environment {
    /// The hub token itself.
    pub const HF_TOKEN: &str = "HF_TOKEN";
    /// A file that holds the token.
    pub const HF_TOKEN_PATH: &str = "HF_TOKEN_PATH";
    /// The ecosystem's home folder; its file `token` is read.
    pub const HF_HOME: &str = "HF_HOME";
    /// Another hub or a mirror, with or without a path.
    pub const HF_ENDPOINT: &str = "HF_ENDPOINT";
    /// Never ask the network.
    pub const HF_HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
    /// Never ask the network, in the words of transformers.
    pub const TRANSFORMERS_OFFLINE: &str = "TRANSFORMERS_OFFLINE";
    /// Seconds a read may bring nothing before the connection is given up.
    pub const HF_HUB_DOWNLOAD_TIMEOUT: &str = "HF_HUB_DOWNLOAD_TIMEOUT";
    /// Never use xet.
    pub const HF_HUB_DISABLE_XET: &str = "HF_HUB_DISABLE_XET";
    /// How progress is shown; set to `json` in the pods the plugin creates.
    pub const PROGRESS: &str = "MODEL_FETCHER_PROGRESS";
    /// Where the last words go instead of [`super::TERMINATION_LOG`].
    pub const TERMINATION_LOG: &str = "MODEL_FETCHER_TERMINATION_LOG";
}

/// The folder of `repository` (`org/name`) below `into`.
pub fn model_folder(into: &Path, repository: &str) -> PathBuf {
    repository.split('/').fold(into.to_path_buf(), |folder, part| folder.join(part))
}

/// Proof of a complete folder: what is in it, from where, and how it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of this format.
    pub format: u32,
    /// `org/name`.
    pub repository: String,
    /// The hub or mirror it came from.
    pub endpoint: String,
    /// The revision that was asked for.
    pub revision: String,
    /// The 40 hexadecimal digits of the commit that was fetched.
    pub commit: String,
    /// The files present, in order of path.
    pub files: Vec<ReceiptFile>,
    /// Paths of the commit that filters left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// When the last file was verified, RFC 3339.
    pub completed_at: String,
    /// Name and version of the program that wrote this.
    pub fetcher: String,
}

/// The receipt format this program writes and reads.
pub const RECEIPT_FORMAT: u32 = 1;

/// One verified file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Path inside the repository, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The checksum that was found right.
    #[serde(flatten)]
    pub checksum: Checksum,
    /// Modification time after the file was verified, nanoseconds since 1970.
    pub modified: i64,
}

/// What the content of a file must hash to, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// sha256 of the content: files kept in large file storage.
    Sha256(String),
    /// sha1 of git's blob header and the content: files kept in git itself.
    GitSha1(String),
}

impl Checksum {
    /// The digits alone.
    pub fn digits(&self) -> &str {
        match self {
            Checksum::Sha256(digits) | Checksum::GitSha1(digits) => digits,
        }
    }
}

/// What a revision consists of, as the source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit the revision stands for.
    pub commit: String,
    /// Every file, in order of path.
    pub files: Vec<RemoteFile>,
}

impl Listing {
    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path inside the repository, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// What the content must hash to.
    pub checksum: Checksum,
    /// Git's id of the blob: of the content itself, or of the pointer for large files.
    pub blob_id: String,
    /// The content's id in xet storage, where it has one.
    pub xet_hash: Option<String>,
}

/// What happened, for people and programs that watch. One JSON object a line with `--progress json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ProgressEvent {
    /// The program starts on a repository.
    Started { repository: String, revision: String, folder: PathBuf },
    /// The commit and its files are known. `bytes_present` are already in the folder, finished or not.
    Planned { commit: String, files: usize, bytes: u64, files_to_fetch: usize, bytes_present: u64 },
    /// At least once a second while something moves. `bytes_done` counts what is in the folder.
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
        /// The files that connections work on now, the first few.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fetching: Vec<FileProgress>,
    },
    /// One file has its final name; its hash is right.
    FileVerified { path: String, bytes: u64 },
    /// Nothing moves for a known reason.
    Waiting { reason: WaitReason, detail: String, seconds: u64 },
    /// Something a person should know; the fetch goes on.
    Warning { text: String },
    /// The receipt is written, or was found to be right.
    Complete { folder: PathBuf, commit: String, files: usize, bytes: u64, bytes_fetched: u64, seconds: f64 },
    /// A model's folder is gone; `was_there` says whether there was one.
    Removed { folder: PathBuf, was_there: bool },
    /// The program ends without a complete folder.
    Failed { exit_code: u8, error: String, hint: Option<String> },
}

/// How far one file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProgress {
    pub path: String,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// Why nothing moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Another fetcher writes to the folder.
    Lock,
    /// The hub said when to come back.
    RateLimit,
    /// A request failed and is sent again.
    Retry,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_lives_below_its_organisation() {
        assert_eq!(
            model_folder(Path::new("/opt/models"), "Qwen/Qwen3-0.6B"),
            PathBuf::from("/opt/models/Qwen/Qwen3-0.6B")
        );
        assert_eq!(model_folder(Path::new("m"), "gpt2"), PathBuf::from("m/gpt2"));
    }

    #[test]
    fn a_receipt_file_reads_as_flat_json() {
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

    #[test]
    fn events_are_tagged_lines() {
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
