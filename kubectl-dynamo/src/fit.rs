//! Memory arithmetic: what of a model lies on each GPU, how much is left for KV cache, and how many sequences that
//! holds. From `config.json`, the size of the weights and a GPU's memory alone; it asks nobody and knows no cluster.

pub mod architecture;
pub mod hardware;
mod kv_cache;
mod shape;
mod weights;

pub use architecture::{Architecture, UnknownArchitecture};
pub use hardware::{Hardware, HardwareError};
pub use shape::{ForbiddenShape, check_shape};

use crate::intent::{Parallelism, engine_flags};

/// vLLM's own default of `--block-size` on NVIDIA GPUs.
const BLOCK_TOKENS: u64 = 16;
/// vLLM's default of `--max-num-batched-tokens` when it serves on large GPUs.
const BATCHED_TOKENS: u64 = 8192;
/// CUDA's context, NCCL's buffers and CUDA graphs, roughly; vLLM measures it as it starts.
const BESIDES: u64 = 5 << 29;

/// How the KV cache is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvPrecision {
    /// As the model's own activations.
    Sixteen,
    /// `--kv-cache-dtype fp8`.
    Eight,
}

impl KvPrecision {
    fn bytes(self) -> u64 {
        match self {
            Self::Sixteen => 2,
            Self::Eight => 1,
        }
    }
}

/// What is asked: one worker of this shape on GPUs of this size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worker {
    pub parallelism: Parallelism,
    /// Memory of one GPU, in bytes.
    pub gpu_memory: u64,
    /// `--gpu-memory-utilization`.
    pub utilization: f64,
    pub kv_precision: KvPrecision,
    /// Tokens of the longest request.
    pub longest_request: u64,
}

/// The engine settings that decide over memory, as given among its flags or as vLLM's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineMemory {
    pub utilization: f64,
    pub kv_precision: KvPrecision,
    /// `--max-model-len`; the model's own where absent.
    pub longest_request: Option<u64>,
}

impl EngineMemory {
    /// vLLM's `--gpu-memory-utilization` in every release of the catalogue but the newest, which takes a little more.
    pub const UTILIZATION: f64 = 0.9;

    /// Reads engine flags; of one that is given twice the last counts, as in the engine.
    pub fn of(args: &[String]) -> Self {
        let value = |flag: &str| engine_flags::value(args, flag);
        Self {
            utilization: value("--gpu-memory-utilization")
                .and_then(|text| text.parse().ok())
                .unwrap_or(Self::UTILIZATION),
            kv_precision: match value("--kv-cache-dtype") {
                Some(name) if name.starts_with("fp8") => KvPrecision::Eight,
                _ => KvPrecision::Sixteen,
            },
            longest_request: value("--max-model-len").and_then(|text| tokens(&text)),
        }
    }
}

/// A count of tokens as vLLM writes it: `8192`, `8k` (thousands) or `8K` (1024s).
pub fn tokens(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    number.checked_mul(match &text[digits..] {
        "" => 1,
        "k" => 1_000,
        "K" => 1 << 10,
        "m" => 1_000_000,
        "M" => 1 << 20,
        _ => return None,
    })
}

/// The memory of one GPU of a worker; of several that differ, of the fullest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub weights: u64,
    /// Activations, CUDA graphs and what CUDA takes: an estimate.
    pub besides: u64,
    /// What is left for KV cache; nothing where the weights alone are too large.
    pub kv_room: u64,
    /// KV cache of one more token once every window is full.
    pub kv_per_token: u64,
    /// KV cache of the longest request.
    pub kv_per_request: u64,
    /// GPUs over which a worker's KV cache is spread, copies aside.
    pub kv_gpus: u32,
}

impl Fit {
    /// Whether one request of full length can be served.
    pub fn serves(&self) -> bool {
        self.kv_room >= self.kv_per_request && self.kv_room > 0
    }

    /// Requests of full length at once on one copy of the model.
    pub fn requests(&self) -> u64 {
        self.kv_room / self.kv_per_request.max(1)
    }

    /// Requests of full length that a tier of so many bytes beside a worker holds.
    pub fn requests_in_tier(&self, bytes: u64) -> u64 {
        bytes / self.kv_per_request.saturating_mul(self.kv_gpus.into()).max(1)
    }
}

/// Works out one worker. `weight_bytes` is the size of the weights as files; what the configuration accounts for is
/// scaled to it.
pub fn fit(architecture: &Architecture, weight_bytes: u64, worker: &Worker) -> Fit {
    let shape = worker.parallelism;
    let weights = weights::of_fullest_gpu(architecture, weight_bytes, shape);
    let besides = BESIDES + weights::activations(architecture, shape.tensor, BATCHED_TOKENS);
    let usable = (worker.gpu_memory as f64 * worker.utilization) as u64;
    let cache = kv_cache::KvCache::of(architecture, shape, worker.kv_precision);
    Fit {
        weights,
        besides,
        kv_room: usable.saturating_sub(weights).saturating_sub(besides),
        kv_per_token: cache.per_token(),
        kv_per_request: cache.per_request(worker.longest_request),
        kv_gpus: shape.tensor.saturating_mul(shape.pipeline),
    }
}

/// The weights on one GPU of a model whose architecture is not known: what an even split leaves at best.
pub fn weights_at_least(weight_bytes: u64, shape: Parallelism) -> u64 {
    weight_bytes / u64::from(shape.tensor.saturating_mul(shape.pipeline)).max(1)
}

/// Why a model cannot be split like this, if it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Attention heads are dealt out evenly.
    Heads { heads: u64, tensor: u32 },
    /// KV heads are dealt out evenly, or copied evenly.
    KvHeads { kv_heads: u64, tensor: u32 },
    /// There is nothing to spread.
    NoExperts,
    /// A stage without a layer.
    Layers { layers: usize, pipeline: u32 },
}

/// What of a shape the model forbids.
pub fn misfits(architecture: &Architecture, shape: Parallelism) -> Vec<Misfit> {
    let (tensor, pipeline) = (shape.tensor, shape.pipeline);
    let uneven = |many: u64, parts: u64| parts > 0 && !many.is_multiple_of(parts);
    let parts = u64::from(tensor);
    let mut found = Vec::new();
    if uneven(architecture.heads, parts) {
        found.push(Misfit::Heads { heads: architecture.heads, tensor });
    } else if let Some(kv_heads) = architecture.kv_heads()
        && uneven(kv_heads.max(parts), kv_heads.min(parts))
    {
        found.push(Misfit::KvHeads { kv_heads, tensor });
    }
    if shape.expert && architecture.experts.is_none() {
        found.push(Misfit::NoExperts);
    }
    if architecture.layers.len() < pipeline as usize {
        found.push(Misfit::Layers { layers: architecture.layers.len(), pipeline });
    }
    found
}

#[cfg(test)]
mod published;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_decides_over_memory_from_engine_flags() {
        let args = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let read = EngineMemory::of(&args(&[
            "--max-model-len",
            "4096",
            "--gpu_memory_utilization=0.8",
            "--kv-cache-dtype",
            "fp8_e4m3",
            "--max-model-len=32K",
        ]));
        assert_eq!(read.longest_request, Some(32 << 10));
        assert_eq!((read.utilization, read.kv_precision), (0.8, KvPrecision::Eight));
        let silent = EngineMemory::of(&[]);
        assert_eq!((silent.utilization, silent.kv_precision), (0.9, KvPrecision::Sixteen));
    }

    #[test]
    fn a_request_that_does_not_fit_is_none() {
        let fit =
            Fit { weights: 1, besides: 1, kv_room: 99, kv_per_token: 1, kv_per_request: 100, kv_gpus: 4 };
        assert!(!fit.serves());
        assert_eq!(Fit { kv_room: 250, ..fit }.requests(), 2);
        assert_eq!(fit.requests_in_tier(1000), 2);
    }
}
