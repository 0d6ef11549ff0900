//! The built-in model: a valid model folder of a few kilobytes without weights, for the mocker.
//! Its content is identical on every machine.

mod vocabulary;

use kubectl_dynamo_core::resources::object_at;
use std::path::Path;

use serde_json::{Value, json};

use super::LocalError;
use super::folders::write_atomically;

/// Number of token IDs. Dynamo's mocker generates the IDs 1000 to 1999.
const VOCABULARY_SIZE: usize = 2048;
/// Context length in tokens.
const CONTEXT_LENGTH: usize = 4096;

const END_OF_TEXT: &str = "<|endoftext|>";
const TURN_START: &str = "<|im_start|>";
const TURN_END: &str = "<|im_end|>";
const SPECIAL: [&str; 3] = [END_OF_TEXT, TURN_START, TURN_END];

/// The ChatML template of the Qwen family.
const CHAT_TEMPLATE: &str = "\
{%- for message in messages -%}\
{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}\
{%- endfor -%}\
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

/// Writes the files of the model into `folder` that are missing or differ.
///
/// # Errors
/// The folder cannot be written.
pub fn write(folder: &Path) -> Result<(), LocalError> {
    std::fs::create_dir_all(folder).map_err(LocalError::file("create", folder))?;
    for (name, content) in files() {
        let path = folder.join(name);
        let text = format!("{content:#}\n");
        if std::fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            continue;
        }
        write_atomically(&path, text.as_bytes()).map_err(LocalError::file("write", &path))?;
    }
    Ok(())
}

/// The name and the content of each file.
fn files() -> [(&'static str, Value); 4] {
    [
        ("config.json", config()),
        (
            "generation_config.json",
            json!({ "eos_token_id": [special_token_id(TURN_END), special_token_id(END_OF_TEXT)] }),
        ),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", tokenizer_config()),
    ]
}

/// The smallest Qwen3 configuration that its readers accept.
fn config() -> Value {
    json!({
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": VOCABULARY_SIZE,
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_size": 32,
        "head_dim": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 1,
        "intermediate_size": 64,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": true,
        "torch_dtype": "bfloat16",
        "bos_token_id": special_token_id(END_OF_TEXT),
        "eos_token_id": special_token_id(TURN_END),
    })
}

/// Byte-level BPE without merges: a prompt has one token per byte, and each word of the vocabulary is one
/// token. The split keeps ` word` together, so that text from the mocker is encoded to the original token
/// IDs.
fn tokenizer() -> Value {
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let split = json!({
        "type": "Split", "pattern": { "Regex": " [a-z]+" }, "behavior": "Isolated", "invert": false,
    });
    let vocabulary: serde_json::Map<String, Value> =
        token_texts().into_iter().enumerate().map(|(id, text)| (text, id.into())).collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .map(|text| {
            let mut token = special_token(text);
            object_at(&mut token, &[]).insert("id".into(), special_token_id(text).into());
            token
        })
        .collect();
    json!({
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [split, byte_level] },
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": vocabulary, "merges": [],
        },
    })
}

fn tokenizer_config() -> Value {
    let decoder: serde_json::Map<String, Value> =
        SPECIAL.iter().map(|text| (special_token_id(text).to_string(), special_token(text))).collect();
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "add_bos_token": false,
        "clean_up_tokenization_spaces": false,
        "bos_token": null,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "unk_token": null,
        "added_tokens_decoder": decoder,
        "chat_template": CHAT_TEMPLATE,
    })
}

fn special_token(text: &str) -> Value {
    json!({
        "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        "special": true,
    })
}

/// The text of each token by ID: the bytes, the special tokens, then words.
fn token_texts() -> Vec<String> {
    let mut all: Vec<String> = (0..=u8::MAX).map(|byte| byte_character(byte).to_string()).collect();
    all.extend(SPECIAL.map(ToOwned::to_owned));
    let space = byte_character(b' ');
    let words = vocabulary::words().map(|word| format!("{space}{word}"));
    all.extend(words.take(VOCABULARY_SIZE - all.len()));
    all
}

fn special_token_id(special: &str) -> usize {
    let index = SPECIAL.iter().position(|token| *token == special);
    usize::from(u8::MAX) + 1 + index.expect("the argument is a special token")
}

/// The character for a byte in byte-level BPE: the byte itself if it is printable in Latin-1, otherwise the
/// next free character from U+0100 (the mapping of GPT-2, which all byte-level tokenizers use).
fn byte_character(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(&byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|other| !printable(other)).count();
    u32::try_from(0x100 + before).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_mocker_token_id_has_unique_text() {
        let vocabulary = token_texts();
        assert_eq!(vocabulary.len(), VOCABULARY_SIZE);
        assert_eq!(vocabulary.iter().collect::<HashSet<_>>().len(), VOCABULARY_SIZE);
        for text in &vocabulary[1000..2000] {
            let word = text.strip_prefix('Ġ').expect("a word begins with a space");
            assert!(word.len() >= 4 && word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn byte_characters_match_gpt2_mapping() {
        for (byte, character) in [(b'A', 'A'), (b' ', 'Ġ'), (b'\n', 'Ċ'), (0, 'Ā'), (0x7F, 'ġ'), (0xAD, 'Ń')]
        {
            assert_eq!(byte_character(byte), character, "{byte}");
        }
    }

    #[test]
    fn damaged_file_is_rewritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path()).expect("writable");
        let tokenizer = folder.path().join("tokenizer.json");
        let original = std::fs::read(&tokenizer).expect("readable");
        std::fs::write(&tokenizer, &original[..original.len() / 2]).expect("writable");
        write(folder.path()).expect("writable");
        assert_eq!(std::fs::read(&tokenizer).expect("readable"), original);
    }
}
