//! How the vLLM of a release sizes its KV cache and derives the maximum request length, where releases differ.
//! Only `catalog.rs` assigns values to releases. `docs/explanation/fit.md` lists the source of each rule.

use std::fmt;

use super::CATALOG;

/// The memory rules of a release's vLLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRules {
    pub yarn_length: YarnLength,
    /// Default of `--gpu-memory-utilization`, in percent.
    pub gpu_memory_percent: u8,
    pub in_flight_steps: InFlightSteps,
    /// Blocks of the KV cache that no request can use.
    pub reserved_blocks: u64,
    pub checkpoint_kv_formats: CheckpointKvFormats,
    pub window_limits: WindowLimits,
}

/// The maximum request length of a model with YaRN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YarnLength {
    /// The length before scaling, multiplied by the factor.
    OriginalTimesFactor,
    /// `max_position_embeddings`, which already contains the factor.
    MaxPositionEmbeddings,
    /// The longer of the two, if the release is not known.
    Longest,
}

/// The scheduled steps for which a layer with a sliding window keeps the tokens, besides its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InFlightSteps {
    /// One step.
    One,
    /// One step for each pipeline stage, and one more, because scheduling is asynchronous.
    StagesAndOne,
}

impl InFlightSteps {
    /// Number of steps for a number of pipeline stages.
    pub fn count(self, stages: u32) -> u64 {
        match self {
            Self::One => 1,
            Self::StagesAndOne => u64::from(stages.max(1)) + 1,
        }
    }
}

/// The formats of the KV cache that a checkpoint can ask for. The engine ignores others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKvFormats {
    /// 8 bits, in checkpoints of ModelOpt.
    ModelOpt8,
    /// 8 bits, also in checkpoints of compressed-tensors.
    Bits8,
    /// 8 bits, and NVFP4.
    Bits8AndNvfp4,
}

/// With which features a layer with a sliding window stores every token, because vLLM turns off its hybrid KV
/// cache manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLimits {
    /// With KV transfer, and with KV events.
    TransferAndEvents,
    /// With KV transfer.
    Transfer,
    /// With neither.
    None,
}

impl MemoryRules {
    /// The rules that require the most memory among all releases, for a release that is not known. What
    /// only the oldest releases require does not count.
    pub fn most_demanding() -> Self {
        let all = || CATALOG.iter().map(|release| release.memory);
        Self {
            yarn_length: YarnLength::Longest,
            gpu_memory_percent: all().map(|rules| rules.gpu_memory_percent).min().unwrap_or(0),
            in_flight_steps: InFlightSteps::StagesAndOne,
            reserved_blocks: all().map(|rules| rules.reserved_blocks).max().unwrap_or(0),
            checkpoint_kv_formats: CheckpointKvFormats::Bits8,
            window_limits: WindowLimits::Transfer,
        }
    }

    /// Default of `--gpu-memory-utilization`.
    pub fn default_utilization(&self) -> f64 {
        f64::from(self.gpu_memory_percent) / 100.0
    }
}

impl fmt::Display for YarnLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OriginalTimesFactor => "original length times factor",
            Self::MaxPositionEmbeddings => "`max_position_embeddings`",
            Self::Longest => "the longer of both",
        })
    }
}

impl fmt::Display for InFlightSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "one step",
            Self::StagesAndOne => "one step for each pipeline stage, and one more",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_release_uses_the_most_demanding_rules() {
        let unknown = MemoryRules::most_demanding();
        for release in CATALOG {
            assert!(unknown.gpu_memory_percent <= release.memory.gpu_memory_percent, "{}", release.version);
            assert!(unknown.reserved_blocks >= release.memory.reserved_blocks, "{}", release.version);
            for stages in [0, 1, 4] {
                let [unknown, known] =
                    [unknown, release.memory].map(|rules| rules.in_flight_steps.count(stages));
                assert!(unknown >= known, "{}", release.version);
            }
        }
    }
}
