//! The quantization in a configuration (`quantization_config`): what each tool writes, the bytes of a parameter, and the
//! KV cache format that it asks for.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::lenient;

/// The KV cache format that a checkpoint asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckpointKvCache {
    LikeActivations,
    ModelOpt8,
    CompressedTensors8,
    Nvfp4,
}

/// The fields of a quantization.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quantization {
    #[serde(deserialize_with = "lenient::value")]
    quant_method: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    producer: Option<Producer>,
    #[serde(flatten)]
    own: ModelOptSettings,
    /// The settings of ModelOpt in older files.
    #[serde(rename = "quantization", deserialize_with = "lenient::object")]
    nested: Option<ModelOptSettings>,
    #[serde(deserialize_with = "lenient::value")]
    bits: Option<u64>,
    #[serde(deserialize_with = "lenient::value")]
    load_in_4bit: Option<bool>,
    /// The groups of compressed-tensors, by name.
    #[serde(deserialize_with = "lenient::value")]
    config_groups: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Producer {
    #[serde(deserialize_with = "lenient::value")]
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ModelOptSettings {
    #[serde(deserialize_with = "lenient::value")]
    quant_algo: Option<String>,
    #[serde(deserialize_with = "kv_cache_setting")]
    kv_cache_scheme: KvCacheSetting,
    #[serde(deserialize_with = "kv_cache_setting")]
    kv_cache_quant_algo: KvCacheSetting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigGroup {
    #[serde(deserialize_with = "lenient::object")]
    weights: Option<Scheme>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scheme {
    #[serde(deserialize_with = "lenient::value")]
    num_bits: Option<u64>,
    #[serde(rename = "type", deserialize_with = "lenient::value")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    dynamic: Option<bool>,
}

/// The format of the KV cache: ModelOpt names an algorithm or a scheme, compressed-tensors a scheme.
#[derive(Debug, Default)]
enum KvCacheSetting {
    #[default]
    Unset,
    Algorithm(String),
    EmptyScheme,
    Scheme(Scheme),
}

fn kv_cache_setting<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KvCacheSetting, D::Error> {
    let setting = Value::deserialize(deserializer)?;
    Ok(match &setting {
        Value::String(name) if !name.is_empty() => KvCacheSetting::Algorithm(name.clone()),
        Value::Object(fields) if fields.is_empty() => KvCacheSetting::EmptyScheme,
        Value::Object(_) => KvCacheSetting::Scheme(lenient::read(&setting)),
        _ => KvCacheSetting::Unset,
    })
}

impl Quantization {
    fn settings(&self) -> &ModelOptSettings {
        self.nested.as_ref().unwrap_or(&self.own)
    }

    fn method(&self) -> String {
        let producer = self.producer.as_ref().and_then(|producer| producer.name.as_deref());
        let default = if producer == Some("modelopt") { "modelopt" } else { "" };
        self.quant_method.as_deref().unwrap_or(default).to_lowercase().replace('_', "-")
    }

    /// Bytes of a linear parameter and of an expert's parameter. They include the scales: 32 bits per block of
    /// 128 × 128 values, or 8 bits per 32 or 16 values.
    pub(super) fn parameter_bytes(&self, plain: f64) -> (f64, f64) {
        let algorithm = self.settings().quant_algo.as_deref();
        let is_nvfp4 = algorithm.is_some_and(|name| name.to_uppercase().contains("NVFP4"));
        let bytes = match self.method().as_str() {
            "mxfp4" => return (plain, 17.0 / 32.0),
            "fp8" => 1.0 + 4.0 / 16384.0,
            method if method.starts_with("modelopt") && (is_nvfp4 || method.ends_with("fp4")) => 0.5625,
            method if method.starts_with("modelopt") || method == "fbgemm-fp8" => 1.0,
            _ => {
                let default = if self.load_in_4bit == Some(true) { 4 } else { 8 };
                let bits = self.bits.or_else(|| self.bits_of_first_group()).unwrap_or(default);
                let bits = bits.clamp(1, 32) as f64;
                // A scale of 16 bits and a zero point of 4 bits per 128 values.
                bits / 8.0 + if bits < 8.0 { 2.5 / 128.0 } else { 0.0 }
            }
        };
        (bytes, bytes)
    }

    fn bits_of_first_group(&self) -> Option<u64> {
        let group: ConfigGroup = lenient::read(self.config_groups.as_ref()?.values().next()?);
        group.weights?.num_bits
    }

    /// The KV cache format.
    pub(super) fn kv_cache(&self) -> CheckpointKvCache {
        let method = self.method();
        if method == "compressed-tensors" {
            return match self.own.kv_cache_scheme {
                KvCacheSetting::Scheme(_) | KvCacheSetting::EmptyScheme => {
                    CheckpointKvCache::CompressedTensors8
                }
                KvCacheSetting::Unset | KvCacheSetting::Algorithm(_) => CheckpointKvCache::LikeActivations,
            };
        }
        if !method.starts_with("modelopt") {
            return CheckpointKvCache::LikeActivations;
        }
        let (settings, own) = (self.settings(), &self.own);
        let candidates = [
            &settings.kv_cache_scheme,
            &own.kv_cache_scheme,
            &settings.kv_cache_quant_algo,
            &own.kv_cache_quant_algo,
        ];
        let format = candidates.into_iter().find_map(|setting| match setting {
            KvCacheSetting::Algorithm(name) => Some(match name.to_lowercase().as_str() {
                "fp8" => CheckpointKvCache::ModelOpt8,
                "nvfp4" => CheckpointKvCache::Nvfp4,
                _ => CheckpointKvCache::LikeActivations,
            }),
            KvCacheSetting::Scheme(scheme) => Some(scheme.kv_cache()),
            KvCacheSetting::Unset | KvCacheSetting::EmptyScheme => None,
        });
        format.unwrap_or(CheckpointKvCache::LikeActivations)
    }
}

impl Scheme {
    fn kv_cache(&self) -> CheckpointKvCache {
        match (self.num_bits, self.kind.as_deref()) {
            (Some(8), Some("float")) if self.dynamic == Some(false) => CheckpointKvCache::ModelOpt8,
            (Some(4), Some("float")) => CheckpointKvCache::Nvfp4,
            _ => CheckpointKvCache::LikeActivations,
        }
    }
}
