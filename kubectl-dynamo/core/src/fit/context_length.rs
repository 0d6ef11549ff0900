//! The maximum request length that vLLM derives from a configuration: the position fields, scaled as its rotary
//! embedding (RoPE) settings say. The sources are in `docs/explanation/fit.md`.

use serde_json::Value;

use crate::release::YarnLength;

/// The fields that can hold the maximum length, as in vLLM. The smallest value counts.
const LENGTH_FIELDS: [&str; 9] = [
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
];

/// The lengths of requests that the engine accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextLength {
    /// Maximum request length without `--max-model-len`, in tokens.
    pub default: u64,
    /// Highest value of `--max-model-len` that the engine accepts, in tokens.
    pub maximum: u64,
}

/// The settings in a configuration that determine the maximum length.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionSettings {
    /// The maximum length before scaling.
    base: u64,
    /// The value that replaces the base as the maximum if it is larger (`model_max_length`).
    override_limit: Option<u64>,
    /// Length before scaling, for LongRoPE.
    original: Option<u64>,
    scaling: Vec<RopeScaling>,
    base_length: BaseLength,
}

/// Whether the base already contains the scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BaseLength {
    Scaled,
    Unscaled,
}

/// How YaRN changes the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum YarnRule {
    /// The original length is multiplied by the factor.
    Multiply,
    /// The base is the length after scaling.
    Keep,
}

/// The RoPE settings of all layers, or of one kind of layers.
#[derive(Debug, Clone, PartialEq)]
struct RopeScaling {
    kind: RopeKind,
    factor: Option<f64>,
    original: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RopeKind {
    /// The factor does not change the length: LongRoPE, and the scaling of Llama 3.
    KeepsLength,
    Long,
    Yarn,
    /// Linear, dynamic, and all others: the length is multiplied by the factor.
    Multiplies,
}

impl PositionSettings {
    /// Reads the text part of a configuration. `default_base` is the default of the transformers package.
    /// `base_length` is that of `max_position_embeddings` in this family.
    pub(super) fn from_config(text: &Value, default_base: u64, base_length: BaseLength) -> Self {
        let count = |field: &str| text.get(field).and_then(Value::as_u64).filter(|value| *value > 0);
        let smallest = LENGTH_FIELDS.into_iter().filter_map(count).min();
        let base = count("model_max_length").or(smallest).unwrap_or(default_base);
        let model_type = text.get("model_type").and_then(Value::as_str);
        let is_gemma3 = model_type.is_some_and(|name| name.contains("gemma3"));
        Self {
            base,
            override_limit: count("model_max_length"),
            original: count("original_max_position_embeddings"),
            scaling: rope_scaling(text),
            base_length: if is_gemma3 { BaseLength::Scaled } else { base_length },
        }
    }

    /// The maximum request lengths. `window` is the sliding window if it is disabled as a window and limits
    /// the length instead.
    pub fn context_length(&self, yarn: YarnLength, window: Option<u64>) -> ContextLength {
        let base = window.map_or(self.base, |window| window.min(self.base));
        let scaled = match yarn {
            YarnLength::OriginalTimesFactor => self.scaled(base, YarnRule::Multiply),
            YarnLength::MaxPositionEmbeddings => self.scaled(base, YarnRule::Keep),
            YarnLength::Longest => {
                self.scaled(base, YarnRule::Multiply).max(self.scaled(base, YarnRule::Keep))
            }
        };
        let is_long = self.scaling.iter().any(|rope| rope.kind == RopeKind::Long);
        let default = if is_long { self.original.unwrap_or(scaled) } else { scaled };
        ContextLength { default, maximum: scaled.max(self.override_limit.unwrap_or(0)).max(default) }
    }

    /// Applies the RoPE settings. The last kind of layers decides, as in vLLM.
    fn scaled(&self, base: u64, yarn: YarnRule) -> u64 {
        if self.base_length == BaseLength::Scaled {
            return base;
        }
        let (mut length, mut factor) = (base, 1.0);
        for rope in &self.scaling {
            match rope.kind {
                RopeKind::KeepsLength | RopeKind::Long => {}
                RopeKind::Yarn if yarn == YarnRule::Keep => {}
                RopeKind::Yarn => {
                    length = rope.original.unwrap_or(self.base);
                    factor = rope.factor.unwrap_or(factor);
                }
                RopeKind::Multiplies => factor = rope.factor.unwrap_or(factor),
            }
        }
        // The cast saturates, and a factor that is not positive is not a scaling.
        if factor > 0.0 { (length as f64 * factor) as u64 } else { length }
    }
}

/// The RoPE settings of a configuration, from the field of this or an earlier version of transformers.
fn rope_scaling(text: &Value) -> Vec<RopeScaling> {
    let settings = ["rope_parameters", "rope_scaling"]
        .into_iter()
        .filter_map(|field| text.get(field)?.as_object())
        .find(|settings| !settings.is_empty());
    let Some(settings) = settings else { return Vec::new() };
    // Models with several kinds of layers have one object for each kind.
    let by_kind: Vec<&Value> = settings.values().filter(|value| value.is_object()).collect();
    if by_kind.is_empty() {
        return vec![RopeScaling::from_settings(|field| settings.get(field))];
    }
    by_kind.into_iter().map(|kind| RopeScaling::from_settings(|field| kind.get(field))).collect()
}

impl RopeScaling {
    fn from_settings<'a>(setting: impl Fn(&str) -> Option<&'a Value>) -> Self {
        let name = ["rope_type", "type"].into_iter().filter_map(&setting).find_map(Value::as_str);
        let kind = match name.unwrap_or("default") {
            "longrope" | "su" => RopeKind::Long,
            "llama3" | "deepseek_llama_scaling" => RopeKind::KeepsLength,
            "yarn" | "deepseek_yarn" | "telechat3-yarn" => RopeKind::Yarn,
            _ => RopeKind::Multiplies,
        };
        Self {
            kind,
            factor: setting("factor").and_then(Value::as_f64),
            original: setting("original_max_position_embeddings").and_then(Value::as_u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEFAULT_BASE: u64 = 2048;

    fn lengths(text: &Value, yarn: YarnLength) -> (u64, u64) {
        let settings = PositionSettings::from_config(text, DEFAULT_BASE, BaseLength::Unscaled);
        let length = settings.context_length(yarn, None);
        (length.default, length.maximum)
    }

    #[test]
    fn each_kind_of_rope_scales_as_in_vllm() {
        let yarn = json!({ "type": "yarn", "factor": 16.0, "original_max_position_embeddings": 8192 });
        for (rope, old, new) in [
            (json!(null), 32_768, 32_768),
            (json!({ "type": "linear", "factor": 4.0 }), 131_072, 131_072),
            (json!({ "rope_type": "dynamic", "factor": 2.0 }), 65_536, 65_536),
            (json!({ "rope_type": "default" }), 32_768, 32_768),
            (json!({ "type": "mrope", "mrope_section": [16, 24, 24] }), 32_768, 32_768),
            (
                json!({ "rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192 }),
                32_768,
                32_768,
            ),
            (yarn.clone(), 131_072, 32_768),
            (json!({ "rope_type": "yarn", "factor": 4.0 }), 131_072, 32_768),
            (json!({ "rope_type": "linear", "factor": null }), 32_768, 32_768),
            (json!({ "rope_type": "linear", "factor": -2 }), 32_768, 32_768),
            (json!({ "rope_type": "linear", "factor": 1e300 }), u64::MAX, u64::MAX),
        ] {
            for field in ["rope_scaling", "rope_parameters"] {
                let config = json!({ "max_position_embeddings": 32768, field: rope });
                let found = [YarnLength::OriginalTimesFactor, YarnLength::MaxPositionEmbeddings]
                    .map(|rule| lengths(&config, rule));
                assert_eq!(found, [(old, old), (new, new)], "{config}");
                let longest = old.max(new);
                assert_eq!(lengths(&config, YarnLength::Longest), (longest, longest), "{config}");
            }
        }
    }

    #[test]
    fn long_rope_starts_at_the_original_length() {
        for kind in ["longrope", "su"] {
            let config = json!({
                "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
                "rope_scaling": { "type": kind, "short_factor": [1.0], "long_factor": [1.0] },
            });
            assert_eq!(lengths(&config, YarnLength::Longest), (4096, 131_072));
        }
    }

    #[test]
    fn length_of_gemma_3_already_contains_the_factor() {
        let config = json!({
            "model_type": "gemma3_text", "max_position_embeddings": 131072,
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
        });
        assert_eq!(lengths(&config, YarnLength::Longest), (131_072, 131_072));
    }

    #[test]
    fn rope_of_each_kind_of_layer_is_read() {
        let config = json!({
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "full_attention": { "rope_type": "linear", "factor": 8.0 },
                "sliding_attention": { "rope_type": "default" },
            },
        });
        assert_eq!(lengths(&config, YarnLength::Longest), (65_536, 65_536));
    }

    #[test]
    fn smallest_field_counts_and_model_max_length_replaces_it() {
        assert_eq!(
            lengths(&json!({ "max_position_embeddings": 8192, "seq_length": 4096 }), YarnLength::Longest),
            (4096, 4096)
        );
        let cohere = json!({ "max_position_embeddings": 8192, "model_max_length": 131072 });
        assert_eq!(lengths(&cohere, YarnLength::Longest), (131_072, 131_072));
        assert_eq!(lengths(&json!({}), YarnLength::Longest), (2048, 2048));
    }

    #[test]
    fn disabled_window_limits_the_length() {
        let config = json!({ "max_position_embeddings": 32768 });
        let settings = PositionSettings::from_config(&config, DEFAULT_BASE, BaseLength::Unscaled);
        let length = settings.context_length(YarnLength::Longest, Some(4096));
        assert_eq!((length.default, length.maximum), (4096, 4096));
    }
}
