//! What the person asked for: defaults filled in, contradictions refused, no cluster and no release known.
//! It must stay pure, so that a flag, a file and a wizard lead to the same value.

pub mod engine_flags;
pub mod kv_offload;
pub mod model;
pub mod name;
pub mod placement;
pub mod quantity;
pub mod request;
mod resolve;
pub mod router;
pub mod topology;

use serde::{Deserialize, Serialize};

use crate::error::{Exit, Explain};
pub use kv_offload::{DiskTier, DiskVolume, KvOffload};
pub use model::ModelRef;
pub use placement::{Placement, Toleration, TolerationEffect};
pub use resolve::{Fallback, name as meant_name, resolve, sources};
pub use router::{Router, RouterMode};
pub use topology::{Parallelism, Topology, WorkerGroup, WorkerRole};

/// A closed set of words that a flag, a file and an annotation share.
pub trait Word: Copy + 'static {
    /// Every value, in the order help shows them.
    const ALL: &'static [Self];

    /// The spelling in flags.
    fn as_str(self) -> &'static str;
}

/// The engine that runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// vLLM, on GPUs.
    Vllm,
    /// Dynamo's engine without a GPU: real requests, meaningless words.
    Mocker,
}

impl Word for Backend {
    const ALL: &'static [Self] = &[Self::Vllm, Self::Mocker];

    fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Mocker => "mocker",
        }
    }
}

/// A key of a Secret that holds the hub token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret {
    /// Name of the Secret in the deployment's namespace.
    pub name: String,
    /// Key inside it.
    pub key: String,
}

impl TokenSecret {
    /// The convention of Dynamo's own examples.
    pub const DEFAULT_NAME: &'static str = "hf-token-secret";
    /// The key of that convention, which is also the variable the clients read.
    pub const DEFAULT_KEY: &'static str = "HF_TOKEN";
}

impl Default for TokenSecret {
    fn default() -> Self {
        Self { name: Self::DEFAULT_NAME.into(), key: Self::DEFAULT_KEY.into() }
    }
}

impl std::str::FromStr for TokenSecret {
    type Err = String;

    /// Reads `NAME` or `NAME/KEY`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = text.split_once('/').unwrap_or((text, Self::DEFAULT_KEY));
        // Kubernetes' rules for the name of a Secret and for its keys.
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let in_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let valid =
            |text: &str, allowed: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
        if !valid(name, &in_name) || !valid(key, &in_key) {
            return Err("expected NAME or NAME/KEY of a Secret".into());
        }
        Ok(Self { name: name.into(), key: key.into() })
    }
}

/// Who may mount the cache volume at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessMode {
    ReadWriteMany,
    ReadWriteOnce,
}

impl Word for AccessMode {
    const ALL: &'static [Self] = &[Self::ReadWriteMany, Self::ReadWriteOnce];

    /// Kubernetes' own spelling.
    fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOnce => "ReadWriteOnce",
        }
    }
}

/// Where the weights live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cache {
    /// A claim that exists already and is only mounted.
    Existing { claim: String },
    /// A claim that is part of the objects.
    Made { claim: String, size: String, storage_class: Option<String>, access_mode: AccessMode },
}

impl Cache {
    /// Name of the claim that is part of the objects unless another is named.
    pub const DEFAULT_CLAIM: &'static str = "model-cache";
    /// Its size; the same as the starter kit's default.
    pub const DEFAULT_SIZE: &'static str = "500Gi";

    /// The claim's name.
    pub fn claim(&self) -> &str {
        match self {
            Self::Existing { claim } | Self::Made { claim, .. } => claim,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::Made {
            claim: Self::DEFAULT_CLAIM.into(),
            size: Self::DEFAULT_SIZE.into(),
            storage_class: None,
            access_mode: AccessMode::ReadWriteMany,
        }
    }
}

/// A wish, complete and free of contradictions. It is also what the annotation on the live object holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingIntent {
    /// Name of the deployment.
    pub name: String,
    pub model: ModelRef,
    /// The name clients ask for.
    pub served_model_name: String,
    pub trust_remote_code: bool,
    pub backend: Backend,
    pub topology: Topology,
    pub router: Router,
    pub frontend_replicas: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload: Option<KvOffload>,
    /// Engine flags after `--`, for every worker, as separate arguments.
    pub engine_args: Vec<String>,
    pub cache: Cache,
    pub token_secret: Option<TokenSecret>,
    pub placement: Placement,
}

impl ServingIntent {
    /// GPUs of all workers together; the mocker takes none.
    pub fn gpus(&self) -> u32 {
        match self.backend {
            Backend::Vllm => {
                self.topology.groups().iter().fold(0, |sum: u32, (_, group)| sum.saturating_add(group.gpus()))
            }
            Backend::Mocker => 0,
        }
    }
}

/// Why a wish cannot be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IntentError {
    #[error("`{given}` is neither a model id (org/name) nor a path")]
    NotAModel { given: String },
    #[error("`{given}` has no `/`, so it names a deployment, and there is none of that name to go on with")]
    BareWord { given: String },
    #[error("no model is named")]
    NoModel,
    #[error("name `{name}` is not a DNS label: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("name `{name}` is too long: {arithmetic}")]
    NameTooLong { name: String, arithmetic: String, suggestion: String },
    #[error("`{flag}` belongs to --mode {mode}")]
    OtherMode { flag: String, mode: &'static str },
    #[error("`{said}` needs {needs}")]
    Alone { said: String, needs: &'static str },
    #[error("`{one}` and `{other}` contradict each other: {why}")]
    Contradiction { one: String, other: String, why: &'static str },
    #[error("`{said}`: {reason}")]
    Unreadable { said: String, reason: String },
    #[error("`{flag}` must be at least 1")]
    Zero { flag: String },
    #[error("`{given}` is not a revision: use a branch, a tag or a commit")]
    Revision { given: String },
    #[error("{model} has no revisions")]
    NoRevisions { model: String },
    #[error("`{model}` names another revision than --revision {revision}")]
    RevisionTwice { model: String, revision: String },
    #[error("{said} would show a token in the objects, and a flag also in the process list")]
    TokenInEnvironment { said: String },
    #[error("`{given}` cannot be a name for `{flag}`")]
    ObjectName { flag: String, given: String },
    #[error("`{given}` cannot be a Kubernetes label")]
    Label { given: String },
    #[error("`{given}` is not a Kubernetes quantity, which `{flag}` takes")]
    Quantity { flag: String, given: String },
    #[error("engine flag `{flag}` says what `{ours}` already says")]
    EngineFlagTaken { flag: String, ours: &'static str },
    #[error("`{given}` is not a Dynamo release: {reason}")]
    Release { given: String, reason: String, known: Vec<&'static str>, forceable: bool },
}

impl Explain for IntentError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotAModel { .. }
            | Self::BareWord { .. }
            | Self::NoModel
            | Self::Revision { .. }
            | Self::NoRevisions { .. }
            | Self::RevisionTwice { .. } => "KD0401",
            Self::Name { .. } | Self::NameTooLong { .. } => "KD0201",
            Self::OtherMode { .. } | Self::Zero { .. } | Self::EngineFlagTaken { .. } => "KD0601",
            Self::ObjectName { .. } | Self::Label { .. } => "KD0210",
            Self::Quantity { .. } => "KD0402",
            Self::TokenInEnvironment { .. } => "KD0415",
            Self::Alone { .. } | Self::Contradiction { .. } => "KD0007",
            Self::Unreadable { .. } => "KD0005",
            Self::Release { .. } => "KD0202",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAModel { .. } => {
                "use a hub id such as Qwen/Qwen3-0.6B, or a path such as ./my-model; ids without an organisation go to --model".into()
            }
            Self::BareWord { given } => {
                format!("if it is a model: kubectl dynamo up --model {given}; if it is a deployment: kubectl dynamo list")
            }
            Self::NoModel => "name one, as in: kubectl dynamo up Qwen/Qwen3-0.6B".into(),
            Self::Name { .. } => "use lower-case letters, digits and hyphens, beginning with a letter".into(),
            Self::NameTooLong { suggestion, .. } => format!("try --name {suggestion}"),
            Self::OtherMode { mode, .. } => format!("add --mode {mode}, or leave it out"),
            Self::Alone { needs, .. } => format!("add {needs}, or leave it out"),
            Self::Contradiction { one, .. } => format!("leave `{one}` out, or the other"),
            Self::Unreadable { .. } => "what each field takes: kubectl dynamo config schema -o table".into(),
            Self::Zero { .. } => "leave it out for the default of 1".into(),
            Self::Revision { .. } => "for example --revision main".into(),
            Self::NoRevisions { .. } => "leave --revision out, or name a model of the hub (org/name)".into(),
            Self::RevisionTwice { .. } => "name one revision, behind @ or with --revision".into(),
            Self::TokenInEnvironment { .. } => {
                "give it on stdin: --hf-token-stdin < token.txt; or name a Secret: --hf-token-secret".into()
            }
            Self::ObjectName { .. } => "use at most 63 lower-case letters, digits and hyphens".into(),
            Self::Label { .. } => "for example --label team=search".into(),
            Self::Quantity { flag, .. } => format!("for example {flag}=200Gi"),
            Self::EngineFlagTaken { ours, .. } => format!("use only {ours}"),
            Self::Release { known, forceable, .. } => {
                let force = if *forceable { ", or add --force-release for the words of the nearest" } else { "" };
                format!("use --release with one of: {}{force}", known.join(" "))
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Release { .. } => Exit::Platform,
            _ => Exit::Usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_secret_with_or_without_its_key() {
        let secret = |name: &str, key: &str| Ok(TokenSecret { name: name.into(), key: key.into() });
        assert_eq!("hf".parse::<TokenSecret>(), secret("hf", "HF_TOKEN"));
        assert_eq!("team.hf/token".parse::<TokenSecret>(), secret("team.hf", "token"));
        for given in ["", "/", "hf/", "/key", "HF", "hf/a/b", "hf/a b", "h f"] {
            assert!(given.parse::<TokenSecret>().is_err(), "{given}");
        }
    }
}
