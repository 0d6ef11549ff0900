//! KV cache size per GPU, counted in blocks like vLLM's hybrid KV cache manager.
//! It must match the figures that vLLM logs; `published_figures` compares them.

use super::architecture::{Architecture, Attention, LayerMemory};
use super::engine_memory::{EngineMemory, PrefixCaching, SlidingWindows};
use super::{BATCHED_TOKENS, BLOCK_TOKENS, KvPrecision, LATENT_BLOCK_TOKENS};
use crate::intent::Parallelism;
use crate::release::MemoryRules;

/// The layers of one pipeline stage, in groups of equal size. All layers of a group share their blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KvCache {
    block_tokens: u64,
    /// Bytes of one block of a group, on each GPU.
    block_bytes: u64,
    full_groups: u64,
    /// Window size in tokens, and the number of groups with this window.
    windows: Vec<(u64, u64)>,
    /// Groups whose layers store a state of constant size, and the blocks of each.
    state_groups: u64,
    state_blocks: u64,
    /// Tokens of the steps in flight, which a window layer stores besides its window.
    in_flight_tokens: u64,
    /// Blocks that no request can use.
    reserved_blocks: u64,
}

/// The KV cache format and the engine's settings.
#[derive(Clone, Copy)]
pub(super) struct CacheSettings<'a> {
    pub(super) precision: KvPrecision,
    pub(super) engine: &'a EngineMemory,
    pub(super) rules: &'a MemoryRules,
}

impl KvCache {
    pub(super) fn new(model: &Architecture, parallelism: Parallelism, settings: CacheSettings<'_>) -> Self {
        let CacheSettings { precision, engine, rules } = settings;
        let tensor = u64::from(parallelism.tensor.max(1));
        // If there are fewer heads than GPUs, heads are replicated: each GPU stores at least one.
        let heads = model.kv_heads().map_or(1, |kv_heads| (kv_heads / tensor).max(1));
        let token_bytes = precision.token_bytes(model.attention.numbers_per_head(), heads).max(1);
        let counts = LayerCounts::new(model, parallelism.pipeline, engine.windows);
        let block_tokens = counts.block_tokens(model.attention, engine, token_bytes, tensor);
        let group = counts.group_layers();
        let groups = |layers: u64| layers.div_ceil(group);
        Self {
            block_tokens,
            block_bytes: block_tokens.saturating_mul(token_bytes).saturating_mul(group),
            full_groups: groups(counts.full),
            windows: counts.windows.iter().map(|(tokens, layers)| (*tokens, groups(*layers))).collect(),
            state_groups: groups(counts.states),
            // With prefix caching, vLLM keeps the state before and after a block.
            state_blocks: match engine.prefix_caching {
                PrefixCaching::Enabled => 2,
                PrefixCaching::Disabled => 1,
            },
            in_flight_tokens: engine
                .batched_tokens
                .unwrap_or(BATCHED_TOKENS)
                .saturating_mul(rules.in_flight_steps.count(parallelism.pipeline)),
            reserved_blocks: rules.reserved_blocks,
        }
    }

    /// Bytes of one additional token of a sequence that is longer than every window.
    pub(super) fn per_token(&self) -> u64 {
        self.full_groups.saturating_mul(self.block_bytes) / self.block_tokens
    }

    /// Bytes of a complete request, in whole blocks. A window layer stores the tokens of the window and of the
    /// steps in flight, and one more block, because the window may start inside a block.
    pub(super) fn per_request(&self, tokens: u64) -> u64 {
        let blocks_of = |tokens: u64| tokens.div_ceil(self.block_tokens);
        let full = blocks_of(tokens).saturating_mul(self.full_groups);
        let windows = self.windows.iter().map(|(window, groups)| {
            let cached_tokens = window.saturating_sub(1).saturating_add(self.in_flight_tokens).min(tokens);
            blocks_of(cached_tokens).saturating_add(1).saturating_mul(*groups)
        });
        let states = self.state_groups.saturating_mul(self.state_blocks);
        windows.fold(full.saturating_add(states), u64::saturating_add).saturating_mul(self.block_bytes)
    }

    /// Bytes that no request can use.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved_blocks.saturating_mul(self.block_bytes)
    }

    /// The longest request that fits into `available` bytes, at most `limit` tokens. Zero if none fits.
    pub(super) fn longest_request(&self, available: u64, limit: u64) -> u64 {
        let fits = |tokens: u64| self.per_request(tokens) <= available;
        let (mut fitting, mut above) = (0, limit);
        if fits(limit) {
            return limit;
        }
        while above - fitting > 1 {
            let middle = fitting + (above - fitting) / 2;
            if fits(middle) { fitting = middle } else { above = middle }
        }
        fitting
    }
}

/// The number of layers of one pipeline stage, by what they store.
struct LayerCounts {
    full: u64,
    windows: Vec<(u64, u64)>,
    states: u64,
    largest_state: u64,
}

impl LayerCounts {
    fn new(model: &Architecture, pipeline: u32, windows: SlidingWindows) -> Self {
        let mut counts = Self { full: 0, windows: Vec::new(), states: 0, largest_state: 0 };
        let has_full_layers = model.layers.iter().any(|layer| layer.memory == LayerMemory::Full);
        for layer in &model.layers {
            match layer.memory {
                LayerMemory::Window { .. } if windows == SlidingWindows::LimitLength => counts.full += 1,
                // Without full layers, the manager is not a hybrid one.
                LayerMemory::Window { .. } if windows == SlidingWindows::Unbounded && has_full_layers => {
                    counts.full += 1;
                }
                LayerMemory::Full => counts.full += 1,
                LayerMemory::Window { tokens } => {
                    match counts.windows.iter_mut().find(|(known, _)| *known == tokens) {
                        Some((_, layers)) => *layers += 1,
                        None => counts.windows.push((tokens, 1)),
                    }
                }
                LayerMemory::State { bytes } => {
                    counts.states += 1;
                    counts.largest_state = counts.largest_state.max(bytes);
                }
            }
        }
        let stages = u64::from(pipeline.max(1));
        let in_stage = |layers: &mut u64| *layers = layers.div_ceil(stages);
        in_stage(&mut counts.full);
        in_stage(&mut counts.states);
        counts.windows.iter_mut().for_each(|(_, layers)| in_stage(layers));
        counts
    }

    fn of_each_kind(&self) -> impl Iterator<Item = u64> {
        let windows = self.windows.iter().map(|(_, layers)| *layers);
        [self.full, self.states].into_iter().chain(windows).filter(|layers| *layers > 0)
    }

    /// Number of layers in a group. vLLM divides the layers of each kind into groups of equal size and pads the
    /// last group. The size is that of the smallest kind, or of the largest if they differ by less than half.
    fn group_layers(&self) -> u64 {
        let fewest = self.of_each_kind().min().unwrap_or(1);
        let most = self.of_each_kind().max().unwrap_or(1);
        if most * 2 < fewest * 3 { most } else { fewest }
    }

    /// Tokens of a block. A state fills a block, so vLLM enlarges the blocks of models with states.
    fn block_tokens(
        &self,
        attention: Attention,
        engine: &EngineMemory,
        token_bytes: u64,
        tensor: u64,
    ) -> u64 {
        let default = match attention {
            Attention::Grouped { .. } => BLOCK_TOKENS,
            Attention::Latent { .. } => LATENT_BLOCK_TOKENS,
        };
        let tokens = engine.block_tokens.unwrap_or(default).max(1);
        if self.states == 0 {
            return tokens;
        }
        let state = self.largest_state / tensor;
        tokens * state.div_ceil(token_bytes.saturating_mul(tokens)).max(1)
    }
}
