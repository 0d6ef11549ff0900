//! The program that runs AIPerf in the pod of a benchmark, with a script in place of AIPerf.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kubectl_dynamo_core::intent::Placement;
use kubectl_dynamo_core::resources::{BenchJob, BenchJobMeasurement, PvcNodes};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Writes a summary and two requests into the folder after its first argument. With `slow`, it waits for SIGINT before.
const AIPERF: &str = r#"#!/bin/bash
folder=$2
[ "$1" != slow ] || { trap interrupted=1 INT; echo started; while [ -z "$interrupted" ]; do sleep 0.1; done; }
[ "$1" != fail ] || { echo cannot connect; exit 1; }
printf '{}\n{}\n' > "$folder/profile_export.jsonl"
echo '{"a": 1}' > "$folder/profile_export_aiperf.json"
"#;

struct Pod {
    folder: TempDir,
    deadline_seconds: u64,
    /// What AIPerf does in each measurement.
    measurements: Vec<&'static str>,
}

impl Pod {
    fn new(measurements: Vec<&'static str>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, deadline_seconds: 600, measurements }
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        std::fs::write(&path, content).expect("writable");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    fn start(&self) -> Child {
        let tokenizer = self.folder.path().join("model").display().to_string();
        let folder = |at: usize| self.folder.path().join(format!("results/{at}")).display().to_string();
        let measurement = |(at, kind): (usize, &&str)| BenchJobMeasurement {
            folder: folder(at),
            arguments: vec![(*kind).to_owned(), folder(at)],
        };
        let job = BenchJob {
            run: "one",
            namespace: "serving",
            deployment: "tiny",
            image: "aiperf".into(),
            placement: &Placement::default(),
            model_pvc: "model-cache",
            model_pvc_nodes: PvcNodes::Any,
            tokenizer: &tokenizer,
            results_pvc: None,
            has_trace: false,
            workers: 1,
            millicpu: None,
            deadline_seconds: self.deadline_seconds,
            measurements: self.measurements.iter().enumerate().map(measurement).collect(),
        };
        let rendered = job.render().object;
        let command = &rendered["spec"]["template"]["spec"]["containers"][0]["command"];
        let words: Vec<&str> = command.as_array().expect("words").iter().filter_map(Value::as_str).collect();
        let path = format!("{}:/usr/bin:/bin", self.folder.path().join("bin").display());
        let mut driver = Command::new(words[0]);
        driver.args(&words[1..]).env_clear().env("PATH", path).stdout(Stdio::piped());
        driver.spawn().expect("Python runs")
    }
}

fn finish(driver: Child) -> (Vec<String>, Option<i32>) {
    finish_with_signal(driver, None)
}

/// The lines of the driver without the parts of files, and its exit code. The signal is sent when AIPerf has started.
fn finish_with_signal(mut driver: Child, signal: Option<Signal>) -> (Vec<String>, Option<i32>) {
    let output = BufReader::new(driver.stdout.take().expect("a pipe"));
    let id = driver.id().try_into().ok().and_then(Pid::from_raw).expect("an ID");
    let lines = output.lines().map_while(Result::ok).map(|line| match line.strip_prefix("@bench ") {
        None => format!("output {line}"),
        Some(text) => {
            let line: Value = serde_json::from_str(text).expect("JSON");
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            format!("{} {}{}{}", text("event"), line["measurement"], text("name"), text("reason"))
        }
    });
    let send_signal = |line: &String| {
        if let Some(signal) = signal.filter(|_| line == "output started") {
            kill_process(id, signal).expect("the driver runs");
        }
    };
    let lines = lines.inspect(send_signal).filter(|line| !line.starts_with("progress")).collect();
    (lines, driver.wait().expect("an exit code").code())
}

#[test]
fn files_of_each_measurement_are_sent_until_one_fails() {
    let pod = Pod::new(vec!["good", "fail", "good"]);
    assert_eq!(finish(pod.start()), (vec!["failed nulltokenizerNotFound".into()], Some(1)));
    pod.write("model/tokenizer.json", "{}");
    assert_eq!(finish(pod.start()), (vec!["failed nullaiperfNotFound".into()], Some(1)));
    pod.write("bin/aiperf", AIPERF);
    let (lines, code) = finish(pod.start());
    let expected = [
        "started 0",
        "file 0profile_export_aiperf.json",
        "file 0profile_export.jsonl",
        "measured 0",
        "started 1",
        "output cannot connect",
        "measured 1",
    ];
    assert_eq!((lines.as_slice(), code), (&expected.map(str::to_owned)[..], Some(1)));
}

#[test]
fn what_was_measured_is_sent_after_a_signal_and_at_the_deadline() {
    let expected = |failed: Option<&str>| {
        let mut lines = vec!["started 0".to_owned(), "output started".to_owned()];
        lines.extend(failed.map(str::to_owned));
        let files = ["file 0profile_export_aiperf.json", "file 0profile_export.jsonl", "measured 0"];
        lines.extend(files.map(str::to_owned));
        (lines, Some(1))
    };
    let mut pod = Pod::new(vec!["slow", "good"]);
    pod.write("model/tokenizer.json", "{}");
    pod.write("bin/aiperf", AIPERF);
    pod.deadline_seconds = 2;
    assert_eq!(finish(pod.start()), expected(Some("failed nulldeadlineExceeded")));

    let mut pod = Pod::new(vec!["slow", "good"]);
    pod.write("model/tokenizer.json", "{}");
    pod.write("bin/aiperf", AIPERF);
    pod.deadline_seconds = 600;
    assert_eq!(finish_with_signal(pod.start(), Some(Signal::TERM)), expected(None));
}
