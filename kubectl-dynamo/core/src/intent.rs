//! The resolved request of the user: defaults applied and contradictions rejected. It does not depend on a
//! cluster or a release. It must stay pure, so that flags, a file, and the wizard lead to the same value.

pub mod engine_flags;
pub mod image;
pub mod kv_offload;
pub mod model;
pub mod name;
pub mod output_parsers;
pub mod placement;
pub mod quantity;
pub mod request;
mod resolve;
pub mod router;
pub mod topology;
mod value_error;

use serde::{Deserialize, Serialize};

use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand};
use crate::error::Explain;
pub use kv_offload::{DiskTier, DiskVolume, KvOffload};
pub use model::ModelRef;
pub use output_parsers::{OutputParsers, ParserKind};
pub use placement::{CaBundle, Placement, PodSecurity, Toleration, TolerationEffect};
pub use resolve::{Fallback, resolve, resolve_name, sources};
pub use router::{Router, RouterMode};
pub use topology::{Parallelism, Topology, WorkerGroup, WorkerRole};
pub use value_error::ValueError;

/// An enum with a fixed set of string values, shared by flags, files, and annotations.
pub trait StringEnum: Copy + 'static {
    /// All values, in the order of the help text.
    const ALL: &'static [Self];

    /// The value as flags and files spell it.
    fn as_str(self) -> &'static str;
}

/// The engine that runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// vLLM, on GPUs.
    Vllm,
    /// Dynamo's engine without a GPU. It generates placeholder text.
    Mocker,
}

impl StringEnum for Backend {
    const ALL: &'static [Self] = &[Self::Vllm, Self::Mocker];

    fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Mocker => "mocker",
        }
    }
}

/// Reference to the Secret key that holds the hub token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret {
    /// Name of the Secret in the deployment's namespace.
    pub name: String,
    /// Key in the Secret.
    pub key: String,
}

impl TokenSecret {
    /// The Secret name in Dynamo's examples.
    pub const DEFAULT_NAME: &'static str = "hf-token-secret";
    /// The key in Dynamo's examples, which is also the variable that hub clients read.
    pub const DEFAULT_KEY: &'static str = "HF_TOKEN";
}

impl Default for TokenSecret {
    fn default() -> Self {
        Self { name: Self::DEFAULT_NAME.into(), key: Self::DEFAULT_KEY.into() }
    }
}

impl std::str::FromStr for TokenSecret {
    type Err = ValueError;

    /// Parses `NAME` or `NAME/KEY`.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (name, key) = text.split_once('/').unwrap_or((text, Self::DEFAULT_KEY));
        // The characters that Kubernetes allows in Secret names and Secret keys.
        let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let in_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let valid =
            |text: &str, allowed: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
        if !valid(name, &in_name) || !valid(key, &in_key) {
            return Err(ValueError::Expected("a Secret as NAME or NAME/KEY"));
        }
        Ok(Self { name: name.into(), key: key.into() })
    }
}

/// Access mode of the cache PVC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessMode {
    ReadWriteMany,
    ReadWriteOnce,
}

impl StringEnum for AccessMode {
    const ALL: &'static [Self] = &[Self::ReadWriteMany, Self::ReadWriteOnce];

    /// The spelling of the Kubernetes API.
    fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOnce => "ReadWriteOnce",
        }
    }
}

/// The PVC that stores the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Cache {
    /// An existing PVC, which is only mounted.
    Existing {
        #[serde(alias = "claim")]
        pvc: String,
    },
    /// A PVC that is part of the rendered objects.
    #[serde(alias = "made")]
    Managed {
        #[serde(alias = "claim")]
        pvc: String,
        size: String,
        storage_class: Option<String>,
        access_mode: AccessMode,
    },
}

impl Cache {
    /// Default name of the rendered PVC.
    pub const DEFAULT_PVC: &'static str = "model-cache";
    /// Default size of the rendered PVC, from the starter kit.
    pub const DEFAULT_SIZE: &'static str = "500Gi";

    /// Name of the PVC.
    pub fn pvc(&self) -> &str {
        match self {
            Self::Existing { pvc } | Self::Managed { pvc, .. } => pvc,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::Managed {
            pvc: Self::DEFAULT_PVC.into(),
            size: Self::DEFAULT_SIZE.into(),
            storage_class: None,
            access_mode: AccessMode::ReadWriteMany,
        }
    }
}

/// A complete request without contradictions. The annotation on the live object stores it as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingIntent {
    /// Name of the deployment.
    pub name: String,
    pub model: ModelRef,
    /// Model name that clients send in requests.
    pub served_model_name: String,
    pub trust_remote_code: bool,
    pub backend: Backend,
    pub topology: Topology,
    pub router: Router,
    #[serde(default, skip_serializing_if = "OutputParsers::is_unset")]
    pub parsers: OutputParsers,
    pub frontend_replicas: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload: Option<KvOffload>,
    /// Engine flags after `--`, for all workers, as separate arguments.
    pub engine_args: Vec<String>,
    pub cache: Cache,
    pub token_secret: Option<TokenSecret>,
    pub placement: Placement,
}

impl ServingIntent {
    /// GPUs of all workers together. The mocker does not use GPUs.
    pub fn gpus(&self) -> u32 {
        match self.backend {
            Backend::Vllm => {
                self.topology.groups().iter().fold(0, |sum: u32, (_, group)| sum.saturating_add(group.gpus()))
            }
            Backend::Mocker => 0,
        }
    }
}

/// Why a request is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IntentError {
    #[error("\"{given}\" is neither a model ID (ORG/NAME) nor a path")]
    InvalidModelId { given: String },
    #[error("deployment \"{given}\" not found (a model ID has the form ORG/NAME)")]
    UnknownDeployment { given: String },
    #[error("no model specified")]
    NoModel,
    #[error("name \"{name}\" is not a DNS-1035 label: {reason}")]
    Name { name: String, reason: &'static str },
    #[error("name \"{name}\" is too long: {arithmetic}")]
    NameTooLong { name: String, arithmetic: String, suggestion: String },
    #[error("{flag} can only be used with --mode {mode}")]
    WrongMode { flag: String, mode: &'static str },
    #[error("{setting} requires {needs}")]
    MissingCompanionFlag { setting: String, needs: &'static str },
    #[error("{one} and {other} cannot be used together: {why}")]
    Contradiction { one: String, other: String, why: &'static str },
    #[error("invalid value for {setting}: {reason}")]
    InvalidValue { setting: String, reason: ValueError },
    #[error("{flag} must be at least 1")]
    ZeroCount { flag: String },
    #[error("invalid revision \"{given}\": expected a branch, tag, or commit")]
    Revision { given: String },
    #[error("{model} does not have revisions: it is not a hub model")]
    NoRevisions { model: String },
    #[error("model \"{model}\" and --revision {revision} specify different revisions")]
    ConflictingRevisions { model: String, revision: String },
    #[error("{setting} must not be set: the token would be stored in plain text in the manifest")]
    TokenInEnvironment { setting: String },
    #[error("invalid name \"{given}\" for {flag}")]
    ObjectName { flag: String, given: String },
    #[error("\"{given}\" is not a valid Kubernetes label or annotation")]
    Label { given: String },
    #[error("\"{given}\" is not a Kubernetes quantity ({flag})")]
    Quantity { flag: String, given: String },
    #[error("engine flag {flag} duplicates {plugin_flag}")]
    ReservedEngineFlag { flag: String, plugin_flag: &'static str },
    #[error("\"{given}\" is not a supported Dynamo release: {reason}")]
    UnsupportedRelease { given: String, reason: String, known: Vec<&'static str>, forceable: bool },
}

impl Explain for IntentError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::InvalidModelId { .. }
            | Self::UnknownDeployment { .. }
            | Self::NoModel
            | Self::Revision { .. }
            | Self::NoRevisions { .. }
            | Self::ConflictingRevisions { .. } => MessageCode::InvalidModel,
            Self::Name { .. } | Self::NameTooLong { .. } => MessageCode::InvalidDeploymentName,
            Self::WrongMode { .. } | Self::ZeroCount { .. } | Self::ReservedEngineFlag { .. } => {
                MessageCode::InvalidWorkerFlags
            }
            Self::ObjectName { .. } | Self::Label { .. } => MessageCode::InvalidObjectName,
            Self::Quantity { .. } => MessageCode::InvalidQuantity,
            Self::TokenInEnvironment { .. } => MessageCode::TokenInEnvironment,
            Self::MissingCompanionFlag { .. } | Self::Contradiction { .. } => {
                MessageCode::ContradictingValues
            }
            Self::InvalidValue { .. } => MessageCode::InvalidValue,
            Self::UnsupportedRelease { .. } => MessageCode::UnknownRelease,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::InvalidModelId { .. } => {
                "use a hub ID such as Qwen/Qwen3-0.6B or a path such as ./my-model; for an ID without an organization, use --model".into()
            }
            Self::UnknownDeployment { given } => {
                let up = SuggestedCommand::plugin("up").flag("--model").flag(given);
                up.after("for a model, run ").text("; to list deployments, run ").command(SuggestedCommand::plugin("list"))
            }
            Self::NoModel => SuggestedCommand::plugin("up Qwen/Qwen3-0.6B").after("specify a model, for example "),
            Self::Name { .. } => "use lowercase letters, digits, and hyphens, starting with a letter".into(),
            Self::NameTooLong { suggestion, .. } => format!("use --name {suggestion}").into(),
            Self::WrongMode { mode, .. } => format!("add --mode {mode}, or remove the setting").into(),
            Self::MissingCompanionFlag { needs, .. } => format!("add {needs}, or remove the setting").into(),
            Self::Contradiction { one, .. } => format!("remove {one} or the other setting").into(),
            Self::InvalidValue { .. } => SuggestedCommand::list_fields().after("list the valid values with "),
            Self::ZeroCount { .. } => "remove it to use the default of 1".into(),
            Self::Revision { .. } => "use, for example, --revision main".into(),
            Self::NoRevisions { .. } => "remove --revision, or specify a hub model (ORG/NAME)".into(),
            Self::ConflictingRevisions { .. } => "specify one revision, either with @ or with --revision".into(),
            Self::TokenInEnvironment { .. } => {
                "pass it on stdin with --hf-token-stdin < token.txt, or use a Secret with --hf-token-secret".into()
            }
            Self::ObjectName { .. } => "use at most 63 lowercase letters, digits, and hyphens".into(),
            Self::Label { .. } => "use, for example, --label team=search".into(),
            Self::Quantity { flag, .. } => format!("use, for example, {flag}=200Gi").into(),
            Self::ReservedEngineFlag { plugin_flag, .. } => format!("use {plugin_flag} instead").into(),
            Self::UnsupportedRelease { known, forceable, .. } => {
                let force = if *forceable { ", or add --force-release to use the nearest known one" } else { "" };
                format!("use --release with one of: {}{force}", known.join(" ")).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_secret_name_with_optional_key() {
        let secret = |name: &str, key: &str| Ok(TokenSecret { name: name.into(), key: key.into() });
        assert_eq!("hf".parse::<TokenSecret>(), secret("hf", "HF_TOKEN"));
        assert_eq!("team.hf/token".parse::<TokenSecret>(), secret("team.hf", "token"));
        for given in ["", "/", "hf/", "/key", "HF", "hf/a/b", "hf/a b", "h f"] {
            assert!(given.parse::<TokenSecret>().is_err(), "{given}");
        }
    }
}
