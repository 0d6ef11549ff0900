//! What to know of a plan before it runs; none of it stops anything.

use std::fmt;

/// What a person should know before the plan runs; it stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWarning {
    /// KV offload goes away with a later release.
    OffloadDeprecated { release: &'static str },
    /// Workers run without CUDA graphs.
    Eager { release: &'static str },
    /// There is nothing to route by cache.
    OneWorker { component: &'static str },
    /// Another release's words are used.
    StandIn { version: String, release: &'static str },
    /// Stages of a pipeline and the hand-over of KV cache hardly go together.
    StagesHandOver { component: &'static str },
    /// The engine of the release would end at this flag; that of another image may not.
    UnknownEngineFlag { release: &'static str, flag: String },
}

impl PlanWarning {
    /// The permanent message code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OffloadDeprecated { .. } => "KD0623",
            Self::Eager { .. } => "KD0624",
            Self::OneWorker { .. } => "KD0709",
            Self::StandIn { .. } => "KD0222",
            Self::StagesHandOver { .. } => "KD0628",
            Self::UnknownEngineFlag { .. } => "KD0627",
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
            Self::OneWorker { component } => {
                write!(
                    f,
                    "the KV router has one {component} to choose from: it needs two to make a difference"
                )
            }
            Self::StandIn { version, release } => write!(
                f,
                "Dynamo {version} is not known here: it is spoken to in the words of {release}, the nearest that is"
            ),
            Self::StagesHandOver { component } => write!(
                f,
                "{component} has pipeline stages, between which vLLM's NIXL connector is not known to hand KV cache over (vllm-project/vllm#43366)"
            ),
            Self::UnknownEngineFlag { release, flag } => {
                write!(f, "vLLM of Dynamo {release} has no flag `{flag}`; the image must know it")
            }
        }
    }
}
