//! Fuzzes every parser of untrusted text and bytes with random and mutated input. A parser returns a value or
//! an error; it never panics and never makes a large allocation.
//!
//! Each target runs `MODEL_FETCHER_HOSTILE_CASES` cases (default: 1,000), or for
//! `MODEL_FETCHER_HOSTILE_SECONDS`. `MODEL_FETCHER_HOSTILE_CASES=10000000 cargo test --release -p
//! model-fetcher fuzz_tests` is the long run.

mod listing;

use std::io::Write;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use crate::filter::Filter;
use crate::lease::LeaseRecord;
use crate::options::FetchOptions;
use crate::ranges::RangeSet;
use crate::safetensors;
use crate::source::response::ContentRange;
use crate::source::tree;
use crate::store::parse_receipt;
use crate::store::staging::RecordedRanges;
use model_fetcher_contract::Checksum;

const BATCH_CASES: u32 = 1000;

const TREE: &str = r#"[{"type":"directory","oid":"x","size":0,"path":"a"},
    {"type":"file","oid":"a94a8fe5ccb19ba61c4c0873d391e987982fbbd3","size":12,"path":"a/b.json","xetHash":"ca",
    "lfs":{"oid":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":9,"pointerSize":134}},
    {"type":"file","oid":"a94a8fe5ccb19ba61c4c0873d391e987982fbbd3","size":0,"path":"c.txt"}]"#;
const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
    "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
const INDEX: &str =
    r#"{"metadata":{"total_size":8},"weight_map":{"x":"model-1.safetensors","y":"b/model-2.safetensors"}}"#;
const RECEIPT: &str = r#"{"format":1,"repository":"a/b","endpoint":"https://hub","revision":"main","commit":"c",
    "files":[{"path":"x","size":1,"git_sha1":"00","modified":5},{"path":"y/z","size":2,"sha256":"0a","modified":-6}],
    "left_out":["x.bin"],"completed_at":"","fetcher":""}"#;
const RANGE_RECORD: &str =
    r#"{"boot":"b","files":{"00.1.mfpart":[[0,5],[9,18446744073709551615]],"11.1.mfpart":[]}}"#;
const LEASE_RECORD: &str =
    r#"{"token":"0123","host":"pod","process":1,"boot":"another","device":1,"beat":7,"doing":""}"#;
const CONTENT_RANGE: &str = "bytes 5-9/10";

/// Fragments that parsers often handle incorrectly.
const FRAGMENTS: [&str; 24] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775808",
    "../",
    "/",
    "\\u0000",
    "\\ud800",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":",
    "\"path\":\"..\"",
    "\u{feff}",
];

#[derive(Debug, Clone)]
enum Edit {
    Replace(u8),
    Insert(&'static str),
    Remove(u8),
    Repeat(u8),
}

fn any_edit() -> impl Strategy<Value = (u16, Edit)> {
    let edit = prop_oneof![
        any::<u8>().prop_map(Edit::Replace),
        prop::sample::select(&FRAGMENTS[..]).prop_map(Edit::Insert),
        any::<u8>().prop_map(Edit::Remove),
        any::<u8>().prop_map(Edit::Repeat),
    ];
    (any::<u16>(), edit)
}

fn apply_edits(mut bytes: Vec<u8>, edits: Vec<(u16, Edit)>) -> Vec<u8> {
    for (at, edit) in edits {
        let at = usize::from(at) % (bytes.len() + 1);
        let span = |length: u8| at..(at + usize::from(length)).min(bytes.len());
        match edit {
            Edit::Replace(byte) => bytes.iter_mut().skip(at).take(1).for_each(|target| *target = byte),
            Edit::Insert(fragment) => drop(bytes.splice(at..at, fragment.bytes())),
            Edit::Remove(length) => drop(bytes.drain(span(length))),
            Edit::Repeat(length) => {
                let copy = bytes[span(length)].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
    bytes
}

/// Valid text after some edits, and sometimes random bytes.
fn mutations_of(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edited_bytes = prop::collection::vec(any_edit(), 0..6)
        .prop_map(|edits| apply_edits(valid.as_bytes().to_vec(), edits));
    prop_oneof![9 => edited_bytes, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn env_number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `target` on the configured number of `cases`.
fn run_cases<C: Strategy>(name: &str, cases: C, target: impl Fn(C::Value) -> TestCaseResult) {
    let started = Instant::now();
    let seconds =
        env_number("MODEL_FETCHER_HOSTILE_SECONDS").map(|seconds| Duration::from_secs(seconds.into()));
    let case_count = env_number("MODEL_FETCHER_HOSTILE_CASES").unwrap_or(BATCH_CASES);
    let config = Config { cases: BATCH_CASES, failure_persistence: None, ..Config::default() };
    let mut cases_run = 0;
    while seconds.map_or(cases_run < case_count, |seconds| started.elapsed() < seconds) {
        // A new runner each time: one that has passed its cases does not run more.
        TestRunner::new(config.clone())
            .run(&cases, &target)
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        cases_run += BATCH_CASES;
    }
    if cases_run > BATCH_CASES {
        // Written directly because a passing test does not show macro output.
        let _ = writeln!(std::io::stderr().lock(), "{name}: {cases_run} cases in {:.0?}", started.elapsed());
    }
}

fn is_inside_folder(path: &str) -> bool {
    !path.contains('\0') && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[test]
fn tree_page_parses_or_returns_error() {
    run_cases("listing", mutations_of(TREE), |json| {
        let Ok((files, _)) = tree::parse_page(&json) else { return Ok(()) };
        for file in &files {
            prop_assert!(is_inside_folder(&file.path), "{:?}", file.path);
            let length = if matches!(file.checksum, Checksum::Sha256(_)) { 64 } else { 40 };
            prop_assert_eq!(file.checksum.digits().len(), length);
        }
        if tree::validate_paths(&files).is_ok() {
            let paths: std::collections::HashSet<&str> =
                files.iter().map(|file| file.path.as_str()).collect();
            prop_assert_eq!(paths.len(), files.len());
        }
        Ok(())
    });
}

#[test]
fn accepted_path_is_inside_folder() {
    run_cases("path", "[./a\\\\:\u{0}b-]{0,12}", |path| {
        prop_assert!(tree::validate_path(&path).is_err() || is_inside_folder(&path), "{path:?}");
        Ok(())
    });
}

#[test]
fn safetensors_header_parses_or_reports_problem() {
    let length =
        prop_oneof![4 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => (0..400u64).prop_map(Some)];
    run_cases("safetensors header", (mutations_of(HEADER), length, 0..12usize), |(header, length, data)| {
        let length = length.unwrap_or(header.len() as u64);
        let mut content = length.to_le_bytes().to_vec();
        content.extend(header);
        content.resize(content.len() + data, 0);
        let size = content.len() as u64;
        let problem = safetensors::find_problem(&mut &content[..], size);
        if length.checked_add(8).is_none_or(|needed| needed > size) {
            prop_assert!(problem.is_some());
        }
        Ok(())
    });
}

#[test]
fn safetensors_index_parses_or_returns_error() {
    run_cases("safetensors index", mutations_of(INDEX), |json| {
        for shard in safetensors::parse_shard_names(&json).into_iter().flatten() {
            prop_assert!(is_inside_folder(&shard), "{shard:?}");
        }
        Ok(())
    });
}

#[test]
fn receipt_round_trips_or_is_rejected() {
    run_cases("receipt", mutations_of(RECEIPT), |json| {
        let Some(receipt) = parse_receipt(&json) else { return Ok(()) };
        prop_assert!(receipt.files.iter().all(|file| is_inside_folder(&file.path)), "{receipt:?}");
        let serialized =
            serde_json::to_vec(&receipt).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(parse_receipt(&serialized), Some(receipt));
        Ok(())
    });
}

#[test]
fn recorded_ranges_are_sorted_and_bounded() {
    run_cases("record of ranges", (mutations_of(RANGE_RECORD), any::<u64>()), |(json, size)| {
        for mut ranges in RecordedRanges::parse(&json).into_values() {
            ranges.truncate(size);
            prop_assert!(
                ranges.iter().all(|range| range.start < range.end && range.end <= size),
                "{ranges:?}"
            );
            let missing: u64 = ranges.gaps(size).into_iter().map(|gap| gap.end - gap.start).sum();
            prop_assert_eq!(ranges.bytes() + missing, size);
        }
        Ok(())
    });
}

#[test]
fn lease_record_parses_any_input() {
    run_cases("lock file", mutations_of(LEASE_RECORD), |json| {
        let holder = LeaseRecord::parse(&json);
        prop_assert_eq!(LeaseRecord::parse(&holder.to_json()), holder);
        Ok(())
    });
}

#[test]
fn content_range_parses_consistent_bounds() {
    let text = mutations_of(CONTENT_RANGE).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    run_cases("Content-Range", prop_oneof![text, "(bytes ?)?[0-9*/ -]{0,30}"], |text| {
        if let Some(range) = ContentRange::parse(&text) {
            prop_assert!(range.first <= range.last);
            prop_assert!(range.size.is_none_or(|size| range.last < size));
        }
        Ok(())
    });
}

#[test]
fn any_pattern_matches_like_fnmatch() {
    run_cases("glob", ("[ab*?!\\[\\]./ü-]{0,10}", "[ab!\\[\\]./ü-]{0,10}"), |(pattern, path)| {
        let mut options = FetchOptions::new("org/model", "/models");
        options.include = vec![pattern.clone()];
        let filter = Filter::new(&options).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let selected = !filter.select(std::iter::once(path.as_str())).is_empty();
        let expanded_pattern = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern };
        prop_assert_eq!(
            selected,
            fnmatch(&expanded_pattern.chars().collect::<Vec<_>>(), &path.chars().collect::<Vec<_>>())
        );
        Ok(())
    });
}

/// Implements Python's `fnmatch.fnmatchcase` by exhaustive search.
fn fnmatch(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['*', rest @ ..], _) => (0..=text.len()).any(|from| fnmatch(rest, &text[from..])),
        (['[', rest @ ..], _) => match split_class(rest) {
            Some((members, after)) => text
                .split_first()
                .is_some_and(|(first, text)| class_matches(members, *first) && fnmatch(after, text)),
            None => text.split_first().is_some_and(|(first, text)| *first == '[' && fnmatch(rest, text)),
        },
        ([expected, rest @ ..], [first, text @ ..]) => {
            (*expected == '?' || expected == first) && fnmatch(rest, text)
        }
        _ => false,
    }
}

/// Returns the members of a class after its `[`, and the rest after its `]`. A `]` that is the first member
/// does not close the class.
fn split_class(rest: &[char]) -> Option<(&[char], &[char])> {
    let first = usize::from(rest.first() == Some(&'!'));
    let end = (first + 1..rest.len()).find(|at| rest[*at] == ']')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn class_matches(members: &[char], character: char) -> bool {
    match members {
        ['!', members @ ..] => !class_contains(members, character),
        _ => class_contains(members, character),
    }
}

fn class_contains(members: &[char], character: char) -> bool {
    match members {
        [] => false,
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&character) || class_contains(rest, character),
        [one, rest @ ..] => *one == character || class_contains(rest, character),
    }
}

#[test]
fn ranges_and_gaps_cover_the_file() {
    run_cases("ranges", prop::collection::vec((0..100u64, 0..20u64), 0..12), |pairs| {
        let mut ranges = RangeSet::default();
        let mut expected = [false; 120];
        for (start, length) in pairs {
            ranges.insert(start..start + length);
            (start..start + length).for_each(|at| expected[at as usize] = true);
        }
        let missing = ranges.gaps(120);
        for at in 0..120u64 {
            prop_assert_eq!(!missing.iter().any(|gap| gap.contains(&at)), expected[at as usize]);
        }
        prop_assert_eq!(ranges.bytes(), expected.iter().filter(|ranges| **ranges).count() as u64);
        Ok(())
    });
}
