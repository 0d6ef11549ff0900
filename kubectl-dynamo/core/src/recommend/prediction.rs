//! One predicted deployment: its workers, and the speed and memory that the predictor expects.

use crate::intent::{Topology, WorkerRole};

/// A deployment with its predicted speed. These are not measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The workers, with the engine arguments that the prediction assumes.
    pub topology: Topology,
    /// Memory of the workers, in the order of [`Topology::groups`].
    pub roles: Vec<RolePrediction>,
    /// Output tokens per second of each GPU.
    pub tokens_per_second_per_gpu: f64,
    /// Output tokens per second of each request.
    pub tokens_per_second_per_user: f64,
    pub requests_per_second: f64,
    /// Requests in flight of the deployment at this speed.
    pub concurrency: f64,
    /// Time to the first token, in milliseconds.
    pub ttft: f64,
    /// Time between two tokens, in milliseconds.
    pub itl: f64,
    /// GPUs of the nodes that the prediction assumes.
    pub gpus_per_node: u32,
    /// The vLLM version whose measurements the prediction uses.
    pub vllm_version: String,
}

#[cfg(test)]
impl Prediction {
    /// A prediction for tests, with 1 for each number.
    pub(super) fn example(topology: Topology) -> Self {
        Self {
            topology,
            roles: Vec::new(),
            tokens_per_second_per_gpu: 1.0,
            tokens_per_second_per_user: 1.0,
            requests_per_second: 1.0,
            concurrency: 1.0,
            ttft: 1.0,
            itl: 1.0,
            gpus_per_node: 8,
            vllm_version: "1".into(),
        }
    }
}

/// What one GPU of a role holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolePrediction {
    pub role: WorkerRole,
    /// Concurrent requests on one model copy.
    pub batch: u64,
    /// Used memory of a GPU, in bytes.
    pub memory: u64,
}

impl Prediction {
    /// GPUs of all workers.
    pub fn gpus(&self) -> u32 {
        self.topology.groups().iter().fold(0, |sum, (_, group)| sum.saturating_add(group.gpus()))
    }

    /// Whether a worker uses GPUs of several nodes of this size, while the prediction assumes larger nodes, and thus a
    /// faster connection between the GPUs.
    pub fn assumes_larger_nodes(&self, gpus_per_node: u32) -> bool {
        let is_split =
            self.topology.groups().iter().any(|(_, group)| group.parallelism.gpus() > gpus_per_node);
        is_split && self.gpus_per_node > gpus_per_node
    }

    /// Output tokens per second of the deployment.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens_per_second_per_gpu * f64::from(self.gpus())
    }
}
