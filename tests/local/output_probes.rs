//! `test` about tool calls, reasoning, and structured answers: the real frontend and its parsers, in front of a worker
//! that answers fixed text.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::probes::{expect, test_document};

const PORT: u16 = 18_000;
const URL: &str = "http://127.0.0.1:18000/v1";
const MODEL: &str = "fixed";
const PROBES: [&str; 4] = ["--url", URL, "--only", "tools,reasoning,structured"];
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The first ID after those of the bytes.
const FIRST_MARKER_ID: usize = 256;
/// The tokens of Qwen3's tokenizer that are not split.
const MARKERS: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"];

const CHAT_TEMPLATE: &str = "{%- if tools -%}Available tools: {{ tools | tojson }}{%- endif -%}\
    {%- for message in messages -%}<|im_start|>{{ message.role ~ '\\n' ~ message.content }}<|im_end|>{%- endfor -%}\
    <|im_start|>assistant\n";

/// A frontend and a worker. Dropping it ends both.
struct FixedText {
    processes: Vec<Child>,
}

impl Drop for FixedText {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have exited.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl FixedText {
    /// Starts both and waits until the model is listed. `parsers` are of tool calls and of reasoning.
    fn start(machine: &TestMachine, shared: &Shared, parsers: [&str; 2], answers: &Value) -> Outcome<Self> {
        let folder = machine.home().join("model");
        write_model(&folder)?;
        let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/local/fixed_text_worker.py");
        let (folder, answers, port) = (folder.display().to_string(), answers.to_string(), PORT.to_string());
        let [tool_call, reasoning] = parsers;
        let commands: [(&str, &[&str]); 2] = [
            ("frontend", &["-m", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", &port]),
            ("worker", &[worker, &folder, MODEL, &answers, tool_call, reasoning]),
        ];
        let mut started = Self { processes: Vec::new() };
        for (name, args) in commands {
            let log = File::create(machine.home().join(format!("{name}.log")))?;
            let mut command = machine.program_command(&shared.interpreter);
            command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            command.env("DYN_DISCOVERY_BACKEND", "file").env("DYN_FILE_KV", machine.home().join("discovery"));
            for address in ["DYN_TCP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", "DYN_EVENT_PLANE_HOST"] {
                command.env(address, "127.0.0.1");
            }
            started.processes.push(command.spawn()?);
        }
        let deadline = std::time::Instant::now() + START_TIMEOUT;
        while !machine.get(&format!("{URL}/models")).is_ok_and(|models| models.contains(MODEL)) {
            let log = std::fs::read_to_string(machine.home().join("worker.log")).unwrap_or_default();
            ensure!(std::time::Instant::now() < deadline, "the model is not listed: {log}");
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(started)
    }
}

/// Writes a model whose tokens are bytes.
fn write_model(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let vocabulary: serde_json::Map<_, _> =
        byte_letters().into_iter().enumerate().map(|(id, letter)| (letter.to_string(), id.into())).collect();
    let added: Vec<Value> = MARKERS
        .iter()
        .enumerate()
        .map(|(number, text)| {
            json!({
                "id": FIRST_MARKER_ID + number, "content": text, "special": text.starts_with("<|"), "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    let model = json!({ "type": "BPE", "vocab": vocabulary, "merges": [] });
    let tokenizer = json!({
        "version": "1.0", "added_tokens": added, "pre_tokenizer": bytes, "decoder": bytes, "model": model,
        "normalizer": null, "post_processor": null, "truncation": null, "padding": null,
    });
    let configuration = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": FIRST_MARKER_ID + MARKERS.len(),
        "max_position_embeddings": 8192, "bos_token_id": FIRST_MARKER_ID, "eos_token_id": FIRST_MARKER_ID + 1,
    });
    let tokenizer_configuration = json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE, "eos_token": MARKERS[1],
    });
    for (name, content) in [
        ("tokenizer.json", tokenizer),
        ("config.json", configuration),
        ("tokenizer_config.json", tokenizer_configuration),
        ("generation_config.json", json!({ "eos_token_id": FIRST_MARKER_ID + 1 })),
    ] {
        std::fs::write(folder.join(name), content.to_string())?;
    }
    Ok(())
}

/// The letter of each byte in a byte-level vocabulary: the byte itself if it is printable, else a letter from U+0100 on.
fn byte_letters() -> Vec<char> {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = '\u{100}'..;
    let letter = |byte: u8| if is_printable(byte) { Some(char::from(byte)) } else { others.next() };
    (0..=u8::MAX).filter_map(letter).collect()
}

/// The answers of a model in the style of Qwen3.
fn qwen_answers() -> Value {
    json!({
        "tools": "<think>I need the time.</think><tool_call>\n{\"name\": \"get_local_time\", \
            \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
        "plain": "<think>91 is 7 times 13.</think>No.",
        "structured": "{\"city\": \"Paris\", \"letters\": 5}",
    })
}

pub(crate) async fn fitting_parsers_pass(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let _processes = FixedText::start(&machine, &shared, ["hermes", "qwen3"], &qwen_answers())?;
    let document = test_document(&machine, 0, &PROBES)?;
    expect(
        &document,
        "tools",
        "passed",
        None,
        "a forced and an automatic call of get_local_time are in tool_calls",
    )?;
    expect(
        &document,
        "reasoning",
        "passed",
        None,
        "17 letters of reasoning are in their own field, and 3 in",
    )?;
    expect(&document, "structured", "passed", None, "follows the JSON schema: city \"Paris\", letters 5")?;
    ensure!(document["requests"].as_u64() < Some(8), "{document}");
    Ok(())
}

pub(crate) async fn unparsed_output_names_the_parser(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let mut answers = qwen_answers();
    answers["structured"] = "The capital is Paris.".into();
    let _processes = FixedText::start(&machine, &shared, ["", ""], &answers)?;
    let document = test_document(&machine, 9, &PROBES)?;
    expect(&document, "tools", "failed", Some("KD0723"), "the tool-call parser \"hermes\" reads")?;
    expect(&document, "reasoning", "failed", Some("KD0724"), "the text of the answer, which has `<think>`")?;
    expect(&document, "structured", "warning", Some("KD0725"), "does not follow it")
}

pub(crate) async fn wrong_parser_loses_the_call(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let _processes = FixedText::start(&machine, &shared, ["qwen3_coder", "qwen3"], &qwen_answers())?;
    let document = test_document(&machine, 9, &PROBES)?;
    expect(&document, "tools", "failed", Some("KD0723"), "\"hermes\" reads")?;
    expect(&document, "reasoning", "passed", None, "17 letters")
}
