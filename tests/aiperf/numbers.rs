//! Every number of a run is compared with AIPerf's own files, which are read here without the code under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubectl_dynamo_core::bench::HEADLINE_METRICS;
use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;

/// Findings that depend on the speed of this machine.
const DEPENDS_ON_MACHINE: &str = "KD0927";

/// The folder of a run.
pub(crate) fn run_folder(machine: &TestMachine, name: &str) -> PathBuf {
    machine.home().join(".local/share/kubectl-dynamo/bench").join(name)
}

/// Runs `bench run -o json`. The run must be good, apart from what depends on the speed of this machine.
pub(crate) fn measure(machine: &TestMachine, args: &[&str]) -> Outcome<Value> {
    let output = machine.run(&[&["bench", "run", "-o", "json"], args].concat())?;
    let run = output.json()?;
    let findings = run["verdict"]["findings"].as_array().ok_or("the findings are listed")?;
    let is_slow = |finding: &Value| finding["code"] == DEPENDS_ON_MACHINE;
    ensure!(findings.iter().all(is_slow), "{output:?}");
    ensure!(output.code == Some(i32::from(!findings.is_empty())), "{output:?}");
    ensure!(run["verdict"]["isGood"] == Value::Bool(findings.is_empty()), "{output:?}");
    ensure!(run["status"] == "completed" && run["kind"] == "BenchRun", "{output:?}");
    Ok(run)
}

fn read(path: &Path) -> Outcome<Value> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Compares every number of every level and repeat with AIPerf's files.
pub(crate) fn expect_numbers_of_aiperf(run: &Value, folder: &Path) -> Outcome {
    let levels = run["levels"].as_array().ok_or("the levels are listed")?;
    ensure!(!levels.is_empty(), "{run}");
    for level in levels {
        let runs = level["runs"].as_array().ok_or("the repeats are listed")?;
        let mut summaries = Vec::new();
        for one in runs {
            let folder = folder.join(one["folder"].as_str().ok_or("a folder")?);
            let summary = read(&folder.join("profile_export_aiperf.json"))?;
            expect_measurement(&one["measurement"], &summary)?;
            let requests = crate::upstream::requests_in(&folder)?;
            ensure!(one["measurement"]["requests"] == requests.len(), "{one}");
            let failed = requests.iter().filter(|request| request["error"].is_object()).count();
            ensure!(one["measurement"]["failed"] == failed, "{one}");
            summaries.push(summary);
        }
        for metric in HEADLINE_METRICS {
            let (name, statistic) = metric.source;
            let values: Vec<f64> =
                summaries.iter().filter_map(|summary| summary[name][statistic].as_f64()).collect();
            let shown = &level["summary"][metric.name];
            if values.is_empty() {
                ensure!(shown.is_null(), "{} is not measured: {shown}", metric.name);
                continue;
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let shown_mean = shown["mean"].as_f64().ok_or_else(|| format!("{} in {level}", metric.name))?;
            ensure!((shown_mean - mean).abs() <= mean.abs() * 1e-9, "{}: {shown_mean} {mean}", metric.name);
            ensure!(shown["runs"] == values.len(), "{shown}");
        }
    }
    Ok(())
}

/// Whether two numbers are equal, apart from the last digit that a parser of JSON can change.
fn is_same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= one.abs() * 1e-12,
        (None, None) => true,
        _ => false,
    }
}

/// Each kept value is AIPerf's, with its unit.
fn expect_measurement(measurement: &Value, summary: &Value) -> Outcome {
    let metrics = measurement["metrics"].as_object().ok_or("the metrics are listed")?;
    ensure!(
        metrics.contains_key("time_to_first_token") && metrics.contains_key("request_throughput"),
        "{metrics:?}"
    );
    for (name, values) in metrics {
        for (statistic, value) in values.as_object().ok_or("a metric has values")? {
            let own = &summary[name][statistic];
            ensure!(is_same(own.as_f64(), value.as_f64()), "{name} {statistic}: {value} {own}");
        }
        ensure!(measurement["units"][name] == summary[name]["unit"], "the unit of {name}");
    }
    ensure!(measurement["isComplete"] == summary["is_complete"], "{measurement}");
    Ok(())
}

/// The numbers of a table, rounded as it shows them.
fn expect_table(table: &str, level: &Value) -> Outcome {
    let row = table.lines().find(|line| line.starts_with("4 ")).ok_or("the row of level 4")?;
    let cells: Vec<&str> = row.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let mean = |metric: &str| level["summary"][metric]["mean"].as_f64().unwrap_or(f64::NAN);
    let milliseconds = |value: f64| match value {
        value if value < 100.0 => format!("{value:.2} ms"),
        value => format!("{value:.0} ms"),
    };
    let expected = [
        "4".to_owned(),
        format!("{:.2}", mean("requests_per_second")),
        format!("{:.1}", mean("output_tokens_per_second")),
        format!("{:.1}", mean("output_tokens_per_second_per_user")),
        milliseconds(mean("ttft_p50")),
        milliseconds(mean("ttft_p95")),
        milliseconds(mean("itl_p50")),
        milliseconds(mean("itl_p95")),
        milliseconds(mean("latency_p95")),
    ];
    ensure!(
        cells.len() >= expected.len() + 2 && cells[..expected.len()] == expected,
        "{expected:?} in {table}"
    );
    ensure!(cells[cells.len() - 2..] == ["40", "0"], "{table}");
    Ok(())
}

pub(crate) async fn every_number_of_a_run_is_in_aiperfs_files(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let run = measure(&machine, &["--local", "tiny", "--isl-osl", "64,16"])?;
    ensure!(run["name"] == "tiny-check-1" && run["target"]["model"] == "tiny", "{run}");
    ensure!(run["target"]["deployment"]["intent"]["backend"] == "mocker", "{run}");
    let folder = run_folder(&machine, "tiny-check-1");
    expect_numbers_of_aiperf(&run, &folder)?;
    ensure!(read(&folder.join("run.json"))? == run, "the record is the printed document");
    let command: Vec<&str> = run["levels"][0]["runs"][0]["command"]
        .as_array()
        .ok_or("words")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for flag in ["--url", "--model", "--request-count", "--warmup-request-count"] {
        ensure!(command.iter().filter(|word| **word == flag).count() == 1, "{flag} in {command:?}");
    }

    let show = |format: &str| -> Outcome<String> {
        Ok(machine.run(&["bench", "show", "tiny-check-1", "-o", format])?.expect(0, &[])?.stdout.clone())
    };
    let level = &run["levels"][0];
    expect_table(&show("table")?, level)?;
    let csv = show("csv")?;
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (names, values) = (lines.next().ok_or("headings")?, lines.next().ok_or("a row")?);
    for metric in HEADLINE_METRICS {
        let column = names.iter().position(|name| *name == metric.name).ok_or("a column for each metric")?;
        let shown: Option<f64> = values[column].parse().ok();
        ensure!(is_same(shown, level["summary"][metric.name]["mean"].as_f64()), "{}: {csv}", metric.name);
    }
    let markdown = show("md")?;
    let throughput = level["summary"]["requests_per_second"]["mean"].as_f64().ok_or("a rate")?;
    ensure!(markdown.contains(&format!("| {throughput:.2} |")), "{markdown}");
    let html = show("html")?;
    ensure!(html.contains(&format!("<td>{throughput:.2}</td>")) && html.contains("<svg"), "{html}");
    for external in ["src=", "href=", "@import", "url("] {
        ensure!(!html.contains(external), "the page uses another file: {external}");
    }
    Ok(())
}

pub(crate) async fn a_run_is_kept_until_it_is_removed(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let check = ["--local", "--isl-osl", "32,8", "--concurrency", "1", "--name", "first"];
    let run = measure(&machine, &check)?;
    machine.run(&["down", "tiny", "--local"])?.expect(0, &[])?;
    let again = machine.run(&[&["bench", "run"], &check[..]].concat())?;
    again.expect(2, &["KD0920", "kubectl dynamo bench rm first"])?;
    let list = machine.run(&["bench", "list"])?;
    ensure!(list.expect(0, &[])?.stdout.contains("first") && list.stdout.contains("completed"), "{list:?}");
    let listed = machine.run(&["bench", "list", "-o", "json"])?.json()?;
    ensure!(listed["items"][0] == run, "{listed}");
    machine.run(&["bench", "rm", "first"])?.expect(2, &["KD0002"])?;
    machine.run(&["bench", "rm", "first", "--yes"])?.expect(0, &[])?;
    ensure!(!run_folder(&machine, "first").exists(), "the folder is removed");
    machine.run(&["bench", "show", "first"])?.expect(1, &["KD0921"])?;
    Ok(())
}
