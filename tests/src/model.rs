//! A tiny valid model folder for the mocker, made anew on each run: tokenizer and configuration, no weights.
//! The tests have their own, so that the one in the plugin cannot excuse a misreading of what a frontend accepts.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Outcome;

/// The mocker emits the ids 1000 to 1999.
const VOCABULARY: usize = 2048;
const CONTEXT: usize = 2048;
const SPECIAL: [&str; 2] = ["<|endoftext|>", "<|im_end|>"];
const CHAT_TEMPLATE: &str = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}\
                             {% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";

/// Writes the model's files into the folder.
pub fn write(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)?;
    for (name, content) in files() {
        std::fs::write(folder.join(name), content.to_string())?;
    }
    Ok(())
}

/// Writes besides a file of weights of this many bytes, which a hub keeps in large file storage.
pub fn write_with_weights(folder: &Path, bytes: usize) -> Outcome {
    write(folder)?;
    let mut header =
        json!({"weight": {"dtype": "U8", "shape": [bytes], "data_offsets": [0, bytes]}}).to_string();
    header.push_str(&" ".repeat(8 - header.len() % 8));
    let mut file = u64::try_from(header.len())?.to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    // Not all the same, so that a part in the wrong place is found out.
    file.extend((0..bytes).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8));
    std::fs::write(folder.join("model.safetensors"), file)?;
    Ok(())
}

fn files() -> [(&'static str, Value); 4] {
    let end_of_turn = SPECIAL[1];
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
                "max_position_embeddings": CONTEXT,
                "vocab_size": VOCABULARY,
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
                "model_max_length": CONTEXT,
                "eos_token": end_of_turn,
                "pad_token": SPECIAL[0],
                "chat_template": CHAT_TEMPLATE,
            }),
        ),
    ]
}

/// One token for a byte, two specials, and readable words for the rest.
fn tokenizer() -> Value {
    let mut words: Vec<String> = bytes_as_characters();
    words.extend(SPECIAL.map(str::to_owned));
    words.extend((words.len()..VOCABULARY).map(|id| format!("\u{120}word{id}")));
    let ids: Map<String, Value> =
        words.into_iter().zip(0..VOCABULARY).map(|(word, id)| (word, json!(id))).collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .map(|word| {
            json!({
                "id": ids[*word], "content": word, "special": true,
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

/// The character by which byte-level tokenizers write each byte: itself where it is printable.
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
