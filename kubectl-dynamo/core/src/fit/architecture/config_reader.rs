//! Reads the fields of a configuration, with the defaults of the transformers package, and rejects values that
//! no model has.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::families::{Family, KnownModelClass};
use super::{Attention, Experts, Extras, LayerMemory, ModelLayer, UnknownArchitecture};
use crate::fit::context_length::{BaseLength, PositionSettings};
use crate::lenient;

/// The highest value of each field. Values above are errors, because every product of these values must fit into
/// 64 bits, and because layers take memory here. The highest published values are far below.
const HIGHEST_VALUES: &[(&str, u64)] = &[
    ("num_hidden_layers", 4096),
    ("num_nextn_predict_layers", 4096),
    ("num_attention_heads", 1 << 16),
    ("num_key_value_heads", 1 << 16),
    ("hidden_size", 1 << 20),
    ("head_dim", 1 << 16),
    ("intermediate_size", 1 << 24),
    ("vocab_size", 1 << 28),
    ("kv_lora_rank", 1 << 16),
    ("q_lora_rank", 1 << 16),
    ("qk_rope_head_dim", 1 << 16),
    ("qk_nope_head_dim", 1 << 16),
    ("v_head_dim", 1 << 16),
    ("num_experts", 1 << 16),
    ("num_local_experts", 1 << 16),
    ("n_routed_experts", 1 << 16),
    ("n_shared_experts", 1 << 16),
];

/// The highest value of every other field.
const HIGHEST_VALUE: u64 = 1 << 24;

/// The highest number of bytes of the state of one layer.
const LARGEST_STATE: u64 = 1 << 40;

/// The highest sliding window in tokens.
const LARGEST_WINDOW: u64 = 1 << 40;

/// Reads the text part of a configuration.
pub(super) struct ConfigReader<'a> {
    text_config: &'a Value,
    fields: TextFields,
    class: &'static KnownModelClass,
}

/// The fields of the text part that are not read by their name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TextFields {
    /// Layers without experts.
    #[serde(deserialize_with = "lenient::value")]
    mlp_only_layers: Option<Vec<Value>>,
    #[serde(deserialize_with = "lenient::value")]
    layer_types: Option<Vec<Value>>,
    #[serde(deserialize_with = "lenient::value")]
    use_sliding_window: Option<bool>,
    #[serde(deserialize_with = "lenient::value")]
    sliding_window: Option<u64>,
    #[serde(deserialize_with = "lenient::value")]
    mamba_ssm_dtype: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    attention_bias: Option<bool>,
    #[serde(deserialize_with = "lenient::value")]
    tie_word_embeddings: Option<bool>,
}

impl<'a> ConfigReader<'a> {
    pub(super) fn new(text_config: &'a Value, class: &'static KnownModelClass) -> Self {
        Self { text_config, fields: lenient::read(text_config), class }
    }

    fn family(&self) -> Family {
        self.class.family
    }

    /// The value of a field, if it is a number.
    pub(super) fn count(&self, field: &'static str) -> Result<Option<u64>, UnknownArchitecture> {
        let Some(value) = self.text_config[field].as_u64() else { return Ok(None) };
        let highest =
            HIGHEST_VALUES.iter().find(|(name, _)| *name == field).map_or(HIGHEST_VALUE, |(_, high)| *high);
        if value > highest {
            return Err(UnknownArchitecture::Value { field, value, highest });
        }
        Ok(Some(value))
    }

    /// The value of a field of which at least one is required.
    pub(super) fn required(&self, field: &'static str) -> Result<u64, UnknownArchitecture> {
        let value = self.count(field)?.or(self.default(field));
        value.filter(|value| *value > 0).ok_or(UnknownArchitecture::Field(field))
    }

    /// Default of the transformers package for a field that published configurations omit.
    fn default(&self, field: &str) -> Option<u64> {
        match (self.family(), field) {
            (Family::Gemma, "vocab_size") => Some(262_208),
            (Family::Gemma, "num_attention_heads") => Some(8),
            (Family::Gemma, "num_key_value_heads") => Some(4),
            (Family::Gemma, "head_dim") => Some(256),
            (Family::Gemma, "sliding_window") => Some(4096),
            (Family::Gemma, "intermediate_size") => Some(9216),
            (Family::Gemma, "hidden_size") => Some(2304),
            _ => None,
        }
    }

    pub(super) fn positions(&self) -> PositionSettings {
        PositionSettings::from_config(
            self.text_config,
            self.class.default_positions,
            match self.family() {
                Family::Gemma => BaseLength::Scaled,
                _ => BaseLength::Unscaled,
            },
        )
    }

    pub(super) fn attention(&self, hidden: u64, heads: u64) -> Result<Attention, UnknownArchitecture> {
        let count_or = |field: &'static str, default: u64| Ok(self.count(field)?.unwrap_or(default));
        if self.family() == Family::DeepSeek {
            return Ok(Attention::Latent {
                rank: count_or("kv_lora_rank", 512)?,
                rope: count_or("qk_rope_head_dim", 64)?,
                query_rank: self.count("q_lora_rank")?,
                nope: count_or("qk_nope_head_dim", 128)?,
                value: count_or("v_head_dim", 128)?,
            });
        }
        let default = |field: &str, otherwise: u64| self.default(field).unwrap_or(otherwise);
        let kv_heads = count_or("num_key_value_heads", default("num_key_value_heads", heads))?;
        let head_size = count_or("head_dim", default("head_dim", hidden / heads.max(1)))?;
        if kv_heads == 0 {
            return Err(UnknownArchitecture::Field("num_key_value_heads"));
        }
        if head_size == 0 {
            return Err(UnknownArchitecture::Field("head_dim"));
        }
        Ok(Attention::Grouped { kv_heads, head_size })
    }

    pub(super) fn experts(&self) -> Result<Option<Experts>, UnknownArchitecture> {
        let mut count = None;
        for field in ["num_experts", "num_local_experts", "n_routed_experts"] {
            count = count.or(self.count(field)?);
        }
        let feed_forward = self.count("moe_intermediate_size")?.or(self.count("intermediate_size")?);
        let (Some(count), Some(feed_forward)) = (count, feed_forward) else { return Ok(None) };
        let shared = self.count("n_shared_experts")?.unwrap_or(0).saturating_mul(feed_forward);
        let shared_feed_forward = self.count("shared_expert_intermediate_size")?.unwrap_or(shared);
        Ok((count > 1).then_some(Experts { count, feed_forward, shared_feed_forward }))
    }

    pub(super) fn layers(
        &self,
        count: u64,
        experts: Option<&Experts>,
    ) -> Result<Vec<ModelLayer>, UnknownArchitecture> {
        let dense_first = self.count("first_k_dense_replace")?.unwrap_or(0);
        let sparse_step = self.count("decoder_sparse_step")?.unwrap_or(1).max(1);
        let dense = self.fields.mlp_only_layers.iter().flatten().filter_map(Value::as_u64);
        let dense: BTreeSet<u64> = dense.collect();
        let kinds = LayerKinds::new(self)?;
        Ok((0..count)
            .map(|index| ModelLayer {
                memory: self.layer_memory(index, &kinds),
                has_experts: experts.is_some()
                    && index >= dense_first
                    && (index + 1).is_multiple_of(sparse_step)
                    && !dense.contains(&index),
            })
            .collect())
    }

    fn layer_memory(&self, index: u64, kinds: &LayerKinds) -> LayerMemory {
        let layer_types = self.fields.layer_types.as_deref().unwrap_or_default();
        if let Some(kind) = layer_types.get(index as usize).and_then(Value::as_str) {
            return match kind {
                "sliding_attention" => kinds.windowed,
                "linear_attention" => kinds.linear,
                _ => LayerMemory::Full,
            };
        }
        match self.family() {
            // Published without `layer_types`: one full layer after a fixed number of window layers.
            Family::Gemma if (index + 1).is_multiple_of(kinds.window_pattern) => LayerMemory::Full,
            Family::Hybrid if !(index + 1).is_multiple_of(kinds.full_interval) => kinds.linear,
            Family::Hybrid | Family::DeepSeek => LayerMemory::Full,
            // Qwen2 and Qwen3 set a window size and disable it with a separate field, or for the first layers.
            Family::QkNorm | Family::QkvBias
                if self.fields.use_sliding_window != Some(true) || index < kinds.first_window_layer =>
            {
                LayerMemory::Full
            }
            // vLLM gives every second layer of gpt-oss a window.
            Family::GptOss if !index.is_multiple_of(2) => LayerMemory::Full,
            _ => kinds.windowed,
        }
    }

    /// State of a gated delta net for one sequence: the matrix of each value head, and the inputs of its
    /// convolution in 16 bits.
    fn linear_attention_state(&self) -> Result<LayerMemory, UnknownArchitecture> {
        let count_or = |field: &'static str, default: u64| Ok(self.count(field)?.unwrap_or(default));
        let (keys, values) = (count_or("linear_num_key_heads", 16)?, count_or("linear_num_value_heads", 32)?);
        let (key, value) = (count_or("linear_key_head_dim", 128)?, count_or("linear_value_head_dim", 128)?);
        let kernel = count_or("linear_conv_kernel_dim", 4)?;
        let has_32_bits = self.fields.mamba_ssm_dtype.as_deref() == Some("float32");
        let matrix = values.saturating_mul(key).saturating_mul(value);
        let inputs = keys.saturating_mul(key).saturating_mul(2).saturating_add(values.saturating_mul(value));
        let bytes = matrix
            .saturating_mul(if has_32_bits { 4 } else { 2 })
            .saturating_add(inputs.saturating_mul(kernel.saturating_sub(1)).saturating_mul(2));
        Ok(LayerMemory::State { bytes: bytes.min(LARGEST_STATE) })
    }

    pub(super) fn has_tied_embeddings(&self, config: &Value) -> bool {
        let of_model = || config.get("tie_word_embeddings").and_then(Value::as_bool);
        let configured = self.fields.tie_word_embeddings.or_else(of_model);
        configured.unwrap_or(self.family() == Family::Gemma)
    }

    pub(super) fn extras(&self) -> Extras {
        let biased = self.fields.attention_bias == Some(true);
        let plain =
            Extras { norms_per_layer: 2, query_bias: biased, output_bias: biased, ..Extras::default() };
        match self.family() {
            Family::Plain | Family::DeepSeek => plain,
            Family::QkNorm | Family::Hybrid => Extras { norm_per_head: true, output_bias: false, ..plain },
            Family::QkvBias => Extras { query_bias: true, ..plain },
            Family::Gemma => Extras { norms_per_layer: 4, norm_per_head: true, ..plain },
            Family::GptOss => Extras { query_bias: true, output_bias: true, expert_bias: true, ..plain },
        }
    }
}

/// The kinds of layers of a model, and which layers have them.
struct LayerKinds {
    /// A layer with the model's window, or a full layer if it does not have one.
    windowed: LayerMemory,
    linear: LayerMemory,
    window_pattern: u64,
    full_interval: u64,
    first_window_layer: u64,
}

impl LayerKinds {
    fn new(reader: &ConfigReader<'_>) -> Result<Self, UnknownArchitecture> {
        // vLLM reads a window of zero tokens as no window.
        let window = reader.fields.sliding_window.or(reader.default("sliding_window"));
        let windowed = match window {
            Some(tokens) if tokens > 0 => LayerMemory::Window { tokens: tokens.min(LARGEST_WINDOW) },
            _ => LayerMemory::Full,
        };
        Ok(Self {
            windowed,
            linear: reader.linear_attention_state()?,
            window_pattern: reader.count("sliding_window_pattern")?.unwrap_or(6).max(1),
            full_interval: reader.count("full_attention_interval")?.unwrap_or(4).max(1),
            first_window_layer: reader.count("max_window_layers")?.unwrap_or(28),
        })
    }
}
