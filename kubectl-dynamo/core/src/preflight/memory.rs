//! Checks of GPU memory: whether each GPU of each worker role fits the weights and the KV cache of one
//! request of maximum length.
//!
//! The inputs are the hub's metadata of the model and the GPU memory labels of the nodes. Only vLLM is
//! checked.

use std::fmt;

use serde_json::Value;

use super::capacity::{gpu_components, usable_nodes};
use super::{CheckProblem, CheckResult, ClusterFacts, Node, PreflightInput};
use crate::code::MessageCode;
use crate::command::{SuggestedCommand, UNKNOWN_MODEL};
use crate::error::Explain;
use crate::fit::{
    Architecture, EngineFlagError, EngineMemory, Fit, FitRequest, UnknownArchitecture, fit,
    min_weights_per_gpu,
};
use crate::intent::{Backend, WorkerGroup, WorkerRole};
use crate::plan::ServingPlan;

/// The node label with the memory per GPU in MiB, set by NVIDIA GPU Feature Discovery.
pub(super) const GPU_MEMORY: &str = "nvidia.com/gpu.memory";

/// Memory per GPU of one worker role, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// Weights on the GPU that has the most.
    pub weights: u64,
    /// Memory available for KV cache, or `None` if the architecture or the GPUs are unknown.
    pub kv_room: Option<u64>,
    /// Memory of one GPU, of the smallest if nodes differ.
    pub gpu: Option<u64>,
}

impl fmt::Display for GpuMemory {
    /// Writes text such as `16.4 + 51.0 GiB of 79.6`, or only the weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kv_room, self.gpu) {
            (Some(room), Some(gpu)) => {
                let [weights, room, gpu] = [self.weights, room, gpu].map(gibibytes);
                write!(f, "{weights:.1} + {room:.1} GiB of {gpu:.1}")
            }
            (None, Some(gpu)) => write!(f, "{:.1} GiB of {:.1}", gibibytes(self.weights), gibibytes(gpu)),
            _ => write!(f, "{:.1} GiB of weights", gibibytes(self.weights)),
        }
    }
}

/// Returns the memory per GPU of a worker role, as far as the model and the nodes are known.
pub fn worker_gpu_memory(
    facts: &ClusterFacts,
    input: &PreflightInput<'_>,
    role: WorkerRole,
) -> Option<GpuMemory> {
    let inputs = MemoryInputs::from_facts(facts, input)?;
    let (_, group) = inputs.plan.intent.topology.groups().into_iter().find(|(one, _)| *one == role)?;
    let engine = inputs.engine_memory(role, group).ok()?;
    let fit = inputs.fit(group, &engine);
    let weights = fit.map_or_else(
        || min_weights_per_gpu(inputs.config, inputs.weight_bytes, group.parallelism, &engine),
        |fit| fit.weights,
    );
    Some(GpuMemory { weights, kv_room: fit.map(|fit| fit.kv_capacity), gpu: inputs.gpu })
}

/// Checks that every worker role fits its weights and one request of maximum length.
pub(super) fn gpu_memory(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let inputs = MemoryInputs::from_facts(facts, input)?;
    if let Err(error) = &inputs.architecture {
        return Some(CheckResult::Skipped(format!("{error}; the KV cache size is unknown")));
    }
    if inputs.gpu.is_none() {
        return Some(CheckResult::Skipped(format!("no GPU node has the label {GPU_MEMORY}")));
    };
    for (role, group) in inputs.plan.intent.topology.groups() {
        let engine = match inputs.engine_memory(role, group) {
            Ok(engine) => engine,
            Err(error @ EngineFlagError::Unknown { .. }) => {
                return Some(CheckResult::Skipped(error.to_string()));
            }
            Err(error @ EngineFlagError::Invalid { .. }) => {
                let hint = error.hint().unwrap_or_default();
                let problem = CheckProblem::new(MessageCode::EngineArgumentRejected, error.to_string(), hint);
                return Some(CheckResult::Failed(problem));
            }
        };
        if let Some(problem) = inputs.problem(role, group, &engine) {
            return Some(CheckResult::Failed(problem));
        }
    }
    Some(CheckResult::Passed("weights and one request of maximum length fit on each GPU".into()))
}

/// Returns the memory of each GPU of a node in bytes, from its label.
pub(super) fn gpu_memory_of(node: &Node) -> Option<u64> {
    let mebibytes: u64 = node.labels.get(GPU_MEMORY)?.parse().ok()?;
    mebibytes.checked_mul(1 << 20)
}

/// The variable with which vLLM accepts lengths above the model's.
const LONGER_THAN_MODEL: &str = "VLLM_ALLOW_LONG_MAX_MODEL_LEN";

/// The model and GPU memory that the check compares.
struct MemoryInputs<'a> {
    plan: &'a ServingPlan,
    config: &'a Value,
    architecture: Result<Architecture, UnknownArchitecture>,
    weight_bytes: u64,
    gpu: Option<u64>,
}

impl<'a> MemoryInputs<'a> {
    fn from_facts(facts: &'a ClusterFacts, input: &PreflightInput<'a>) -> Option<Self> {
        let plan = input.plan?;
        if plan.intent.backend != Backend::Vllm {
            return None;
        }
        let model = facts.model()?;
        let config = model.config.as_ref()?;
        let nodes = facts.nodes.known().map(Vec::as_slice).unwrap_or_default();
        let memories = usable_nodes(nodes, &gpu_components(input)).into_iter().filter_map(gpu_memory_of);
        Some(Self {
            plan,
            config,
            architecture: Architecture::from_config(config),
            weight_bytes: model.weight_bytes,
            gpu: memories.min(),
        })
    }

    /// Returns the engine settings of a worker group that determine its memory use.
    fn engine_memory(&self, role: WorkerRole, group: &WorkerGroup) -> Result<EngineMemory, EngineFlagError> {
        EngineMemory::of_worker(&self.plan.intent, role, group, &self.plan.release.memory)
    }

    /// Returns the memory fit of a worker group, if the architecture and the GPU are known.
    fn fit(&self, group: &WorkerGroup, engine: &EngineMemory) -> Option<Fit> {
        let rules = &self.plan.release.memory;
        let worker = FitRequest { parallelism: group.parallelism, gpu_memory: self.gpu?, engine, rules };
        let architecture = Architecture::from_config(&engine.overrides.apply(self.config)).ok()?;
        Some(fit(&architecture, self.weight_bytes, &worker))
    }

    fn problem(&self, role: WorkerRole, group: &WorkerGroup, engine: &EngineMemory) -> Option<CheckProblem> {
        let fit = self.fit(group, engine)?;
        let (model, longest) = (&self.plan.intent.model, fit.max_model_len);
        let env = &self.plan.intent.placement.env;
        let may_exceed_model = env.iter().any(|(name, value)| {
            name == LONGER_THAN_MODEL && ["1", "true"].contains(&value.trim().to_lowercase().as_str())
        });
        if fit.exceeds_model() && !may_exceed_model {
            let supported = fit.context.maximum;
            let text = format!("model \"{model}\" supports {supported} tokens, but {longest} are requested");
            let hint = format!("add -- --max-model-len {supported}");
            return Some(CheckProblem::new(MessageCode::ContextTooLong, text, hint));
        }
        if fit.can_serve() {
            return None;
        }
        let [weights, room, request, gpu] =
            [fit.weights, fit.kv_capacity, fit.kv_per_request, self.gpu?].map(gibibytes);
        Some(if fit.longest_request == 0 {
            let text = format!(
                "no GPU memory left for KV cache: \"{model}\" needs {weights:.1} of {gpu:.1} GiB for weights on each GPU of a {role} worker"
            );
            let hint = SuggestedCommand::plugin("fit")
                .operand(&model.to_string(), UNKNOWN_MODEL)
                .after("use more GPUs per worker; list what fits with ");
            CheckProblem::new(MessageCode::NoMemoryForKvCache, text, hint)
        } else {
            let text = format!(
                "KV cache too small: one {longest}-token request needs {request:.1} GiB per GPU of a {role} worker, {room:.1} GiB available"
            );
            let hint = format!("add -- --max-model-len {}", fit.longest_request);
            CheckProblem::new(MessageCode::KvCacheTooSmall, text, hint)
        })
    }
}

pub(super) fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Exit;
    use crate::preflight::storage::tests::plan_from_fields;
    use crate::preflight::{Fact, ModelLookup, ModelMetadata};
    use crate::resources::{GraphApi, render};

    /// The configuration of Llama 3.1 8B, and one node per entry with the given memory per GPU in MiB.
    fn facts(gpu_memory: &[u64]) -> ClusterFacts {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
            "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
            "torch_dtype": "bfloat16",
        });
        let model =
            ModelMetadata { weight_bytes: 16_060_522_496, config: Some(config), ..ModelMetadata::default() };
        let node = |mebibytes: &u64| Node {
            name: format!("gpu-{mebibytes}"),
            gpus: 8,
            ready: true,
            labels: [(GPU_MEMORY.to_owned(), mebibytes.to_string())].into(),
            ..Node::default()
        };
        ClusterFacts {
            model: Fact::Known(ModelLookup::Found(model)),
            nodes: Fact::Known(gpu_memory.iter().map(node).collect()),
            ..ClusterFacts::default()
        }
    }

    fn check(fields: &[&str], memories: &[u64]) -> (Option<String>, Option<CheckResult>) {
        let plan = plan_from_fields(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let input = PreflightInput { plan: Some(&plan), resources: &resources, ..PreflightInput::default() };
        let facts = facts(memories);
        let memory =
            worker_gpu_memory(&facts, &input, WorkerRole::Aggregated).map(|memory| memory.to_string());
        (memory, gpu_memory(&facts, &input))
    }

    #[test]
    fn large_gpu_fits_weights_and_longest_request() {
        let (memory, result) = check(&[], &[81_559]);
        // Published measurements show about 52 GiB with 90 %, see `fit::published_figures`. This release takes 92 %.
        assert_eq!(memory.as_deref(), Some("15.0 + 54.6 GiB of 79.6"));
        assert!(matches!(result, Some(CheckResult::Passed(_))), "{result:?}");
    }

    #[test]
    fn smallest_gpu_determines_result() {
        let (memory, result) = check(&[], &[81_559, 23_034]);
        assert!(memory.is_some_and(|memory| memory.ends_with("of 22.5")));
        let Some(CheckResult::Failed(problem)) = result else { panic!("{result:?}") };
        assert_eq!((problem.code, problem.exit), (MessageCode::KvCacheTooSmall, Exit::DoesNotFit));
        assert!(problem.text.contains("131072-token request needs 16.0 GiB"), "{}", problem.text);
        assert!(problem.hint.to_string().starts_with("add -- --max-model-len "), "{}", problem.hint);
        let (_, result) = check(&["engineArgs=--max-model-len 8K"], &[23_034]);
        assert!(matches!(result, Some(CheckResult::Passed(_))), "{result:?}");
    }

    #[test]
    fn fails_if_weights_fill_the_gpu() {
        let (_, result) = check(&[], &[15_360]);
        let Some(CheckResult::Failed(problem)) = result else { panic!("{result:?}") };
        assert_eq!(problem.code, MessageCode::NoMemoryForKvCache);
    }

    #[test]
    fn unknown_gpu_memory_is_skipped() {
        let (memory, result) = check(&[], &[]);
        assert_eq!(memory.as_deref(), Some("15.0 GiB of weights"));
        assert!(matches!(result, Some(CheckResult::Skipped(_))), "{result:?}");
    }

    #[test]
    fn length_in_the_hint_fits() {
        let (_, result) = check(&[], &[23_034]);
        let Some(CheckResult::Failed(problem)) = result else { panic!("{result:?}") };
        let tokens: u64 =
            problem.hint.to_string().rsplit(' ').next().and_then(|last| last.parse().ok()).expect("a number");
        for (length, fits) in [(tokens, true), (tokens + 16, false)] {
            let (_, result) = check(&[&format!("engineArgs=--max-model-len {length}")], &[23_034]);
            assert_eq!(matches!(result, Some(CheckResult::Passed(_))), fits, "{length}: {result:?}");
        }
    }

    #[test]
    fn flags_are_read_as_the_engine_reads_them() {
        for (args, gpu, expected) in [
            ("--max-model-len auto", 23_034, None),
            ("--max-model-len -1", 23_034, None),
            ("--max-model-len 4096 --cpu-offload-gb 10", 15_360, None),
            ("--max-model-len 25.6k", 23_034, Some(MessageCode::KvCacheTooSmall)),
            ("--max-model-len 25.6K", 23_034, Some(MessageCode::EngineArgumentRejected)),
            ("--max-model-len 200000", 81_559, Some(MessageCode::ContextTooLong)),
        ] {
            let (_, result) = check(&[&format!("engineArgs={args}")], &[gpu]);
            let code = match &result {
                Some(CheckResult::Passed(_)) => None,
                Some(CheckResult::Failed(problem)) => Some(problem.code),
                other => panic!("{args}: {other:?}"),
            };
            assert_eq!(code, expected, "{args}: {result:?}");
        }
        let longer = ["engineArgs=--max-model-len 200000", "env.VLLM_ALLOW_LONG_MAX_MODEL_LEN=1"];
        let (_, result) = check(&longer, &[81_559]);
        assert!(matches!(result, Some(CheckResult::Passed(_))), "{result:?}");
    }
}
