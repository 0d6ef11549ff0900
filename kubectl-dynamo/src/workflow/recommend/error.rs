//! Errors of `recommend` that depend on files, the hub, or the predictor.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::recommend::PredictionTarget;

/// Why there is no recommendation, or none that the GPUs can serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecommendFailure {
    #[error("cannot read the configuration of model \"{model}\": {reason}")]
    ModelUnreadable { model: String, reason: String, exit: Exit },
    #[error(
        "no deployment is predicted to answer within {} ms and then every {} ms: the lowest predicted latencies are \
         {ttft:.0} ms and {itl:.1} ms",
        target.ttft.milliseconds(),
        target.itl.milliseconds()
    )]
    LatencyNotReachable { target: PredictionTarget, ttft: f64, itl: f64 },
    #[error("aiconfigurator failed ({status}):\n{tail}")]
    Failed { status: String, tail: String },
    #[error("the load needs {needed} GPUs, but --gpu has {available}")]
    NotEnoughGpus { needed: u32, available: u32 },
}

impl Explain for RecommendFailure {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::ModelUnreadable { .. } => MessageCode::PredictionModelUnreadable,
            Self::LatencyNotReachable { .. } => MessageCode::LatencyNotReachable,
            Self::Failed { .. } => MessageCode::PredictionFailed,
            Self::NotEnoughGpus { .. } => MessageCode::NotEnoughGpusForLoad,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::ModelUnreadable { exit: Exit::Access, .. } => {
                "set HF_TOKEN to a token that has access, or pass a folder with config.json".into()
            }
            Self::ModelUnreadable { .. } => {
                "check the name of the model and HF_ENDPOINT, or pass a folder with config.json".into()
            }
            Self::LatencyNotReachable { .. } => {
                "use greater values for --ttft and --itl, smaller ones for --isl and --osl, or other GPUs"
                    .into()
            }
            Self::Failed { .. } => SuggestedCommand::plugin("fit")
                .operand("", "MODEL")
                .after("read its output above; calculate only the memory with "),
            Self::NotEnoughGpus { .. } => "add nodes, reduce the load, or use greater latency limits".into(),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ModelUnreadable { exit, .. } => *exit,
            _ => self.code().map_or(Exit::Failed, MessageCode::exit),
        }
    }
}
