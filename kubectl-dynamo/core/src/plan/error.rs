//! Errors of planning: settings that are valid alone, but that the release, the engine, or the cluster does
//! not support.

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;
use crate::intent::ParserKind;
use crate::release::{Release, UnknownParser};

/// Why an intent cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("model \"{model}\" is not available to the cluster: it is not a hub model")]
    ModelNotOnHub { model: String },
    #[error(
        "served model name \"{served}\" is not supported: Dynamo {release} resolves it as a path to the model"
    )]
    ServedNameMustResolve {
        release: &'static str,
        served: String,
        path: String,
        supported_from: &'static str,
    },
    #[error("invalid quantity \"{given}\" for {what}")]
    Quantity { what: &'static str, given: String },
    #[error("KV offload requires vLLM: the mocker does not store KV cache")]
    OffloadUnsupportedByMocker,
    #[error("KV offload is not supported for aggregated workers in Dynamo {release}: they stall at startup")]
    OffloadStallsAggregated { release: &'static str, alternative: &'static str },
    #[error(
        "KV offload is not supported for multi-node workers ({component} uses {nodes} nodes): KVBM communicates over loopback"
    )]
    OffloadOnMultipleNodes { component: &'static str, nodes: u32 },
    #[error(
        "--pod-security restricted does not allow a disk tier in a folder of the node: only the standard privileged allows hostPath volumes"
    )]
    OffloadOnHostPathOfRestrictedPods,
    #[error("size \"{given}\" of {tier} is too small: KV offload requires at least 1 GB")]
    OffloadTooSmall { tier: &'static str, given: String },
    #[error("the mocker does not support multi-node workers ({component} uses {nodes} nodes)")]
    MultiNodeUnsupportedByMocker { component: &'static str, nodes: u32 },
    #[error("{component} cannot use {nodes} nodes: {reason}")]
    UnsupportedNodeCount { component: &'static str, nodes: u32, reason: String },
    #[error(
        "argument \"{arg}\" is not supported for multi-node workers: Dynamo {release} passes it to a shell without quotes"
    )]
    UnquotedArgument { release: &'static str, arg: String },
    #[error(
        "KV offload is not supported with data parallelism ({component} has --dp {copies}): the ranks would bind the same ports"
    )]
    OffloadWithDataParallel { component: &'static str, copies: u32 },
    #[error("incompatible tensor parallelism: prefill ({prefill}) and decode ({decode}) must divide evenly")]
    IncompatibleTensorParallelism { prefill: u32, decode: u32 },
    #[error(
        "prefill and decode must use the same {flag} for KV transfer (prefill: {prefill}, decode: {decode})"
    )]
    RoleFlagMismatch { flag: &'static str, prefill: String, decode: String },
    #[error("Dynamo {release} does not support --connector")]
    ConnectorRemoved { release: &'static str },
    #[error("Dynamo {release} does not support the KV connector \"{given}\"")]
    UnknownConnector { release: &'static str, given: String },
    #[error("engine flag {flag} cannot be used with {plugin_flag}: {why}")]
    FlagConflict { flag: &'static str, plugin_flag: &'static str, why: &'static str },
    #[error("vLLM in Dynamo {release} does not have the flag {flag}{}", if *.known_in_other_release { " (other releases have it)" } else { "" })]
    UnknownEngineFlag {
        release: &'static str,
        flag: String,
        nearest: Option<&'static str>,
        known_in_other_release: bool,
    },
    #[error("Dynamo {release} does not have the {} \"{}\"{}", .unknown.kind, .unknown.name, in_other_releases(&.unknown.known_in))]
    UnknownParser { release: &'static str, unknown: UnknownParser },
}

/// Names the releases that know a parser.
fn in_other_releases(releases: &[&str]) -> String {
    match releases {
        [] => String::new(),
        [only] => format!(" (Dynamo {only} has it)"),
        [first, .., last] => format!(" (Dynamo {first} to {last} have it)"),
    }
}

/// Suggests the most similar parser, or lists all parsers of the release.
fn parser_hint(release: &str, unknown: &UnknownParser) -> String {
    let flag = unknown.kind.plugin_flag();
    if let Some(nearest) = unknown.nearest {
        return format!("did you mean {flag} {nearest}?");
    }
    let known = Release::find(release).map(|release| release.parser_names(unknown.kind).collect::<Vec<_>>());
    let none = if unknown.kind == ParserKind::EngineReasoning { "" } else { "none " };
    format!("use {flag} with one of: {none}{}", known.unwrap_or_default().join(" "))
}

impl Explain for PlanError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::ModelNotOnHub { .. } => MessageCode::ModelNotOnHub,
            Self::ServedNameMustResolve { .. } => MessageCode::ServedNameNotResolvable,
            Self::Quantity { .. } => MessageCode::InvalidQuantity,
            Self::OffloadUnsupportedByMocker
            | Self::OffloadStallsAggregated { .. }
            | Self::OffloadOnMultipleNodes { .. }
            | Self::OffloadTooSmall { .. } => MessageCode::KvOffloadNotSupported,
            Self::MultiNodeUnsupportedByMocker { .. } | Self::UnsupportedNodeCount { .. } => {
                MessageCode::InvalidNodeCount
            }
            Self::UnquotedArgument { .. } => MessageCode::ArgumentNeedsQuotes,
            Self::OffloadWithDataParallel { .. } => MessageCode::KvOffloadNotSupported,
            Self::IncompatibleTensorParallelism { .. } | Self::RoleFlagMismatch { .. } => {
                MessageCode::KvTransferNotPossible
            }
            Self::ConnectorRemoved { .. } | Self::UnknownConnector { .. } => MessageCode::UnknownKvConnector,
            Self::FlagConflict { .. } => MessageCode::InvalidWorkerFlags,
            Self::OffloadOnHostPathOfRestrictedPods => MessageCode::ContradictingValues,
            Self::UnknownEngineFlag { .. } => MessageCode::UnknownEngineFlag,
            Self::UnknownParser { .. } => MessageCode::UnknownParser,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::ModelNotOnHub { .. } => {
                "specify a hub model (ORG/NAME), or add --local to serve it on this machine".into()
            }
            Self::ServedNameMustResolve { path, supported_from, .. } => {
                format!(
                    "remove --served-model-name (the default is \"{path}\"), or use --release {supported_from} or later"
                ).into()
            }
            Self::Quantity { .. } => "use Kubernetes notation, for example 200Gi".into(),
            Self::OffloadUnsupportedByMocker => "remove --kv-offload, or use --backend vllm".into(),
            Self::OffloadStallsAggregated { alternative, .. } => format!("use --release {alternative}, or --mode disagg").into(),
            Self::OffloadOnMultipleNodes { .. } => "remove --kv-offload, or use one node per worker".into(),
            Self::OffloadOnHostPathOfRestrictedPods => {
                "use --kv-offload-disk-volume ephemeral, or --pod-security baseline".into()
            }
            Self::OffloadTooSmall { .. } => "use, for example, --kv-offload cpu=20Gi,disk=200Gi".into(),
            Self::MultiNodeUnsupportedByMocker { .. } => "remove --nodes, or use --backend vllm".into(),
            Self::UnsupportedNodeCount { .. } => {
                "choose tensor × pipeline × data so that each node gets an equal share, for example --tp 8 --pp 2 --nodes 2"
                    .into()
            }
            Self::UnquotedArgument { .. } => {
                "remove the argument, use one node per worker, or use a later release".into()
            }
            Self::OffloadWithDataParallel { .. } => "use --replicas instead of --dp, or remove --kv-offload".into(),
            Self::IncompatibleTensorParallelism { prefill, decode } => {
                let (low, high) = (prefill.min(decode), prefill.max(decode));
                format!("use a multiple of {low} instead of {high}, for example --decode-tp {}", low.saturating_mul(2)).into()
            }
            Self::RoleFlagMismatch { flag, .. } => format!("set {flag} once, after --").into(),
            Self::ConnectorRemoved { .. } => {
                "remove it: --mode disagg and --kv-offload select connectors; for others, use --kv-transfer-config"
                    .into()
            }
            Self::UnknownConnector { .. } => "use nixl, lmcache, kvbm, or none".into(),
            Self::FlagConflict { flag, plugin_flag, .. } => format!("remove {flag} or {plugin_flag}").into(),
            Self::UnknownEngineFlag { nearest: Some(nearest), .. } => format!("did you mean {nearest}?").into(),
            Self::UnknownParser { release, unknown } => parser_hint(release, unknown).into(),
            Self::UnknownEngineFlag { .. } => {
                "remove it, or use --image with an image whose vLLM has the flag".into()
            }
        })
    }
}
