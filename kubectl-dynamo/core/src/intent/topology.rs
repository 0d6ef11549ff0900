//! Topology of a deployment: aggregated workers or separate prefill and decode workers, with their replicas
//! and parallelism. Whether a model or a cluster supports it is checked elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Role of a component in a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerRole {
    /// Accepts and routes requests. It does not use a GPU.
    Frontend,
    /// Prefill and decode in one worker.
    #[serde(alias = "combined")]
    Aggregated,
    Prefill,
    Decode,
}

impl WorkerRole {
    /// The role with this component name.
    pub fn from_component_name(name: &str) -> Option<Self> {
        let all = [Self::Frontend, Self::Aggregated, Self::Prefill, Self::Decode];
        all.into_iter().find(|role| role.component_name() == name)
    }

    /// Component name in objects and logs. It is short because child names have a length limit.
    pub fn component_name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Aggregated => "worker",
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

/// Parallelism of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parallelism {
    pub tensor: u32,
    pub pipeline: u32,
    /// Data parallel size: copies of the model in one worker. The copies share the requests.
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
    /// GPUs of one worker: tensor × pipeline × data.
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
    /// Nodes per worker. Each node provides an equal share of the GPUs.
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

/// Topology of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode")]
pub enum Topology {
    #[serde(rename = "agg")]
    Aggregated { worker: WorkerGroup },
    #[serde(rename = "disagg")]
    Disaggregated { prefill: WorkerGroup, decode: WorkerGroup },
}

impl Topology {
    /// The worker groups with their roles, in display order.
    pub fn groups(&self) -> Vec<(WorkerRole, &WorkerGroup)> {
        match self {
            Self::Aggregated { worker } => vec![(WorkerRole::Aggregated, worker)],
            Self::Disaggregated { prefill, decode } => {
                vec![(WorkerRole::Prefill, prefill), (WorkerRole::Decode, decode)]
            }
        }
    }

    /// The value of `--mode`.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Aggregated { .. } => "agg",
            Self::Disaggregated { .. } => "disagg",
        }
    }
}
