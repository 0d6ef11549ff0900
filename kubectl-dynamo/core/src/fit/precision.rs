//! Bytes per number: of the parameters in the files and on the GPU, and of the KV cache. The engine casts
//! parameters that are not quantized, so both can differ.

use serde_json::Value;

use super::quantization::{CheckpointKvCache, Quantization};
use crate::lenient;
use crate::release::{CheckpointKvFormats, MemoryRules};

/// Bytes per parameter, by kind of parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    pub linear: f64,
    pub experts: f64,
    /// Embeddings, norms, and routers, which are rarely quantized.
    pub other: f64,
}

/// Format of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvPrecision {
    /// 32 bits, if the activations have 32 bits (`--dtype float32`).
    Bits32,
    /// 16 bits, like the model's activations.
    Bits16,
    /// 8 bits (`--kv-cache-dtype fp8`).
    Bits8,
    /// 8 bits, and one scale of 32 bits for each head and token.
    Bits8PerHead,
    /// 4 bits, and one scale of 32 bits for each head and token.
    Bits4PerHead,
    /// 4 bits, and one scale of 8 bits for 16 values.
    Nvfp4,
    /// The packed vector of DeepSeek's sparse attention: 656 bytes with 8 bits, 352 with 4.
    Packed { bytes: u64 },
}

impl KvPrecision {
    /// Parses a value of `--kv-cache-dtype` other than `auto`. `None` is a format whose size is not known.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "bfloat16" | "float16" | "half" => Self::Bits16,
            "float32" | "float" => Self::Bits32,
            "int8_per_token_head" | "fp8_per_token_head" => Self::Bits8PerHead,
            "int4_per_token_head" => Self::Bits4PerHead,
            "fp8_ds_mla" => Self::Packed { bytes: 656 },
            "nvfp4_ds_mla" => Self::Packed { bytes: 352 },
            // TurboQuant stores at most 8 bits for each key and value.
            _ if name.starts_with("fp8") || name.starts_with("turboquant_") => Self::Bits8,
            _ if name.starts_with("nvfp4") => Self::Nvfp4,
            _ => return None,
        })
    }

    /// Bytes of one token in one layer: of `heads` KV heads on a GPU, with `numbers` numbers each.
    pub(super) fn token_bytes(self, numbers: u64, heads: u64) -> u64 {
        // One for keys and one for values.
        let scales = 2 * 4;
        let head = match self {
            Self::Bits32 => numbers.saturating_mul(4),
            Self::Bits16 => numbers.saturating_mul(2),
            Self::Bits8 => numbers,
            Self::Bits8PerHead => numbers.saturating_add(scales),
            Self::Bits4PerHead => (numbers / 2).saturating_add(scales),
            Self::Nvfp4 => (numbers / 2).saturating_add(numbers / 16),
            Self::Packed { bytes } => return bytes,
        };
        head.saturating_mul(heads)
    }
}

/// The quantization that a checkpoint declares.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointPrecision {
    /// Precision of the parameters in the files.
    pub files: Precision,
    pub is_quantized: bool,
    /// KV cache format that the checkpoint asks for.
    kv_cache: CheckpointKvCache,
}

impl CheckpointPrecision {
    /// Reads the configuration. `text` is its text part.
    pub fn from_config(config: &Value, text: &Value) -> Self {
        let plain = if declares_float32(config, text) { 4.0 } else { 2.0 };
        let quantization: Option<Quantization> = quantization_of(config, text).map(lenient::read);
        let (linear, experts) = match &quantization {
            Some(quantization) => quantization.parameter_bytes(plain),
            None => (plain, plain),
        };
        Self {
            files: Precision { linear, experts, other: plain },
            is_quantized: quantization.is_some(),
            kv_cache: quantization
                .map_or(CheckpointKvCache::LikeActivations, |quantization| quantization.kv_cache()),
        }
    }

    /// KV cache format with `--kv-cache-dtype auto`, for activations of `activation_bytes` bytes.
    pub fn kv_precision(&self, rules: &MemoryRules, activation_bytes: u8) -> KvPrecision {
        use CheckpointKvFormats::{Bits8, Bits8AndNvfp4};
        match (self.kv_cache, rules.checkpoint_kv_formats) {
            (CheckpointKvCache::ModelOpt8, _) => KvPrecision::Bits8,
            (CheckpointKvCache::CompressedTensors8, Bits8 | Bits8AndNvfp4) => KvPrecision::Bits8,
            (CheckpointKvCache::Nvfp4, Bits8AndNvfp4) => KvPrecision::Nvfp4,
            _ if activation_bytes == 4 => KvPrecision::Bits32,
            _ => KvPrecision::Bits16,
        }
    }
}

/// Whether the configuration declares parameters of 32 bits.
pub(super) fn declares_float32(config: &Value, text: &Value) -> bool {
    let declared = [config, text]
        .into_iter()
        .flat_map(|part| [part.get("torch_dtype"), part.get("dtype")])
        .flatten()
        .find_map(Value::as_str);
    declared.is_some_and(|name| matches!(name, "float32" | "torch.float32" | "float"))
}

/// The quantization of a configuration, from the fields in which vLLM searches.
pub(super) fn quantization_of<'a>(config: &'a Value, text: &'a Value) -> Option<&'a Value> {
    [config, text]
        .into_iter()
        .flat_map(|part| [part.get("quantization_config"), part.get("compression_config")])
        .flatten()
        .find(|found| found.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kv_precision(quantization: &Value, formats: CheckpointKvFormats) -> KvPrecision {
        let rules = MemoryRules { checkpoint_kv_formats: formats, ..MemoryRules::most_demanding() };
        let config = json!({ "quantization_config": quantization });
        CheckpointPrecision::from_config(&config, &config).kv_precision(&rules, 2)
    }

    #[test]
    fn checkpoint_determines_the_kv_cache_format() {
        use CheckpointKvFormats::{Bits8, Bits8AndNvfp4, ModelOpt8};
        let float = |bits: u64| json!({ "dynamic": false, "num_bits": bits, "type": "float" });
        for (quantization, expected) in [
            (json!({ "quant_method": "modelopt", "kv_cache_quant_algo": "FP8" }), [8, 8, 8]),
            (json!({ "quant_method": "modelopt", "kv_cache_quant_algo": "fp8" }), [8, 8, 8]),
            (json!({ "quant_method": "modelopt", "kv_cache_quant_algo": null }), [16, 16, 16]),
            (json!({ "quant_method": "modelopt", "kv_cache_quant_algo": "INT8" }), [16, 16, 16]),
            (json!({ "quant_method": "modelopt_fp4", "kv_cache_quant_algo": "NVFP4" }), [16, 16, 4]),
            (json!({ "quant_method": "modelopt", "kv_cache_scheme": float(8) }), [8, 8, 8]),
            (json!({ "quant_method": "modelopt", "kv_cache_scheme": float(4) }), [16, 16, 4]),
            (json!({ "quant_method": "modelopt", "kv_cache_scheme": {} }), [16, 16, 16]),
            (
                json!({ "producer": { "name": "modelopt" }, "quantization": { "quant_algo": "FP8", "kv_cache_quant_algo": "FP8" } }),
                [8, 8, 8],
            ),
            (json!({ "quant_method": "compressed-tensors", "kv_cache_scheme": float(8) }), [16, 8, 8]),
            (json!({ "quant_method": "compressed_tensors", "kv_cache_scheme": float(8) }), [16, 8, 8]),
            (json!({ "quant_method": "compressed-tensors", "kv_cache_scheme": null }), [16, 16, 16]),
            // vLLM does not read it from other methods.
            (json!({ "quant_method": "fp8", "kv_cache_scheme": "static" }), [16, 16, 16]),
            (json!({ "quant_method": "awq", "bits": 4 }), [16, 16, 16]),
        ] {
            let found =
                [ModelOpt8, Bits8, Bits8AndNvfp4].map(|formats| match kv_precision(&quantization, formats) {
                    KvPrecision::Bits8 => 8,
                    KvPrecision::Nvfp4 => 4,
                    _ => 16,
                });
            assert_eq!(found, expected, "{quantization}");
        }
    }

    #[test]
    fn bytes_of_a_token_follow_the_format() {
        for (name, of_two_heads, of_latent) in [
            ("bfloat16", 1024, 1152),
            ("float32", 2048, 2304),
            ("fp8_e4m3", 512, 576),
            ("fp8_per_token_head", 528, 584),
            ("int4_per_token_head", 272, 296),
            ("nvfp4", 288, 324),
            ("fp8_ds_mla", 656, 656),
        ] {
            let precision = KvPrecision::parse(name).expect("known");
            assert_eq!(precision.token_bytes(2 * 128, 2), of_two_heads, "{name}");
            assert_eq!(precision.token_bytes(512 + 64, 1), of_latent, "{name}");
        }
        assert_eq!(KvPrecision::parse("int2"), None);
    }
}
