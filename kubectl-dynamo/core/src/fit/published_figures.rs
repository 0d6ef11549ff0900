//! Compares the arithmetic with published figures: sizes in weight indexes, parameter counts, KV cache sizes
//! in vLLM logs, and a table in a paper. The configurations are those of the published models.

use serde_json::{Value, json};

use super::architecture::LayerMemory;
use super::*;
use crate::intent::Parallelism;
use crate::release::CATALOG;

fn model(class: &str, fields: Value) -> Architecture {
    let mut config =
        json!({ "architectures": [class], "torch_dtype": "bfloat16", "tie_word_embeddings": false });
    let fields = fields.as_object().expect("fields").clone();
    config.as_object_mut().expect("an object").extend(fields);
    Architecture::from_config(&config).expect("a known architecture")
}

/// Builds a decoder. Dimensions: hidden, layers, heads, KV heads, head size, feed-forward, vocabulary.
fn decoder(class: &str, dimensions: [u64; 7], extra_fields: Value) -> Architecture {
    let [hidden, layers, heads, kv_heads, head_size, feed_forward, vocabulary] = dimensions;
    let mut fields = json!({
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_size, "intermediate_size": feed_forward,
        "vocab_size": vocabulary, "max_position_embeddings": 131_072,
    });
    fields.as_object_mut().expect("an object").extend(extra_fields.as_object().expect("fields").clone());
    model(class, fields)
}

fn llama_8b() -> Architecture {
    decoder("LlamaForCausalLM", [4096, 32, 32, 8, 128, 14336, 128_256], json!({}))
}

fn gemma_27b() -> Architecture {
    let text = json!({
        "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16,
        "head_dim": 128, "intermediate_size": 21504, "sliding_window": 1024, "vocab_size": 262_144,
    });
    model("Gemma3ForConditionalGeneration", json!({ "text_config": text, "tie_word_embeddings": true }))
}

fn gpt_oss_20b() -> Architecture {
    let kinds: Vec<&str> =
        (0..24).map(|i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" }).collect();
    decoder(
        "GptOssForCausalLM",
        [2880, 24, 64, 8, 64, 2880, 201_088],
        json!({
            "num_local_experts": 32, "sliding_window": 128, "layer_types": kinds, "attention_bias": true,
            "quantization_config": { "quant_method": "mxfp4" },
        }),
    )
}

fn deepseek_v3() -> Architecture {
    model(
        "DeepseekV3ForCausalLM",
        json!({
            "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
            "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256,
            "n_shared_experts": 1, "first_k_dense_replace": 3, "kv_lora_rank": 512, "q_lora_rank": 1536,
            "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129_280,
            "num_nextn_predict_layers": 1, "max_position_embeddings": 163_840,
            "quantization_config": { "quant_method": "fp8", "weight_block_size": [128, 128] },
        }),
    )
}

fn qwen_moe(layers: u64, hidden: u64, heads: u64, expert: u64) -> Architecture {
    decoder(
        "Qwen3MoeForCausalLM",
        [hidden, layers, heads, 4, 128, 6144, 151_936],
        json!({
            "num_experts": 128, "moe_intermediate_size": expert, "decoder_sparse_step": 1, "mlp_only_layers": [],
            "sliding_window": null,
        }),
    )
}

fn parallelism(tensor: u32, pipeline: u32, data: u32, expert: bool) -> Parallelism {
    Parallelism { tensor, pipeline, data, expert }
}

/// The KV cache with the rules of the oldest release, which the logs below are from.
fn cache(model: &Architecture, tensor: u32, precision: KvPrecision) -> kv_cache::KvCache {
    let settings =
        kv_cache::CacheSettings { precision, engine: &EngineMemory::default(), rules: &CATALOG[0].memory };
    kv_cache::KvCache::new(model, parallelism(tensor, 1, 1, false), settings)
}

fn per_request(model: &Architecture, tensor: u32, tokens: u64) -> u64 {
    cache(model, tensor, KvPrecision::Bits16).per_request(tokens)
}

fn per_token(model: &Architecture, tensor: u32) -> u64 {
    cache(model, tensor, KvPrecision::Bits16).per_token()
}

/// Source: `total_size` in the `model.safetensors.index.json` of each repository. For Gemma: the parameter
/// count of the text part in the Keras preset, two bytes each. For DeepSeek: the size of its files.
#[test]
fn weight_sizes_match_published_indexes() {
    let plain = |class: &str, dimensions: [u64; 7]| decoder(class, dimensions, json!({}));
    let mixtral = json!({ "num_local_experts": 8 });
    for (name, model, published, tolerance) in [
        ("meta-llama/Llama-3.1-8B", llama_8b(), 16_060_522_496u64, 0.0),
        (
            "meta-llama/Llama-3.3-70B-Instruct",
            plain("LlamaForCausalLM", [8192, 80, 64, 8, 128, 28672, 128_256]),
            141_107_412_992,
            0.0,
        ),
        (
            "Qwen/Qwen3-8B",
            plain("Qwen3ForCausalLM", [4096, 36, 32, 8, 128, 12288, 151_936]),
            16_381_470_720,
            0.0,
        ),
        (
            "Qwen/Qwen3-14B",
            plain("Qwen3ForCausalLM", [5120, 40, 40, 8, 128, 17408, 151_936]),
            29_536_614_400,
            0.0,
        ),
        (
            "Qwen/Qwen3-32B",
            plain("Qwen3ForCausalLM", [5120, 64, 64, 8, 128, 25600, 151_936]),
            65_524_246_528,
            0.0,
        ),
        ("Qwen/Qwen3-30B-A3B", qwen_moe(48, 2048, 32, 768), 61_064_245_248, 0.0),
        (
            "mistralai/Mixtral-8x7B-v0.1",
            decoder("MixtralForCausalLM", [4096, 32, 32, 8, 128, 14336, 32_000], mixtral),
            93_405_585_408,
            0.0,
        ),
        (
            "mistralai/Mistral-7B-v0.3",
            plain("MistralForCausalLM", [4096, 32, 32, 8, 128, 14336, 32_768]),
            14_496_047_104,
            0.0,
        ),
        (
            "microsoft/phi-4",
            plain("Phi3ForCausalLM", [5120, 40, 40, 10, 128, 17920, 100_352]),
            29_319_014_400,
            0.0,
        ),
        ("google/gemma-3-27b-it, text", gemma_27b(), 2 * 27_009_002_240, 0.0),
        ("openai/gpt-oss-20b", gpt_oss_20b(), 13_761_264_768, 0.001),
        ("deepseek-ai/DeepSeek-V3", deepseek_v3(), 688_586_727_753, 0.005),
    ] {
        let accounted = model.accounted_bytes();
        let deviation = accounted.abs_diff(published) as f64 / published as f64;
        assert!(
            deviation <= tolerance,
            "{name}: {accounted} computed, {published} published, deviation {deviation:.5}"
        );
    }
}

/// Source: table 1 of "Insights into DeepSeek-V3" (arXiv 2505.09343), KV cache per token in BF16, there in
/// units of 1000 bytes.
#[test]
fn kv_cache_per_token_matches_deepseek_paper() {
    let plain = |class: &str, dimensions: [u64; 7]| decoder(class, dimensions, json!({}));
    for (name, model, published) in [
        ("DeepSeek-V3, MLA", deepseek_v3(), 70_272),
        ("Qwen-2.5 72B, GQA", plain("Qwen2ForCausalLM", [8192, 80, 64, 8, 128, 29568, 152_064]), 327_680),
        (
            "LLaMA-3.1 405B, GQA",
            plain("LlamaForCausalLM", [16384, 126, 128, 8, 128, 53248, 128_256]),
            516_096,
        ),
    ] {
        assert_eq!(per_token(&model, 1), published, "{name}");
    }
    // The compressed vector is replicated on every GPU. KV heads are split, and replicated if there are too
    // few.
    assert_eq!(per_token(&deepseek_v3(), 8), 70_272);
    assert_eq!(per_token(&qwen_moe(94, 4096, 64, 1536), 8), per_token(&qwen_moe(94, 4096, 64, 1536), 4));
}

/// Source: vLLM's message "… GiB KV cache is needed, which is larger than …", with two decimals.
#[test]
fn kv_cache_per_request_matches_vllm_logs() {
    let gibibytes = |bytes: u64| (bytes as f64 / f64::from(1 << 30) * 100.0).round() / 100.0;
    let devstral = decoder("MistralForCausalLM", [5120, 40, 32, 8, 128, 32768, 131_072], json!({}));
    let qwen_coder = decoder("Qwen2ForCausalLM", [5120, 64, 40, 8, 128, 27648, 152_064], json!({}));
    let minimax = decoder(
        "MiniMaxM2ForCausalLM",
        [3072, 62, 48, 8, 128, 1536, 200_064],
        json!({ "num_local_experts": 256 }),
    );
    // eugr/spark-vllm-docker#396: MiniMax-M2.7 on two GPUs, 196608 tokens.
    assert_eq!(gibibytes(per_request(&minimax, 2, 196_608)), 23.25);
    // A log of Devstral Small 2 24B with its maximum of 393216 tokens.
    assert_eq!(gibibytes(per_request(&devstral, 1, 393_216)), 60.0);
    // A log of Qwen2.5-Coder-32B-Instruct with 32768 tokens.
    assert_eq!(gibibytes(per_request(&qwen_coder, 1, 32_768)), 8.0);
}

/// Source: vllm-project/vllm#21348, Qwen3-235B-A22B-FP8 on four GPUs, "Available KV cache memory: 8.11 GiB",
/// "GPU KV cache size: 178,880 tokens". The second figure is from another rank, which had one percent less.
#[test]
fn kv_cache_token_capacity_matches_vllm_log() {
    let available_bytes = (8.11 * f64::from(1 << 30)) as u64;
    let tokens = available_bytes / per_token(&qwen_moe(94, 4096, 64, 1536), 4);
    assert!(tokens.abs_diff(178_880) * 50 < 178_880, "{tokens}");
}

#[test]
fn sliding_window_cache_is_bounded_and_groups_are_padded() {
    let gemma = gemma_27b();
    let full = gemma.layers.iter().filter(|layer| layer.memory == LayerMemory::Full).count();
    assert_eq!((full, gemma.layers.len()), (10, 62));
    // Layers have 16 KV heads of size 128. The 52 window layers form six groups of ten; the last group is
    // padded.
    let layer = 2 * 16 * 128 * 2;
    assert_eq!(per_token(&gemma, 1), 10 * layer);
    let (long, longer) = (per_request(&gemma, 1, 64 << 10), per_request(&gemma, 1, 128 << 10));
    assert_eq!(longer - long, (64 << 10) * 10 * layer);
    let window_blocks = (1023u64 + 8192).div_ceil(16) + 1;
    assert_eq!(long, ((64 << 10) / 16 * 10 + window_blocks * 60) * 16 * layer);
    assert_eq!(cache(&gemma, 1, KvPrecision::Bits8).per_token() * 2, per_token(&gemma, 1));
}

#[test]
fn linear_attention_state_is_independent_of_request_length() {
    let hybrid = decoder(
        "Qwen3NextForCausalLM",
        [2048, 48, 16, 2, 256, 5120, 151_936],
        json!({ "num_experts": 512, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512 }),
    );
    // A block holds a state, so it has 544 tokens, and a request has whole blocks.
    let growth = per_request(&hybrid, 1, 544 * 60) - per_request(&hybrid, 1, 544 * 30);
    assert_eq!(growth, 544 * 30 * 12 * 2 * 2 * 256 * 2, "only the 12 full layers grow");
}

#[test]
fn weights_split_across_tensor_pipeline_and_data_parallel() {
    let weight_fraction = |model: &Architecture, files: u64, parallelism| {
        weights::max_bytes_per_gpu(model, files, parallelism, &EngineMemory::default()) as f64 / files as f64
    };
    let llama = llama_8b();
    let files = llama.accounted_bytes();
    let assert_near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 0.03, "{found}, not {expected}");
    assert_near(weight_fraction(&llama, files, parallelism(1, 1, 1, false)), 1.0);
    assert_near(weight_fraction(&llama, files, parallelism(4, 1, 1, false)), 0.25);
    assert_near(weight_fraction(&llama, files, parallelism(1, 2, 1, false)), 0.5);
    // Each copy of a dense model stores all weights. Experts are distributed across the copies.
    assert_near(weight_fraction(&llama, files, parallelism(1, 1, 2, false)), 1.0);
    let deepseek = deepseek_v3();
    let files = 688_586_727_753;
    // The draft layer (about 2 %) is not loaded.
    assert_near(weight_fraction(&deepseek, files, parallelism(8, 1, 1, false)), 0.98 / 8.0);
    assert_near(weight_fraction(&deepseek, files, parallelism(1, 1, 16, true)), 0.98 / 16.0 + 0.025);
}

/// Sanity check without a published figure: users report about 52 GiB of KV cache for an 8B model on one
/// H100.
#[test]
fn eight_billion_model_uses_a_fraction_of_h100_memory() {
    let request = FitRequest {
        parallelism: Parallelism::default(),
        gpu_memory: "h100".parse::<Hardware>().expect("known").gpu_memory,
        engine: &EngineMemory::default(),
        rules: &CATALOG[0].memory,
    };
    let fit = fit(&llama_8b(), 16_060_522_496, &request);
    // vLLM logged 51.63 GiB with an additional draft model of 0.5 GiB (an issue about Eagle, June 2025).
    let kv_capacity_gib = fit.kv_capacity as f64 / f64::from(1 << 30);
    assert!((50.0..55.0).contains(&kv_capacity_gib), "{kv_capacity_gib} GiB");
    assert_eq!(fit.concurrent_requests(), 3);
}

#[test]
fn unsupported_parallelism_is_reported() {
    let llama = llama_8b();
    let violations =
        |tensor, pipeline, expert| parallelism_violations(&llama, parallelism(tensor, pipeline, 1, expert));
    assert_eq!(violations(8, 1, false), []);
    assert_eq!(violations(16, 2, false), [], "eight KV heads are replicated on sixteen GPUs");
    assert_eq!(violations(3, 1, false), [ParallelismViolation::Heads { heads: 32, tensor: 3 }]);
    assert_eq!(violations(1, 1, true), [ParallelismViolation::NoExperts]);
    assert_eq!(violations(1, 64, false), [ParallelismViolation::Layers { layers: 32, pipeline: 64 }]);
    let phi = decoder("Phi3ForCausalLM", [5120, 40, 40, 10, 128, 17920, 100_352], json!({}));
    assert_eq!(
        parallelism_violations(&phi, parallelism(4, 1, 1, false)),
        [ParallelismViolation::KvHeads { kv_heads: 10, tensor: 4 }]
    );
    assert_eq!(parallelism_violations(&deepseek_v3(), parallelism(8, 1, 1, true)), []);
}

#[test]
fn unknown_architecture_is_an_error() {
    let config = json!({ "architectures": ["JambaForCausalLM"], "hidden_size": 1 });
    let unknown = Architecture::from_config(&config).expect_err("unknown");
    assert_eq!(unknown.to_string(), "unknown architecture \"JambaForCausalLM\"");
    let config = json!({ "architectures": ["LlamaForCausalLM"] });
    assert_eq!(Architecture::from_config(&config), Err(UnknownArchitecture::Field("hidden_size")));
    let weights = |config: &Value| {
        min_weights_per_gpu(config, 100, parallelism(4, 2, 3, false), &EngineMemory::default())
    };
    assert_eq!(weights(&config), 12);
    assert_eq!(weights(&json!({ "torch_dtype": "float32" })), 6, "the engine casts to 16 bits");
}
