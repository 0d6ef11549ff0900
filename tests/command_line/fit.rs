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
