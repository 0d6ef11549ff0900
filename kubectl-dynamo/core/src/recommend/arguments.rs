//! The command line of the predictor. aiconfigurator and its successor aisimulate understand the same one.

use super::{GpuSystem, PredictionTarget, Sizing};
use crate::intent::StringEnum;
use crate::intent::request::TopologyMode;

/// How many configurations the predictor writes for each mode.
const TOP_CONFIGS: u32 = 4;

/// A limit that every deployment meets, in milliseconds.
const NO_LIMIT: &str = "1000000";

/// One question to the predictor.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionQuery {
    /// Absolute path of a folder with the model's `config.json`. A name would need the predictor's own list or the hub.
    pub model_folder: String,
    pub system: GpuSystem,
    pub target: PredictionTarget,
    pub sizing: Sizing,
}

impl PredictionQuery {
    /// The runs of the predictor that answer the query. Each mode is a run of its own, so that the exit code tells whether
    /// the mode has a result. For a load, aiconfigurator ignores the mode and predicts both.
    pub fn runs(&self) -> &'static [Option<TopologyMode>] {
        match self.sizing {
            Sizing::Gpus(_) => &[Some(TopologyMode::Aggregated), Some(TopologyMode::Disaggregated)],
            Sizing::RequestRate(_) | Sizing::Concurrency(_) => &[None],
        }
    }
}

/// Whether the latency limits of the target apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatencyLimits {
    OfTarget,
    /// Everything that runs is predicted.
    None,
}

/// Returns the arguments for one mode, or for both if no mode is given. The predictor writes its files below `folder`.
///
/// The backend is always given: the default is TensorRT-LLM. `--dynamo-version` never is: for a release that it does not
/// know, aiconfigurator exits with 0 and leaves out a mode.
pub fn predictor_arguments(
    query: &PredictionQuery,
    mode: Option<TopologyMode>,
    limits: LatencyLimits,
    folder: &str,
) -> Vec<String> {
    let target = &query.target;
    let (sizing_flag, size) = match query.sizing {
        Sizing::Gpus(gpus) => ("--total-gpus", gpus.to_string()),
        Sizing::RequestRate(rate) => ("--target-request-rate", rate.to_string()),
        Sizing::Concurrency(concurrency) => ("--target-concurrency", concurrency.to_string()),
    };
    let mut arguments: Vec<String> = ["cli", "default", "--backend", "vllm"].map(Into::into).to_vec();
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    add("--model-path", query.model_folder.clone());
    add("--system", query.system.name().to_owned());
    if let Some(mode) = mode {
        add("--serving-mode", mode.as_str().to_owned());
    }
    add(sizing_flag, size);
    add("--isl", target.input_tokens.to_string());
    add("--osl", target.output_tokens.to_string());
    add("--top-n", TOP_CONFIGS.to_string());
    add("--save-dir", folder.to_owned());
    match limits {
        LatencyLimits::OfTarget => {
            add("--ttft", target.ttft.milliseconds().to_string());
            add("--tpot", target.itl.milliseconds().to_string());
            arguments.push("--strict-sla".into());
        }
        LatencyLimits::None => {
            add("--ttft", NO_LIMIT.into());
            add("--tpot", NO_LIMIT.into());
        }
    }
    arguments.push("--no-color".into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recommend::Latency;

    fn line(sizing: Sizing, mode: Option<TopologyMode>, limits: LatencyLimits) -> String {
        let query = PredictionQuery {
            model_folder: "/models/tiny".into(),
            system: GpuSystem::find(&"h200:8".parse().expect("valid")).expect("known"),
            target: PredictionTarget {
                input_tokens: 4000,
                output_tokens: 1000,
                ttft: Latency::from_milliseconds(2000.0),
                itl: Latency::from_milliseconds(7.5),
            },
            sizing,
        };
        predictor_arguments(&query, mode, limits, "/out").join(" ")
    }

    #[test]
    fn backend_is_always_given_and_the_dynamo_version_never() {
        let text = line(Sizing::Gpus(8), Some(TopologyMode::Aggregated), LatencyLimits::OfTarget);
        assert_eq!(
            text,
            "cli default --backend vllm --model-path /models/tiny --system h200_sxm --serving-mode agg \
             --total-gpus 8 --isl 4000 --osl 1000 --top-n 4 --save-dir /out --ttft 2000 --tpot 7.5 --strict-sla \
             --no-color"
        );
    }

    #[test]
    fn load_replaces_the_number_of_gpus() {
        let rate = line(Sizing::RequestRate(2.5), None, LatencyLimits::OfTarget);
        assert!(rate.contains("--system h200_sxm --target-request-rate 2.5"), "{rate}");
        let concurrency = line(Sizing::Concurrency(64), None, LatencyLimits::None);
        assert!(concurrency.contains("--target-concurrency 64"), "{concurrency}");
        assert!(!concurrency.contains("strict") && concurrency.contains("--tpot 1000000"), "{concurrency}");
    }
}
