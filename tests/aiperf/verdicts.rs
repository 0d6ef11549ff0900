//! Servers that fail: AIPerf exits with 0 or counts a success, and `bench` must not.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;
use crate::numbers::{expect_numbers_of_aiperf, run_folder};
use crate::upstream::{Fault, with_upstream};

/// Runs `bench` against a server with this fault. It must exit with 1 and this code.
fn measure_fault(shared: &Shared, fault: Fault, expected: &[&str]) -> Outcome<(TestMachine, Value)> {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let run = with_upstream(&machine, fault, |server| {
        let flags = ["--name", "faulty", "--isl-osl", "64,16", "--concurrency", "2", "-o", "json"];
        let output = machine.run(&[&["bench", "run"], server, &flags[..]].concat())?;
        output.expect(1, expected)?.json()
    })?;
    ensure!(run["verdict"]["isGood"] == false, "{run}");
    Ok((machine, run))
}

pub(crate) async fn a_third_of_failed_requests_is_not_good(shared: Arc<Shared>) -> Outcome {
    // The two requests of the warm-up are the first ones, so these are the multiples of 3 from 3 to 22.
    let expected = ["KD0924", "7 of 20 requests failed (35.0 %): 503", "no worker is available"];
    let (machine, run) = measure_fault(&shared, Fault::EveryThird, &expected)?;
    expect_numbers_of_aiperf(&run, &run_folder(&machine, "faulty"))?;
    let one = &run["levels"][0]["runs"][0];
    ensure!(one["exitStatus"] == "exit code 0", "AIPerf itself reports success: {one}");
    ensure!(one["measurement"]["metrics"]["error_request_count"]["avg"] == 7.0, "{one}");
    let html = machine.run(&["bench", "show", "faulty", "-o", "html"])?;
    ensure!(
        html.stdout.contains("<h2>Errors</h2>") && html.stdout.contains("no worker is available"),
        "{html:?}"
    );
    Ok(())
}

pub(crate) async fn answers_that_an_error_cuts_short_are_not_good(shared: Arc<Shared>) -> Outcome {
    let expected = ["KD0926", "10 answers do not have the requested 16 tokens"];
    let (machine, run) = measure_fault(&shared, Fault::ErrorInStream, &expected)?;
    expect_numbers_of_aiperf(&run, &run_folder(&machine, "faulty"))?;
    let one = &run["levels"][0]["runs"][0];
    ensure!(
        one["exitStatus"] == "exit code 0" && one["measurement"]["failed"] == 0,
        "AIPerf counts successes: {one}"
    );
    ensure!(one["measurement"]["wrongLength"] == 10, "{one}");
    Ok(())
}

pub(crate) async fn all_requests_failed(shared: Arc<Shared>) -> Outcome {
    let expected = ["KD0924", "20 of 20 requests failed (100.0 %): 404"];
    let (machine, run) = measure_fault(&shared, Fault::All, &expected)?;
    ensure!(run["status"] == "failed" && run["levels"][0]["summary"] == serde_json::json!({}), "{run}");
    machine
        .run(&["bench", "compare", "faulty", "faulty"])?
        .expect(1, &["KD0932", "\"faulty\" does not contain a result"])?;
    Ok(())
}
