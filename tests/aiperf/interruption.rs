//! Runs that are stopped: what was measured is kept, and no process is left.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::{RunningCommand, TestMachine, open_processes, wait_until_all_exit};
use kubectl_dynamo_tests::{Outcome, ensure};
use rustix::process::Signal;

use crate::Shared;
use crate::numbers::run_folder;

/// A mocker that is slow enough for a signal in the second level.
const SLOW: &[&str] = &["--", "--speedup-ratio", "0.2"];

/// Starts a run, and returns it in its second level.
fn start_run(machine: &TestMachine) -> Outcome<RunningCommand> {
    let args =
        ["bench", "run", "--local", "tiny", "--name", "long", "--isl-osl", "64,32", "--concurrency", "1,2"];
    let mut running = machine.start(&args)?;
    running.wait_for_line("benchmark: done: level 1 (1 of 2)")?;
    // A rate is shown once AIPerf has sent requests.
    while !running.wait_for_line("level 2 (2 of 2): ")?.contains("/s") {}
    Ok(running)
}

pub(crate) async fn ctrl_c_keeps_what_was_measured(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(SLOW)?;
    let running = start_run(&machine)?;
    running.signal(Signal::INT)?;
    running.finish()?.expect(130, &["\"long\" was interrupted; 1 of 2 measurements are complete"])?;
    let run = machine.run(&["bench", "show", "long", "-o", "json"])?.json()?;
    ensure!(run["status"] == "interrupted" && run["verdict"]["isGood"] == false, "{run}");
    ensure!(
        run["levels"][0]["runs"][0]["verdict"]["findings"][0]["code"] != "KD0923",
        "the first level is good: {run}"
    );
    ensure!(run["levels"][0]["summary"]["ttft_p50"]["mean"].is_f64(), "{run}");
    let cancelled = &run["levels"][1]["runs"][0];
    ensure!(cancelled["measurement"]["wasCancelled"] == true, "AIPerf wrote its summary: {cancelled}");
    ensure!(cancelled["measurement"]["requests"].as_u64() > Some(0), "{cancelled}");
    Ok(())
}

pub(crate) async fn killed_run_is_listed_as_interrupted(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(SLOW)?;
    let before = machine.processes()?;
    let running = start_run(&machine)?;
    let state = |machine: &TestMachine| machine.run(&["bench", "show", "long", "-o", "json"])?.json();
    ensure!(state(&machine)?["status"] == "running", "it is running");
    machine.run(&["bench", "rm", "long", "--yes"])?.expect(1, &["KD0932", "is still running"])?;
    let started: Vec<u32> = machine.processes()?.into_iter().filter(|pid| !before.contains(pid)).collect();
    let processes = open_processes(&started)?;
    ensure!(processes.len() > 2, "AIPerf has several processes: {started:?}");
    running.signal(Signal::KILL)?;
    wait_until_all_exit(&processes)?;
    let run = state(&machine)?;
    ensure!(
        run["status"] == "interrupted" && run["levels"][0]["summary"]["ttft_p50"]["mean"].is_f64(),
        "{run}"
    );
    ensure!(run_folder(&machine, "long").join("concurrency-2/run-1").is_dir(), "AIPerf's files are kept");
    machine.run(&["bench", "rm", "long", "--yes"])?.expect(0, &[])?;
    Ok(())
}
