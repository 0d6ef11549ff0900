//! Which model: a repository of the hub at a revision, a folder of this machine, or the built-in one.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::IntentError;

/// The model to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ModelRef {
    /// A repository of the Hugging Face Hub. `repository` is `org/name`, or `name` for the oldest models.
    Hub { repository: String, revision: Option<String> },
    /// A folder that holds a complete model already.
    Folder { path: PathBuf },
    /// The tiny model this program writes by itself; only on this machine.
    BuiltIn,
}

/// The built-in model's name, as clients ask for it.
pub const BUILT_IN_NAME: &str = "tiny";

impl ModelRef {
    /// Reads what stands in the model's place on the command line: `org/name`, `org/name@revision`, or a path.
    ///
    /// # Errors
    /// A bare word (which names a deployment) and text that is neither id nor path.
    pub fn parse(given: &str) -> Result<Self, IntentError> {
        if is_path(given) {
            return Ok(Self::Folder { path: PathBuf::from(given) });
        }
        if !given.contains(['/', '@']) && is_repository_part(given) {
            return Err(IntentError::BareWord { given: given.into() });
        }
        Self::hub(given)
    }

    /// Reads what a file or `--model` names: a path, or a hub id with or without an organisation.
    ///
    /// # Errors
    /// Text that is neither.
    pub fn named(given: &str) -> Result<Self, IntentError> {
        if is_path(given) { Ok(Self::Folder { path: PathBuf::from(given) }) } else { Self::hub(given) }
    }

    /// The same model without a revision.
    pub fn unpinned(self) -> Self {
        match self {
            Self::Hub { repository, .. } => Self::Hub { repository, revision: None },
            Self::Folder { .. } | Self::BuiltIn => self,
        }
    }

    /// Reads a hub id: `org/name` or `name`, each with an optional `@revision`.
    ///
    /// # Errors
    /// Text that the hub would not accept as an id or a revision.
    pub fn hub(given: &str) -> Result<Self, IntentError> {
        let (repository, revision) = match given.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (given, None),
        };
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_repository_part(part)) {
            return Err(IntentError::NotAModel { given: given.into() });
        }
        let model = Self::Hub { repository: repository.into(), revision: None };
        match revision {
            Some(revision) => model.at(revision),
            None => Ok(model),
        }
    }

    /// The same model at a revision.
    ///
    /// # Errors
    /// A revision that no branch, tag or commit can have, a second one, and one of a folder.
    pub fn at(self, revision: &str) -> Result<Self, IntentError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if revision.is_empty() || revision.contains("..") || !revision.chars().all(allowed) {
            return Err(IntentError::Revision { given: revision.into() });
        }
        match &self {
            Self::Hub { revision: Some(named), .. } if named != revision => {
                Err(IntentError::RevisionTwice { model: self.to_string(), revision: revision.into() })
            }
            Self::Hub { repository, .. } => {
                Ok(Self::Hub { repository: repository.clone(), revision: Some(revision.into()) })
            }
            Self::Folder { .. } | Self::BuiltIn => Err(IntentError::NoRevisions { model: self.to_string() }),
        }
    }

    /// The name clients ask for unless another is given: the hub id, or the folder's last part.
    pub fn default_served_name(&self) -> String {
        match self {
            Self::Hub { repository, .. } => repository.clone(),
            Self::Folder { path } => {
                path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
            }
            Self::BuiltIn => BUILT_IN_NAME.into(),
        }
    }

    /// The repository of the hub; empty where the model is not from there.
    pub fn repository(&self) -> &str {
        match self {
            Self::Hub { repository, .. } => repository,
            Self::Folder { .. } | Self::BuiltIn => "",
        }
    }

    /// The part of the id that names the model without its organisation.
    pub fn short_name(&self) -> String {
        let name = self.default_served_name();
        name.rsplit('/').next().unwrap_or(&name).to_owned()
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repository, revision: Some(revision) } => write!(f, "{repository}@{revision}"),
            Self::Hub { repository, revision: None } => f.write_str(repository),
            Self::Folder { path } => write!(f, "{}", path.display()),
            Self::BuiltIn => f.write_str("the built-in tiny model"),
        }
    }
}

fn is_path(given: &str) -> bool {
    given.starts_with("./")
        || given.starts_with("../")
        || given.starts_with('/')
        || given.starts_with("~/")
        || given == "."
        || given == ".."
}

/// The hub's rule for organisation and model names: at most 96 letters, digits, `-`, `_`, `.`, with no `--`
/// or `..` inside and no `-` or `.` at an end.
fn is_repository_part(part: &str) -> bool {
    (1..=96).contains(&part.len())
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !part.contains("--")
        && !part.contains("..")
        && !part.starts_with(['-', '.'])
        && !part.ends_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ids_revisions_and_paths() {
        let hub = |repository: &str, revision: Option<&str>| ModelRef::Hub {
            repository: repository.into(),
            revision: revision.map(Into::into),
        };
        assert_eq!(ModelRef::parse("Qwen/Qwen3-0.6B"), Ok(hub("Qwen/Qwen3-0.6B", None)));
        assert_eq!(
            ModelRef::parse("Qwen/Qwen3-0.6B@refs/pr/1"),
            Ok(hub("Qwen/Qwen3-0.6B", Some("refs/pr/1")))
        );
        assert_eq!(ModelRef::parse("gpt2@main"), Ok(hub("gpt2", Some("main"))));
        assert_eq!(ModelRef::parse("./m"), Ok(ModelRef::Folder { path: "./m".into() }));
        assert_eq!(ModelRef::hub("gpt2"), Ok(hub("gpt2", None)));
    }

    #[test]
    fn refuses_what_is_neither_id_nor_path() {
        assert!(matches!(ModelRef::parse("qwen32"), Err(IntentError::BareWord { .. })));
        for given in
            ["a/b/c", "a b/c", "org/", "/", "'; rm -rf'/x", "https://huggingface.co/a/b", "a/--b", "o/-x"]
        {
            if is_path(given) {
                continue;
            }
            assert!(matches!(ModelRef::parse(given), Err(IntentError::NotAModel { .. })), "{given}");
        }
        assert!(matches!(ModelRef::parse("a/b@../x"), Err(IntentError::Revision { .. })));
    }

    #[test]
    fn refuses_a_second_revision_and_one_of_a_folder() {
        let at = |model: &str, revision: &str| ModelRef::parse(model).and_then(|model| model.at(revision));
        assert_eq!(at("a/b@dev", "dev"), ModelRef::parse("a/b@dev"));
        assert!(matches!(at("a/b@main", "dev"), Err(IntentError::RevisionTwice { .. })));
        assert!(matches!(at("./m", "main"), Err(IntentError::NoRevisions { .. })));
        assert!(matches!(ModelRef::BuiltIn.at("main"), Err(IntentError::NoRevisions { .. })));
    }
}
