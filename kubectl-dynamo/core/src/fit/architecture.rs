//! Parses a model's `config.json`: layers, heads, experts, and the precision of the weights. An architecture
//! that is not in the table is an error; its values must not be guessed. A value that no model has is an error,
//! too, so that memory and time stay bounded.

mod config_reader;
mod families;

use serde_json::Value;

use super::context_length::PositionSettings;
use super::precision::CheckpointPrecision;
use config_reader::ConfigReader;
pub use families::text_part;

/// Dimensions of a model that determine its memory use.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Class name from `architectures`.
    pub name: String,
    pub hidden: u64,
    pub heads: u64,
    pub attention: Attention,
    pub layers: Vec<ModelLayer>,
    /// Width of a dense feed-forward block.
    pub feed_forward: u64,
    pub experts: Option<Experts>,
    pub vocabulary: u64,
    pub tied_embeddings: bool,
    pub positions: PositionSettings,
    pub precision: CheckpointPrecision,
    /// Additional layers for multi-token prediction. The files contain them, but vLLM loads them only on
    /// request.
    pub draft_layers: u64,
    pub(super) extras: Extras,
}

/// How attention stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Groups of heads share keys and values (GQA).
    Grouped { kv_heads: u64, head_size: u64 },
    /// One compressed vector per token, replicated on every GPU (MLA).
    Latent { rank: u64, rope: u64, query_rank: Option<u64>, nope: u64, value: u64 },
}

impl Attention {
    /// The numbers that a layer stores for a token and a head: keys and values, or the compressed vector.
    pub(super) fn numbers_per_head(self) -> u64 {
        match self {
            Self::Grouped { head_size, .. } => head_size.saturating_mul(2),
            Self::Latent { rank, rope, .. } => rank.saturating_add(rope),
        }
    }
}

/// A layer of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLayer {
    pub memory: LayerMemory,
    pub has_experts: bool,
}

/// What a layer stores for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerMemory {
    /// All tokens.
    Full,
    /// Only the last `tokens` tokens.
    Window { tokens: u64 },
    /// A state of constant size.
    State { bytes: u64 },
}

/// The experts of a mixture-of-experts layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Experts {
    pub count: u64,
    pub feed_forward: u64,
    /// Width of the shared experts, which process every token.
    pub shared_feed_forward: u64,
}

/// Small parameters that differ between model families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extras {
    pub(super) norms_per_layer: u64,
    pub(super) norm_per_head: bool,
    pub(super) query_bias: bool,
    pub(super) output_bias: bool,
    pub(super) expert_bias: bool,
}

/// Why a configuration cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownArchitecture {
    #[error("unknown architecture \"{0}\"")]
    Name(String),
    #[error("config.json does not have the field \"{0}\"")]
    Field(&'static str),
    #[error(
        "config.json has the value {value} in the field \"{field}\", and the highest known value is {highest}"
    )]
    Value { field: &'static str, value: u64, highest: u64 },
}

impl Architecture {
    /// Parses a `config.json`. For a multimodal model it uses the text part.
    ///
    /// # Errors
    /// A class that is not in the table, a missing required field, or a value that no model has.
    pub fn from_config(config: &Value) -> Result<Self, UnknownArchitecture> {
        let name = families::class_of(config).unwrap_or("(none)").to_owned();
        let text_config = families::text_part(config);
        let class = families::find(&name, text_config).ok_or(UnknownArchitecture::Name(name.clone()))?;
        let reader = ConfigReader::new(text_config, class);
        let hidden = reader.required("hidden_size")?;
        let heads = reader.required("num_attention_heads")?;
        let experts = reader.experts()?;
        let layers = reader.layers(reader.required("num_hidden_layers")?, experts.as_ref())?;
        Ok(Self {
            hidden,
            heads,
            attention: reader.attention(hidden, heads)?,
            layers,
            feed_forward: reader.required("intermediate_size")?,
            experts,
            vocabulary: reader.required("vocab_size")?,
            tied_embeddings: reader.has_tied_embeddings(config),
            positions: reader.positions(),
            precision: CheckpointPrecision::from_config(config, text_config),
            draft_layers: reader.count("num_nextn_predict_layers")?.unwrap_or(0),
            extras: reader.extras(),
            name,
        })
    }

    /// The sliding window in tokens, if any layer has one.
    pub fn window(&self) -> Option<u64> {
        self.layers.iter().find_map(|layer| match layer.memory {
            LayerMemory::Window { tokens } => Some(tokens),
            LayerMemory::Full | LayerMemory::State { .. } => None,
        })
    }

    /// Number of KV heads. `None` for compressed keys and values (MLA).
    pub fn kv_heads(&self) -> Option<u64> {
        match self.attention {
            Attention::Grouped { kv_heads, .. } => Some(kv_heads),
            Attention::Latent { .. } => None,
        }
    }
}
