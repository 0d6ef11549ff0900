//! Compares the derived lengths, the KV cache format, and the size of a request with vLLM, for published
//! configurations. `tests/fit-compare` writes vLLM's values into the file of rows.

use serde_json::Value;

use super::*;
use crate::release::{CATALOG, YarnLength};

const ROWS: &str = include_str!("published_configs.json");

/// A row: the name of a model, its configuration, and the values of vLLM or of a calculation by hand.
fn rows() -> Vec<(String, Value, Value)> {
    let document: Value = serde_json::from_str(ROWS).expect("JSON");
    let newest = CATALOG.last().expect("a release");
    let version = document["vllmVersion"].as_str().expect("a version");
    assert!(newest.vllm_packages[0].ends_with(&format!("=={version}")), "run tests/fit-compare --write");
    let rows = document["rows"].as_array().expect("rows").iter();
    rows.map(|row| {
        let expected = row.get("vllm").or(row.get("arithmetic")).expect("values").clone();
        (row["model"].as_str().expect("a name").to_owned(), row["config"].clone(), expected)
    })
    .collect()
}

/// The memory of a GPU on which exactly `room` bytes remain for the KV cache.
fn engine_with_room(room: u64) -> EngineMemory {
    EngineMemory { kv_cache_bytes: Some(room), ..EngineMemory::default() }
}

#[test]
fn lengths_and_request_sizes_match_vllm() {
    let rules = CATALOG.last().expect("a release").memory;
    let rows = rows();
    assert!(rows.len() >= 30, "{}", rows.len());
    for (name, config, expected) in rows {
        let value = |field: &str| expected[field].as_u64().expect("a number");
        let model = Architecture::from_config(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fit_with = |engine: &EngineMemory| {
            let request = FitRequest {
                parallelism: Parallelism::default(),
                gpu_memory: 1 << 50,
                engine,
                rules: &rules,
            };
            fit(&model, model.accounted_bytes(), &request)
        };
        let found = fit_with(&EngineMemory::default());
        assert_eq!(found.context.default, value("length"), "{name}");
        assert_eq!(found.context.maximum, value("maximum"), "{name}");
        assert_eq!(found.kv_per_request, value("bytesOfRequest"), "{name}");
        let precision = match expected["kvCacheType"].as_str() {
            Some("auto") => KvPrecision::Bits16,
            Some("fp8" | "fp8_e4m3") => KvPrecision::Bits8,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(model.precision.kv_precision(&rules, 2), precision, "{name}");
        // vLLM's own search, with a quarter of the memory; one block of the memory stays empty.
        let quarter = fit_with(&engine_with_room(value("bytesOfRequest") / 4 + value("bytesOfBlock")));
        let longest = quarter.longest_request.min(value("length"));
        assert_eq!(longest, value("longestInQuarter"), "{name}");
    }
}

/// Calculated by hand: the length before scaling × factor. vLLM before the newest release derives these.
#[test]
fn older_releases_multiply_yarn_lengths() {
    let lengths = [
        ("NousResearch/Yarn-Mistral-7b-128k", 8192 * 16),
        ("NousResearch/Yarn-Llama-2-7b-64k", 4096 * 16),
        ("Qwen/Qwen2.5-7B-Instruct with the YaRN settings of its card", 32_768 * 4),
        ("deepseek-ai/DeepSeek-V3", 4096 * 40),
        ("moonshotai/Kimi-K2-Instruct-0905", 4096 * 64),
        ("openai/gpt-oss-120b", 4096 * 32),
        ("deepseek-ai/deepseek-coder-6.7b-instruct", 16_384 * 4),
        ("microsoft/Phi-4-mini-instruct", 4096),
    ];
    let rows = rows();
    for (name, expected) in lengths {
        let (_, config, _) = rows.iter().find(|(model, _, _)| model == name).expect("a row");
        let model = Architecture::from_config(config).expect("known");
        for rule in [YarnLength::OriginalTimesFactor, YarnLength::Longest] {
            assert_eq!(model.positions.context_length(rule, None).default, expected, "{name}");
        }
    }
}

/// vLLM casts parameters of 32 bits to 16 bits, whatever the configuration says about the files.
#[test]
fn parameters_of_32_bits_use_16_bits_on_the_gpu() {
    let rows = rows();
    let (_, config, _) =
        rows.iter().find(|(name, _, _)| name == "Salesforce/xgen-7b-8k-base").expect("a row");
    let rules = MemoryRules::most_demanding();
    let weights = |config: &Value, bytes: u64, engine: &EngineMemory| {
        let model = Architecture::from_config(config).expect("known");
        let request =
            FitRequest { parallelism: Parallelism::default(), gpu_memory: 1 << 40, engine, rules: &rules };
        fit(&model, bytes, &request).weights
    };
    // 2 × 51200 × 4096 embeddings, and 32 layers of attention, feed-forward, and norms.
    let parameters: u64 = 2 * 51_200 * 4096 + 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008 + 2 * 4096) + 4096;
    let engine = EngineMemory::default();
    // The declared precision, that of 16 bits, and none: the size of the files decides.
    for declared in [Value::from("float32"), Value::from("bfloat16"), Value::Null] {
        let mut config = config.clone();
        config["torch_dtype"] = declared;
        for bytes in [4 * parameters, 2 * parameters] {
            let found = weights(&config, bytes, &engine);
            assert!(found.abs_diff(2 * parameters) < 1 << 20, "{}: {found}", config["torch_dtype"]);
        }
    }
    let wide = EngineMemory { activation_bytes: Some(4), ..EngineMemory::default() };
    for bytes in [4 * parameters, 2 * parameters] {
        assert!(weights(config, bytes, &wide).abs_diff(4 * parameters) < 1 << 20);
    }
    let eight = EngineMemory { quantization: Some(OnlineQuantization::Bits8), ..EngineMemory::default() };
    let found = weights(config, 4 * parameters, &eight);
    assert!(found > parameters && found < parameters + parameters / 10, "{found}");
    let offload = EngineMemory { cpu_offload: 10 << 30, ..EngineMemory::default() };
    assert_eq!(
        weights(config, 4 * parameters, &offload) + (10 << 30),
        weights(config, 4 * parameters, &engine)
    );
}
