//! How the work is split: one kind of worker, or prefill and decode apart; replicas and GPUs of each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one component of a deployment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerRole {
    /// Takes requests and routes them; has no GPU.
    Frontend,
    /// Prefill and decode in one worker.
    Combined,
    Prefill,
    Decode,
}

impl WorkerRole {
    /// The component's name in every object and log: short, since child names have a budget.
    pub fn component_name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Combined => "worker",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl fmt::Display for WorkerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.component_name())
    }
}

/// How one worker spreads a model over GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parallelism {
    pub tensor: u32,
    pub pipeline: u32,
    /// Copies of the model inside one worker, each with its own share of the requests.
    #[serde(default = "one")]
    pub data: u32,
    pub expert: bool,
}

fn one() -> u32 {
    1
}

impl Default for Parallelism {
    fn default() -> Self {
        Self { tensor: 1, pipeline: 1, data: 1, expert: false }
    }
}

impl Parallelism {
    /// GPUs that one worker takes: tensor × pipeline × data.
    pub fn gpus(self) -> u32 {
        self.tensor.saturating_mul(self.pipeline).saturating_mul(self.data)
    }
}

/// Workers of one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerGroup {
    pub replicas: u32,
    pub parallelism: Parallelism,
    /// Nodes that one worker spans, each with an equal share of its GPUs.
    #[serde(default = "one")]
    pub nodes: u32,
    /// Engine flags for this role only, as separate arguments.
    pub engine_args: Vec<String>,
}

impl Default for WorkerGroup {
    fn default() -> Self {
        Self { replicas: 1, parallelism: Parallelism::default(), nodes: 1, engine_args: Vec::new() }
    }
}

impl WorkerGroup {
    /// GPUs of all replicas together.
    pub fn gpus(&self) -> u32 {
        self.replicas.saturating_mul(self.parallelism.gpus())
    }
}

/// The shape of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode")]
pub enum Topology {
    #[serde(rename = "agg")]
    Aggregated { worker: WorkerGroup },
    #[serde(rename = "disagg")]
    Disaggregated { prefill: WorkerGroup, decode: WorkerGroup },
}

impl Topology {
    /// The groups with their roles, in the order they are shown.
    pub fn groups(&self) -> Vec<(WorkerRole, &WorkerGroup)> {
        match self {
            Self::Aggregated { worker } => vec![(WorkerRole::Combined, worker)],
            Self::Disaggregated { prefill, decode } => {
                vec![(WorkerRole::Prefill, prefill), (WorkerRole::Decode, decode)]
            }
        }
    }

    /// The word of `--mode`.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Aggregated { .. } => "agg",
            Self::Disaggregated { .. } => "disagg",
        }
    }
}
