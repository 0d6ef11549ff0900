//! `recommend` without aiconfigurator: a script takes its place and copies recorded files, or fails in the ways in which
//! aiconfigurator fails. The tier `recommend` runs the real program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use kubectl_dynamo_core::release::AICONFIGURATOR_VERSION;
use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::outline::outline;
use serde_json::Value;

use crate::requests::TestFolder;
use crate::{OFFLINE, assert_fails};

/// The configuration of Qwen3-32B-FP8 on the hub, without fields that do not matter here.
const CONFIG: &str = r#"{
  "architectures": ["Qwen3ForCausalLM"], "hidden_size": 5120, "intermediate_size": 25600,
  "max_position_embeddings": 40960, "num_attention_heads": 64, "num_hidden_layers": 64,
  "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16",
  "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
    "weight_block_size": [128, 128]}
}"#;

/// The beginning of the script: reads the flags that decide what is written.
const SCRIPT: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/calls"
while [ $# -gt 0 ]; do
  case $1 in
    --save-dir) out=$2/model_h200_sxm_1 ;;
    --serving-mode) mode=$2 ;;
    --strict-sla) strict=yes ;;
  esac
  shift
done
copy() { mkdir -p "$out/$2" && cp -r "RECORDED/$1/." "$out/$2" && : > "$out/$2/exp_config.yaml"; }
"#;

/// Writes the recorded files of each mode; for a load, those of aggregated workers.
const COMPLETE: &str = r#"if [ -n "$mode" ]; then copy "$mode" "$mode"; else copy load agg; fi"#;

/// A home folder with an installed predictor, which is a script with this end.
fn home(behavior: &str) -> TestFolder {
    let mut folder = TestFolder::new();
    folder.set("HF_HUB_OFFLINE", "1");
    let temporary = folder.path().join("temporary").display().to_string();
    fs::create_dir(&temporary).expect("the folder for temporary files");
    folder.set("TMPDIR", &temporary);
    let environment = format!(".cache/kubectl-dynamo/runtimes/aiconfigurator-{AICONFIGURATOR_VERSION}");
    let recorded = cache::repository().join("kubectl-dynamo/core/src/recommend/files/recorded");
    let script = SCRIPT.replace("RECORDED", &recorded.display().to_string()) + behavior;
    let program = format!("{environment}/bin/aiconfigurator");
    folder.write(&program, &script);
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path().join(program), executable).expect("the script is executable");
    folder.write(&format!("{environment}/bin/python3"), "");
    let requirement = format!("aiconfigurator=={AICONFIGURATOR_VERSION}\n");
    folder.write(&format!("{environment}/kubectl-dynamo.installed"), &requirement);
    let configs = format!("{environment}/lib/python3.11/site-packages/aiconfigurator_core/model_configs");
    folder.write(&format!("{configs}/Qwen--Qwen3-32B-FP8_config.json"), CONFIG);
    folder.write("model/config.json", CONFIG);
    folder
}

const MODEL: [&str; 4] = ["recommend", "Qwen/Qwen3-32B-FP8", "--gpu", "h200:8"];

#[track_caller]
fn fails(folder: &TestFolder, arguments: &[&str], exit: i32, parts: &[&str]) -> Output {
    let output = folder.run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{arguments:?} must print `{part}`: {stderr}");
    }
    assert_nothing_left(folder);
    output
}

/// The predictor's files are removed after a success and after an error.
#[track_caller]
fn assert_nothing_left(folder: &TestFolder) {
    let left =
        fs::read_dir(folder.path().join(".cache/kubectl-dynamo/predictions")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files of the predictor are left");
}

/// The words of a command line, as a shell splits it.
fn words(command: &str) -> Vec<String> {
    let script = format!("set -- {command}; printf '%s\\n' \"$@\"");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell runs");
    String::from_utf8(output.stdout).expect("text").lines().map(ToOwned::to_owned).collect()
}

/// Renders with the arguments of a command of `up`.
fn render(folder: &TestFolder, command: &str) -> String {
    let words = words(command);
    let [kubectl, dynamo, up, rest @ ..] = words.as_slice() else { panic!("{command}") };
    assert_eq!([kubectl, dynamo, up], ["kubectl", "dynamo", "up"], "{command}");
    let rest = rest.iter().map(String::as_str);
    let arguments: Vec<&str> = ["render"].into_iter().chain(OFFLINE).chain(rest).collect();
    folder.run_successfully(&arguments)
}

#[test]
fn table_ranks_predictions_and_says_that_they_are_not_measured() {
    let folder = home(COMPLETE);
    let output = folder.run(&MODEL);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    // The hub was not read, so the configuration is that of the package.
    assert!(stderr.contains("using the configuration of Qwen/Qwen3-32B-FP8 in aiconfigurator"), "{stderr}");
    insta::assert_snapshot!("recommendation", String::from_utf8_lossy(&output.stdout));
    assert_nothing_left(&folder);
    let calls = folder.read("calls");
    assert_eq!(calls.lines().count(), 2, "{calls}");
    assert!(
        calls.lines().all(|call| call.contains("--backend vllm") && !call.contains("dynamo-version")),
        "{calls}"
    );
}

#[test]
fn render_accepts_exactly_the_command_and_the_request_of_each_prediction() {
    let folder = home(COMPLETE);
    let document = folder.run_successfully(&[&MODEL[..], &["-o", "json"]].concat());
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let closed = ["apiVersion", "kind", "mode", "objective", "role", "weightSource"];
    insta::assert_snapshot!("json-recommendation", outline([&document], &closed));
    let predictions = document["predictions"].as_array().expect("predictions");
    assert_eq!(predictions.len(), 4, "{document:#}");
    for prediction in predictions {
        let objects = render(&folder, prediction["command"].as_str().expect("a command"));
        assert!(objects.contains("--max-num-batched-tokens"), "{objects}");
    }
    let command = folder.run_successfully(&[&MODEL[..], &["-o", "command"]].concat());
    assert_eq!(command.trim_end(), document["command"], "the first line of -o command is the best one");
    folder.write("request.yaml", &document["request"].to_string());
    let arguments = [&["render", "-f", "request.yaml"], &OFFLINE[..]].concat();
    let from_file = folder.run_successfully(&arguments);
    assert_eq!(from_file, render(&folder, command.trim_end()));
    assert!(from_file.contains("replicas: 8"), "{from_file}");
}

#[test]
fn load_asks_for_the_fewest_gpus() {
    let folder = home(COMPLETE);
    let load = ["recommend", "./model", "--gpu", "h200:8x4", "--request-rate", "10"];
    let document = folder.run_successfully(&[&load[..], &["-o", "json"]].concat());
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["target"]["objective"], "min-gpus");
    assert_eq!(document["predictions"][0]["gpus"], 18, "{document:#}");
    assert_eq!(document["modesWithoutPrediction"], serde_json::json!(["disagg"]));
    // A folder is not on the hub, so only this machine can serve it.
    assert!(document["command"].as_str().is_some_and(|command| command.contains("--local")), "{document:#}");
    let calls = folder.read("calls");
    assert!(calls.contains("--target-request-rate 10") && !calls.contains("--total-gpus"), "{calls}");

    let few = ["recommend", "./model", "--gpu", "h200:8", "--request-rate", "10"];
    let output = fails(&folder, &few, 5, &["[KD0945]", "needs 18 GPUs", "--gpu has 8"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("18×TP1"), "the table is printed");
    let output = fails(&folder, &[&few[..], &["-o", "command"]].concat(), 5, &["[KD0945]"]);
    assert!(output.stdout.is_empty(), "a command that cannot work is not printed");
}

#[test]
fn prediction_that_does_not_fit_is_reported() {
    let folder = home(COMPLETE);
    // The recorded prediction is for GPUs with three times the memory.
    let output = folder.run(&["recommend", "./model", "--gpu", "l40s:8"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("warning [KD0946]") && stderr.contains("but fit calculates that"), "{stderr}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("KD0946"), "{table}");
    // With the model's own length, the engine would not start.
    assert!(table.contains(" -- --max-model-len="), "{table}");
}

#[test]
fn impossible_latency_is_an_answer_with_the_lowest_ones() {
    let folder = home(
        r#"[ -z "$strict" ] || { echo no configuration >&2; exit 1; }
copy "$mode" "$mode"; cp "$out/$mode/best_config_topn.csv" "$out/$mode/pareto.csv""#,
    );
    let parts = ["[KD0942]", "within 1 ms", "337 ms and 27.7 ms", "--ttft"];
    fails(&folder, &[&MODEL[..], &["--ttft", "1ms"]].concat(), 5, &parts);
    assert_eq!(folder.read("calls").lines().count(), 3);
}

#[test]
fn failure_of_aiconfigurator_is_shown_and_nothing_is_left() {
    let failing = home("echo 'quant mode is not supported' >&2; exit 2");
    let parts = ["[KD0943]", "exit code 2", "quant mode is not supported", "kubectl dynamo fit MODEL"];
    fails(&failing, &MODEL, 1, &parts);
    // It exits with 0 although it did not write a file.
    fails(&home("exit 0"), &MODEL, 1, &["[KD0944]", "best_config_topn.csv", "missing"]);
    let without_table = r#"copy "$mode" "$mode"; rm "$out/$mode/best_config_topn.csv""#;
    fails(&home(without_table), &MODEL, 1, &["[KD0944]", "best_config_topn.csv", "missing"]);
    let without_config = r#"copy "$mode" "$mode"; rm "$out/$mode/top2/generator_config.yaml""#;
    fails(&home(without_config), &MODEL, 1, &["[KD0944]", "generator_config.yaml", "missing"]);
    let other_columns = r#"copy "$mode" "$mode"; sed -i 1s/ttft/first/ "$out/$mode/best_config_topn.csv""#;
    fails(&home(other_columns), &MODEL, 1, &["[KD0944]", "ttft"]);
}

#[test]
fn one_mode_may_not_have_a_prediction() {
    let folder = home(r#"[ "$mode" = agg ] || exit 1; copy agg agg"#);
    let table = folder.run_successfully(&MODEL);
    assert!(table.contains("disagg: no configuration meets the limits"), "{table}");
}

#[test]
fn model_without_a_configuration_is_an_error() {
    let folder = home(COMPLETE);
    let with = |model: &'static str| ["recommend", model, "--gpu", "h200:8"];
    fails(&folder, &with("acme/unknown"), 7, &["[KD0941]", "\"acme/unknown\"", "config.json"]);
    fails(&folder, &with("./absent"), 7, &["[KD0941]", "./absent"]);
    folder.write("broken/config.json", "{");
    fails(&folder, &with("./broken"), 7, &["[KD0941]", "./broken"]);
    let long = [&with("./model")[..], &["--isl", "50000"]].concat();
    fails(&folder, &long, 2, &["[KD0005]", "51000 tokens", "40960"]);
    assert!(!folder.path().join("calls").exists(), "the predictor was not started");
}

/// A hub that denies every request.
fn denying_hub() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

#[test]
fn gated_model_needs_a_token_unless_aiconfigurator_knows_it() {
    let mut folder = home(COMPLETE);
    folder.set("HF_HUB_OFFLINE", "0");
    folder.set("HF_ENDPOINT", &denying_hub());
    let gated = ["recommend", "acme/gated", "--gpu", "h200:8"];
    fails(&folder, &gated, 4, &["[KD0941]", "\"acme/gated\"", "HF_TOKEN"]);
    let output = folder.run(&MODEL);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("in aiconfigurator"), "{stderr}");
}

#[test]
fn worker_that_was_predicted_on_a_larger_node_is_not_recommended() {
    let folder = home(r#"[ "$mode" = disagg ] || exit 1; copy moe disagg"#);
    let table = folder.run_successfully(&["recommend", "./model", "--gpu", "h200:4x4"]);
    assert!(table.contains("predicted for 8 GPUs per node"), "{table}");
    assert!(table.contains("no deployment fits these GPUs as predicted"), "{table}");
    assert!(table.contains("--decode-nodes 2"), "{table}");
}

#[test]
fn rejects_invalid_options_before_anything_is_installed() {
    let with = |flags: &[&'static str]| [&["recommend", "a/b", "--gpu", "h200:8"], flags].concat();
    for (flags, code, part) in [
        (&["--ttft", "5"][..], "KD0001", "not a latency"),
        (&["--itl", "0ms"], "KD0001", "not a latency"),
        (&["--isl", "0"], "KD0001", "--isl"),
        (&["--osl", "1"], "KD0001", "--osl"),
        (&["--request-rate", "1", "--concurrency", "1"], "KD0001", "--concurrency"),
        (&["--request-rate", "0"], "KD0005", "--request-rate"),
        (&["--concurrency", "0"], "KD0005", "--concurrency"),
        (&["--objective", "min-gpus"], "KD0005", "needs a load"),
        (&["--objective", "throughput", "--concurrency", "1"], "KD0007", "--concurrency"),
        (&["--objective", "speed"], "KD0001", "min-gpus"),
    ] {
        assert_fails(&with(flags), 2, code, &[part]);
    }
    let known = ["\"l4-24g\"", "h200", "kubectl dynamo fit MODEL --gpu l4-24g"];
    assert_fails(&["recommend", "a/b", "--gpu", "l4-24g:8"], 2, "KD0940", &known);
    assert_fails(&["recommend", "a/b", "--gpu", "mystery"], 2, "KD0005", &["mystery"]);
    assert_fails(&["recommend", "a/b/c", "--gpu", "h200"], 2, "KD0401", &["a/b/c"]);
    // Without --gpu, the GPUs are those of the cluster.
    assert_fails(&["recommend", "a/b"], 4, "KD0101", &["--kubeconfig"]);
}

#[test]
fn missing_python_is_named() {
    let mut folder = TestFolder::new();
    folder.set("PATH", "/nonexistent");
    fails(&folder, &MODEL, 1, &["Python not found", "python3-venv"]);
}
