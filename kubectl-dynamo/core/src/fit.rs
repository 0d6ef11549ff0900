//! Memory arithmetic: the weights per GPU, the memory that remains for KV cache, and the number of requests
//! that fit. The inputs are `config.json`, the size of the weights, and the memory of a GPU. It must not
//! query a hub or cluster.

pub mod architecture;
mod config_overrides;
mod context_length;
mod engine_flag_error;
mod engine_memory;
pub mod hardware;
mod kv_cache;
mod parallelism;
mod precision;
mod quantization;
mod token_count;
mod weights;
mod worker;

pub use architecture::{Architecture, UnknownArchitecture};
pub use config_overrides::ConfigOverrides;
pub use context_length::{ContextLength, PositionSettings};
pub use engine_flag_error::{EngineFlagError, FlagValueError};
pub use engine_memory::{EngineMemory, OnlineQuantization, PrefixCaching, SlidingWindows};
pub use hardware::{Hardware, HardwareError};
pub use parallelism::{UnsupportedParallelism, check_parallelism};
pub use precision::{CheckpointPrecision, KvPrecision, Precision};
pub use token_count::{RequestedLength, TokenCountError, parse_token_count};
pub use weights::min_weights_per_gpu;

use crate::intent::Parallelism;
use crate::release::MemoryRules;

/// Tokens per KV block: vLLM's default of `--block-size` on NVIDIA GPUs.
const BLOCK_TOKENS: u64 = 16;
/// Tokens per KV block of compressed keys and values (MLA): the smallest block of the kernels for them.
const LATENT_BLOCK_TOKENS: u64 = 64;
/// Tokens per step: vLLM's default of `--max-num-batched-tokens` for serving on large GPUs.
const BATCHED_TOKENS: u64 = 8192;
/// Estimate for the CUDA context, NCCL buffers, and CUDA graphs, in bytes (2.5 GiB). vLLM measures it at
/// startup.
const RUNTIME_OVERHEAD: u64 = 5 << 29;

/// Input of [`fit`]: the parallelism, the GPU, and the engine of a worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitRequest<'a> {
    pub parallelism: Parallelism,
    /// Memory of one GPU, in bytes.
    pub gpu_memory: u64,
    pub engine: &'a EngineMemory,
    /// Rules of the release that runs the engine.
    pub rules: &'a MemoryRules,
}

/// Memory use per GPU of a worker, in bytes. If the GPUs differ, the values are those of the fullest GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Weights on the GPU, after casting and without those in CPU memory.
    pub weights: u64,
    /// Estimate for activations, CUDA graphs, and the CUDA context.
    pub overhead: u64,
    /// Memory that remains for KV cache. Zero if the weights are too large.
    pub kv_capacity: u64,
    /// KV cache of one additional token when every attention window is full.
    pub kv_per_token: u64,
    /// KV cache of a request with the maximum length.
    pub kv_per_request: u64,
    /// GPUs across which the KV cache of one model copy is split.
    pub kv_gpus: u32,
    /// Maximum request length with which the engine would start, in tokens.
    pub max_model_len: u64,
    /// The request lengths that the model supports.
    pub context: ContextLength,
    /// The longest request that fits, in tokens, up to the length that the model supports.
    pub longest_request: u64,
}

impl Fit {
    /// Whether a request with the maximum length fits.
    pub fn can_serve(&self) -> bool {
        self.max_model_len > 0 && self.kv_capacity >= self.kv_per_request && self.kv_capacity > 0
    }

    /// Whether the requested length is longer than the model supports.
    pub fn exceeds_model(&self) -> bool {
        self.max_model_len > self.context.maximum
    }

    /// Number of concurrent requests with the maximum length on one model copy.
    pub fn concurrent_requests(&self) -> u64 {
        self.kv_capacity / self.kv_per_request.max(1)
    }

    /// Number of requests with the maximum length that fit into an offload tier of `bytes` bytes.
    pub fn requests_in_tier(&self, bytes: u64) -> u64 {
        bytes / self.kv_per_request.saturating_mul(self.kv_gpus.into()).max(1)
    }
}

impl Architecture {
    /// The request lengths that the engine accepts for this model.
    pub fn context_length(&self, engine: &EngineMemory, rules: &MemoryRules) -> ContextLength {
        let limit = match engine.windows {
            SlidingWindows::LimitLength => self.window(),
            SlidingWindows::Bounded | SlidingWindows::Unbounded => None,
        };
        self.positions.context_length(rules.yarn_length, limit)
    }
}

/// Computes the memory use of a worker. `weight_bytes` is the size of the weight files; the sizes computed
/// from the configuration are scaled to it.
pub fn fit(architecture: &Architecture, weight_bytes: u64, request: &FitRequest<'_>) -> Fit {
    let FitRequest { parallelism, gpu_memory, engine, rules } = *request;
    let weights = weights::max_bytes_per_gpu(architecture, weight_bytes, parallelism, engine);
    let step_tokens = engine.batched_tokens.unwrap_or(BATCHED_TOKENS);
    let overhead = RUNTIME_OVERHEAD.saturating_add(weights::activation_bytes(
        architecture,
        parallelism.tensor,
        step_tokens,
    ));
    let usable = (gpu_memory as f64 * engine.utilization(rules)) as u64;
    let beside_weights = |bytes: u64| bytes.saturating_sub(weights).saturating_sub(overhead);
    let room = match engine.kv_cache_bytes {
        Some(bytes) => bytes.min(beside_weights(gpu_memory)),
        None => beside_weights(usable),
    };
    let activation_bytes = engine.activation_bytes.unwrap_or(weights::DEFAULT_ACTIVATION_BYTES);
    let precision =
        engine.kv_precision.unwrap_or_else(|| architecture.precision.kv_precision(rules, activation_bytes));
    let cache = kv_cache::KvCache::new(
        architecture,
        parallelism,
        kv_cache::CacheSettings { precision, engine, rules },
    );
    let kv_capacity = room.saturating_sub(cache.reserved());
    let context = architecture.context_length(engine, rules);
    let longest_request = cache.longest_request(kv_capacity, context.maximum);
    let max_model_len = match engine.max_model_len {
        RequestedLength::ModelDefault => context.default,
        RequestedLength::LongestThatFits => longest_request.min(context.default),
        RequestedLength::Tokens(tokens) => tokens,
    };
    Fit {
        weights,
        overhead,
        kv_capacity,
        kv_per_token: cache.per_token(),
        kv_per_request: cache.per_request(max_model_len),
        kv_gpus: parallelism.tensor.saturating_mul(parallelism.pipeline),
        max_model_len,
        context,
        longest_request,
    }
}

/// Why a model does not support a parallelism.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParallelismViolation {
    /// Attention heads cannot be split evenly.
    Heads { heads: u64, tensor: u32 },
    /// KV heads can be neither split nor replicated evenly.
    KvHeads { kv_heads: u64, tensor: u32 },
    /// The model does not have experts for expert parallelism.
    NoExperts,
    /// There are more pipeline stages than layers.
    Layers { layers: usize, pipeline: u32 },
}

/// Checks a parallelism against the model and returns all violations.
pub fn parallelism_violations(
    architecture: &Architecture,
    parallelism: Parallelism,
) -> Vec<ParallelismViolation> {
    let (tensor, pipeline) = (parallelism.tensor, parallelism.pipeline);
    let is_uneven = |count: u64, parts: u64| parts > 0 && !count.is_multiple_of(parts);
    let parts = u64::from(tensor);
    let mut violations = Vec::new();
    if is_uneven(architecture.heads, parts) {
        violations.push(ParallelismViolation::Heads { heads: architecture.heads, tensor });
    } else if let Some(kv_heads) = architecture.kv_heads()
        && is_uneven(kv_heads.max(parts), kv_heads.min(parts))
    {
        violations.push(ParallelismViolation::KvHeads { kv_heads, tensor });
    }
    if parallelism.expert && architecture.experts.is_none() {
        violations.push(ParallelismViolation::NoExperts);
    }
    if architecture.layers.len() < pipeline as usize {
        violations.push(ParallelismViolation::Layers { layers: architecture.layers.len(), pipeline });
    }
    violations
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod published_configs;
#[cfg(test)]
mod published_figures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_larger_than_kv_capacity_is_not_served() {
        let fit = Fit {
            weights: 1,
            overhead: 1,
            kv_capacity: 99,
            kv_per_token: 1,
            kv_per_request: 100,
            kv_gpus: 4,
            max_model_len: 100,
            context: ContextLength { default: 100, maximum: 200 },
            longest_request: 99,
        };
        assert!(!fit.can_serve());
        assert_eq!(Fit { kv_capacity: 250, ..fit }.concurrent_requests(), 2);
        assert_eq!(fit.requests_in_tier(1000), 2);
        assert!(!fit.exceeds_model() && Fit { max_model_len: 201, ..fit }.exceeds_model());
    }
}
