//! Errors of the options of a workload.

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;

/// An invalid or contradicting option of a workload.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorkloadError {
    #[error("\"{given}\" is not a pair of lengths or a distribution")]
    InvalidLengths { given: String },
    #[error("the shares of \"{given}\" add up to {total} %, not to 100 %")]
    InvalidShares { given: String, total: f64 },
    #[error("\"{given}\" is not a number of turns")]
    InvalidTurns { given: String },
    #[error("\"{given}\" is not a latency limit")]
    InvalidGoodput { given: String },
    #[error("{one} cannot be combined with {other}")]
    Contradiction { one: &'static str, other: &'static str },
    #[error("{flag} must be greater than zero")]
    LevelNotPositive { flag: &'static str },
    #[error("--runs {given} is too high: at most {limit} repeats are supported")]
    TooManyRuns { given: u32, limit: u32 },
    #[error("AIPerf's option {option} is set by this command")]
    ReservedOption { option: String },
}

impl Explain for WorkloadError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::Contradiction { .. } | Self::ReservedOption { .. } => MessageCode::ContradictingValues,
            _ => MessageCode::InvalidValue,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::InvalidLengths { .. } => {
                "use --isl-osl INPUT,OUTPUT such as 2000,256, or shares such as '64,10:70;1024,256:30'".into()
            }
            Self::InvalidShares { .. } => "change the numbers after the colons, which are percent".into(),
            Self::InvalidTurns { .. } => "use --turns MEAN or MEAN,DEVIATION, such as 5,2".into(),
            Self::InvalidGoodput { .. } => {
                "use --goodput with ttft, itl, or latency, such as ttft=200ms,itl=20ms".into()
            }
            Self::Contradiction { one, other } => format!("omit {one} or {other}").into(),
            Self::LevelNotPositive { flag } => format!("use a greater value for {flag}").into(),
            Self::TooManyRuns { limit, .. } => format!("use --runs {limit} or less").into(),
            Self::ReservedOption { option } => {
                format!("omit {option} after --, and use the flags of this command: run it with --help")
                    .into()
            }
        })
    }
}
