//! The arithmetic against figures that others published: sizes in the indexes of published weights, parameter
//! counts, KV cache that vLLM logged or asked for, and a paper's table. Configurations are those of the models.

use serde_json::{Value, json};

use super::architecture::LayerMemory;
use super::*;
use crate::intent::Parallelism;

fn model(class: &str, fields: Value) -> Architecture {
    let mut config =
        json!({ "architectures": [class], "torch_dtype": "bfloat16", "tie_word_embeddings": false });
    let fields = fields.as_object().expect("fields").clone();
    config.as_object_mut().expect("an object").extend(fields);
    Architecture::from_config(&config).expect("a known architecture")
}

/// hidden, layers, heads, kv heads, head size, feed-forward, vocabulary.
fn decoder(class: &str, shape: [u64; 7], more: Value) -> Architecture {
    let [hidden, layers, heads, kv_heads, head_size, feed_forward, vocabulary] = shape;
    let mut fields = json!({
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_size, "intermediate_size": feed_forward,
        "vocab_size": vocabulary, "max_position_embeddings": 131_072,
    });
    fields.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
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

fn shape(tensor: u32, pipeline: u32, data: u32, expert: bool) -> Parallelism {
    Parallelism { tensor, pipeline, data, expert }
}

fn per_request(model: &Architecture, tensor: u32, tokens: u64) -> u64 {
    kv_cache::KvCache::of(model, shape(tensor, 1, 1, false), KvPrecision::Sixteen).per_request(tokens)
}

fn per_token(model: &Architecture, tensor: u32) -> u64 {
    kv_cache::KvCache::of(model, shape(tensor, 1, 1, false), KvPrecision::Sixteen).per_token()
}

/// `total_size` in the `model.safetensors.index.json` of each repository; for Gemma the parameters that Keras'
/// preset states for the part that reads text, of two bytes each; for DeepSeek the size of its files.
#[test]
fn weights_are_those_of_the_published_indexes() {
    let plain = |class: &str, shape: [u64; 7]| decoder(class, shape, json!({}));
    let mixtral = json!({ "num_local_experts": 8 });
    for (what, model, published, within) in [
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
        let off = accounted.abs_diff(published) as f64 / published as f64;
        assert!(off <= within, "{what}: {accounted} accounted for, {published} published, {off:.5} off");
    }
}

/// Table 1 of "Insights into DeepSeek-V3" (arXiv 2505.09343): KV cache of a token in BF16, in thousands of bytes.
#[test]
fn kv_cache_of_a_token_is_that_of_the_paper() {
    let plain = |class: &str, shape: [u64; 7]| decoder(class, shape, json!({}));
    for (what, model, published) in [
        ("DeepSeek-V3, MLA", deepseek_v3(), 70_272),
        ("Qwen-2.5 72B, GQA", plain("Qwen2ForCausalLM", [8192, 80, 64, 8, 128, 29568, 152_064]), 327_680),
        (
            "LLaMA-3.1 405B, GQA",
            plain("LlamaForCausalLM", [16384, 126, 128, 8, 128, 53248, 128_256]),
            516_096,
        ),
    ] {
        assert_eq!(per_token(&model, 1), published, "{what}");
    }
    // The compressed vector is the same on every GPU; groups of heads are dealt out, and copied when too few.
    assert_eq!(per_token(&deepseek_v3(), 8), 70_272);
    assert_eq!(per_token(&qwen_moe(94, 4096, 64, 1536), 8), per_token(&qwen_moe(94, 4096, 64, 1536), 4));
}

/// What vLLM said it needs for one request: "… GiB KV cache is needed, which is larger than …", with two decimals.
#[test]
fn kv_cache_of_a_request_is_what_vllm_asked_for() {
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
    // A log of Devstral Small 2 24B at its own 393216 tokens.
    assert_eq!(gibibytes(per_request(&devstral, 1, 393_216)), 60.0);
    // A log of Qwen2.5-Coder-32B-Instruct at 32768 tokens.
    assert_eq!(gibibytes(per_request(&qwen_coder, 1, 32_768)), 8.0);
}

/// vllm-project/vllm#21348: Qwen3-235B-A22B-FP8 on four GPUs, "Available KV cache memory: 8.11 GiB", "GPU KV cache
/// size: 178,880 tokens". The second figure there is what another rank had, a percent less.
#[test]
fn tokens_in_the_cache_are_those_vllm_logged() {
    let room = (8.11 * f64::from(1 << 30)) as u64;
    let tokens = room / per_token(&qwen_moe(94, 4096, 64, 1536), 4);
    assert!(tokens.abs_diff(178_880) * 50 < 178_880, "{tokens}");
}

#[test]
fn windows_end_growing_and_groups_are_filled_up() {
    let gemma = gemma_27b();
    let full = gemma.layers.iter().filter(|layer| layer.memory == LayerMemory::Full).count();
    assert_eq!((full, gemma.layers.len()), (10, 62));
    // Layers of 16 KV heads of 128: 52 with a window are six groups of ten, the last filled up.
    let layer = 2 * 16 * 128 * 2;
    assert_eq!(per_token(&gemma, 1), 10 * layer);
    let (long, longer) = (per_request(&gemma, 1, 64 << 10), per_request(&gemma, 1, 128 << 10));
    assert_eq!(longer - long, (64 << 10) * 10 * layer);
    let blocks_of_windows = (1023u64 + 8192).div_ceil(16) + 1;
    assert_eq!(long, ((64 << 10) / 16 * 10 + blocks_of_windows * 60) * 16 * layer);
    let eight = kv_cache::KvCache::of(&gemma, shape(1, 1, 1, false), KvPrecision::Eight);
    assert_eq!(eight.per_token() * 2, per_token(&gemma, 1));
}

#[test]
fn a_state_does_not_grow_with_the_request() {
    let hybrid = decoder(
        "Qwen3NextForCausalLM",
        [2048, 48, 16, 2, 256, 5120, 151_936],
        json!({ "num_experts": 512, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512 }),
    );
    let growth = per_request(&hybrid, 1, 32_768) - per_request(&hybrid, 1, 16_384);
    assert_eq!(growth, 16_384 * 12 * 2 * 2 * 256 * 2, "only the 12 full layers grow");
}

#[test]
fn the_files_are_spread_over_tensor_pipeline_and_copies() {
    let on = |model: &Architecture, files: u64, shape| {
        weights::of_fullest_gpu(model, files, shape) as f64 / files as f64
    };
    let llama = llama_8b();
    let files = llama.accounted_bytes();
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.03, "{found} and not {wanted}");
    near(on(&llama, files, shape(1, 1, 1, false)), 1.0);
    near(on(&llama, files, shape(4, 1, 1, false)), 0.25);
    near(on(&llama, files, shape(1, 2, 1, false)), 0.5);
    // Copies of a dense model each hold all of it; experts are dealt out over the copies.
    near(on(&llama, files, shape(1, 1, 2, false)), 1.0);
    let deepseek = deepseek_v3();
    let files = 688_586_727_753;
    // The draft layer, about 2 %, stays on the disk.
    near(on(&deepseek, files, shape(8, 1, 1, false)), 0.98 / 8.0);
    near(on(&deepseek, files, shape(1, 1, 16, true)), 0.98 / 16.0 + 0.025);
}

/// Published by nobody, and so only a sanity check: an 8B model on one H100 leaves what people see, some 52 GiB.
#[test]
fn an_eight_billion_model_leaves_most_of_a_large_gpu() {
    let worker = Worker {
        parallelism: Parallelism::default(),
        gpu_memory: "h100".parse::<Hardware>().expect("known").gpu_memory,
        utilization: 0.9,
        kv_precision: KvPrecision::Sixteen,
        longest_request: 131_072,
    };
    let fit = fit(&llama_8b(), 16_060_522_496, &worker);
    // vLLM logged 51.63 GiB for it with a draft model of 0.5 GiB beside (an issue about Eagle, June 2025).
    let room = fit.kv_room as f64 / f64::from(1 << 30);
    assert!((50.0..55.0).contains(&room), "{room} GiB");
    assert_eq!(fit.requests(), 3);
}

#[test]
fn shapes_that_a_model_forbids_are_named() {
    let llama = llama_8b();
    let of = |tensor, pipeline, expert| misfits(&llama, shape(tensor, pipeline, 1, expert));
    assert_eq!(of(8, 1, false), []);
    assert_eq!(of(16, 2, false), [], "eight KV heads are copied to sixteen GPUs");
    assert_eq!(of(3, 1, false), [Misfit::Heads { heads: 32, tensor: 3 }]);
    assert_eq!(of(1, 1, true), [Misfit::NoExperts]);
    assert_eq!(of(1, 64, false), [Misfit::Layers { layers: 32, pipeline: 64 }]);
    let phi = decoder("Phi3ForCausalLM", [5120, 40, 40, 10, 128, 17920, 100_352], json!({}));
    assert_eq!(misfits(&phi, shape(4, 1, 1, false)), [Misfit::KvHeads { kv_heads: 10, tensor: 4 }]);
    assert_eq!(misfits(&deepseek_v3(), shape(8, 1, 1, true)), []);
}

#[test]
fn an_unknown_architecture_is_said_to_be_one() {
    let config = json!({ "architectures": ["JambaForCausalLM"], "hidden_size": 1 });
    let unknown = Architecture::from_config(&config).expect_err("unknown");
    assert_eq!(unknown.to_string(), "the architecture JambaForCausalLM is not known here");
    let config = json!({ "architectures": ["LlamaForCausalLM"] });
    assert_eq!(Architecture::from_config(&config), Err(UnknownArchitecture::Field("hidden_size")));
    assert_eq!(weights_at_least(100, shape(4, 2, 3, false)), 12);
}
