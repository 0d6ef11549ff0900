//! The known model classes and their families, and where a configuration of several parts describes the text
//! model.

use serde_json::Value;

/// Model family: the differences from a plain decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Plain,
    QkNorm,
    QkvBias,
    Gemma,
    GptOss,
    DeepSeek,
    Hybrid,
}

/// A known text model: its class in `architectures`, its names in `model_type`, its family, and the default of
/// `max_position_embeddings` in the transformers package.
#[derive(Debug)]
pub(super) struct KnownModelClass {
    class: &'static str,
    model_types: &'static [&'static str],
    pub(super) family: Family,
    pub(super) default_positions: u64,
}

const fn known(
    class: &'static str,
    model_types: &'static [&'static str],
    family: Family,
    default_positions: u64,
) -> KnownModelClass {
    KnownModelClass { class, model_types, family, default_positions }
}

const KNOWN_CLASSES: &[KnownModelClass] = &[
    known("LlamaForCausalLM", &["llama"], Family::Plain, 2048),
    known("MistralForCausalLM", &["mistral", "ministral"], Family::Plain, 131_072),
    known("MixtralForCausalLM", &["mixtral"], Family::Plain, 131_072),
    known("Phi3ForCausalLM", &["phi3"], Family::Plain, 4096),
    known("GraniteForCausalLM", &["granite"], Family::Plain, 2048),
    known("SmolLM3ForCausalLM", &["smollm3"], Family::Plain, 32_768),
    known(
        "Qwen2ForCausalLM",
        &["qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_5_omni_text"],
        Family::QkvBias,
        32_768,
    ),
    known("Qwen2MoeForCausalLM", &["qwen2_moe"], Family::QkvBias, 32_768),
    known("Qwen3ForCausalLM", &["qwen3", "qwen3_vl_text"], Family::QkNorm, 32_768),
    known(
        "Qwen3MoeForCausalLM",
        &["qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text"],
        Family::QkNorm,
        32_768,
    ),
    known("Glm4MoeForCausalLM", &["glm4_moe", "glm4v_moe_text"], Family::QkNorm, 131_072),
    known("MiniMaxM2ForCausalLM", &["minimax_m2"], Family::QkNorm, 196_608),
    known("Gemma3ForCausalLM", &["gemma3_text"], Family::Gemma, 131_072),
    known("GptOssForCausalLM", &["gpt_oss"], Family::GptOss, 131_072),
    known("DeepseekV2ForCausalLM", &["deepseek_v2"], Family::DeepSeek, 2048),
    known("DeepseekV3ForCausalLM", &["deepseek_v3"], Family::DeepSeek, 4096),
    known("KimiK2ForCausalLM", &["kimi_k2"], Family::DeepSeek, 4096),
    known("Qwen3NextForCausalLM", &["qwen3_next"], Family::Hybrid, 32_768),
];

/// Classes that contain one of the text models in a nested configuration, or with its own `model_type`.
const MULTIMODAL_CLASSES: &[&str] = &[
    "Gemma3ForConditionalGeneration",
    "Glm4vMoeForConditionalGeneration",
    "InternVLChatModel",
    "InternVLForConditionalGeneration",
    "KimiVLForConditionalGeneration",
    "LlavaForConditionalGeneration",
    "LlavaNextForConditionalGeneration",
    "LlavaOnevisionForConditionalGeneration",
    "Mistral3ForConditionalGeneration",
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen2_5OmniForConditionalGeneration",
    "Qwen2_5OmniModel",
    "Qwen3VLForConditionalGeneration",
    "Qwen3VLMoeForConditionalGeneration",
    "Qwen3OmniMoeForConditionalGeneration",
];

/// The fields of a nested configuration on the way to the text model.
const TEXT_FIELDS: [&str; 5] =
    ["thinker_config", "text_config", "llm_config", "language_config", "language_model_config"];

/// Nesting is at most this deep: a thinker, and its text model.
const DEEPEST_NESTING: usize = 3;

/// The part of a configuration that describes the text model.
pub fn text_part(config: &Value) -> &Value {
    let mut part = config;
    for _ in 0..DEEPEST_NESTING {
        match TEXT_FIELDS.into_iter().filter_map(|field| part.get(field)).find(|nested| nested.is_object()) {
            Some(nested) => part = nested,
            None => break,
        }
    }
    part
}

/// The class of a model or of its text part: the first of `architectures`.
pub(super) fn class_of(config: &Value) -> Option<&str> {
    config.pointer("/architectures/0").and_then(Value::as_str)
}

/// The known text model, by the class of the whole model and its text part.
pub(super) fn find(class: &str, text: &Value) -> Option<&'static KnownModelClass> {
    let by_class = |name: &str| KNOWN_CLASSES.iter().find(|known| known.class == name);
    let by_type = |name: &str| KNOWN_CLASSES.iter().find(|known| known.model_types.contains(&name));
    let in_text = || {
        let model_type = text.get("model_type").and_then(Value::as_str);
        let nested_class = class_of(text).and_then(by_class);
        nested_class.or_else(|| model_type.and_then(by_type)).or_else(|| by_class(text_class(class)?))
    };
    let is_multimodal = MULTIMODAL_CLASSES.contains(&class);
    by_class(class).or_else(|| if is_multimodal { in_text() } else { None })
}

/// The text model of a class that always contains the same one, for a text part without a `model_type`.
fn text_class(class: &str) -> Option<&'static str> {
    Some(match class {
        "Gemma3ForConditionalGeneration" => "Gemma3ForCausalLM",
        "Glm4vMoeForConditionalGeneration" => "Glm4MoeForCausalLM",
        "KimiVLForConditionalGeneration" => "DeepseekV3ForCausalLM",
        "LlavaForConditionalGeneration" | "LlavaNextForConditionalGeneration" => "LlamaForCausalLM",
        "Mistral3ForConditionalGeneration" => "MistralForCausalLM",
        "Qwen2VLForConditionalGeneration"
        | "Qwen2_5_VLForConditionalGeneration"
        | "Qwen2_5OmniForConditionalGeneration"
        | "Qwen2_5OmniModel" => "Qwen2ForCausalLM",
        "Qwen3VLForConditionalGeneration" => "Qwen3ForCausalLM",
        "Qwen3VLMoeForConditionalGeneration" | "Qwen3OmniMoeForConditionalGeneration" => {
            "Qwen3MoeForCausalLM"
        }
        _ => return None,
    })
}
