//! `top --local` against the real frontend and mocker, compared with the answers that a load generator received.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure, processes};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Shared;
use crate::abnormal_exit::pid;

/// Requests per second of the load generator.
const RATE: u32 = 20;
const REQUESTS: u32 = 60;
/// One of so many requests is invalid.
const INVALID_EVERY: u32 = 6;

/// What the load generator sent and received.
#[derive(Debug, Default, Clone, Copy)]
struct Received {
    answers: u32,
    rejected: u32,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
}

/// Sends the requests at a constant rate, also while earlier ones are not answered, and waits for all answers.
async fn generate_load(endpoint: String) -> Outcome<Received> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        pace.tick().await;
        let is_valid = number % INVALID_EVERY != 0;
        let body = json!({
            "model": "tiny", "max_tokens": if is_valid { 8 } else { 0 },
            "messages": [{"role": "user", "content": format!("{}{number}", "the same words again ".repeat(20))}],
        });
        let post = client.post(format!("{endpoint}/chat/completions")).json(&body);
        requests.spawn(async move {
            let answer = post.send().await?;
            let status = answer.status().as_u16();
            Ok::<_, reqwest::Error>((status, answer.json::<Value>().await?))
        });
    }
    let mut received = Received::default();
    while let Some(answer) = requests.join_next().await {
        let (status, body) = answer??;
        let tokens = |pointer: &str| body.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        match status {
            200 => received.answers += 1,
            400 => received.rejected += 1,
            other => return Err(format!("status {other}: {body}").into()),
        }
        received.input_tokens += tokens("/usage/prompt_tokens");
        received.output_tokens += tokens("/usage/completion_tokens");
        received.cached_tokens += tokens("/usage/prompt_tokens_details/cached_tokens");
    }
    Ok(received)
}

/// A running `top -o json -w`; dropping it ends it.
struct FollowedTop {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Drop for FollowedTop {
    fn drop(&mut self) {
        // It has exited only if the case fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl FollowedTop {
    fn start(machine: &TestMachine) -> Outcome<Self> {
        let mut command =
            machine.command(&["top", "tiny", "--local", "-o", "json", "-w", "--interval", "250ms"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("stdout is piped")?).lines();
        Ok(Self { child, lines })
    }

    /// The next report about the only deployment.
    fn next(&mut self) -> Outcome<Value> {
        let line = self.lines.next().ok_or("top has exited")??;
        let document: Value = serde_json::from_str(&line)?;
        ensure!(document["kind"] == "Top" && document["items"].as_array().map(Vec::len) == Some(1), "{line}");
        Ok(document["items"][0].clone())
    }
}

/// Runs the load generator while `top` follows, and returns what both saw.
fn observe_load(machine: &TestMachine, status: &Value) -> Outcome<(Received, Value)> {
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?.to_owned();
    let mut top = FollowedTop::start(machine)?;
    top.next()?;
    let generator = std::thread::scope(|scope| {
        let load = scope.spawn(|| machine.run_inside(generate_load(endpoint)));
        while !load.is_finished() {
            top.next()?;
        }
        load.join().map_err(|_| "the load generator panicked")?
    })?;
    // One of these reads was surely started after the last answer.
    top.next()?;
    Ok((generator, top.next()?))
}

/// Checks that a rate of a report is a number of events in its period, within 10 %.
fn expect_rate(report: &Value, rate: &Value, expected: f64) -> Outcome {
    let seconds = report["seconds"].as_f64().ok_or("a report has its period")?;
    let observed = rate.as_f64().ok_or_else(|| format!("no rate in {report}"))? * seconds;
    ensure!((observed - expected).abs() <= expected * 0.1, "{observed} instead of {expected} in {report}");
    Ok(())
}

/// The bounds of the bucket that contains a quantile, from the frontend's own text and without the code under test.
fn bucket_of(metrics: &str, histogram: &str, quantile: f64) -> Outcome<(f64, f64)> {
    let series = format!("{histogram}_bucket{{");
    let mut buckets = Vec::new();
    for line in metrics.lines().filter(|line| line.starts_with(&series)) {
        let bound = line.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"')).ok_or(line)?;
        let count = line.rsplit_once(' ').ok_or(line)?.1;
        buckets.push((bound.0.replace("+Inf", "inf").parse::<f64>()?, count.parse::<f64>()?));
    }
    let total = buckets.last().ok_or("a histogram")?.1;
    let at = buckets.iter().position(|(_, count)| *count >= total * quantile).ok_or("a bucket")?;
    Ok((if at == 0 { 0.0 } else { buckets[at - 1].0 }, buckets[at].0))
}

pub(crate) async fn rates_tokens_and_quantiles_agree_with_the_load_generator(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2", "--", "--block-size", "16"])?;
    let metrics_url = format!("http://127.0.0.1:{}/metrics", frontend_port(&status)?);
    let before = machine.get(&metrics_url)?;
    let (received, report) = observe_load(&machine, &status)?;
    ensure!(
        received.answers + received.rejected == REQUESTS && received.rejected == REQUESTS / INVALID_EVERY,
        "{received:?}"
    );
    expect_rate(&report, &report["requestsPerSecond"]["success"], received.answers.into())?;
    expect_rate(&report, &report["requestsPerSecond"]["errors"]["validation"], received.rejected.into())?;
    expect_rate(&report, &report["inputTokensPerSecond"], received.input_tokens as f64)?;
    expect_rate(&report, &report["outputTokensPerSecond"], received.output_tokens as f64)?;
    let share = received.cached_tokens as f64 / received.input_tokens as f64;
    let shown = report["cachedShare"].as_f64().ok_or("the share is known")?;
    ensure!(share > 0.3 && (shown - share).abs() < 0.1, "{share} cached: {report}");
    ensure!(report["inFlight"] == 0 && report["queued"] == 0 && report["problems"] == json!([]), "{report}");
    let workers = report["workers"].as_array().ok_or("the workers are listed")?;
    ensure!(
        workers.len() == 2 && workers.iter().all(|one| one["active"] == true && one["kvCacheUse"].is_f64()),
        "{report}"
    );
    let by_worker: f64 = workers.iter().filter_map(|worker| worker["requestsPerSecond"].as_f64()).sum();
    expect_rate(&report, &json!(by_worker), received.answers.into())?;

    // The smoke test of `up` sent one request before.
    let after = machine.get(&metrics_url)?;
    for (field, histogram) in [
        ("timeToFirstToken", "dynamo_frontend_time_to_first_token_seconds"),
        ("interTokenLatency", "dynamo_frontend_inter_token_latency_seconds"),
    ] {
        let difference = subtract(&after, &before, histogram)?;
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let (lower, upper) = bucket_of(&difference, histogram, quantile)?;
            let shown = &report[field][name];
            ensure!(
                shown["bucket"] == json!({"lower": lower, "upper": upper}),
                "{lower}-{upper}: {field} {report}"
            );
            let seconds = shown["seconds"].as_f64().ok_or("an estimate")?;
            ensure!(seconds >= lower && seconds <= upper, "{field} {report}");
        }
    }
    let table = machine.run(&["top", "--local", "--once", "--interval", "200ms"])?;
    let text = &table.expect(0, &[])?.stdout;
    for part in [
        "tiny · this machine · tiny · Dynamo",
        "0/s succeeded",
        "2/2 workers answer",
        "worker-2",
        "PREEMPTIONS",
    ] {
        ensure!(text.contains(part), "`{part}` in {text}");
    }
    Ok(())
}

/// Subtracts the values of a histogram's buckets.
fn subtract(after: &str, before: &str, histogram: &str) -> Outcome<String> {
    let mut text = String::new();
    for line in after.lines().filter(|line| line.starts_with(histogram)) {
        let (series, value) = line.rsplit_once(' ').ok_or(line)?;
        let earlier = before.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        text.push_str(&format!("{series} {}\n", value.parse::<f64>()? - earlier.unwrap_or_default()));
    }
    Ok(text)
}

fn frontend_port(status: &Value) -> Outcome<u64> {
    let processes = status["processes"].as_array().ok_or("the processes are listed")?;
    let frontend = processes.iter().find(|process| process["component"] == "frontend").ok_or("a frontend")?;
    Ok(frontend["metricsPort"].as_u64().ok_or("its port")?)
}

pub(crate) async fn disaggregated_workers_have_their_own_numbers(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--mode", "disagg"])?;
    let (received, report) = observe_load(&machine, &status)?;
    let workers = report["workers"].as_array().ok_or("the workers are listed")?;
    for role in ["prefill", "decode"] {
        let worker = workers.iter().find(|worker| worker["role"] == role).ok_or("a worker of each role")?;
        expect_rate(&report, &worker["requestsPerSecond"], received.answers.into())?;
    }
    Ok(())
}

pub(crate) async fn silent_processes_are_reported_and_their_values_are_unknown(
    shared: Arc<Shared>,
) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2"])?;
    let worker = processes::open_process(pid(&status, "worker-1")?)?.ok_or("the worker is running")?;
    worker.signal(Signal::STOP)?;
    let once = ["top", "--local", "--once", "--interval", "200ms"];
    let output = machine.run(&once)?;
    output.expect(0, &["KD0828", "the metrics of \"worker-1\" cannot be read: no answer within 3 s"])?;
    ensure!(
        output.stdout.contains("1/2 workers answer") && output.stdout.contains("no answer"),
        "{output:?}"
    );
    let report = machine.run(&[&once[..], &["-o", "json"]].concat())?.expect(0, &[])?.json()?;
    let silent = &report["items"][0]["workers"][0];
    ensure!(
        silent["answering"] == false
            && silent["requestsPerSecond"].is_null()
            && silent["idleSeconds"].is_null(),
        "{report}"
    );
    ensure!(report["items"][0]["problems"][0]["process"] == "worker-1", "{report}");
    worker.signal(Signal::CONT)?;
    machine.run(&["top", "other", "--local", "--once"])?.expect(1, &["KD0520"])?;
    Ok(())
}

pub(crate) async fn full_screen_view_restores_the_terminal(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    for (keys, exit) in [("q", "exit=0"), ("\u{3}", "exit=130")] {
        let mut terminal = machine.terminal("top --local; echo exit=$?; stty -a")?;
        terminal.wait_for("\u{1b}[?1049h")?;
        for word in ["TTFT", "WORKER", "quit"] {
            terminal.wait_for(word)?;
        }
        terminal.type_keys("?")?;
        terminal.wait_for("buckets")?;
        terminal.type_keys(keys)?;
        terminal.wait_for("\u{1b}[?1049l")?;
        terminal.wait_for("\u{1b}[?25h")?;
        terminal.wait_for(exit)?;
        let (_, output) = terminal.finish()?;
        let settings = output.rsplit_once(exit).ok_or("the exit code is printed")?.1;
        ensure!(settings.contains(" icanon") && settings.contains(" echo "), "{settings}");
    }
    Ok(())
}
