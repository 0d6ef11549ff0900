//! `bench` without AIPerf: invalid flags, and records of runs that are listed, shown, compared, and removed.

use std::path::PathBuf;
use std::process::{Command, Output};

use kubectl_dynamo_tests::{model, programs};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::assert_fails;

/// A home with records of runs.
struct Home(TempDir);

impl Home {
    fn new(runs: &[Value]) -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary folder"));
        for run in runs {
            home.write(run["name"].as_str().expect("a name"), &run.to_string());
        }
        home
    }

    fn write(&self, name: &str, record: &str) {
        let folder = self.folder().join(name);
        std::fs::create_dir_all(&folder).expect("the folder");
        std::fs::write(folder.join("run.json"), record).expect("the record");
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join(".local/share/kubectl-dynamo/bench")
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(programs::kubectl_dynamo());
        command.arg("bench").args(args).env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.output().expect("the plugin runs")
    }

    #[track_caller]
    fn stdout(&self, args: &[&str], exit: i32, stderr: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {text}");
        for part in stderr {
            assert!(text.contains(part), "{args:?} must print `{part}`: {text}");
        }
        String::from_utf8(output.stdout).expect("text")
    }
}

/// The record of a run with one level and these times to the first token, one for each repeat.
fn record(name: &str, seed: u64, times: &[f64]) -> Value {
    let runs = times.iter().zip(1..).map(|(time, run)| {
        json!({
            "run": run, "seed": seed, "folder": format!("concurrency-4/run-{run}"), "command": ["aiperf"],
            "exitStatus": "exit code 0",
            "measurement": {
                "metrics": { "time_to_first_token": { "p50": time, "p95": time } },
                "units": { "time_to_first_token": "ms" }, "requests": 40, "failed": 0, "wrongLength": 0,
                "countedDifferently": 0, "errors": [], "isComplete": true, "wasCancelled": false,
                "aiperfVersion": "1",
            },
            "verdict": { "isGood": true, "findings": [] },
        })
    });
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    let spread = json!({ "standardDeviation": 0.1, "low": mean - 0.2, "high": mean + 0.2 });
    let estimate =
        json!({ "mean": mean, "runs": times.len(), "spread": (times.len() > 1).then_some(spread) });
    let levels = match times.len() {
        0 => json!([]),
        _ => json!([{
            "load": { "concurrency": 4 }, "summary": { "ttft_p50": estimate, "ttft_p95": estimate },
            "outputTokensPerSecondPerGpu": null, "runs": runs.collect::<Vec<_>>(),
        }]),
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "BenchRun", "name": name, "status": "completed",
        "startedAt": "2026-11-30T10:00:00Z", "finishedAt": "2026-11-30T10:01:00Z",
        "target": { "url": "http://127.0.0.1:8000/v1", "model": "tiny", "tokenizer": "/m", "deployment": null },
        "versions": { "plugin": "1", "aiperf": "1" },
        "workload": {
            "kind": "check", "lengths": { "fixed": { "input": 512, "output": 32 } }, "turns": null,
            "prefixTokens": null, "trace": null, "traceRequests": null, "levels": [{ "concurrency": 4 }],
            "durationSeconds": null, "runs": times.len(), "goodput": [], "seed": seed, "extraArguments": [],
        },
        "maxErrorShare": 0.0,
        "levels": levels,
        "analysis": { "knee": null, "pareto": [], "isPerGpu": false },
        "verdict": { "isGood": !times.is_empty(), "findings": [] },
    })
}

#[test]
fn rejects_invalid_workloads_before_anything_runs() {
    let run = |flags: &[&'static str]| [&["bench", "run", "--local"], flags].concat();
    for (flags, code, part) in [
        (&["--isl-osl", "5"][..], "KD0001", "not a pair of lengths"),
        (&["--turns", "x"], "KD0001", "not a number of turns"),
        (&["--goodput", "ttft=1"], "KD0001", "not a latency limit"),
        (&["--runs", "0"], "KD0001", "--runs"),
        (&["--max-errors", "101"], "KD0001", "from 0 to 100"),
        (&["--runs", "11"], "KD0005", "at most 10"),
        (&["--concurrency", "0"], "KD0005", "--concurrency"),
        (&["--request-rate", "-1"], "KD0005", "--request-rate"),
        (&["--concurrency", "1", "--request-rate", "1"], "KD0007", "--request-rate"),
        (&["--", "--url", "http://x"], "KD0007", "--url is set by this command"),
        (&["--name", "../x"], "KD0005", "\"../x\""),
        (&["--trace", "absent.jsonl"], "KD0933", "absent.jsonl"),
        (&["--against", "absent.json"], "KD0937", "recommend MODEL -o=json"),
        (&["--against", "absent.json", "--concurrency", "3"], "KD0001", "--against"),
    ] {
        assert_fails(&run(flags), 2, code, &[part]);
    }
    assert_fails(&["bench", "run"], 2, "KD0001", &["--local", "--url"]);
    assert_fails(&["bench", "run", "--local", "a", "--url", "http://h/v1"], 2, "KD0001", &["--url"]);
    assert_fails(&["bench", "run", "qwen32", "--url", "http://h/v1"], 2, "KD0001", &["--url"]);
    assert_fails(&["bench", "run", "qwen32"], 4, "KD0101", &[]);
    for flag in ["--image=a", "--registry-mirror=a", "--results=a", "--cpu=1", "--timeout=1h", "--detach"] {
        let name = flag.split('=').next().unwrap_or_default();
        assert_fails(&["bench", "run", "--local", flag], 2, "KD0001", &[name]);
    }
    assert_fails(&["bench", "run", "qwen32", "--cpu", "0"], 2, "KD0001", &["500m"]);
    let long = "a".repeat(58);
    assert_fails(&["bench", "run", "qwen32", "--name", &long], 2, "KD0005", &["57 characters"]);
    assert_fails(&run(&["tiny"]), 1, "KD0520", &["\"tiny\"", "kubectl dynamo list --local"]);
}

#[test]
fn url_needs_the_tokenizer_of_its_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("UTF-8");
    let url = ["bench", "run", "--url", "http://127.0.0.1:1/v1"];
    let credentials = ["bench", "run", "--url", "http://jane:key@127.0.0.1:1/v1", "--tokenizer", path];
    assert_fails(&credentials, 2, "KD0804", &["contains credentials"]);
    assert_fails(&url, 2, "KD0929", &["http://127.0.0.1:1/v1", "--tokenizer FOLDER"]);
    assert_fails(&[&url[..], &["--tokenizer", path]].concat(), 2, "KD0929", &[path, "tokenizer.json"]);
    model::write_model(folder.path()).expect("the model");
    assert_fails(&[&url[..], &["--tokenizer", path]].concat(), 1, "KD0802", &["http://127.0.0.1:1/v1"]);
}

#[test]
fn runs_are_listed_shown_and_removed() {
    let home = Home::new(&[record("before", 100, &[10.0]), record("after", 100, &[20.0])]);
    let list = home.stdout(&["list"], 0, &[]);
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["NAME", "after", "before"]);
    let shown: Value =
        serde_json::from_str(&home.stdout(&["show", "before", "-o", "json"], 0, &[])).expect("JSON");
    assert_eq!(shown, record("before", 100, &[10.0]));
    assert!(home.stdout(&["show", "before"], 0, &[]).contains("10.00 ms"));
    assert!(home.stdout(&["show", "before", "-o", "csv"], 0, &[]).contains("\n4,1,40,0,"));
    let page = home.stdout(&["show", "before", "-o", "html"], 0, &[]);
    assert!(page.starts_with("<!doctype html>") && page.contains("polyline points=\"258.0,56.0\""), "{page}");
    home.stdout(&["rm", "before"], 2, &["KD0002"]);
    home.stdout(&["rm", "before", "other", "--yes"], 1, &["KD0921", "\"other\""]);
    assert!(home.folder().join("before").exists(), "nothing is removed if a name is wrong");
    assert_eq!(home.stdout(&["rm", "before", "--yes"], 0, &[]), "benchmark run \"before\" removed\n");
    assert!(!home.folder().join("before").exists());
    home.stdout(&["show", "before"], 1, &["KD0921", "kubectl dynamo bench list"]);
    home.stdout(&["show", "../before"], 2, &["KD0005"]);
}

#[test]
fn unreadable_record_is_reported() {
    let home = Home::new(&[]);
    home.write("broken", "{");
    home.stdout(&["show", "broken"], 1, &["KD0922", "run.json"]);
    assert!(home.stdout(&["list"], 0, &["no benchmark runs found"]).is_empty());
    let folder = home.0.path().join("file");
    std::fs::write(&folder, "").expect("a file");
    let path = folder.to_str().expect("UTF-8");
    home.stdout(&["show", "broken", "--output-dir", path], 1, &["KD0921", path]);
}

#[test]
fn comparison_shows_ratios_and_fails_on_request() {
    let repeats = [10.0, 10.1, 9.9];
    let slower: Vec<f64> = repeats.iter().map(|time| time * 2.0).collect();
    let home = Home::new(&[
        record("before", 100, &repeats),
        record("after", 100, &slower),
        record("seed", 7, &repeats),
        record("empty", 100, &[]),
    ]);
    let table = home.stdout(&["compare", "before", "after"], 0, &[]);
    let row = table.lines().find(|line| line.starts_with("ttft_p95")).expect("a row");
    assert!(row.contains("10.00 ms") && row.contains("20.00 ms") && row.contains("2.00x"), "{table}");
    assert!(row.trim_end().ends_with("worse") && table.contains("2 worse"), "{table}");
    let same = home.stdout(&["compare", "before", "before", "--fail-if", "ttft_p95>1.1x"], 0, &[]);
    assert!(same.contains("no difference shown"), "{same}");
    let limit = ["compare", "before", "after", "--fail-if", "ttft_p95>1.1x"];
    home.stdout(&limit, 8, &["KD0931", "ttft_p95>1.1x is exceeded: 2.00x at level 4"]);
    home.stdout(&["compare", "after", "before", "--fail-if", "ttft_p95>1.1x"], 0, &[]);
    home.stdout(&["compare", "before", "after", "--fail-if", "goodput<1x"], 1, &["KD0932", "goodput<1x"]);
    home.stdout(
        &["compare", "before", "after", "--fail-if", "ttft>1x"],
        2,
        &["KD0001", "\"ttft\" is unknown"],
    );
    home.stdout(&["compare", "before", "seed"], 2, &["KD0930", "seed: 100, 7"]);
    home.stdout(&["compare", "empty", "empty"], 1, &["KD0932", "\"empty\""]);
}

/// A record that a killed run leaves is not locked, so it is shown as interrupted.
#[test]
fn run_without_a_process_is_interrupted() {
    let mut running = record("killed", 100, &[10.0]);
    running["status"] = "running".into();
    let home = Home::new(&[running]);
    assert!(home.stdout(&["list"], 0, &[]).contains("interrupted"));
    assert!(home.folder().join("killed").is_dir());
}

#[test]
fn output_of_aiperf_is_printed_without_a_cluster() {
    let home = Home::new(&[record("one", 100, &[10.0])]);
    home.stdout(&["logs", "absent"], 1, &["error [KD0921]", "kubectl dynamo bench list"]);
    assert_eq!(home.stdout(&["logs", "one"], 0, &[]), "", "this run does not have any output");
    let folder = home.folder().join("one/concurrency-4/run-1/logs");
    std::fs::create_dir_all(&folder).expect("the folder");
    std::fs::write(folder.join("aiperf.log"), "first\n\u{1b}[31msecond\n").expect("the log");
    assert_eq!(home.stdout(&["logs", "one"], 0, &[]), "first\nsecond\n");
    // Its results are stored, so there is nothing to follow.
    assert!(home.stdout(&["logs", "-f", "one"], 0, &[]).contains("one · check"));
}

#[test]
fn runs_of_this_machine_are_listed_if_the_cluster_does_not_answer() {
    let home = Home::new(&[record("one", 100, &[10.0])]);
    let config = home.0.path().join(".kube");
    std::fs::create_dir(&config).expect("the folder");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(config.join("config"), kubeconfig.to_string()).expect("the kubeconfig");
    let list = home.stdout(&["list"], 0, &["only the runs of this machine", "http://127.0.0.1:1"]);
    assert!(list.contains("one"), "{list}");
    // A run of this machine does not need the cluster.
    assert!(home.stdout(&["show", "one"], 0, &[]).contains("one · check"));
    let folder = home.folder();
    let folder = folder.to_str().expect("UTF-8");
    let output = home.run(&["list", "--output-dir", folder]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
