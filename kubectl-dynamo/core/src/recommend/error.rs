//! Errors of a recommendation that do not depend on files and processes: options, and the content of predictions.

use super::RecommendObjective;
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_MODEL};
use crate::error::Explain;
use crate::intent::{StringEnum, WorkerRole};

/// An invalid option, or a prediction that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecommendError {
    #[error("aiconfigurator does not have measurements of GPU \"{gpu}\"")]
    UnknownGpu { gpu: String, known: Vec<&'static str> },
    #[error("\"{given}\" is not a latency")]
    InvalidLatency { given: String },
    #[error("--objective {} needs a load", RecommendObjective::MinGpus.as_str())]
    NoLoad,
    #[error("--objective {} cannot be combined with {flag}", RecommendObjective::Throughput.as_str())]
    LoadWithThroughput { flag: &'static str },
    #[error("{flag} must be greater than zero")]
    LoadNotPositive { flag: &'static str },
    #[error("requests of {tokens} tokens are longer than the {maximum} tokens that the model supports")]
    LongerThanModel { tokens: u64, maximum: u64 },
    #[error("cannot use {file} of aiconfigurator: {problem}")]
    InvalidFile { file: String, problem: FileProblem },
}

/// What is wrong with a file of a prediction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FileProblem {
    #[error("the file is missing")]
    Missing,
    #[error("the file cannot be read ({0})")]
    Unreadable(String),
    #[error("{0}")]
    Syntax(String),
    #[error("it does not have rows")]
    Empty,
    #[error("column \"{0}\" is missing")]
    MissingColumn(&'static str),
    #[error("{rows} rows, but {configs} configurations")]
    ConfigsMissing { rows: usize, configs: usize },
    #[error("role {0} does not have a parallelism")]
    NoParallelism(WorkerRole),
    #[error("role {0} does not have engine arguments")]
    NoWorker(WorkerRole),
    #[error("{gpus} GPUs are not a multiple of the {unit_gpus} GPUs in the table")]
    OtherGpus { gpus: u32, unit_gpus: f64 },
}

impl Explain for RecommendError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::UnknownGpu { .. } => MessageCode::PredictionGpuUnknown,
            Self::InvalidLatency { .. }
            | Self::NoLoad
            | Self::LoadNotPositive { .. }
            | Self::LongerThanModel { .. } => MessageCode::InvalidValue,
            Self::LoadWithThroughput { .. } => MessageCode::ContradictingValues,
            Self::InvalidFile { .. } => MessageCode::PredictionFileInvalid,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::UnknownGpu { gpu, known } => {
                SuggestedCommand::plugin("fit").operand("", UNKNOWN_MODEL).flag("--gpu").flag(gpu).after(
                    format!("use --gpu with one of {}, or calculate only the memory: ", known.join(", ")),
                )
            }
            Self::InvalidLatency { .. } => "use a time with a unit, such as 500ms or 2s".into(),
            Self::NoLoad => "add --request-rate RATE or --concurrency N".into(),
            Self::LoadWithThroughput { flag } => format!("omit {flag} or --objective").into(),
            Self::LoadNotPositive { flag } => format!("use a greater value for {flag}").into(),
            Self::LongerThanModel { .. } => "use smaller values for --isl and --osl".into(),
            Self::InvalidFile { .. } => {
                "rerun the same command; if it fails again, report it as a bug".into()
            }
        })
    }
}
