//! A wish against its model's own configuration: how many GPUs may share a layer, whether there are experts to spread.

use serde_json::Value;

use super::{Architecture, Misfit, misfits};
use crate::error::{Exit, Explain};
use crate::intent::{Backend, ServingIntent};

/// What a model's configuration forbids of a wish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForbiddenShape {
    #[error("{model} has {heads} {kind}, which tensor {tensor} of `{component}` does not divide")]
    Heads { model: String, kind: &'static str, heads: u64, tensor: u32, component: &'static str },
    #[error("{model} has no experts that `{component}` could spread")]
    NoExperts { model: String, component: &'static str },
    #[error("{model} has {layers} layers, too few for {pipeline} stages of `{component}`")]
    Layers { model: String, layers: usize, pipeline: u32, component: &'static str },
}

impl Explain for ForbiddenShape {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Heads { .. } => "KD0607",
            Self::NoExperts { .. } | Self::Layers { .. } => "KD0629",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Heads { model, .. } => format!("what divides them: kubectl dynamo fit {model}"),
            Self::NoExperts { .. } => "leave --enable-expert-parallel out".into(),
            Self::Layers { layers, .. } => format!("use at most --pp {layers}"),
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Checks every kind of worker. Architectures that are not known forbid nothing.
///
/// # Errors
/// The first thing that the configuration forbids.
pub fn check_shape(config: &Value, intent: &ServingIntent) -> Result<(), ForbiddenShape> {
    let Ok(architecture) = Architecture::from_config(config) else { return Ok(()) };
    if intent.backend != Backend::Vllm {
        return Ok(());
    }
    for (role, group) in intent.topology.groups() {
        let Some(misfit) = misfits(&architecture, group.parallelism).into_iter().next() else { continue };
        let (model, component) = (intent.model.to_string(), role.component_name());
        return Err(match misfit {
            Misfit::Heads { heads, tensor } => {
                ForbiddenShape::Heads { model, kind: "attention heads", heads, tensor, component }
            }
            Misfit::KvHeads { kv_heads: heads, tensor } => {
                ForbiddenShape::Heads { model, kind: "KV heads", heads, tensor, component }
            }
            Misfit::NoExperts => ForbiddenShape::NoExperts { model, component },
            Misfit::Layers { layers, pipeline } => {
                ForbiddenShape::Layers { model, layers, pipeline, component }
            }
        });
    }
    Ok(())
}
