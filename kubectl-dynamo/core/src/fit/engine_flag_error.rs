//! Errors of engine flags that determine memory use: what the engine rejects, and what this program cannot calculate.

use super::token_count::TokenCountError;
use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;

/// Why the engine rejects the value of a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagValueError {
    #[error(transparent)]
    TokenCount(#[from] TokenCountError),
    #[error("expected a number in the flag's range")]
    OutOfRange,
    #[error("expected auto, half, float16, bfloat16, float, or float32")]
    Dtype,
    #[error("expected a JSON object")]
    NotObject,
}

/// An engine flag whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineFlagError {
    #[error("engine flag {flag} has an invalid value \"{given}\": {reason}")]
    Invalid { flag: &'static str, given: String, reason: FlagValueError },
    #[error("the memory use of engine flag {flag} {given} is unknown")]
    Unknown { flag: &'static str, given: String },
}

impl Explain for EngineFlagError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidValue)
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Invalid { flag, .. } => format!("correct or remove {flag} after --").into(),
            Self::Unknown { flag, .. } => {
                format!("remove {flag} after -- to calculate with the engine's default").into()
            }
        })
    }
}
