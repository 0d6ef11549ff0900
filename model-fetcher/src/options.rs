//! Options of a fetch with all defaults applied. This module does not read the environment: callers pass a function that
//! looks up a variable. The only files that it reads are token files.
//!
//! | Timeout | Measures | Applies to | When it expires |
//! |---|---|---|---|
//! | `lock_timeout` | the wait for another fetcher | the start of a fetch | the fetch fails |
//! | `lease_timeout` | an unchanged lock | another fetcher's lock | the folder is taken over |
//! | `read_timeout` | no data | one connection | the request is retried |
//! | `stall_timeout` | no data, delays of a rate limit not counted | one API request, or all connections of a transfer together | the operation fails |
//! | `unreachable_timeout` | no server reached | one connection attempt, and as `stall_timeout` | the operation fails |

mod hub;
pub(crate) mod proxy;

use std::path::PathBuf;
use std::time::Duration;

pub use self::hub::{HubAccess, HubEndpoint, HubToken};
pub use self::proxy::ProxySettings;
use crate::error::FetcherError;
use model_fetcher_contract::weights::LoadFormat;
use model_fetcher_contract::{
    DEFAULT_REVISION, environment, is_repository_name, is_revision, model_folder, user_agent,
};

/// How to treat existing files with their final names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExistingFilePolicy {
    /// Hash them.
    #[default]
    Verify,
    /// Accept them if their size matches.
    Trust,
}

/// Which file names to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NamePolicy {
    /// All names that this volume supports.
    #[default]
    Any,
    /// Reject names that differ only in case, and names that Windows cannot store: with a control character, one of
    /// `\:<>"|?*`, a device such as `aux`, or a dot or space at the end of a part.
    Portable,
}

/// Plain HTTP size limit: huggingface_hub's `MAX_HTTP_DOWNLOAD_SIZE`.
const PLAIN_HTTP_LIMIT_BYTES: u64 = 50_000_000_000;

/// When to use xet for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xet {
    /// Plain HTTP, and xet for a large file that the hub serves in no other way.
    #[default]
    Auto,
    /// Plain HTTP only; fail if the hub refuses it.
    Never,
    /// Xet for every file stored there.
    Always,
}

/// Options of a fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// `org/name`.
    pub repository: String,
    /// Branch, tag, or commit.
    pub revision: String,
    /// Root folder above the model folder; see [`model_folder`].
    pub into: PathBuf,
    /// Select only paths that match one of these patterns, if there are any (Python's `fnmatch`: `*` matches
    /// `/`).
    pub include: Vec<String>,
    /// Exclude paths that match one of these patterns.
    pub exclude: Vec<String>,
    /// Which copy of the weights the engine loads. The others are excluded, unless `include` selects files.
    pub load_format: LoadFormat,
    /// Which hub to use, and with which token.
    pub hub: HubAccess,
    /// Maximum number of connections; `None` chooses it from memory and measured throughput.
    pub connections: Option<usize>,
    /// Disables network access. Operations that need it fail, except for a mirror in a folder.
    pub offline: bool,
    /// Checks the hub for a new commit and replaces a complete folder of another revision.
    pub update: bool,
    /// Writes each file in order over one connection, for volumes without random writes.
    pub sequential: bool,
    /// Maximum time to wait for another fetcher to release the folder.
    pub lock_timeout: Duration,
    /// How long the lock holder may be unresponsive before it is replaced. All fetchers of a volume need the
    /// same value.
    pub lease_timeout: Duration,
    /// The operation fails after this long without data on any connection. Delays of a rate limit do not count.
    pub stall_timeout: Duration,
    /// As `stall_timeout`, for the case that no server can be reached; the shorter one applies. It also limits one
    /// connection attempt.
    pub unreachable_timeout: Duration,
    /// A connection is closed after this long without data on it. The request is retried.
    pub read_timeout: Duration,
    /// How to treat existing files.
    pub existing: ExistingFilePolicy,
    /// Which file names to allow.
    pub name_policy: NamePolicy,
    /// When to use xet.
    pub xet: Xet,
    /// Above this size a hub may refuse plain HTTP, and xet is used.
    pub plain_http_limit_bytes: u64,
    /// The User-Agent of all requests.
    pub user_agent: String,
}

impl FetchOptions {
    /// Creates default options for `repository` (`org/name`) below `into`.
    pub fn new(repository: impl Into<String>, into: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
            revision: DEFAULT_REVISION.to_owned(),
            into: into.into(),
            include: Vec::new(),
            exclude: Vec::new(),
            load_format: LoadFormat::default(),
            hub: HubAccess::default(),
            connections: None,
            offline: false,
            update: false,
            sequential: false,
            lock_timeout: Duration::from_secs(3600),
            lease_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(600),
            unreachable_timeout: Duration::MAX,
            read_timeout: Duration::from_secs(20),
            existing: ExistingFilePolicy::default(),
            name_policy: NamePolicy::default(),
            xet: Xet::default(),
            plain_http_limit_bytes: PLAIN_HTTP_LIMIT_BYTES,
            user_agent: user_agent("model-fetcher", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Applies the variables of the Hugging Face libraries: those of [`HubAccess::from_variables`], `HF_HUB_OFFLINE`,
    /// `TRANSFORMERS_OFFLINE`, `HF_HUB_DISABLE_XET`, and `HF_HUB_DOWNLOAD_TIMEOUT`. `variable` looks up an environment
    /// variable.
    pub fn apply_variables(&mut self, variable: impl Fn(&str) -> Option<String>) {
        let is_set = |name: &str| variable(name).is_some_and(|value| is_true(&value));
        self.hub = HubAccess::from_variables(&variable);
        self.offline |= is_set(environment::HF_HUB_OFFLINE) || is_set(environment::TRANSFORMERS_OFFLINE);
        if is_set(environment::HF_HUB_DISABLE_XET) {
            self.xet = Xet::Never;
        }
        let seconds =
            variable(environment::HF_HUB_DOWNLOAD_TIMEOUT).and_then(|text| text.trim().parse::<u64>().ok());
        // No connection could receive data within zero seconds.
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0) {
            self.read_timeout = Duration::from_secs(seconds);
        }
    }

    /// Returns the folder of this model.
    pub fn folder(&self) -> PathBuf {
        model_folder(&self.into, &self.repository)
    }

    /// Rejects an invalid repository name or revision.
    pub(crate) fn validate(&self) -> Result<(), FetcherError> {
        if !is_repository_name(&self.repository) {
            return Err(FetcherError::Usage {
                what: format!("{:?} is not a valid repository name", self.repository),
                hint: "give it as ORG/NAME, for example `Qwen/Qwen3-0.6B`".into(),
            });
        }
        if !is_revision(&self.revision) {
            return Err(FetcherError::Usage {
                what: format!("{:?} is not a valid revision", self.revision),
                hint: "give a branch, a tag, or a commit, for example `--revision main`".into(),
            });
        }
        Ok(())
    }
}

/// Returns whether `value` is true as Hugging Face libraries define it.
fn is_true(value: &str) -> bool {
    matches!(value.trim().to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_variables(variables: &[(&str, &str)]) -> FetchOptions {
        let mut options = FetchOptions::new("org/model", "/models");
        options.apply_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        options
    }

    #[test]
    fn rejects_invalid_names_and_revisions() {
        let mut options = FetchOptions::new("../x", "/models");
        assert!(options.validate().unwrap_err().to_string().contains("repository name"));
        options.repository = "org/model".into();
        assert!(options.validate().is_ok());
        options.revision = "a..b".into();
        assert!(options.validate().unwrap_err().to_string().contains("revision"));
    }

    #[test]
    fn variables_have_the_meaning_of_hugging_face_libraries() {
        for value in ["1", " 1 ", "on", "Yes", "TRUE\n"] {
            let options = with_variables(&[("TRANSFORMERS_OFFLINE", value), ("HF_HUB_DISABLE_XET", value)]);
            assert!(options.offline && options.xet == Xet::Never, "{value:?}");
        }
        for value in ["0", "", "off", "no"] {
            let options = with_variables(&[("HF_HUB_OFFLINE", value), ("HF_HUB_DISABLE_XET", value)]);
            assert!(!options.offline && options.xet == Xet::Auto, "{value:?}");
        }
    }

    #[test]
    fn invalid_read_timeouts_are_the_default() {
        let seconds = |value| with_variables(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]).read_timeout.as_secs();
        assert_eq!(seconds(" 7 "), 7);
        for value in ["0", "-1", "soon", ""] {
            assert_eq!(seconds(value), 20, "{value:?}");
        }
    }
}
