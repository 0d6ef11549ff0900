//! Checks the parallelism of an intent against the configuration of its model: heads, experts, and layers.
//! Models with an unknown architecture must pass, because nothing is known about them.

use serde_json::Value;

use super::{Architecture, ParallelismViolation, parallelism_violations};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_MODEL};
use crate::error::Explain;
use crate::intent::{Backend, ServingIntent};

/// A parallelism that the model does not support.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedParallelism {
    #[error(
        "model \"{model}\" has {heads} {kind}, not divisible by tensor parallel size {tensor} of {component}"
    )]
    Heads { model: String, kind: &'static str, heads: u64, tensor: u32, component: &'static str },
    #[error("model \"{model}\" does not have experts for expert parallelism of {component}")]
    NoExperts { model: String, component: &'static str },
    #[error("model \"{model}\" has {layers} layers, too few for {pipeline} pipeline stages of {component}")]
    Layers { model: String, layers: usize, pipeline: u32, component: &'static str },
}

impl Explain for UnsupportedParallelism {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::Heads { .. } => MessageCode::AttentionHeadsNotDivisible,
            Self::NoExperts { .. } | Self::Layers { .. } => MessageCode::UnsupportedParallelism,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Heads { model, .. } => {
                SuggestedCommand::plugin("fit").operand(model, UNKNOWN_MODEL).after("list valid sizes with ")
            }
            Self::NoExperts { .. } => "remove --enable-expert-parallel".into(),
            Self::Layers { layers, .. } => format!("use at most --pp {layers}").into(),
        })
    }
}

/// Checks every worker group. Unknown architectures are not checked.
///
/// # Errors
/// The first violation.
pub fn check_parallelism(config: &Value, intent: &ServingIntent) -> Result<(), UnsupportedParallelism> {
    let Ok(architecture) = Architecture::from_config(config) else { return Ok(()) };
    if intent.backend != Backend::Vllm {
        return Ok(());
    }
    for (role, group) in intent.topology.groups() {
        let Some(violation) = parallelism_violations(&architecture, group.parallelism).into_iter().next()
        else {
            continue;
        };
        let (model, component) = (intent.model.to_string(), role.component_name());
        return Err(match violation {
            ParallelismViolation::Heads { heads, tensor } => {
                UnsupportedParallelism::Heads { model, kind: "attention heads", heads, tensor, component }
            }
            ParallelismViolation::KvHeads { kv_heads: heads, tensor } => {
                UnsupportedParallelism::Heads { model, kind: "KV heads", heads, tensor, component }
            }
            ParallelismViolation::NoExperts => UnsupportedParallelism::NoExperts { model, component },
            ParallelismViolation::Layers { layers, pipeline } => {
                UnsupportedParallelism::Layers { model, layers, pipeline, component }
            }
        });
    }
    Ok(())
}
