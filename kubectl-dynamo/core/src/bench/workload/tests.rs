//! Tests of workloads and their options.

use super::*;

fn options(kind: WorkloadKind) -> WorkloadOptions {
    WorkloadOptions { kind: Some(kind), runs: 1, ..WorkloadOptions::default() }
}

#[test]
fn defaults_are_those_of_the_starter_kit() {
    let sweep = BenchWorkload::resolve(options(WorkloadKind::Sweep)).expect("valid");
    assert_eq!(sweep.lengths, Some(TokenLengths::Fixed { input: 2000, output: 256 }));
    let levels: Vec<String> = sweep.levels.iter().map(ToString::to_string).collect();
    assert_eq!(levels, ["1", "8", "16", "32", "64", "128", "256"]);
    let chat = BenchWorkload::resolve(options(WorkloadKind::Chat)).expect("valid");
    assert_eq!(chat.turns, Some(Turns { mean: 5, deviation: 2 }));
    let prefix = BenchWorkload::resolve(options(WorkloadKind::Prefix)).expect("valid");
    assert_eq!((prefix.prefix_tokens, prefix.pinned_output()), (Some(512), Some(128)));
    let mix = BenchWorkload::resolve(options(WorkloadKind::Mix)).expect("valid");
    assert_eq!(mix.lengths, "64|10,32|8:70;1024|100,256|50:30".parse().ok());
    assert_eq!(mix.pinned_output(), None);
    let check = BenchWorkload::resolve(WorkloadOptions::default()).expect("valid");
    assert_eq!(
        (check.kind, check.levels.as_slice()),
        (WorkloadKind::Check, &[LoadLevel::Concurrency(4)][..])
    );
}

#[test]
fn parses_lengths_turns_and_goodput() {
    assert_eq!("64,16".parse(), Ok(TokenLengths::Fixed { input: 64, output: 16 }));
    for invalid in ["64", "0,1", "64,10:70", "64,10:70;1,1:40", "a,b", "64,10:0;1,1:100"] {
        assert!(invalid.parse::<TokenLengths>().is_err(), "{invalid}");
    }
    assert_eq!("5,2".parse(), Ok(Turns { mean: 5, deviation: 2 }));
    assert_eq!("3".parse(), Ok(Turns { mean: 3, deviation: 0 }));
    assert!("0".parse::<Turns>().is_err() && "3,x".parse::<Turns>().is_err());
    let limit = |metric: &str, milliseconds| Ok(GoodputLimit { metric: metric.into(), milliseconds });
    assert_eq!("ttft=200ms".parse(), limit("time_to_first_token", 200.0));
    assert_eq!("latency=1.5s".parse(), limit("request_latency", 1500.0));
    for invalid in ["ttft", "ttft=200", "x=1ms", "itl=-1ms", "itl=0s"] {
        assert!(invalid.parse::<GoodputLimit>().is_err(), "{invalid}");
    }
}

#[test]
fn contradicting_options_are_rejected() {
    let base = || options(WorkloadKind::Check);
    let distribution: TokenLengths = "64,10:70;1024,256:30".parse().expect("valid");
    for (rejected, part) in [
        (WorkloadOptions { concurrency: vec![1], request_rate: vec![1.0], ..base() }, "--request-rate"),
        (WorkloadOptions { concurrency: vec![0], ..base() }, "--concurrency"),
        (WorkloadOptions { request_rate: vec![-1.0], ..base() }, "--request-rate"),
        (WorkloadOptions { runs: 11, ..base() }, "--runs"),
        (WorkloadOptions { duration_seconds: Some(0), ..base() }, "--duration"),
        (
            WorkloadOptions { trace: Some(trace("t", "aa")), duration_seconds: Some(1), ..base() },
            "--duration",
        ),
        (WorkloadOptions { lengths: Some(distribution), ..options(WorkloadKind::Chat) }, "several turns"),
        (WorkloadOptions { extra_arguments: vec!["--url".into(), "http://x".into()], ..base() }, "--url"),
        (WorkloadOptions { extra_arguments: vec!["--model=x".into()], ..base() }, "--model"),
    ] {
        let error = BenchWorkload::resolve(rejected.clone()).expect_err("invalid");
        assert!(error.to_string().contains(part), "{error}: {rejected:?}");
    }
}

fn trace(path: &str, sha256: &str) -> TraceFile {
    TraceFile { path: path.into(), requests: 9, sha256: sha256.into() }
}

#[test]
fn traces_are_compared_by_their_content() {
    let with_trace = |path: &str, sha256: &str| {
        BenchWorkload::resolve(WorkloadOptions { trace: Some(trace(path, sha256)), ..Default::default() })
            .unwrap()
    };
    let one = with_trace("/a/trace.jsonl", "aa");
    assert_eq!(one.differences(&with_trace("/b/trace.jsonl", "aa")), [""; 0]);
    assert_eq!(one.differences(&with_trace("/a/trace.jsonl", "bb")), ["traceSha256: \"aa\", \"bb\""]);
    let without_hash = BenchWorkload { trace_sha256: None, ..one.clone() };
    assert_eq!(one.differences(&without_hash), [""; 0]);
    assert_eq!(without_hash.differences(&one), [""; 0]);
}

#[test]
fn differences_name_the_field_and_both_values() {
    let one = BenchWorkload::resolve(options(WorkloadKind::Check)).expect("valid");
    assert_eq!(one.differences(&one), [""; 0]);
    let other = BenchWorkload { seed: 7, ..one.clone() };
    assert_eq!(one.differences(&other), ["seed: 100, 7"]);
}

#[test]
fn a_level_is_measured_once() {
    let options = WorkloadOptions { concurrency: vec![1, 8, 1, 8], ..WorkloadOptions::default() };
    let levels = BenchWorkload::resolve(options).expect("valid options").levels;
    assert_eq!(levels, [LoadLevel::Concurrency(1), LoadLevel::Concurrency(8)]);
}
