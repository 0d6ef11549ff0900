//! What a fetch is asked to do, with every default filled in. Reads no environment by itself.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::contract::{self, environment};
use crate::error::Error;

/// A hub token. Never shown: not by `Debug`, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, with the white space around it removed; `None` when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Which hub to ask, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAccess {
    /// Address of the hub or of a mirror, possibly with a path; `file://` names a folder of models.
    pub endpoint: String,
    /// The token sent to that host and to no other.
    pub token: Option<Token>,
}

impl Default for HubAccess {
    fn default() -> Self {
        Self { endpoint: contract::DEFAULT_ENDPOINT.to_owned(), token: None }
    }
}

impl HubAccess {
    /// Endpoint and token as the ecosystem's variables name them: `HF_ENDPOINT`, `HF_TOKEN`, the file in
    /// `HF_TOKEN_PATH`, `$HF_HOME/token`, `$HOME/.cache/huggingface/token`. `variable` looks one up.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint = set(environment::HF_ENDPOINT).unwrap_or_else(|| contract::DEFAULT_ENDPOINT.to_owned());
        let token = set(environment::HF_TOKEN).and_then(|text| Token::new(&text)).or_else(|| {
            let file = set(environment::HF_TOKEN_PATH)
                .map(PathBuf::from)
                .or_else(|| set(environment::HF_HOME).map(|home| Path::new(&home).join("token")))
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache/huggingface/token")))?;
            Token::new(&std::fs::read_to_string(file).ok()?)
        });
        Self { endpoint: endpoint.trim().trim_end_matches('/').to_owned(), token }
    }
}

/// How files that are already there under their final names are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Hash them.
    #[default]
    Verify,
    /// Believe them when their size is right.
    Trust,
}

/// Which names of files are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// All that this volume tells apart.
    #[default]
    Any,
    /// No two that differ in case only, as some volumes and systems cannot hold both.
    Portable,
}

/// huggingface_hub's `MAX_HTTP_DOWNLOAD_SIZE`.
const PLAIN_LIMIT_BYTES: u64 = 50_000_000_000;

/// When xet is used for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Xet {
    /// Plain HTTP, and xet for a large file that the hub gives in no other way.
    #[default]
    Auto,
    /// Plain HTTP only, and a clear error where that is refused.
    Never,
    /// Xet for every file that has it.
    Always,
}

/// Everything a fetch needs to know.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// `org/name`.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// The folder above the model's own; see [`contract::model_folder`].
    pub into: PathBuf,
    /// Only paths that match one of these, when there is any (Python's `fnmatch`: `*` crosses `/`).
    pub include: Vec<String>,
    /// No path that matches one of these.
    pub exclude: Vec<String>,
    /// Which hub, and as whom.
    pub hub: HubAccess,
    /// At most this many connections; chosen by memory and by what helps when not given.
    pub connections: Option<usize>,
    /// Ask nothing of the network.
    pub offline: bool,
    /// Ask the hub whether the revision moved, and replace a complete folder of another revision.
    pub update: bool,
    /// One writer a file, in order: for volumes that cannot write at random places.
    pub sequential: bool,
    /// How long to wait for another fetcher.
    pub lock_timeout: Duration,
    /// How long the holder of the lock may be silent before it is taken over. One value for all of a volume.
    pub lease_timeout: Duration,
    /// How long nothing may arrive before the fetch gives up.
    pub stall_timeout: Duration,
    /// The same where no server is reached at all, if that is shorter.
    pub unreachable_timeout: Duration,
    /// How long one read may bring nothing before its connection is given up.
    pub read_timeout: Duration,
    /// How files already there are taken.
    pub existing: Existing,
    /// Which names of files are taken.
    pub names: Names,
    /// When xet is used.
    pub xet: Xet,
    /// Above this size a hub may refuse plain HTTP, and xet takes over.
    pub plain_limit_bytes: u64,
}

impl FetchOptions {
    /// Defaults for `repository` (`org/name`) below `into`.
    pub fn new(repository: impl Into<String>, into: impl Into<PathBuf>) -> Self {
        Self {
            repository: repository.into(),
            revision: contract::DEFAULT_REVISION.to_owned(),
            into: into.into(),
            include: Vec::new(),
            exclude: Vec::new(),
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
            existing: Existing::default(),
            names: Names::default(),
            xet: Xet::default(),
            plain_limit_bytes: PLAIN_LIMIT_BYTES,
        }
    }

    /// The folder of this model.
    pub fn folder(&self) -> PathBuf {
        contract::model_folder(&self.into, &self.repository)
    }

    /// Refuses a name that is no repository and a revision that cannot be one.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        validate_repository(&self.repository)?;
        let revision_is_sound = !self.revision.is_empty()
            && !self.revision.contains("..")
            && self.revision.chars().all(|character| character.is_ascii_graphic() && character != '\\');
        if !revision_is_sound {
            return Err(Error::Usage {
                what: format!("{:?} is no revision", self.revision),
                hint: "name a branch, a tag or a commit, for example `--revision main`".into(),
            });
        }
        Ok(())
    }
}

/// A repository's name is one or two parts of letters, digits, `-`, `_` and `.`, as the hub allows.
pub(crate) fn validate_repository(repository: &str) -> Result<(), Error> {
    let parts: Vec<&str> = repository.split('/').collect();
    let part_is_sound = |part: &&str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && !part.contains("..")
            && part.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
    };
    if parts.len() <= 2 && parts.iter().all(part_is_sound) {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("{repository:?} is no repository"),
        hint: "name it as the hub does, for example `Qwen/Qwen3-0.6B`".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let access = HubAccess { endpoint: "https://hub".into(), token: Token::new(" hf_secret\n") };
        assert!(!format!("{access:?}").contains("secret"));
        assert_eq!(access.token.unwrap().secret(), "hf_secret");
        assert_eq!(Token::new(" \n"), None);
    }

    #[test]
    fn the_environment_names_hub_and_token() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let look_up = |with_token: bool| {
            let home = home.clone();
            HubAccess::from_variables(move |name| match name {
                "HF_ENDPOINT" => Some("http://mirror/hub/".into()),
                "HF_TOKEN" if with_token => Some("from-variable".into()),
                "HF_HOME" => Some(home.clone()),
                _ => None,
            })
        };
        assert_eq!(look_up(true).endpoint, "http://mirror/hub");
        assert_eq!(look_up(true).token, Token::new("from-variable"));
        assert_eq!(look_up(false).token, Token::new("from-file"));
    }

    #[test]
    fn names_that_leave_the_folder_are_no_repositories() {
        for name in ["Qwen/Qwen3-0.6B", "gpt2", "a/b_c.d"] {
            assert!(validate_repository(name).is_ok(), "{name}");
        }
        for name in ["", "/", "a/", "../x", "a/..", "a/b/c", "a b/c", "a/.hidden", "/a", "a/b\0"] {
            assert!(validate_repository(name).is_err(), "{name:?}");
        }
    }
}
