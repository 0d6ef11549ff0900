//! `fit`: where a model fits, told from its configuration and the size of its weights.

use std::fs::File;

use serde_json::Value;

use crate::requests::Place;

/// Qwen3-32B, as its config.json has it on the hub.
const CONFIG: &str = r#"{
  "architectures": ["Qwen3ForCausalLM"], "hidden_size": 5120, "intermediate_size": 25600,
  "max_position_embeddings": 40960, "num_attention_heads": 64, "num_hidden_layers": 64,
  "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16"
}"#;
/// The size that its safetensors index gives.
const WEIGHTS: u64 = 65_524_246_528;

/// A folder with the model's configuration and a file of the right size without content.
fn place(config: &str) -> Place {
    let place = Place::new();
    place.write("model/config.json", config);
    let weights = File::create(place.path().join("model/model.safetensors")).expect("a file");
    weights.set_len(WEIGHTS).expect("a sparse file");
    place
}

#[test]
fn each_way_to_split_a_model_is_told_with_what_it_leaves() {
    let place = place(CONFIG);
    let shown = place.prints(&["fit", "./model"]);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let row = |tensor: &str| shown.lines().find(|line| line.starts_with(tensor)).expect("a row").to_owned();
    assert!(row("1 ").contains("max 25097 tokens"), "{shown}");
    assert!(row("8 ").ends_with("fits"), "{shown}");

    let document =
        place.prints(&["fit", "./model", "--tp", "2", "--pp", "1", "--max-model-len", "8K", "-o", "json"]);
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let gpu = &document["shapes"][0]["bytesOfEachGpu"];
    // 64 layers, 4 of 8 KV heads of 128 numbers, keys and values, 2 bytes each.
    assert_eq!(gpu["kvOfOneToken"], 64 * 4 * 128 * 2 * 2, "{document:#}");
    assert_eq!(gpu["kvOfOneRequest"], 8192 * 64 * 4 * 128 * 2 * 2, "{document:#}");
    assert_eq!(document["tokensOfLongestRequest"], 8192);
}

#[test]
fn a_whole_deployment_is_told_role_by_role() {
    let place = place(CONFIG);
    let whole = ["fit", "./model", "--gpu", "h100-80g:8x4", "--mode", "disagg", "--prefill-tp", "2"];
    let whole =
        [&whole[..], &["--prefill-replicas", "2", "--decode-tp", "4", "--decode-replicas", "4"]].concat();
    let tiers =
        [&whole[..], &["--kv-offload", "cpu=100Gi,disk=1Ti", "--", "--max-model-len", "32K"]].concat();
    let shown = place.prints(&tiers);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let rows: Vec<&str> = shown.lines().filter(|line| line.contains('×')).collect();
    assert!(rows[0].starts_with("prefill") && rows[1].starts_with("decode"), "{shown}");
    assert!(shown.contains("GPUs: 20 of 32"), "{shown}");
    assert!(shown.contains("CPU tier of a prefill worker") && !shown.contains("tier of a decode"), "{shown}");
    let document = place.prints(&[&["fit", "./model", "-o", "json"], &tiers[2..]].concat());
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let [prefill, decode] = [&document["roles"][0], &document["roles"][1]];
    // 64 layers, keys and values, 8 heads of 128 numbers, 2 bytes; on both GPUs together.
    let request = 32_768 * 64 * 2 * 8 * 128 * 2_u64;
    assert_eq!(prefill["requestsInTiers"]["cpu"], (100 << 30) / request, "{document:#}");
    assert_eq!((&decode["tensorParallelSize"], &decode["requestsInTiers"]["cpu"]), (&4.into(), &Value::Null));

    // Tensor parallelism beyond a node is no shape without more nodes.
    let output = place.run(&["fit", "./model", "--gpu", "l4:4x4", "--tp", "8", "--replicas", "1"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(5) && stdout.contains("--nodes 2"), "{stdout}");
    let output = place.run(&["fit", "./model", "--gpu", "h100:8", "--tp", "4", "--replicas", "3"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("12 GPUs are needed of 8"), "{output:?}");
}

#[test]
fn what_fits_nowhere_ends_with_the_code_for_it() {
    let place = place(CONFIG);
    let output = place.run(&["fit", "./model", "--gpu", "t4:2"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("too large"));
    let output = place.run(&["fit", "./model", "--tp", "3"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("64 heads do not divide"), "{output:?}");
}

#[test]
fn what_is_not_known_is_said() {
    let place = place(&CONFIG.replace("Qwen3ForCausalLM", "NewForCausalLM"));
    let output = place.run(&["fit", "./model"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("KD0441") && stderr.contains("NewForCausalLM"), "{stderr}");
    for (words, code, exit) in [
        (["fit", "./absent", "--gpu", "l4"], "KD0404", 7),
        (["fit", ".", "--gpu", "l4"], "KD0442", 7),
        (["fit", "./model", "--gpu", "fast"], "KD0005", 2),
    ] {
        let output = place.run(&words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(code), "{words:?}: {stderr}");
        assert_eq!(output.status.code(), Some(exit), "{words:?}: {stderr}");
    }
}
