//! Where the parameters of a model lie when it is spread over GPUs.

use super::architecture::{Architecture, Attention, Layer, LayerMemory};
use crate::intent::Parallelism;

/// Who holds a part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Every GPU of the stage.
    Everyone,
    /// The GPUs of a copy, an even share each.
    Tensor,
    /// As `Tensor`, and never less than one head each.
    KvHeads,
    /// The GPUs of all copies: vLLM deals experts out over data parallel ranks too, with and without expert
    /// parallelism.
    Experts,
}

/// Parameters that are shared alike.
#[derive(Debug, Clone, Copy)]
struct Part {
    sharing: Sharing,
    bytes: f64,
}

/// The weights on the fullest GPU of a worker, scaled to the size of the files.
pub(super) fn of_fullest_gpu(model: &Architecture, weight_bytes: u64, shape: Parallelism) -> u64 {
    let scale = weight_bytes as f64 / accounted(model).max(1) as f64;
    let stages = (shape.pipeline as usize).clamp(1, model.layers.len().max(1));
    let heaviest = stage_layers(model, stages)
        .enumerate()
        .map(|(stage, layers)| {
            let mut parts: Vec<Part> = layers.iter().flat_map(|layer| of_layer(model, layer)).collect();
            if stage == 0 || (stage + 1 == stages && model.tied_embeddings) {
                parts.push(embeddings(model));
            }
            if stage + 1 == stages && !model.tied_embeddings {
                parts.push(embeddings(model));
            }
            parts.iter().map(|part| part.bytes / share(model, part.sharing, shape)).sum::<f64>()
        })
        .fold(0.0, f64::max);
    (heaviest * scale) as u64
}

/// The layers of each stage: an even split, the rest among the later ones but the last, as vLLM does.
fn stage_layers(model: &Architecture, stages: usize) -> impl Iterator<Item = &[Layer]> {
    let (even, rest) = (model.layers.len() / stages, model.layers.len() % stages);
    let mut begin = 0;
    (0..stages).map(move |stage| {
        let last = stages - 1;
        let extra = usize::from(rest > 0 && stage < last && stage + rest >= last);
        let end = if stage == last { model.layers.len() } else { begin + even + extra };
        let layers = &model.layers[begin..end];
        begin = end;
        layers
    })
}

fn share(model: &Architecture, sharing: Sharing, shape: Parallelism) -> f64 {
    let tensor = f64::from(shape.tensor.max(1));
    match sharing {
        Sharing::Everyone => 1.0,
        Sharing::Tensor => tensor,
        Sharing::KvHeads => tensor.min(model.kv_heads().unwrap_or(1) as f64),
        Sharing::Experts => tensor * f64::from(shape.data.max(1)),
    }
}

/// Bytes of everything the files hold.
pub(super) fn accounted(model: &Architecture) -> u64 {
    let of = |layer: &Layer| of_layer(model, layer).iter().map(|part| part.bytes).sum::<f64>();
    let layers: f64 = model.layers.iter().map(of).sum();
    let embeddings = embeddings(model).bytes * if model.tied_embeddings { 1.0 } else { 2.0 };
    // A draft layer brings embeddings and a head of its own, and joins two hidden states into one.
    let draft = match model.layers.last() {
        Some(last) if model.draft_layers > 0 => {
            model.draft_layers as f64
                * (of(last)
                    + 2.0 * self::embeddings(model).bytes
                    + (2 * model.hidden * model.hidden) as f64 * model.precision.other)
        }
        _ => 0.0,
    };
    (layers + embeddings + draft + model.hidden as f64 * model.precision.other) as u64
}

fn embeddings(model: &Architecture) -> Part {
    let bytes = (model.vocabulary * model.hidden) as f64 * model.precision.other;
    Part { sharing: Sharing::Tensor, bytes }
}

fn of_layer(model: &Architecture, layer: &Layer) -> Vec<Part> {
    let (hidden, linear, other) = (model.hidden, model.precision.linear, model.precision.other);
    let part = |sharing, parameters: u64, bytes: f64| Part { sharing, bytes: parameters as f64 * bytes };
    let mut parts = of_attention(model, layer);
    parts.push(part(Sharing::Everyone, model.extras.norms_per_layer * hidden, other));
    match model.experts.filter(|_| layer.has_experts) {
        Some(experts) => {
            let one = 3 * hidden * experts.feed_forward;
            let biases = if model.extras.expert_bias { 2 * experts.feed_forward + hidden } else { 0 };
            parts.push(part(Sharing::Experts, experts.count * one, model.precision.experts));
            parts.push(part(Sharing::Experts, experts.count * biases, other));
            parts.push(part(Sharing::Tensor, 3 * hidden * experts.shared_feed_forward, linear));
            let router_bias = if model.extras.expert_bias { experts.count } else { 0 };
            parts.push(part(Sharing::Everyone, hidden * experts.count + router_bias, other));
        }
        None => parts.push(part(Sharing::Tensor, 3 * hidden * model.feed_forward, linear)),
    }
    parts
}

fn of_attention(model: &Architecture, layer: &Layer) -> Vec<Part> {
    let (hidden, heads, extras) = (model.hidden, model.heads, model.extras);
    let (linear, other) = (model.precision.linear, model.precision.other);
    let part = |sharing, parameters: u64, bytes: f64| Part { sharing, bytes: parameters as f64 * bytes };
    match model.attention {
        Attention::Grouped { kv_heads, head_size } => {
            let (query, kv) = (heads * head_size, 2 * kv_heads * head_size);
            // A linear layer has four projections of this size or so, and a gate.
            let times = if matches!(layer.memory, LayerMemory::State { .. }) { 2 } else { 1 };
            let query_bias = if extras.query_bias { query + kv } else { 0 };
            let output_bias = if extras.output_bias { hidden } else { 0 };
            let sinks = if extras.expert_bias { heads } else { 0 };
            let norms = if extras.norm_per_head { 2 * head_size } else { 0 };
            vec![
                part(Sharing::Tensor, times * 2 * hidden * query, linear),
                part(Sharing::KvHeads, hidden * kv, linear),
                part(Sharing::Everyone, query_bias + output_bias + sinks + norms, other),
            ]
        }
        Attention::Latent { rank, rope, query_rank, nope, value } => {
            let query = match query_rank {
                Some(low) => [hidden * low, low * heads * (nope + rope)],
                None => [0, hidden * heads * (nope + rope)],
            };
            vec![
                part(Sharing::Everyone, query[0] + hidden * (rank + rope), linear),
                part(
                    Sharing::Tensor,
                    query[1] + rank * heads * (nope + value) + heads * value * hidden,
                    linear,
                ),
                part(Sharing::Everyone, rank + query_rank.unwrap_or(0), other),
            ]
        }
    }
}

/// What one step over so many tokens takes at its peak: hidden states, and the widest feed-forward block.
pub(super) fn activations(model: &Architecture, tensor: u32, tokens: u64) -> u64 {
    let widest = model.experts.map_or(model.feed_forward, |e| e.feed_forward.max(e.shared_feed_forward));
    let per_gpu = 4 * widest / u64::from(tensor.max(1));
    tokens * (6 * model.hidden + per_gpu) * 2
}
