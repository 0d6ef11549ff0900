//! The reference to a model: a hub repository at a revision, a local folder, or the built-in model.
//! Parsing does not access the hub or the disk.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use model_fetcher_contract::{DEFAULT_REVISION, is_repository_name, is_revision};

use super::IntentError;

/// The model to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ModelRef {
    /// A repository on the Hugging Face Hub. `repository` is `org/name`, or `name` for the oldest models.
    Hub { repository: String, revision: Option<String> },
    /// A local folder with a complete model.
    Folder { path: PathBuf },
    /// The tiny model that the plugin generates. Only available with `--local`.
    BuiltIn,
}

/// Served name of the built-in model.
pub const BUILT_IN_NAME: &str = "tiny";

impl ModelRef {
    /// Parses the MODEL argument: `org/name`, `org/name@revision`, or a path.
    ///
    /// # Errors
    /// A bare word (which is the name of a deployment), and text that is neither a model ID nor a path.
    pub fn parse(given: &str) -> Result<Self, IntentError> {
        if is_path(given) {
            return Ok(Self::Folder { path: PathBuf::from(given) });
        }
        if !given.contains(['/', '@']) && is_repository_name(given) {
            return Err(IntentError::UnknownDeployment { given: given.into() });
        }
        Self::parse_hub_id(given)
    }

    /// Parses the model in a file or in `--model`: a path, or a hub ID with or without an organization.
    ///
    /// # Errors
    /// Text that is neither a path nor a hub ID.
    pub fn parse_path_or_hub_id(given: &str) -> Result<Self, IntentError> {
        if is_path(given) {
            Ok(Self::Folder { path: PathBuf::from(given) })
        } else {
            Self::parse_hub_id(given)
        }
    }

    /// The repository of the hub and its revision, `org/name@main` without one, as the fetch Job names them. `None` for a
    /// model that is not on the hub.
    pub fn cached_name(&self) -> Option<String> {
        let Self::Hub { repository, revision } = self else { return None };
        Some(format!("{repository}@{}", revision.as_deref().unwrap_or(DEFAULT_REVISION)))
    }

    /// The same model without a revision.
    pub fn without_revision(self) -> Self {
        match self {
            Self::Hub { repository, .. } => Self::Hub { repository, revision: None },
            Self::Folder { .. } | Self::BuiltIn => self,
        }
    }

    /// Parses a hub ID: `org/name` or `name`, each with an optional `@revision`.
    ///
    /// # Errors
    /// Text that the hub would not accept as an ID or a revision.
    pub fn parse_hub_id(given: &str) -> Result<Self, IntentError> {
        let (repository, revision) = match given.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (given, None),
        };
        if !is_repository_name(repository) {
            return Err(IntentError::InvalidModelId { given: given.into() });
        }
        let model = Self::Hub { repository: repository.into(), revision: None };
        match revision {
            Some(revision) => model.with_revision(revision),
            None => Ok(model),
        }
    }

    /// The same model at a revision.
    ///
    /// # Errors
    /// An invalid revision, a revision that differs from the existing one, and a revision for a model that is
    /// not on the hub.
    pub fn with_revision(self, revision: &str) -> Result<Self, IntentError> {
        if !is_revision(revision) {
            return Err(IntentError::Revision { given: revision.into() });
        }
        match &self {
            Self::Hub { revision: Some(existing), .. } if existing != revision => {
                Err(IntentError::ConflictingRevisions { model: self.to_string(), revision: revision.into() })
            }
            Self::Hub { repository, .. } => {
                Ok(Self::Hub { repository: repository.clone(), revision: Some(revision.into()) })
            }
            Self::Folder { .. } | Self::BuiltIn => Err(IntentError::NoRevisions { model: self.to_string() }),
        }
    }

    /// Default served model name: the hub ID, or the last part of the folder's path.
    pub fn default_served_name(&self) -> String {
        match self {
            Self::Hub { repository, .. } => repository.clone(),
            Self::Folder { path } => {
                path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
            }
            Self::BuiltIn => BUILT_IN_NAME.into(),
        }
    }

    /// The hub repository, or an empty string if the model is not on the hub.
    pub fn repository(&self) -> &str {
        match self {
            Self::Hub { repository, .. } => repository,
            Self::Folder { .. } | Self::BuiltIn => "",
        }
    }

    /// The model name without its organization.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_hub_ids_revisions_and_paths() {
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
        assert_eq!(ModelRef::parse_hub_id("gpt2"), Ok(hub("gpt2", None)));
    }

    #[test]
    fn rejects_text_that_is_neither_hub_id_nor_path() {
        assert!(matches!(ModelRef::parse("qwen32"), Err(IntentError::UnknownDeployment { .. })));
        for given in
            ["a/b/c", "a b/c", "org/", "/", "'; rm -rf'/x", "https://huggingface.co/a/b", "a/--b", "o/-x"]
        {
            if is_path(given) {
                continue;
            }
            assert!(matches!(ModelRef::parse(given), Err(IntentError::InvalidModelId { .. })), "{given}");
        }
        assert!(matches!(ModelRef::parse("a/b@../x"), Err(IntentError::Revision { .. })));
        // The fetcher accepts the same names and revisions.
        assert!(ModelRef::parse("a/b@v1.0+cu12").is_ok());
        assert!(matches!(ModelRef::parse("o/a--b"), Err(IntentError::InvalidModelId { .. })));
    }

    #[test]
    fn rejects_conflicting_revisions_and_revisions_of_folders() {
        let with_revision = |model: &str, revision: &str| {
            ModelRef::parse(model).and_then(|model| model.with_revision(revision))
        };
        assert_eq!(with_revision("a/b@dev", "dev"), ModelRef::parse("a/b@dev"));
        assert!(matches!(with_revision("a/b@main", "dev"), Err(IntentError::ConflictingRevisions { .. })));
        assert!(matches!(with_revision("./m", "main"), Err(IntentError::NoRevisions { .. })));
        assert!(matches!(ModelRef::BuiltIn.with_revision("main"), Err(IntentError::NoRevisions { .. })));
    }
}
