//! Questions that aiconfigurator cannot answer, and a command that is stopped. Nothing is left.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::{TestMachine, open_processes, wait_until_all_exit};
use kubectl_dynamo_tests::{Outcome, ensure};
use rustix::process::Signal;

use crate::Shared;

const QWEN: [&str; 4] = ["recommend", "Qwen/Qwen3-32B-FP8", "--gpu", "h200:8"];

pub(crate) async fn impossible_latency_is_an_answer(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let result = machine.run(&[&QWEN[..], &["--ttft", "1ms", "--itl", "1ms"]].concat())?;
    result.expect(5, &["[KD0942]", "within 1 ms", "the lowest predicted latencies are"])?;
    ensure!(result.stdout.is_empty(), "{result:?}");
    Ok(())
}

pub(crate) async fn model_that_aiconfigurator_does_not_know_is_an_error(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let model = machine.home().join("mystery");
    std::fs::create_dir(&model)?;
    let config = r#"{"architectures":["MysteryForCausalLM"],"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4}"#;
    std::fs::write(model.join("config.json"), config)?;
    let path = model.display().to_string();
    machine.run(&["recommend", &path, "--gpu", "h200:8"])?.expect(1, &["[KD0943]", "MysteryForCausalLM"])?;
    // Not in the package, and the hub cannot be reached.
    machine
        .run(&["recommend", "acme/unknown", "--gpu", "h200:8"])?
        .expect(7, &["[KD0941]", "acme/unknown"])?;
    Ok(())
}

pub(crate) async fn ctrl_c_leaves_nothing(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let mut running = machine.start(&QWEN)?;
    running.wait_for_line("aiconfigurator to predict agg")?;
    let beginning = format!("kubectl-dynamo-prediction-{}-", running.id());
    let folders = || -> Outcome<usize> {
        let entries = std::fs::read_dir(std::env::temp_dir())?.flatten();
        Ok(entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&beginning)).count())
    };
    ensure!(folders()? == 1, "the folder of the run does not exist");
    let processes = open_processes(&machine.processes()?)?;
    running.signal(Signal::INT)?;
    running.finish()?.expect(130, &[])?;
    ensure!(folders()? == 0, "files are left");
    wait_until_all_exit(&processes)
}
