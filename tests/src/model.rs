//! Writes a tiny valid model folder for the mocker: tokenizer and configuration, no weights. It does not
//! share code with the plugin's version, so that a mistake in one of them is found.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Outcome;

/// The configuration of Qwen3-32B on the hub, for `fit`.
pub const QWEN3_32B_CONFIG: &str = r#"{
  "architectures": ["Qwen3ForCausalLM"], "hidden_size": 5120, "intermediate_size": 25600,
  "max_position_embeddings": 40960, "num_attention_heads": 64, "num_hidden_layers": 64,
  "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16"
}"#;
/// The total size in its safetensors index, in bytes.
pub const QWEN3_32B_WEIGHTS: u64 = 65_524_246_528;

/// The mocker emits the token IDs 1000 to 1999.
const VOCABULARY_SIZE: usize = 2048;
const CONTEXT_LENGTH: usize = 2048;
const SPECIAL_TOKENS: [&str; 2] = ["<|endoftext|>", "<|im_end|>"];
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}\
                             {% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

/// Writes the model's files into the folder.
pub fn write_model(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)?;
    for (name, content) in files() {
        std::fs::write(folder.join(name), content.to_string())?;
    }
    Ok(())
}

/// Also writes a weights file of this many bytes, which a hub keeps in LFS.
pub fn write_model_with_weights(folder: &Path, bytes: usize) -> Outcome {
    write_model(folder)?;
    let mut header =
        json!({"weight": {"dtype": "U8", "shape": [bytes], "data_offsets": [0, bytes]}}).to_string();
    header.push_str(&" ".repeat(8 - header.len() % 8));
    let mut file = u64::try_from(header.len())?.to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    // Not all bytes are equal, so that misplaced parts are detected.
    file.extend((0..bytes).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8));
    std::fs::write(folder.join("model.safetensors"), file)?;
    Ok(())
}

fn files() -> [(&'static str, Value); 4] {
    let end_of_turn = SPECIAL_TOKENS[1];
    [
        (
            "config.json",
            json!({
                "architectures": ["Qwen3ForCausalLM"],
                "model_type": "qwen3",
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "max_position_embeddings": CONTEXT_LENGTH,
                "vocab_size": VOCABULARY_SIZE,
                "bos_token_id": 256,
                "eos_token_id": 257,
            }),
        ),
        ("generation_config.json", json!({"bos_token_id": 256, "eos_token_id": [257, 256]})),
        ("tokenizer.json", tokenizer()),
        (
            "tokenizer_config.json",
            json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": CONTEXT_LENGTH,
                "eos_token": end_of_turn,
                "pad_token": SPECIAL_TOKENS[0],
                "chat_template": CHAT_TEMPLATE,
            }),
        ),
    ]
}

/// Returns a tokenizer with one token per byte, two special tokens, and readable words for the rest.
fn tokenizer() -> Value {
    let mut tokens: Vec<String> = bytes_as_characters();
    tokens.extend(SPECIAL_TOKENS.map(str::to_owned));
    tokens.extend((tokens.len()..VOCABULARY_SIZE).map(|id| format!("\u{120}word{id}")));
    let ids: Map<String, Value> =
        tokens.into_iter().zip(0..VOCABULARY_SIZE).map(|(token, id)| (token, json!(id))).collect();
    let added: Vec<Value> = SPECIAL_TOKENS
        .iter()
        .map(|token| {
            json!({
                "id": ids[*token], "content": token, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "model": {"type": "BPE", "vocab": ids, "merges": []},
    })
}

/// Returns the character that byte-level tokenizers use for each byte: the byte itself if it is printable.
fn bytes_as_characters() -> Vec<String> {
    let is_printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    (0..256)
        .map(|byte| {
            let code = if is_printable(byte) {
                byte
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap_or_default().to_string()
        })
        .collect()
}
