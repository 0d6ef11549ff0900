//! Why a wish cannot become a plan, and what to know of a plan that can.

use std::fmt;

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
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// What a person should know before the plan runs; it stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWarning {
    /// KV offload goes away with a later release.
    OffloadDeprecated { release: &'static str },
    /// Workers run without CUDA graphs.
    Eager { release: &'static str },
}

impl PlanWarning {
    /// The permanent message code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OffloadDeprecated { .. } => "KD0623",
            Self::Eager { .. } => "KD0624",
        }
    }
}

impl fmt::Display for PlanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OffloadDeprecated { release } => {
                write!(
                    f,
                    "KV offload by KVBM is deprecated in Dynamo {release} and will be removed by a later one"
                )
            }
            Self::Eager { release } => {
                write!(f, "KV offload turns CUDA graphs off in Dynamo {release}: each token takes longer")
            }
        }
    }
}
