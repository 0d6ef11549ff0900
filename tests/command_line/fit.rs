//! `fit`: where a model fits, based on its configuration and the size of its weights.

use std::fs::File;

use kubectl_dynamo_tests::model::{QWEN3_32B_CONFIG as CONFIG, QWEN3_32B_WEIGHTS as WEIGHTS};
use serde_json::Value;

use crate::requests::TestFolder;

/// Creates a folder with the model's configuration and a sparse file of the right size.
fn folder_with_model(config: &str) -> TestFolder {
    folder_with_files(config, &[("model.safetensors", WEIGHTS)])
}

#[test]
fn lists_each_parallelism_with_remaining_memory() {
    let folder = folder_with_model(CONFIG);
    let table = folder.run_successfully(&["fit", "./model"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let row = |tensor: &str| table.lines().find(|line| line.starts_with(tensor)).expect("a row").to_owned();
    assert!(row("1 ").contains("max 25072 tokens"), "{table}");
    assert!(row("8 ").ends_with("fits"), "{table}");

    let document = folder.run_successfully(&[
        "fit",
        "./model",
        "--tp",
        "2",
        "--pp",
        "1",
        "--max-model-len",
        "8K",
        "-o",
        "json",
    ]);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let gpu = &document["shapes"][0]["bytesPerGpu"];
    // 64 layers, 4 of 8 KV heads of 128 numbers, keys and values, 2 bytes each.
    assert_eq!(gpu["kvPerToken"], 64 * 4 * 128 * 2 * 2, "{document:#}");
    assert_eq!(gpu["kvPerRequest"], 8192 * 64 * 4 * 128 * 2 * 2, "{document:#}");
    assert_eq!(document["longestRequestTokens"], 8192);
}

#[test]
fn disaggregated_deployment_is_reported_by_role() {
    let folder = folder_with_model(CONFIG);
    let deployment_args =
        ["fit", "./model", "--gpu", "h100-80g:8x4", "--mode", "disagg", "--prefill-tp", "2"];
    let deployment_args =
        [&deployment_args[..], &["--prefill-replicas", "2", "--decode-tp", "4", "--decode-replicas", "4"]]
            .concat();
    let tiers =
        [&deployment_args[..], &["--kv-offload", "cpu=100Gi,disk=1Ti", "--", "--max-model-len", "32K"]]
            .concat();
    let table = folder.run_successfully(&tiers);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let rows: Vec<&str> = table.lines().filter(|line| line.contains('×')).collect();
    assert!(rows[0].starts_with("prefill") && rows[1].starts_with("decode"), "{table}");
    assert!(table.contains("GPUs: 20 of 32"), "{table}");
    assert!(table.contains("CPU tier of a prefill worker") && !table.contains("tier of a decode"), "{table}");
    let document = folder.run_successfully(&[&["fit", "./model", "-o", "json"], &tiers[2..]].concat());
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let [prefill, decode] = [&document["roles"][0], &document["roles"][1]];
    // 64 layers, keys and values, 8 heads of 128 numbers, 2 bytes; on both GPUs together.
    let request = 32_768 * 64 * 2 * 8 * 128 * 2_u64;
    assert_eq!(prefill["requestsInTiers"]["cpu"], (100 << 30) / request, "{document:#}");
    assert_eq!((&decode["tensorParallelSize"], &decode["requestsInTiers"]["cpu"]), (&4.into(), &Value::Null));

    // Tensor parallelism larger than a node is invalid without more nodes.
    let output = folder.run(&["fit", "./model", "--gpu", "l4:4x4", "--tp", "8", "--replicas", "1"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(5) && stdout.contains("--nodes 2"), "{stdout}");
    let output = folder.run(&["fit", "./model", "--gpu", "h100:8", "--tp", "4", "--replicas", "3"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("12 GPUs required, 8 available"), "{output:?}");
}

#[test]
fn exits_5_if_nothing_fits() {
    let folder = folder_with_model(CONFIG);
    let output = folder.run(&["fit", "./model", "--gpu", "t4:2"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("too large"));
    let output = folder.run(&["fit", "./model", "--tp", "3"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("64 heads not divisible"), "{output:?}");
}

#[test]
fn unknown_architecture_model_or_gpu_is_reported() {
    let folder = folder_with_model(&CONFIG.replace("Qwen3ForCausalLM", "NewForCausalLM"));
    let output = folder.run(&["fit", "./model"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("KD0441") && stderr.contains("NewForCausalLM"), "{stderr}");
    for (args, code, exit) in [
        (["fit", "./absent", "--gpu", "l4"], "KD0404", 7),
        (["fit", ".", "--gpu", "l4"], "KD0442", 7),
        (["fit", "./model", "--gpu", "fast"], "KD0005", 2),
    ] {
        let output = folder.run(&args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(code), "{args:?}: {stderr}");
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {stderr}");
    }
}

/// Creates a folder with a configuration and sparse files of the given sizes.
fn folder_with_files(config: &(impl std::fmt::Display + ?Sized), files: &[(&str, u64)]) -> TestFolder {
    let folder = TestFolder::new();
    folder.write("model/config.json", &config.to_string());
    for (name, size) in files {
        let file = File::create(folder.path().join("model").join(name)).expect("a file");
        file.set_len(*size).expect("a sparse file");
    }
    folder
}

/// Returns the only row of `fit ./model` with these arguments.
fn single_row(folder: &TestFolder, args: &[&str]) -> (Option<i32>, Value) {
    let output = folder.run(&[&["fit", "./model", "-o", "json", "--gpu"], args].concat());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(document["shapes"].as_array().map(Vec::len), Some(1), "{document:#}");
    (output.status.code(), document)
}

/// The configuration of Llama 3.1 8B without its RoPE settings.
fn llama(fields: Value) -> Value {
    let mut config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 128_256, "max_position_embeddings": 131_072,
        "torch_dtype": "bfloat16", "tie_word_embeddings": false,
    });
    config.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
    config
}

const LLAMA_WEIGHTS: u64 = 16_060_522_496;

#[test]
fn offered_length_fits_when_it_is_requested() {
    let phi = serde_json::json!({
        "architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "hidden_size": 3072, "num_hidden_layers": 32,
        "num_attention_heads": 24, "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 200_064,
        "max_position_embeddings": 131_072, "original_max_position_embeddings": 4096, "sliding_window": 262_144,
        "rope_scaling": { "type": "longrope", "short_factor": [1.0], "long_factor": [1.0] },
        "torch_dtype": "bfloat16", "tie_word_embeddings": true,
    });
    let gemma = serde_json::json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "torch_dtype": "bfloat16",
        "text_config": {
            "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32, "num_key_value_heads": 16,
            "head_dim": 128, "intermediate_size": 21504, "sliding_window": 1024, "model_type": "gemma3_text",
            "rope_scaling": { "factor": 8.0, "rope_type": "linear" },
        },
    });
    for (config, weights, gpu, window_only) in
        [(phi, 7_672_086_528, "l4:1", true), (gemma, 54_864_815_904, "new-72g:1", false)]
    {
        let folder = folder_with_files(&config, &[("model.safetensors", weights)]);
        let (_, document) = single_row(&folder, &[gpu]);
        let longest = document["shapes"][0]["longestFittingTokens"].as_u64().expect("a length");
        assert!(longest < 131_072, "{document:#}");
        let with = |tokens: u64| single_row(&folder, &[gpu, "--max-model-len", &tokens.to_string()]);
        assert_eq!(with(longest).0, Some(0), "{longest}");
        let (code, above) = with(longest + 16);
        assert_eq!(code, Some(5));
        assert_eq!(above["shapes"][0]["text"], format!("max {longest} tokens"));
        if window_only {
            // vLLM starts with the original length. The longest is that of 9.8 GiB / 131072 bytes, in whole blocks.
            assert_eq!(document["longestRequestTokens"], 4096);
            assert_eq!((longest, 10_542_313_882 / 131_072 - longest < 4 * 16), (80_384, true));
            let table = folder.run_successfully(&["fit", "./model", "--gpu", gpu]);
            assert!(
                table.contains("the model supports up to 131072 tokens") && table.contains("max 80384"),
                "{table}"
            );
        }
    }
}

#[test]
fn length_follows_rope_settings_and_release() {
    let yarn =
        serde_json::json!({ "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768 });
    let config = llama(serde_json::json!({ "max_position_embeddings": 32_768, "rope_scaling": yarn }));
    let folder = folder_with_files(&config, &[("model.safetensors", LLAMA_WEIGHTS)]);
    let (_, any) = single_row(&folder, &["h100:1"]);
    assert_eq!(any["longestRequestTokens"], 131_072);
    let table = folder.run_successfully(&["fit", "./model", "--gpu", "h100:1"]);
    assert!(table.contains("starts with 32768 tokens"), "{table}");
    for (release, length) in [("1.5", 131_072), ("1.6", 32_768)] {
        let (_, document) = single_row(&folder, &["h100:1", "--release", release]);
        assert_eq!(document["longestRequestTokens"], length, "{release}");
    }
    let overrides =
        ["h100:1", "--", "--hf-overrides", r#"{"rope_scaling":{"rope_type":"linear","factor":2.0}}"#];
    assert_eq!(single_row(&folder, &overrides).1["longestRequestTokens"], 65_536);
    let (code, above) = single_row(&folder, &["h100:1", "--max-model-len", "200k"]);
    assert_eq!((code, &above["shapes"][0]["text"]), (Some(5), &Value::from("model limit 131072")));
}

/// Models for which the arithmetic once gave another verdict than vLLM. The configurations are those that
/// vLLM's own code was asked about; the sizes are those of the weights on the hub.
#[test]
fn verdict_is_that_of_the_engine() {
    const CONFIGS: &str = include_str!("../../kubectl-dynamo/core/src/fit/published_configs.json");
    const GIB: f64 = (1_u64 << 30) as f64;
    let published: Value = serde_json::from_str(CONFIGS).expect("JSON");
    let config = |name: &str| {
        let mut rows = published["rows"].as_array().into_iter().flatten();
        rows.find(|row| row["model"] == name).unwrap_or_else(|| panic!("no row {name}"))["config"].clone()
    };
    let yarn = "Qwen/Qwen2.5-7B-Instruct with the YaRN settings of its card";
    // Weights, KV cache of a request, and free memory are in GiB, rounded to tenths.
    for (model, bytes, args, exit, length, [weights, request, free]) in [
        (
            "deepseek-ai/deepseek-coder-6.7b-instruct",
            13_481_017_344,
            &["a100-40g:1"][..],
            5,
            65_536,
            [12.6, 32.0, 19.9],
        ),
        (
            "NousResearch/Yarn-Mistral-7b-128k",
            14_483_464_192,
            &["a100-40g:1"],
            0,
            131_072,
            [13.5, 16.0, 18.8],
        ),
        (yarn, 15_231_233_024, &["l4:1"], 5, 131_072, [14.2, 7.0, 2.1]),
        (
            "Salesforce/xgen-7b-8k-base",
            27_581_759_488,
            &["l4:1", "--max-model-len", "4096"],
            0,
            4096,
            [12.8, 2.0, 3.8],
        ),
        ("nvidia/MiniMax-M2.5-NVFP4", 130_000_000_000, &["b200:1"], 0, 196_608, [121.1, 23.3, 37.2]),
    ] {
        let folder = folder_with_files(&config(model), &[("model.safetensors", bytes)]);
        let (code, document) = single_row(&folder, args);
        let row = &document["shapes"][0];
        assert_eq!(
            (code, &document["longestRequestTokens"]),
            (Some(exit), &length.into()),
            "{model}: {document:#}"
        );
        let tenths = |bytes: f64| (bytes / GIB * 10.0).round() / 10.0;
        let of = |name: &str| row["bytesPerGpu"][name].as_f64().expect("bytes");
        let found = [of("weights"), of("kvPerRequest"), of("kvCapacity")].map(tenths);
        assert_eq!(found, [weights, request, free], "{model}: {document:#}");
    }
}

#[test]
fn engine_flags_are_read_as_the_engine_reads_them() {
    let folder = folder_with_files(&llama(serde_json::json!({})), &[("model.safetensors", LLAMA_WEIGHTS)]);
    for spelling in ["auto", "-1"] {
        for args in
            [["l4:1", "--", "--max-model-len", spelling], ["l4:1", "--tp=1", "--max-model-len", spelling]]
        {
            assert_eq!(single_row(&folder, &args).0, Some(0), "{args:?}");
        }
    }
    let (code, document) = single_row(&folder, &["l4:1", "--", "--max-model-len", "25.6k"]);
    assert_eq!((code, &document["longestRequestTokens"]), (Some(5), &25_600.into()));
    let offload = ["t4:1", "--", "--max-model-len", "4096", "--cpu-offload-gb", "10"];
    let (code, document) = single_row(&folder, &offload);
    let weights = document["shapes"][0]["bytesPerGpu"]["weights"].as_u64().expect("bytes");
    assert_eq!((code, (LLAMA_WEIGHTS - weights) >> 30), (Some(0), 10), "{document:#}");
    let output = folder.run(&["fit", "./model", "--gpu", "l4:1", "--", "--max-model-len", "25.6K"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && stderr.contains("KD0005") && stderr.contains("25.6k"),
        "{stderr}"
    );
}

#[test]
fn precision_of_files_and_kv_cache_follows_the_engine() {
    let float32 = llama(serde_json::json!({ "torch_dtype": "float32" }));
    let folder = folder_with_files(&float32, &[("model.safetensors", 2 * LLAMA_WEIGHTS)]);
    let (_, document) = single_row(&folder, &["h100:1"]);
    let weights = document["shapes"][0]["bytesPerGpu"]["weights"].as_u64().expect("bytes");
    assert!(weights.abs_diff(LLAMA_WEIGHTS) < 1 << 20, "{weights}");

    let folder = folder_with_files(&llama(serde_json::json!({})), &[("model.safetensors", LLAMA_WEIGHTS)]);
    let token = |folder: &TestFolder| {
        single_row(folder, &["h100:1"]).1["shapes"][0]["bytesPerGpu"]["kvPerToken"].as_u64()
    };
    assert_eq!(token(&folder), Some(131_072));
    let quantization =
        r#"{"producer":{"name":"modelopt"},"quantization":{"quant_algo":"FP8","kv_cache_quant_algo":"FP8"}}"#;
    folder.write("model/hf_quant_config.json", quantization);
    assert_eq!(token(&folder), Some(65_536));
}

#[test]
fn weight_files_are_those_that_the_engine_loads() {
    let shards: Vec<(String, u64)> = [4_976_698_672, 4_999_802_720, 4_915_916_176, 1_168_138_808]
        .into_iter()
        .enumerate()
        .map(|(index, size)| (format!("model-{:05}-of-00004.safetensors", index + 1), size))
        .collect();
    let bytes_of = |files: &[(&str, u64)], index: Option<&str>| {
        let folder = folder_with_files(&llama(serde_json::json!({})), files);
        if let Some(index) = index {
            folder.write("model/model.safetensors.index.json", index);
        }
        single_row(&folder, &["h100:1"]).1["weightBytes"].as_u64().expect("bytes")
    };
    let mut files: Vec<(&str, u64)> = shards.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    let sum = files.iter().map(|(_, size)| size).sum::<u64>();
    files.push(("model.safetensors", 16_060_556_376));
    let map: Vec<String> = shards.iter().map(|(name, _)| format!("\"{name}\":\"{name}\"")).collect();
    let index = format!("{{\"weight_map\":{{{}}}}}", map.join(","));
    assert_eq!(bytes_of(&files, Some(&index)), sum);
    let bins = [
        ("pytorch_model-00001-of-00002.bin", 9_000_000_000),
        ("pytorch_model-00002-of-00002.bin", 7_000_000_000),
        ("training_args.bin", 5000),
        ("optimizer.bin", 32_000_000_000),
    ];
    assert_eq!(bytes_of(&bins, None), 16_000_000_000);
    assert_eq!(bytes_of(&[("consolidated.safetensors", 14_483_498_040)], None), 14_483_498_040);
}

#[test]
fn hostile_values_are_refused() {
    let config = llama(serde_json::json!({ "num_hidden_layers": 4_000_000_000_u64 }));
    let folder = folder_with_files(&config, &[("model.safetensors", LLAMA_WEIGHTS)]);
    let output = folder.run(&["fit", "./model", "--gpu", "l4"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("KD0441") && stderr.contains("num_hidden_layers"), "{stderr}");
    let output = folder.run(&["fit", "./model", "--gpu", "h100:1x4000000000", "--replicas", "2"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}
