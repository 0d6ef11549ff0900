//! GPU memory: what of the model lies on each GPU of each kind of worker, and whether one request of full length fits
//! beside it. Arithmetic on what the hub tells of the model and the nodes tell of their GPUs.

use std::fmt;

use super::capacity::{usable, wanting};
use super::{ClusterFacts, Outcome, Problem, Subject};
use crate::error::Exit;
use crate::fit::{Architecture, EngineMemory, Fit, Worker, fit, weights_at_least};
use crate::intent::{Backend, WorkerGroup, WorkerRole};

/// The label with the MiB of each of a node's GPUs, set by NVIDIA's GPU feature discovery.
const GPU_MEMORY: &str = "nvidia.com/gpu.memory";

/// What lies on each GPU of one kind of worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of weights on the fullest GPU.
    pub weights: u64,
    /// Bytes that are left for KV cache; absent where the architecture or the GPUs are not known.
    pub kv_room: Option<u64>,
    /// Bytes of one GPU: of the smallest, where nodes differ.
    pub gpu: Option<u64>,
}

impl fmt::Display for Memory {
    /// `16.4 + 51.0 GiB of 79.6`, or only the weights.
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

/// What lies on each GPU of this kind of worker, as far as model and nodes are known.
pub fn memory_of(facts: &ClusterFacts, subject: &Subject<'_>, role: WorkerRole) -> Option<Memory> {
    let known = Known::of(facts, subject)?;
    let (_, group) = subject.plan?.intent.topology.groups().into_iter().find(|(one, _)| *one == role)?;
    let fit = known.fit(subject, group).map(|(_, fit)| fit);
    let weights =
        fit.map_or_else(|| weights_at_least(known.weight_bytes, group.parallelism), |fit| fit.weights);
    Some(Memory { weights, kv_room: fit.map(|fit| fit.kv_room), gpu: known.gpu })
}

/// Whether every kind of worker holds its weights and one request of full length.
pub(super) fn gpu_memory(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let known = Known::of(facts, subject)?;
    if let Err(unknown) = &known.architecture {
        return Some(Outcome::Skipped(format!("{unknown}, so only its weights can be counted")));
    }
    let Some(gpu) = known.gpu else {
        return Some(Outcome::Skipped(format!("no node with GPUs says their memory (label {GPU_MEMORY})")));
    };
    let groups = subject.plan?.intent.topology.groups();
    let problem = groups.into_iter().find_map(|(role, group)| known.problem(subject, role, group, gpu));
    Some(problem.map_or_else(
        || Outcome::Passed("weights and a request of full length fit on each GPU".into()),
        Outcome::Failed,
    ))
}

/// The model and the GPUs.
struct Known {
    model: String,
    architecture: Result<Architecture, String>,
    weight_bytes: u64,
    gpu: Option<u64>,
}

impl Known {
    fn of(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Self> {
        let intent = &subject.plan?.intent;
        if intent.backend != Backend::Vllm {
            return None;
        }
        let model = facts.model()?;
        let architecture = Architecture::from_config(model.config.as_ref()?);
        let nodes = facts.nodes.known().map(Vec::as_slice).unwrap_or_default();
        let memories = usable(nodes, &wanting(subject)).into_iter().filter_map(|node| {
            let mebibytes: u64 = node.labels.get(GPU_MEMORY)?.parse().ok()?;
            mebibytes.checked_mul(1 << 20)
        });
        Some(Self {
            model: intent.model.to_string(),
            architecture: architecture.map_err(|unknown| unknown.to_string()),
            weight_bytes: model.weight_bytes,
            gpu: memories.min(),
        })
    }

    /// The longest request and what is left beside the weights, where both can be told.
    fn fit(&self, subject: &Subject<'_>, group: &WorkerGroup) -> Option<(u64, Fit)> {
        let architecture = self.architecture.as_ref().ok()?;
        let args = [&subject.plan?.intent.engine_args[..], &group.engine_args[..]].concat();
        let engine = EngineMemory::of(&args);
        let worker = Worker {
            parallelism: group.parallelism,
            gpu_memory: self.gpu?,
            utilization: engine.utilization,
            kv_precision: engine.kv_precision,
            longest_request: engine.longest_request.unwrap_or(architecture.longest_request),
        };
        Some((worker.longest_request, fit(architecture, self.weight_bytes, &worker)))
    }

    fn problem(
        &self,
        subject: &Subject<'_>,
        role: WorkerRole,
        group: &WorkerGroup,
        gpu: u64,
    ) -> Option<Problem> {
        let (longest, fit) = self.fit(subject, group)?;
        if fit.serves() {
            return None;
        }
        let (model, [weights, room, request, gpu]) =
            (&self.model, [fit.weights, fit.kv_room, fit.kv_per_request, gpu].map(gibibytes));
        Some(if fit.kv_room == 0 {
            let text = format!(
                "{model} leaves no room for a KV cache: {weights:.1} GiB of weights on each GPU of a {role} worker, which has {gpu:.1}"
            );
            let hint = format!("split it over more GPUs; what fits: kubectl dynamo fit {model}");
            Problem::new("KD0605", Exit::DoesNotFit, text, hint)
        } else {
            let text = format!(
                "KV cache too small: one {longest}-token request needs {request:.1} GiB on each GPU of a {role} worker, {room:.1} GiB is left"
            );
            let tokens = fit.kv_room / fit.kv_per_token.max(1);
            Problem::new("KD0604", Exit::DoesNotFit, text, format!("add -- --max-model-len {tokens}"))
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
    use crate::preflight::storage::tests::plan_of;
    use crate::preflight::{Fact, HubModel, ModelFacts, Node};
    use crate::resources::{GraphApi, render};

    /// Llama 3.1 8B's own configuration, and nodes of one GPU with so many MiB.
    fn facts(gpu_memory: &[u64]) -> ClusterFacts {
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
            "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
            "torch_dtype": "bfloat16",
        });
        let model =
            ModelFacts { weight_bytes: 16_060_522_496, config: Some(config), ..ModelFacts::default() };
        let node = |mebibytes: &u64| Node {
            name: format!("gpu-{mebibytes}"),
            gpus: 8,
            ready: true,
            labels: [(GPU_MEMORY.to_owned(), mebibytes.to_string())].into(),
            ..Node::default()
        };
        ClusterFacts {
            model: Fact::Known(HubModel::Known(model)),
            nodes: Fact::Known(gpu_memory.iter().map(node).collect()),
            ..ClusterFacts::default()
        }
    }

    fn found(fields: &[&str], memories: &[u64]) -> (Option<String>, Option<Outcome>) {
        let plan = plan_of(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let subject = Subject { plan: Some(&plan), resources: &resources, ..Subject::default() };
        let facts = facts(memories);
        let memory = memory_of(&facts, &subject, WorkerRole::Combined).map(|memory| memory.to_string());
        (memory, gpu_memory(&facts, &subject))
    }

    #[test]
    fn a_large_gpu_holds_weights_and_a_long_request() {
        let (memory, outcome) = found(&[], &[81_559]);
        // People see some 52 GiB there; see `fit::published`.
        assert_eq!(memory.as_deref(), Some("15.0 + 53.0 GiB of 79.6"));
        assert!(matches!(outcome, Some(Outcome::Passed(_))), "{outcome:?}");
    }

    #[test]
    fn the_smallest_of_several_gpus_counts() {
        let (memory, outcome) = found(&[], &[81_559, 23_034]);
        assert!(memory.is_some_and(|memory| memory.ends_with("of 22.5")));
        let Some(Outcome::Failed(problem)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((problem.code, problem.exit), ("KD0604", Exit::DoesNotFit));
        assert!(problem.text.contains("131072-token request needs 16.0 GiB"), "{}", problem.text);
        assert!(problem.hint.starts_with("add -- --max-model-len "), "{}", problem.hint);
        let (_, outcome) = found(&["engineArgs=--max-model-len 8K"], &[23_034]);
        assert!(matches!(outcome, Some(Outcome::Passed(_))), "{outcome:?}");
    }

    #[test]
    fn weights_that_fill_a_gpu_are_split() {
        let (_, outcome) = found(&[], &[15_360]);
        let Some(Outcome::Failed(problem)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(problem.code, "KD0605");
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let (memory, outcome) = found(&[], &[]);
        assert_eq!(memory.as_deref(), Some("15.0 GiB of weights"));
        assert!(matches!(outcome, Some(Outcome::Skipped(_))), "{outcome:?}");
    }
}
