//! Warnings of a plan, each with a permanent message code.
//! They are printed before the plan runs and must never stop it.

use crate::code::MessageCode;
use crate::intent::ParserKind;
use crate::intent::output_parsers::PARSER_VERSION_VARIABLE;
use crate::release::UnknownParser;
use std::fmt;

/// A warning to print before the plan runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWarning {
    /// KV offload is deprecated in this release.
    OffloadDeprecated { release: &'static str },
    /// KV offload disables CUDA graphs in this release.
    CudaGraphsDisabled { release: &'static str },
    /// The KV router has only one worker.
    SingleWorkerKvRouter { component: &'static str },
    /// The release is unknown, and the settings of another release are used.
    UnknownRelease { version: String, release: &'static str },
    /// KV transfer with pipeline parallelism is not known to work.
    PipelineKvTransfer { component: &'static str },
    /// The engine of the release does not accept this flag, but the custom image may.
    UnknownEngineFlag { release: &'static str, flag: String },
    /// The release does not know this parser, but the custom image may.
    UnknownParser { release: &'static str, unknown: UnknownParser },
    /// `auto` did not find these parsers.
    NoParser { kinds: Vec<ParserKind>, reason: String, hint: Option<String> },
    /// The parser needs the second version of Dynamo's parsers.
    SecondParserVersion { name: String },
    /// The default fetcher image of an unreleased build may not exist.
    UnreleasedFetcherImage { image: &'static str },
}

impl PlanWarning {
    /// The permanent message code.
    pub fn code(&self) -> MessageCode {
        match self {
            Self::OffloadDeprecated { .. } => MessageCode::KvOffloadDeprecated,
            Self::CudaGraphsDisabled { .. } => MessageCode::CudaGraphsDisabled,
            Self::SingleWorkerKvRouter { .. } => MessageCode::SingleWorkerForKvRouter,
            Self::UnknownRelease { .. } => MessageCode::NearestReleaseUsed,
            Self::PipelineKvTransfer { .. } => MessageCode::PipelineParallelKvTransfer,
            Self::UnknownEngineFlag { .. } => MessageCode::UnknownEngineFlag,
            Self::UnknownParser { .. } => MessageCode::UnknownParser,
            Self::NoParser { .. } => MessageCode::ParserNotFound,
            Self::SecondParserVersion { .. } => MessageCode::SecondParserVersion,
            Self::UnreleasedFetcherImage { .. } => MessageCode::UnreleasedBuild,
        }
    }
}

impl fmt::Display for PlanWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OffloadDeprecated { release } => {
                write!(
                    f,
                    "KV offload with KVBM is deprecated in Dynamo {release} and will be removed in a later release"
                )
            }
            Self::CudaGraphsDisabled { release } => {
                write!(f, "KV offload disables CUDA graphs in Dynamo {release}: each token takes longer")
            }
            Self::SingleWorkerKvRouter { component } => {
                write!(f, "the KV router has only one {component}: it needs at least two to have an effect")
            }
            Self::UnknownRelease { version, release } => {
                write!(f, "unknown Dynamo release {version}; using the settings of {release}")
            }
            Self::PipelineKvTransfer { component } => write!(
                f,
                "{component} uses pipeline parallelism, for which KV transfer with vLLM's NIXL connector is not known to work (vllm-project/vllm#43366)"
            ),
            Self::UnknownEngineFlag { release, flag } => {
                write!(f, "vLLM in Dynamo {release} does not have the flag {flag}; the image must have it")
            }
            Self::UnknownParser { release, unknown: UnknownParser { kind, name, .. } } => {
                write!(f, "Dynamo {release} does not have the {kind} \"{name}\"; the image must have it")
            }
            Self::NoParser { kinds, reason, hint } => {
                let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
                write!(f, "no {} is used: {reason}{hint}", kinds.join(" or "))
            }
            Self::SecondParserVersion { name } => write!(
                f,
                "the tool-call parser \"{name}\" leaves the calls in the text unless {PARSER_VERSION_VARIABLE} is 2; add --env {PARSER_VERSION_VARIABLE}=2"
            ),
            Self::UnreleasedFetcherImage { image } => write!(
                f,
                "this is an unreleased build, and its fetcher image \"{image}\" may not exist; push one that manifests/build-image builds, and set it with --fetcher-image REGISTRY/NAME:TAG"
            ),
        }
    }
}
