//! What `top` shows about a deployment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::intent::WorkerRole;
use crate::prometheus::Quantile;

/// The numbers of one deployment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopReport {
    /// The time that rates and quantiles cover; zero before the second scrape.
    pub period: Duration,
    pub load: DeploymentLoad,
    /// In the order of the scrape.
    pub workers: Vec<WorkerLoad>,
}

/// The load of a whole deployment. Rates are per second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeploymentLoad {
    pub frontends: ProcessCount,
    pub workers: ProcessCount,
    pub requests: Option<RequestRates>,
    pub in_flight: Option<f64>,
    pub queued: Option<f64>,
    pub time_to_first_token: Option<LatencyQuantiles>,
    pub inter_token_latency: Option<LatencyQuantiles>,
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    /// The share of the prompt tokens that a KV cache contained, from 0 to 1.
    pub cached_share: Option<f64>,
    /// The mean use of the workers' KV caches, from 0 to 1.
    pub kv_cache_use: Option<f64>,
    pub gpus: GpuUse,
    /// Finished requests in the last interval only.
    pub latest_requests: Option<f64>,
    /// Output tokens in the last interval only.
    pub latest_output_tokens: Option<f64>,
}

/// How many processes of a kind exist, and how many of them answered the last scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessCount {
    pub total: usize,
    pub answering: usize,
}

/// Finished requests per second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestRates {
    pub success: f64,
    /// Failed requests by Dynamo's error type.
    pub errors: BTreeMap<String, f64>,
}

impl RequestRates {
    /// All failed requests per second.
    pub fn failed(&self) -> f64 {
        self.errors.values().sum()
    }

    /// All finished requests per second.
    pub fn total(&self) -> f64 {
        self.success + self.failed()
    }
}

/// Quantiles of a latency in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyQuantiles {
    pub p50: Quantile,
    pub p99: Quantile,
}

/// The GPUs of the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuUse {
    pub allocated: u64,
    /// GPUs of workers without a request since `top` started; `None` if a worker has not answered.
    pub idle: Option<u64>,
}

/// The load of one worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerLoad {
    /// Name of the pod or the process.
    pub name: String,
    pub role: WorkerRole,
    /// Name of the node in a cluster.
    pub node: Option<String>,
    pub gpus: u64,
    /// Whether it answered the last scrape.
    pub is_answering: bool,
    /// Received requests per second.
    pub requests: Option<f64>,
    /// Failed requests per second.
    pub errors: Option<f64>,
    pub running: Option<f64>,
    pub waiting: Option<f64>,
    /// From 0 to 1.
    pub kv_cache_use: Option<f64>,
    /// Preemptions since the worker started.
    pub preemptions: Option<f64>,
    /// Time since the last request that was seen, or since `top` started; `None` if it has not answered.
    pub idle: Option<Duration>,
    /// Whether a request was seen since `top` started.
    pub was_active: bool,
}
