//! The model this program brings along: a valid model folder of a few kilobytes without weights, for engines
//! that only pretend. It is the same on every machine.

mod words;

use std::path::Path;

use serde_json::{Value, json};

use super::LocalError;
use super::folders::write_whole;

/// Ids in its vocabulary: Dynamo's mocker emits 1000 to 1999.
const VOCABULARY: usize = 2048;
/// Its context window, in tokens.
const CONTEXT: usize = 4096;

const END_OF_TEXT: &str = "<|endoftext|>";
const TURN_START: &str = "<|im_start|>";
const TURN_END: &str = "<|im_end|>";
const SPECIAL: [&str; 3] = [END_OF_TEXT, TURN_START, TURN_END];

/// ChatML, as the Qwen family writes it.
const CHAT_TEMPLATE: &str = "\
{%- for message in messages -%}\
{{ '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}\
{%- endfor -%}\
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}";

/// Writes the model into `folder` where its files are not there already or differ.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(folder: &Path) -> Result<(), LocalError> {
    std::fs::create_dir_all(folder).map_err(LocalError::file("make", folder))?;
    for (name, content) in files() {
        let path = folder.join(name);
        let text = format!("{content:#}\n");
        if std::fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            continue;
        }
        write_whole(&path, text.as_bytes()).map_err(LocalError::file("write", &path))?;
    }
    Ok(())
}

/// Its files: name and content.
fn files() -> [(&'static str, Value); 4] {
    [
        ("config.json", config()),
        ("generation_config.json", json!({ "eos_token_id": [id_of(TURN_END), id_of(END_OF_TEXT)] })),
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", tokenizer_config()),
    ]
}

/// The smallest shape that readers of a Qwen3 configuration accept.
fn config() -> Value {
    json!({
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
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
        "bos_token_id": id_of(END_OF_TEXT),
        "eos_token_id": id_of(TURN_END),
    })
}

/// Byte-level BPE without merges: a prompt counts one token a byte, and each of our words is one token. The
/// split keeps ` word` together, so that text of the mock engine reads back as the ids it came from.
fn tokenizer() -> Value {
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let split = json!({
        "type": "Split", "pattern": { "Regex": " [a-z]+" }, "behavior": "Isolated", "invert": false,
    });
    let vocabulary: serde_json::Map<String, Value> =
        vocabulary().into_iter().enumerate().map(|(id, text)| (text, id.into())).collect();
    let added: Vec<Value> = SPECIAL
        .iter()
        .map(|text| {
            let mut token = special_token(text);
            token["id"] = id_of(text).into();
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
        SPECIAL.iter().map(|text| (id_of(text).to_string(), special_token(text))).collect();
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
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

/// Every token's text by id: the bytes, the special tokens, then words.
fn vocabulary() -> Vec<String> {
    let mut all: Vec<String> = (0..=u8::MAX).map(|byte| byte_character(byte).to_string()).collect();
    all.extend(SPECIAL.map(ToOwned::to_owned));
    let space = byte_character(b' ');
    let words = words::words().map(|word| format!("{space}{word}"));
    all.extend(words.take(VOCABULARY - all.len()));
    all
}

fn id_of(special: &str) -> usize {
    let place = SPECIAL.iter().position(|known| *known == special);
    usize::from(u8::MAX) + 1 + place.expect("only the special tokens are asked for")
}

/// The character by which byte-level BPE writes a byte: itself where it is printable in Latin-1, else the next
/// free one from U+0100 on (the mapping of GPT-2, which every byte-level tokenizer shares).
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
    fn every_id_of_the_mock_engine_is_a_word_of_its_own() {
        let vocabulary = vocabulary();
        assert_eq!(vocabulary.len(), VOCABULARY);
        assert_eq!(vocabulary.iter().collect::<HashSet<_>>().len(), VOCABULARY);
        for text in &vocabulary[1000..2000] {
            let word = text.strip_prefix('Ġ').expect("a word begins with a space");
            assert!(word.len() >= 4 && word.chars().all(|c| c.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn bytes_are_written_as_every_byte_level_tokenizer_does() {
        for (byte, character) in [(b'A', 'A'), (b' ', 'Ġ'), (b'\n', 'Ċ'), (0, 'Ā'), (0x7F, 'ġ'), (0xAD, 'Ń')]
        {
            assert_eq!(byte_character(byte), character, "{byte}");
        }
    }

    #[test]
    fn a_damaged_file_is_written_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path()).expect("writable");
        let tokenizer = folder.path().join("tokenizer.json");
        let whole = std::fs::read(&tokenizer).expect("readable");
        std::fs::write(&tokenizer, &whole[..whole.len() / 2]).expect("writable");
        write(folder.path()).expect("writable");
        assert_eq!(std::fs::read(&tokenizer).expect("readable"), whole);
    }
}
