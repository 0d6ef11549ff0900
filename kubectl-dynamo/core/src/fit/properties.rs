//! Properties of the arithmetic: the length that is offered fits and one block more does not, more memory never
//! lowers the length, and no configuration or flag causes a panic.

use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::*;
use crate::release::CATALOG;

/// Classes of every family, with the fields that only they have.
const CLASSES: [&str; 10] = [
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3MoeForCausalLM",
    "Gemma3ForCausalLM",
    "GptOssForCausalLM",
    "DeepseekV3ForCausalLM",
    "Qwen3NextForCausalLM",
    "Gemma3ForConditionalGeneration",
];

/// A plausible model.
fn plausible_config() -> impl Strategy<Value = Value> {
    let dimensions = (1_u64..128, 0_u32..4, 1_u64..9, 1_u64..80);
    let lengths = (1_u64..2_000_000, prop_oneof![Just(None), (0_u64..300_000).prop_map(Some)]);
    let rope = prop_oneof![
        Just(Value::Null),
        (1_u64..64).prop_map(|factor| json!({ "type": "linear", "factor": factor })),
        (1_u64..64, 1_u64..9000).prop_map(|(factor, original)| {
            json!({ "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original })
        }),
        Just(json!({ "type": "longrope" })),
    ];
    (0..CLASSES.len(), dimensions, lengths, rope, any::<bool>()).prop_map(
        |(class, (width, group, kv_heads, layers), (positions, window), rope, is_windowed)| {
            let heads = kv_heads << group;
            let fields = json!({
                "hidden_size": width * 64, "num_hidden_layers": layers, "num_attention_heads": heads,
                "num_key_value_heads": kv_heads, "head_dim": 64, "intermediate_size": width * 256,
                "vocab_size": 32_000, "max_position_embeddings": positions, "sliding_window": window,
                "use_sliding_window": is_windowed, "max_window_layers": layers / 2, "rope_scaling": rope,
                "num_experts": 8, "moe_intermediate_size": width * 32,
            });
            let mut config = fields.clone();
            config["architectures"] = json!([CLASSES[class]]);
            if CLASSES[class] == "Gemma3ForConditionalGeneration" {
                config = json!({ "architectures": [CLASSES[class]], "text_config": fields });
            }
            config
        },
    )
}

fn engine_memory() -> impl Strategy<Value = EngineMemory> {
    let precision = prop_oneof![
        Just(None),
        Just(Some(KvPrecision::Bits8)),
        Just(Some(KvPrecision::Nvfp4)),
        Just(Some(KvPrecision::Bits4PerHead)),
    ];
    let windows = prop_oneof![
        Just(SlidingWindows::Bounded),
        Just(SlidingWindows::Unbounded),
        Just(SlidingWindows::LimitLength),
    ];
    (precision, windows, prop_oneof![Just(None), (1_u64..300).prop_map(Some)], 0_u64..(20 << 30)).prop_map(
        |(kv_precision, windows, block_tokens, cpu_offload)| EngineMemory {
            kv_precision,
            windows,
            block_tokens,
            cpu_offload,
            ..EngineMemory::default()
        },
    )
}

fn rules() -> impl Strategy<Value = MemoryRules> {
    (0..=CATALOG.len())
        .prop_map(|index| CATALOG.get(index).map_or_else(MemoryRules::most_demanding, |row| row.memory))
}

fn worker() -> impl Strategy<Value = Parallelism> {
    (0_u32..4, 1_u32..5).prop_map(|(tensor, pipeline)| Parallelism {
        tensor: 1 << tensor,
        pipeline,
        data: 1,
        expert: false,
    })
}

/// Replaces fields by values that no model has.
fn hostile_config() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u64..5000).prop_map(Value::from),
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!({ "factor": 1e308, "type": "linear" })),
        Just(json!({ "a": { "b": { "c": {} } } })),
        "[a-z0-9_]{0,8}".prop_map(Value::from),
    ];
    let field = prop::sample::select(vec![
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "sliding_window",
        "sliding_window_pattern",
        "full_attention_interval",
        "rope_scaling",
        "rope_parameters",
        "num_experts",
        "n_shared_experts",
        "moe_intermediate_size",
        "kv_lora_rank",
        "q_lora_rank",
        "v_head_dim",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
        "num_nextn_predict_layers",
        "layer_types",
        "mlp_only_layers",
        "decoder_sparse_step",
        "quantization_config",
        "text_config",
        "architectures",
        "torch_dtype",
    ]);
    (plausible_config(), prop::collection::vec((field, value), 1..6)).prop_map(|(mut config, changes)| {
        for (field, value) in changes {
            config[field] = value;
        }
        config
    })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn offered_length_fits_and_one_block_more_does_not(
        config in plausible_config(),
        engine in engine_memory(),
        rules in rules(),
        parallelism in worker(),
        gpu_memory in (1_u64 << 30)..(200 << 30),
    ) {
        let model = Architecture::from_config(&config).expect("a plausible model");
        let weights = model.accounted_bytes();
        let fit_with = |max_model_len| {
            let engine = EngineMemory { max_model_len, ..engine.clone() };
            fit(&model, weights, &FitRequest { parallelism, gpu_memory, engine: &engine, rules: &rules })
        };
        let offered = fit_with(RequestedLength::ModelDefault);
        let longest = offered.longest_request;
        prop_assert!(longest <= offered.context.maximum);
        prop_assert_eq!(offered.can_serve(), offered.max_model_len <= longest);
        if longest > 0 {
            prop_assert!(fit_with(RequestedLength::Tokens(longest)).can_serve());
            let automatic = fit_with(RequestedLength::LongestThatFits);
            prop_assert!(automatic.can_serve());
            prop_assert_eq!(automatic.max_model_len, longest.min(offered.context.default));
        }
        if longest < offered.context.maximum {
            let block = engine.block_tokens.unwrap_or(LATENT_BLOCK_TOKENS).max(LATENT_BLOCK_TOKENS) * 100_000;
            prop_assert!(!fit_with(RequestedLength::Tokens(longest + 1)).can_serve());
            let above = longest.saturating_add(block).min(offered.context.maximum);
            prop_assert!(!fit_with(RequestedLength::Tokens(above)).can_serve());
        }
    }

    #[test]
    fn more_memory_never_lowers_the_length(
        config in plausible_config(),
        engine in engine_memory(),
        rules in rules(),
        parallelism in worker(),
        gpu_memory in (1_u64 << 30)..(200 << 30),
        more in 0_u64..(200 << 30),
    ) {
        let model = Architecture::from_config(&config).expect("a plausible model");
        let weights = model.accounted_bytes();
        let longest = |gpu_memory| {
            fit(&model, weights, &FitRequest { parallelism, gpu_memory, engine: &engine, rules: &rules }).longest_request
        };
        prop_assert!(longest(gpu_memory) <= longest(gpu_memory + more));
    }

    #[test]
    fn no_configuration_causes_a_panic(
        config in hostile_config(),
        weights in any::<u64>(),
        engine in engine_memory(),
        rules in rules(),
        tensor in any::<u32>(),
        pipeline in any::<u32>(),
        gpu_memory in any::<u64>(),
        tokens in any::<u64>(),
        batched in any::<u64>(),
    ) {
        let parallelism = Parallelism { tensor, pipeline, data: 1, expert: false };
        let engine = EngineMemory {
            max_model_len: RequestedLength::Tokens(tokens),
            batched_tokens: Some(batched),
            ..engine
        };
        min_weights_per_gpu(&config, weights, parallelism, &engine);
        if let Ok(model) = Architecture::from_config(&config) {
            prop_assert!(model.layers.len() <= 4096);
            let fit = fit(&model, weights, &FitRequest { parallelism, gpu_memory, engine: &engine, rules: &rules });
            prop_assert!(fit.longest_request <= fit.context.maximum);
            fit.requests_in_tier(weights);
            parallelism_violations(&model, parallelism);
        }
    }

    #[test]
    fn no_engine_flag_causes_a_panic(
        args in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "--max-model-len", "--hf-overrides", "--hf-overrides.a.b", "--cpu-offload-gb", "--dtype",
                    "--block-size", "--kv-cache-dtype", "--gpu-memory-utilization", "=", "-1", "1e999", "{}",
                ])
                .prop_map(str::to_owned),
                "\\PC{0,12}",
            ],
            0..8,
        )
    ) {
        let _ = EngineMemory::from_args(&args);
    }
}

/// A count of layers above what a model can have is refused before anything is stored for each layer.
#[test]
fn hostile_layer_count_is_an_error() {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_attention_heads": 32,
        "intermediate_size": 14336, "vocab_size": 128_256, "num_hidden_layers": 4_000_000_000_u64,
    });
    let error = Architecture::from_config(&config).expect_err("hostile");
    let expected =
        UnknownArchitecture::Value { field: "num_hidden_layers", value: 4_000_000_000, highest: 4096 };
    assert_eq!(error, expected);
    assert!(error.to_string().contains("num_hidden_layers"), "{error}");
}
