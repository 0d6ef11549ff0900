//! KV cache of one GPU, block by block, as vLLM's hybrid manager counts it.

use super::architecture::{Architecture, Attention, LayerMemory};
use super::{BATCHED_TOKENS, BLOCK_TOKENS, KvPrecision};
use crate::intent::Parallelism;

/// The layers of one stage, by what they keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KvCache {
    /// Bytes of one token in one layer of one GPU.
    token_in_layer: u64,
    full_layers: u64,
    /// Window in tokens, and layers that have it.
    windows: Vec<(u64, u64)>,
    /// Bytes of a sequence whatever its length.
    state: u64,
}

impl KvCache {
    pub(super) fn of(model: &Architecture, shape: Parallelism, precision: KvPrecision) -> Self {
        let tensor = u64::from(shape.tensor.max(1));
        let elements = match model.attention {
            // Fewer heads than GPUs are copied: each GPU keeps one at least.
            Attention::Grouped { kv_heads, head_size } => 2 * (kv_heads / tensor).max(1) * head_size,
            Attention::Latent { rank, rope, .. } => rank + rope,
        };
        let stages = u64::from(shape.pipeline.max(1));
        let of_stage = |layers: usize| (layers as u64).div_ceil(stages);
        let counted =
            |wanted: LayerMemory| model.layers.iter().filter(|layer| layer.memory == wanted).count();
        let mut kinds: Vec<LayerMemory> = Vec::new();
        for layer in &model.layers {
            if !kinds.contains(&layer.memory) {
                kinds.push(layer.memory);
            }
        }
        let mut cache = Self {
            token_in_layer: elements * precision.bytes(),
            full_layers: 0,
            windows: Vec::new(),
            state: 0,
        };
        for kind in kinds {
            let layers = of_stage(counted(kind));
            match kind {
                LayerMemory::Full => cache.full_layers += layers,
                LayerMemory::Window { tokens } => cache.windows.push((tokens, layers)),
                LayerMemory::State { bytes } => cache.state += layers * bytes / tensor,
            }
        }
        cache
    }

    /// One more token of a sequence that is longer than every window.
    pub(super) fn per_token(&self) -> u64 {
        let layers = if self.full_layers > 0 { self.padded(self.full_layers) } else { 0 };
        layers * self.token_in_layer
    }

    /// A whole request. A window keeps its own tokens and those of the step that is being computed, and one block
    /// more, since it need not begin with a block.
    pub(super) fn per_request(&self, tokens: u64) -> u64 {
        let block = BLOCK_TOKENS * self.token_in_layer;
        let full = tokens.div_ceil(BLOCK_TOKENS) * self.padded(self.full_layers);
        let windows = self.windows.iter().map(|(window, layers)| {
            let kept = (window.saturating_sub(1) + BATCHED_TOKENS).min(tokens);
            let blocks = (kept.div_ceil(BLOCK_TOKENS) + 1).min(tokens.div_ceil(BLOCK_TOKENS) + 1);
            blocks * self.padded(*layers)
        });
        (full + windows.sum::<u64>()) * block + self.state
    }

    /// Layers of a kind are dealt into groups of one size, the last one filled up: the size is that of the smallest
    /// kind, or of the largest where they hardly differ.
    fn padded(&self, layers: u64) -> u64 {
        let kinds =
            || std::iter::once(self.full_layers).chain(self.windows.iter().map(|(_, layers)| *layers));
        let least = kinds().filter(|layers| *layers > 0).min().unwrap_or(1);
        let most = kinds().max().unwrap_or(1);
        let group = if most * 2 < least * 3 { most } else { least };
        layers.div_ceil(group) * group
    }
}
