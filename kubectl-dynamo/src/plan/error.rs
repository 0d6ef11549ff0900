//! Why a wish cannot become a plan.

use crate::error::{Exit, Explain};

/// Why a wish cannot become a plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("a cluster cannot see {model}")]
    NotOnTheHub { model: String },
    #[error("Dynamo {release} looks for the served name below the model volume, so it cannot be `{served}`")]
    ServedNameMustResolve { release: &'static str, served: String, path: String, free_from: &'static str },
    #[error("`{given}` is no size for {what}")]
    Quantity { what: &'static str, given: String },
    #[error("KV offload is for vLLM: the mocker keeps no KV cache")]
    OffloadOfMocker,
    #[error("an aggregated worker that offloads KV cache stalls as it starts in Dynamo {release}")]
    OffloadStalls { release: &'static str, good: &'static str },
    #[error("KV offload cannot span nodes, and `{component}` spans {nodes}: its parts meet on loopback")]
    OffloadOverNodes { component: &'static str, nodes: u32 },
    #[error("{tier} of `{given}` is less than one gigabyte, the smallest KV offload knows")]
    OffloadTooSmall { tier: &'static str, given: String },
    #[error("the mocker has no GPUs to spread, and `{component}` spans {nodes} nodes")]
    NodesOfMocker { component: &'static str, nodes: u32 },
    #[error("`{component}` cannot span {nodes} nodes: {reason}")]
    Nodes { component: &'static str, nodes: u32, reason: String },
    #[error(
        "Dynamo {release} starts workers on several nodes by a shell line without quotes, and `{arg}` needs them"
    )]
    UnquotedArgument { release: &'static str, arg: String },
    #[error(
        "an offloading worker cannot hold copies of the model, and `{component}` holds {copies}: the parts of each would meet on the same ports"
    )]
    OffloadOfCopies { component: &'static str, copies: u32 },
    #[error(
        "prefill cannot hand KV cache over to decode: of tensor {prefill} and {decode} neither divides the other"
    )]
    TensorRatio { prefill: u32, decode: u32 },
    #[error(
        "prefill and decode must agree on `{flag}` to hand KV cache over, and they say {prefill} and {decode}"
    )]
    RolesDiffer { flag: &'static str, prefill: String, decode: String },
    #[error("Dynamo {release} has no `--connector`")]
    ConnectorWentAway { release: &'static str },
    #[error("Dynamo {release} has no KV connector `{given}`")]
    UnknownConnector { release: &'static str, given: String },
    #[error("engine flag `{flag}` and `{ours}` contradict each other: {why}")]
    FlagAgainstOurs { flag: &'static str, ours: &'static str, why: &'static str },
    #[error("vLLM of Dynamo {release} has no flag `{flag}`{}", if *.elsewhere { ", as other releases have" } else { "" })]
    UnknownEngineFlag { release: &'static str, flag: String, nearest: Option<&'static str>, elsewhere: bool },
}

impl Explain for PlanError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotOnTheHub { .. } => "KD0403",
            Self::ServedNameMustResolve { .. } => "KD0701",
            Self::Quantity { .. } => "KD0402",
            Self::OffloadOfMocker
            | Self::OffloadStalls { .. }
            | Self::OffloadOverNodes { .. }
            | Self::OffloadTooSmall { .. } => "KD0620",
            Self::NodesOfMocker { .. } | Self::Nodes { .. } => "KD0621",
            Self::UnquotedArgument { .. } => "KD0622",
            Self::OffloadOfCopies { .. } => "KD0620",
            Self::TensorRatio { .. } | Self::RolesDiffer { .. } => "KD0625",
            Self::ConnectorWentAway { .. } | Self::UnknownConnector { .. } => "KD0626",
            Self::FlagAgainstOurs { .. } => "KD0601",
            Self::UnknownEngineFlag { .. } => "KD0627",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotOnTheHub { .. } => {
                "name a model of the hub (org/name), or add --local to serve it on this machine".into()
            }
            Self::ServedNameMustResolve { path, free_from, .. } => {
                format!(
                    "leave --served-model-name out (it is then `{path}`), or use --release {free_from} or later"
                )
            }
            Self::Quantity { .. } => "write it as Kubernetes does, for example 200Gi".into(),
            Self::OffloadOfMocker => "leave --kv-offload out, or use --backend vllm".into(),
            Self::OffloadStalls { good, .. } => format!("use --release {good}, or --mode disagg"),
            Self::OffloadOverNodes { .. } => "leave --kv-offload out, or keep each worker on one node".into(),
            Self::OffloadTooSmall { .. } => "for example --kv-offload cpu=20Gi,disk=200Gi".into(),
            Self::NodesOfMocker { .. } => "leave --nodes out, or use --backend vllm".into(),
            Self::Nodes { .. } => {
                "choose tensor × pipeline × data so that each node gets an equal share, as in --tp 8 --pp 2 --nodes 2"
                    .into()
            }
            Self::UnquotedArgument { .. } => {
                "leave the argument out, keep each worker on one node, or use a later release".into()
            }
            Self::OffloadOfCopies { .. } => "use --replicas in place of --dp, or leave --kv-offload out".into(),
            Self::TensorRatio { prefill, decode } => {
                let (low, high) = (prefill.min(decode), prefill.max(decode));
                format!("use a multiple of {low} in place of {high}, as in --decode-tp {}", low.saturating_mul(2))
            }
            Self::RolesDiffer { flag, .. } => format!("say `{flag}` once, behind `--`"),
            Self::ConnectorWentAway { .. } => {
                "leave it out: --mode disagg and --kv-offload choose connectors; others go to --kv-transfer-config"
                    .into()
            }
            Self::UnknownConnector { .. } => "it has nixl, lmcache, kvbm and none".into(),
            Self::FlagAgainstOurs { flag, ours, .. } => format!("leave `{flag}` out, or `{ours}`"),
            Self::UnknownEngineFlag { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            Self::UnknownEngineFlag { .. } => {
                "leave it out; an --image of your own is believed to know it".into()
            }
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
