//! The workloads against the mocker: what AIPerf measured is in its own files.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::numbers::{expect_numbers_of_aiperf, measure, run_folder};

pub(crate) async fn sweep_with_repeats_and_goodput_agrees_with_aiperf(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let sweep = ["--local", "--workload", "sweep", "--concurrency", "1,4", "--runs", "2", "--name", "sweep"];
    let flags = ["--isl-osl", "64,16", "--goodput", "ttft=10s,itl=10s"];
    let run = measure(&machine, &[&sweep[..], &flags].concat())?;
    expect_numbers_of_aiperf(&run, &run_folder(&machine, "sweep"))?;
    let levels = run["levels"].as_array().ok_or("the levels")?;
    ensure!(
        levels.len() == 2 && levels.iter().all(|level| level["runs"].as_array().map(Vec::len) == Some(2)),
        "{run}"
    );
    for level in levels {
        let rate = level["summary"]["requests_per_second"]["mean"].as_f64().ok_or("a rate")?;
        let goodput = level["summary"]["goodput"]["mean"].as_f64().ok_or("the goodput")?;
        // Every request is within ten seconds.
        ensure!((rate - goodput).abs() < rate * 0.01, "{goodput} of {rate}");
        let spread = &level["summary"]["ttft_p50"]["spread"];
        ensure!(spread["low"].as_f64() < spread["high"].as_f64(), "{level}");
    }
    ensure!(!run["analysis"]["pareto"].as_array().ok_or("the points")?.is_empty(), "{run}");
    let screen = machine.run(&["bench", "show", "sweep"])?;
    ensure!(screen.stdout.contains('█') && screen.stdout.contains("tok/s"), "{screen:?}");
    Ok(())
}

pub(crate) async fn conversations_distributions_and_prefixes_agree_with_aiperf(
    shared: Arc<Shared>,
) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&["--router-mode", "kv", "--replicas", "2", "--", "--block-size", "16"])?;
    let measure_workload = |name: &str, flags: &[&str]| -> Outcome<Value> {
        let base = ["--local", "--concurrency", "2", "--workload", name, "--name", name];
        let run = measure(&machine, &[&base[..], flags].concat())?;
        expect_numbers_of_aiperf(&run, &run_folder(&machine, name))?;
        Ok(run["levels"][0]["runs"][0]["measurement"].clone())
    };
    let chat = measure_workload("chat", &["--turns", "3", "--isl-osl", "32,8"])?;
    ensure!(chat["requests"] == 24, "8 conversations with 3 turns: {chat}");
    let mix = measure_workload("mix", &["--isl-osl", "64,4:50;256,8:50"])?;
    let lengths = &mix["metrics"]["output_sequence_length"];
    ensure!((&lengths["min"], &lengths["max"]) == (&json!(4.0), &json!(8.0)), "{lengths}");
    let prefix = measure_workload("prefix", &["--prefix-tokens", "256", "--isl-osl", "32,8"])?;
    let cached = &prefix["metrics"]["overall_usage_prompt_cache_read_pct"]["avg"];
    ensure!(cached.as_f64() > Some(30.0), "prompts with a shared prefix are cached: {prefix}");
    Ok(())
}

pub(crate) async fn predicted_load_is_measured_and_compared(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let prediction = json!({
        "isRecommended": true, "mode": "agg", "gpus": 2, "tokensPerSecondPerGpu": 100.0,
        "tokensPerSecondPerUser": 50.0, "requestsPerSecond": 4.0, "concurrency": 3.2,
        "ttftMilliseconds": 100.0, "itlMilliseconds": 10.0,
    });
    let recommendation = json!({
        "kind": "Recommendation", "model": "acme/tiny", "hardware": "h200:2",
        "predictor": { "name": "aiconfigurator", "version": "0.12.0" },
        "target": { "inputTokens": 64, "outputTokens": 16 }, "predictions": [prediction],
    });
    let path = machine.home().join("recommendation.json");
    std::fs::write(&path, recommendation.to_string())?;
    let path = path.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    let run = measure(&machine, &["--local", "--against", path, "--name", "against"])?;
    expect_numbers_of_aiperf(&run, &run_folder(&machine, "against"))?;
    ensure!(run["levels"][0]["load"] == json!({"concurrency": 3}), "{run}");
    let lengths = &run["levels"][0]["runs"][0]["measurement"]["metrics"]["output_sequence_length"];
    ensure!(lengths["avg"] == 16.0, "{lengths}");
    ensure!(run["prediction"]["values"]["ttft_avg"] == 100.0, "{run}");
    let measured = run["levels"][0]["summary"]["ttft_avg"]["mean"].as_f64().ok_or("the mean")?;
    let screen = machine.run(&["bench", "show", "against"])?;
    let row = format!("{measured:.2} ms");
    let ratio = format!("{:.2}x", measured / 100.0);
    let line = screen.stdout.lines().find(|line| line.starts_with("ttft_avg")).ok_or("the row")?;
    ensure!(line.contains("100.00 ms") && line.contains(&row) && line.ends_with(&ratio), "{line}");
    ensure!(screen.stdout.contains("the prediction is for 2 GPUs, and the run used no GPU"), "{screen:?}");
    Ok(())
}

pub(crate) async fn trace_is_replayed(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let lines: String = (0..10)
        .map(|number| {
            json!({"timestamp": number * 50, "input_length": 64, "output_length": 8}).to_string() + "\n"
        })
        .collect();
    let path = machine.home().join("trace.jsonl");
    std::fs::write(&path, lines)?;
    let path = path.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    let run = measure(&machine, &["--local", "--trace", path, "--name", "trace"])?;
    expect_numbers_of_aiperf(&run, &run_folder(&machine, "trace"))?;
    let measurement = &run["levels"][0]["runs"][0]["measurement"];
    ensure!(measurement["requests"] == 10, "{measurement}");
    ensure!(measurement["metrics"]["output_sequence_length"]["avg"] == 8.0, "{measurement}");
    Ok(())
}
