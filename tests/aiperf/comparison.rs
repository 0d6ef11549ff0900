//! `bench compare` of runs against mockers of different and of equal speed.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;
use crate::numbers::measure;

/// Measures a mocker of this speed under a name.
fn measure_mocker(machine: &TestMachine, name: &str, speed: &str) -> Outcome {
    machine.up_detached(&["--", "--speedup-ratio", speed])?;
    measure(
        machine,
        &["--local", "--isl-osl", "64,16", "--concurrency", "1", "--runs", "3", "--name", name],
    )?;
    machine.run(&["down", "tiny", "--local"])?.expect(0, &[])?;
    Ok(())
}

pub(crate) async fn twice_the_time_is_worse_and_equal_runs_show_no_difference(
    shared: Arc<Shared>,
) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    for (name, speed) in [("fast", "1.0"), ("slow", "0.25")] {
        measure_mocker(&machine, name, speed)?;
    }
    let compare = ["bench", "compare", "fast", "slow", "-o", "json"];
    let comparison = machine.run(&compare)?.expect(0, &[])?.json()?;
    let metrics = comparison["levels"][0]["metrics"].as_array().ok_or("the metrics")?;
    let latency = metrics.iter().find(|one| one["metric"] == "latency_p50").ok_or("the latency")?;
    ensure!(latency["outcome"] == "worse" && latency["ratio"].as_f64() > Some(2.0), "{latency}");
    let changes = comparison["changes"].as_array().ok_or("the changes")?;
    let names_ratio = |change: &Value| change.as_str().is_some_and(|text| text.contains("0.25"));
    ensure!(changes.iter().any(names_ratio), "{changes:?}");
    let limited = machine.run(&["bench", "compare", "fast", "slow", "--fail-if", "latency_p50>1.1x"])?;
    limited.expect(8, &["KD0931", "latency_p50>1.1x is exceeded"])?;
    let same = machine.run(&["bench", "compare", "fast", "fast", "--fail-if", "latency_p50>1.1x"])?;
    ensure!(same.expect(0, &[])?.stdout.contains("no difference shown"), "{same:?}");
    Ok(())
}
