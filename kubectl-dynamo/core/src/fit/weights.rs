//! Per-GPU weight memory: how tensor, pipeline, data, and expert parallelism distribute the parameters of a
//! model. Sizes come from the configuration and are scaled to the size of the files.

use serde_json::Value;

use super::architecture::{Architecture, Attention, LayerMemory, ModelLayer, text_part};
use super::engine_memory::{EngineMemory, OnlineQuantization};
use super::precision::{Precision, declares_float32, quantization_of};
use crate::intent::Parallelism;

/// Files larger than this multiple of the size for 16 bits contain 32 bits, whatever the configuration says.
const LARGEST_16_BIT_RATIO: f64 = 1.8;

impl Architecture {
    /// Size of all parameters in the files according to the configuration, in bytes.
    pub fn accounted_bytes(&self) -> u64 {
        accounted_bytes(self, self.precision.files)
    }

    /// Precision of the parameters in files of this size. A configuration can declare another precision than
    /// that of its files.
    fn file_precision(&self, weight_bytes: u64) -> Precision {
        let declared = self.precision.files;
        if self.precision.is_quantized {
            return declared;
        }
        let with = |bytes: f64| Precision { linear: bytes, experts: bytes, other: bytes };
        let ratio = weight_bytes as f64 / accounted_bytes(self, with(2.0)).max(1) as f64;
        let declares_32_bits = declared.other > 2.0;
        // A declared 32 bits is only wrong if the size is nearer to 16 bits.
        let is_32_bits = if declares_32_bits { ratio > 1.5 } else { ratio > LARGEST_16_BIT_RATIO };
        with(if is_32_bits { 4.0 } else { 2.0 })
    }

    /// Precision of the parameters on the GPU: vLLM casts what is not quantized to the activations' precision.
    fn gpu_precision(&self, engine: &EngineMemory) -> Precision {
        let plain = f64::from(engine.activation_bytes.unwrap_or(DEFAULT_ACTIVATION_BYTES));
        if self.precision.is_quantized {
            let cast = |bytes: f64| if bytes == self.precision.files.other { plain } else { bytes };
            let Precision { linear, experts, .. } = self.precision.files;
            return Precision { linear: cast(linear), experts: cast(experts), other: plain };
        }
        let (linear, experts) = match engine.quantization {
            None => (plain, plain),
            Some(OnlineQuantization::Bits8) => (1.0, 1.0),
            Some(OnlineQuantization::Bits8Experts) => (plain, 1.0),
            Some(OnlineQuantization::Bits4) => (0.5625, 0.5625),
        };
        Precision { linear, experts, other: plain }
    }
}

/// Bytes of an activation without `--dtype`: vLLM uses 16 bits, also for files of 32 bits.
pub(super) const DEFAULT_ACTIVATION_BYTES: u8 = 2;

/// Lower bound for the weights per GPU, in bytes, for a model with an unknown architecture: an even split.
pub fn min_weights_per_gpu(
    config: &Value,
    weight_bytes: u64,
    parallelism: Parallelism,
    engine: &EngineMemory,
) -> u64 {
    let text = text_part(config);
    let is_quantized = quantization_of(config, text).is_some();
    let is_cast = declares_float32(config, text) && engine.activation_bytes != Some(4);
    let with_16_bits = if is_cast { weight_bytes / 2 } else { weight_bytes };
    let bytes = match engine.quantization {
        _ if is_quantized => weight_bytes,
        None | Some(OnlineQuantization::Bits8Experts) => with_16_bits,
        Some(OnlineQuantization::Bits8) => with_16_bits / 2,
        Some(OnlineQuantization::Bits4) => with_16_bits / 4,
    };
    let gpus = u64::from(parallelism.tensor.saturating_mul(parallelism.pipeline)).max(1);
    (bytes / gpus).saturating_sub(engine.cpu_offload)
}

/// How a part of the model is distributed across GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Replicated on every GPU of the stage.
    Replicated,
    /// Split evenly across the GPUs of a copy.
    Tensor,
    /// Split like `Tensor`, but each GPU has at least one head.
    KvHeads,
    /// Split across the GPUs of all copies: vLLM also distributes experts across data parallel ranks, with
    /// and without expert parallelism.
    Experts,
}

/// Parameters with the same distribution.
#[derive(Debug, Clone, Copy)]
struct Part {
    sharing: Sharing,
    bytes: f64,
}

/// Weights on the fullest GPU of a worker, in bytes, scaled to the size of the files.
pub(super) fn max_bytes_per_gpu(
    model: &Architecture,
    weight_bytes: u64,
    parallelism: Parallelism,
    engine: &EngineMemory,
) -> u64 {
    let scale =
        weight_bytes as f64 / accounted_bytes(model, model.file_precision(weight_bytes)).max(1) as f64;
    let precision = model.gpu_precision(engine);
    let stages = (parallelism.pipeline as usize).clamp(1, model.layers.len().max(1));
    let heaviest = stage_layers(model, stages)
        .enumerate()
        .map(|(stage, layers)| {
            let mut parts: Vec<Part> =
                layers.iter().flat_map(|layer| layer_parts(model, layer, precision)).collect();
            if stage == 0 || (stage + 1 == stages && model.tied_embeddings) {
                parts.push(embedding_part(model, precision));
            }
            if stage + 1 == stages && !model.tied_embeddings {
                parts.push(embedding_part(model, precision));
            }
            parts.iter().map(|part| part.bytes / divisor(model, part.sharing, parallelism)).sum::<f64>()
        })
        .fold(0.0, f64::max);
    ((heaviest * scale) as u64).saturating_sub(engine.cpu_offload)
}

/// The layers of each pipeline stage. As in vLLM, the split is even, and the remainder goes to the later
/// stages except the last.
fn stage_layers(model: &Architecture, stages: usize) -> impl Iterator<Item = &[ModelLayer]> {
    let (even, remainder) = (model.layers.len() / stages, model.layers.len() % stages);
    let mut begin = 0;
    (0..stages).map(move |stage| {
        let last = stages - 1;
        let extra = usize::from(remainder > 0 && stage < last && stage + remainder >= last);
        let end = if stage == last { model.layers.len() } else { begin + even + extra };
        let layers = &model.layers[begin..end];
        begin = end;
        layers
    })
}

fn divisor(model: &Architecture, sharing: Sharing, parallelism: Parallelism) -> f64 {
    let tensor = f64::from(parallelism.tensor.max(1));
    match sharing {
        Sharing::Replicated => 1.0,
        Sharing::Tensor => tensor,
        Sharing::KvHeads => tensor.min(model.kv_heads().unwrap_or(1) as f64),
        Sharing::Experts => tensor * f64::from(parallelism.data.max(1)),
    }
}

/// Size of all parameters in the files according to the configuration, in bytes.
fn accounted_bytes(model: &Architecture, precision: Precision) -> u64 {
    let layer_bytes =
        |layer: &ModelLayer| layer_parts(model, layer, precision).iter().map(|part| part.bytes).sum::<f64>();
    let layers: f64 = model.layers.iter().map(layer_bytes).sum();
    let embeddings = embedding_part(model, precision).bytes * if model.tied_embeddings { 1.0 } else { 2.0 };
    // A draft layer has separate embeddings and a separate head, and it combines two hidden states into one.
    let draft = match model.layers.last() {
        Some(last) if model.draft_layers > 0 => {
            model.draft_layers as f64
                * (layer_bytes(last)
                    + 2.0 * self::embedding_part(model, precision).bytes
                    + (2 * model.hidden * model.hidden) as f64 * precision.other)
        }
        _ => 0.0,
    };
    (layers + embeddings + draft + model.hidden as f64 * precision.other) as u64
}

fn embedding_part(model: &Architecture, precision: Precision) -> Part {
    let bytes = (model.vocabulary * model.hidden) as f64 * precision.other;
    Part { sharing: Sharing::Tensor, bytes }
}

fn layer_parts(model: &Architecture, layer: &ModelLayer, precision: Precision) -> Vec<Part> {
    let (hidden, linear, other) = (model.hidden, precision.linear, precision.other);
    let part = |sharing, parameters: u64, bytes: f64| Part { sharing, bytes: parameters as f64 * bytes };
    let mut parts = attention_parts(model, layer, precision);
    parts.push(part(Sharing::Replicated, model.extras.norms_per_layer * hidden, other));
    match model.experts.filter(|_| layer.has_experts) {
        Some(experts) => {
            let one = 3 * hidden * experts.feed_forward;
            let biases = if model.extras.expert_bias { 2 * experts.feed_forward + hidden } else { 0 };
            parts.push(part(Sharing::Experts, experts.count * one, precision.experts));
            parts.push(part(Sharing::Experts, experts.count * biases, other));
            parts.push(part(Sharing::Tensor, 3 * hidden * experts.shared_feed_forward, linear));
            let router_bias = if model.extras.expert_bias { experts.count } else { 0 };
            parts.push(part(Sharing::Replicated, hidden * experts.count + router_bias, other));
        }
        None => parts.push(part(Sharing::Tensor, 3 * hidden * model.feed_forward, linear)),
    }
    parts
}

fn attention_parts(model: &Architecture, layer: &ModelLayer, precision: Precision) -> Vec<Part> {
    let (hidden, heads, extras) = (model.hidden, model.heads, model.extras);
    let (linear, other) = (precision.linear, precision.other);
    let part = |sharing, parameters: u64, bytes: f64| Part { sharing, bytes: parameters as f64 * bytes };
    match model.attention {
        Attention::Grouped { kv_heads, head_size } => {
            let (query, kv) = (heads * head_size, 2 * kv_heads * head_size);
            // A linear attention layer has about four projections of this size, and a gate.
            let times = if matches!(layer.memory, LayerMemory::State { .. }) { 2 } else { 1 };
            let query_bias = if extras.query_bias { query + kv } else { 0 };
            let output_bias = if extras.output_bias { hidden } else { 0 };
            let sinks = if extras.expert_bias { heads } else { 0 };
            let norms = if extras.norm_per_head { 2 * head_size } else { 0 };
            vec![
                part(Sharing::Tensor, times * 2 * hidden * query, linear),
                part(Sharing::KvHeads, hidden * kv, linear),
                part(Sharing::Replicated, query_bias + output_bias + sinks + norms, other),
            ]
        }
        Attention::Latent { rank, rope, query_rank, nope, value } => {
            let query = match query_rank {
                Some(low) => [hidden * low, low * heads * (nope + rope)],
                None => [0, hidden * heads * (nope + rope)],
            };
            vec![
                part(Sharing::Replicated, query[0] + hidden * (rank + rope), linear),
                part(
                    Sharing::Tensor,
                    query[1] + rank * heads * (nope + value) + heads * value * hidden,
                    linear,
                ),
                part(Sharing::Replicated, rank + query_rank.unwrap_or(0), other),
            ]
        }
    }
}

/// Peak activation memory of a step with `tokens` tokens, in bytes: hidden states and the widest feed-forward
/// block.
pub(super) fn activation_bytes(model: &Architecture, tensor: u32, tokens: u64) -> u64 {
    let widest = model.experts.map_or(model.feed_forward, |e| e.feed_forward.max(e.shared_feed_forward));
    let per_gpu = 4 * widest / u64::from(tensor.max(1));
    tokens.saturating_mul((6 * model.hidden + per_gpu) * 2)
}
