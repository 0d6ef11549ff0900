//! Predictions of real models, and the commands that serve them.

use std::process::Command;
use std::sync::Arc;

use kubectl_dynamo_core::recommend::GpuSystem;
use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;

/// Renders with the arguments of a command of `up`, which a shell splits.
fn check_render(machine: &TestMachine, command: &str) -> Outcome {
    let script = format!("set -- {command}; printf '%s\\n' \"$@\"");
    let output = Command::new("sh").args(["-c", &script]).output()?;
    let words = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = words.lines().collect();
    ensure!(words.starts_with(&["kubectl", "dynamo", "up"]), "{command}");
    let offline = ["render", "--release", "1.6.1", "--graph-api", "v1beta1"];
    machine.run(&[&offline[..], &words[3..]].concat())?.expect(0, &[])?;
    Ok(())
}

fn predictions(document: &Value) -> &[Value] {
    document["predictions"].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) async fn command_of_a_dense_model_is_accepted_by_render(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let args = ["recommend", "Qwen/Qwen3-32B-FP8", "--gpu", "h200:8"];
    let result = machine.run(&[&args[..], &["-o", "json"]].concat())?;
    // The hub cannot be reached, and the package contains this model.
    let document = result.expect(0, &["using the configuration of Qwen/Qwen3-32B-FP8"])?.json()?;
    let best = &predictions(&document)[0];
    let role = &best["roles"][0];
    ensure!(
        best["mode"] == "agg" && role["replicas"] == 8 && role["tensorParallelSize"] == 1,
        "{document:#}"
    );
    ensure!((450.0..490.0).contains(&best["ttftMilliseconds"].as_f64().unwrap_or_default()), "{document:#}");
    // aiconfigurator and `fit` agree about the memory within a few GiB.
    ensure!(
        best["memoryDifferences"].as_array().is_some_and(Vec::is_empty) && best["fits"] == true,
        "{document:#}"
    );
    let is_two_and_six = |prediction: &Value| {
        let replicas = |at: usize| prediction["roles"][at]["replicas"].as_u64();
        prediction["mode"] == "disagg" && (replicas(0), replicas(1)) == (Some(2), Some(6))
    };
    ensure!(predictions(&document).iter().any(is_two_and_six), "{document:#}");
    for prediction in predictions(&document) {
        check_render(&machine, prediction["command"].as_str().unwrap_or_default())?;
    }
    let command = machine.run(&[&args[..], &["-o", "command"]].concat())?;
    ensure!(
        command.stdout.trim_end() == document["command"],
        "the prediction is the same twice: {command:?}"
    );
    Ok(())
}

pub(crate) async fn folder_of_a_second_model_has_its_own_prediction(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let model = machine.home().join("llama");
    std::fs::create_dir(&model)?;
    let bundled = shared.packages()?.join("aiconfigurator_core/model_configs");
    std::fs::copy(bundled.join("meta-llama--Meta-Llama-3.1-8B_config.json"), model.join("config.json"))?;
    let path = model.display().to_string();
    let limits = ["--gpu", "h100:4", "--isl", "2000", "--osl", "256", "--ttft", "500ms", "--itl", "20ms"];
    let document = machine.run(&[&["recommend", &path, "-o", "json"], &limits[..]].concat())?.json()?;
    ensure!(document["weightSource"] == "configuration", "{document:#}");
    // 8.03 billion parameters of 16 bits.
    let bytes = document["weightBytes"].as_u64().unwrap_or_default();
    ensure!((15_900_000_000..16_200_000_000).contains(&bytes), "{document:#}");
    let best = &predictions(&document)[0];
    ensure!(best["gpus"] == 4 && best["itlMilliseconds"].as_f64() < Some(20.0), "{document:#}");
    // Only this machine can serve a folder, so the command of a model on the hub is rendered.
    let command = document["command"].as_str().unwrap_or_default();
    ensure!(command.ends_with("--local") || command.contains("--local --"), "{command}");
    let on_hub = command.replace(&path, "meta-llama/Llama-3.1-8B").replace(" --local", "");
    check_render(&machine, &on_hub)
}

pub(crate) async fn experts_are_predicted_with_expert_parallelism(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let args = ["recommend", "Qwen/Qwen3-30B-A3B-FP8", "--gpu", "h100:8x2", "--isl", "3000", "--osl", "150"];
    let limits = ["--ttft", "200ms", "--itl", "20ms", "-o", "json"];
    let document = machine.run(&[&args[..], &limits[..]].concat())?.json()?;
    let roles = |prediction: &Value| prediction["roles"].as_array().cloned().unwrap_or_default();
    let mut roles = predictions(&document).iter().flat_map(roles);
    ensure!(roles.any(|role| role["enableExpertParallel"] == true), "{document:#}");
    for prediction in predictions(&document) {
        check_render(&machine, prediction["command"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

pub(crate) async fn load_is_served_with_the_fewest_gpus(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let args = ["recommend", "Qwen/Qwen3-32B-FP8", "--request-rate", "10", "-o", "json"];
    let document = machine.run(&[&args[..], &["--gpu", "h200:8x4"]].concat())?.json()?;
    let gpus: Vec<u64> = predictions(&document).iter().filter_map(|one| one["gpus"].as_u64()).collect();
    ensure!(gpus.first() == Some(&18) && gpus.is_sorted(), "{document:#}");
    let rate = predictions(&document)[0]["requestsPerSecond"].as_f64();
    ensure!(rate >= Some(10.0), "{document:#}");
    let few = machine.run(&[&args[..], &["--gpu", "h200:8"]].concat())?;
    few.expect(5, &["[KD0945]", "needs 18 GPUs"])?;
    Ok(())
}

pub(crate) async fn every_known_gpu_has_measurements_of_vllm(shared: Arc<Shared>) -> Outcome {
    let systems = shared.packages()?.join("aiconfigurator_core/systems");
    for system in GpuSystem::all() {
        ensure!(systems.join(format!("{}.yaml", system.name())).is_file(), "{system:?}");
        let gemm = systems.join("data").join(system.name()).join("gemm/vllm");
        ensure!(gemm.is_dir(), "{system:?} does not have {}", gemm.display());
    }
    Ok(())
}
