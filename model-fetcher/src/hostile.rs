//! Every reader of foreign text and bytes against random and mutated input: an answer or an error, never a panic,
//! never a large allocation.
//!
//! Each target runs `MODEL_FETCHER_HOSTILE_CASES` cases (1,000 unless set), or for `MODEL_FETCHER_HOSTILE_SECONDS`.
//! `MODEL_FETCHER_HOSTILE_CASES=10000000 cargo test --release -p model-fetcher hostile` is the long run.

use std::io::Write;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

use crate::contract::Checksum;
use crate::filter::Filter;
use crate::lease::Record;
use crate::ranges::RangeSet;
use crate::safetensors;
use crate::source::answer::ContentRange;
use crate::source::tree;
use crate::store::read_receipt;
use crate::store::work::Progress;

const BATCH: u32 = 1000;

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
const RECORD: &str =
    r#"{"boot":"b","files":{"00.1.mfpart":[[0,5],[9,18446744073709551615]],"11.1.mfpart":[]}}"#;
const HOLDER: &str =
    r#"{"token":"0123","host":"pod","process":1,"boot":"another","device":1,"beat":7,"doing":""}"#;
const CONTENT_RANGE: &str = "bytes 5-9/10";

/// What parsers trip over.
const WORDS: [&str; 24] = [
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

fn edit() -> impl Strategy<Value = (u16, Edit)> {
    let edit = prop_oneof![
        any::<u8>().prop_map(Edit::Replace),
        prop::sample::select(&WORDS[..]).prop_map(Edit::Insert),
        any::<u8>().prop_map(Edit::Remove),
        any::<u8>().prop_map(Edit::Repeat),
    ];
    (any::<u16>(), edit)
}

fn edited(mut bytes: Vec<u8>, edits: Vec<(u16, Edit)>) -> Vec<u8> {
    for (at, edit) in edits {
        let at = usize::from(at) % (bytes.len() + 1);
        let stretch = |length: u8| at..(at + usize::from(length)).min(bytes.len());
        match edit {
            Edit::Replace(byte) => bytes.iter_mut().skip(at).take(1).for_each(|held| *held = byte),
            Edit::Insert(word) => drop(bytes.splice(at..at, word.bytes())),
            Edit::Remove(length) => drop(bytes.drain(stretch(length))),
            Edit::Repeat(length) => {
                let again = bytes[stretch(length)].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

/// A sound text after some edits, and now and then mere noise.
fn mutated(sound: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changed =
        prop::collection::vec(edit(), 0..6).prop_map(|edits| edited(sound.as_bytes().to_vec(), edits));
    prop_oneof![9 => changed, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `target` on as many `cases` as were asked for.
fn hunt<C: Strategy>(name: &str, cases: C, target: impl Fn(C::Value) -> TestCaseResult) {
    let started = Instant::now();
    let seconds = number("MODEL_FETCHER_HOSTILE_SECONDS").map(|seconds| Duration::from_secs(seconds.into()));
    let wanted = number("MODEL_FETCHER_HOSTILE_CASES").unwrap_or(BATCH);
    let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
    let mut done = 0;
    while seconds.map_or(done < wanted, |seconds| started.elapsed() < seconds) {
        // A new one each time: a runner that has passed its cases runs no more of them.
        TestRunner::new(config.clone())
            .run(&cases, &target)
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        done += BATCH;
    }
    if done > BATCH {
        // Not through the macro, which a passing test does not show.
        let _ = writeln!(std::io::stderr().lock(), "{name}: {done} cases in {:.0?}", started.elapsed());
    }
}

fn stays_inside(path: &str) -> bool {
    !path.contains('\0') && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[test]
fn a_listing_is_read_or_refused() {
    hunt("listing", mutated(TREE), |json| {
        let Ok(files) = tree::read_page(&json) else { return Ok(()) };
        for file in &files {
            prop_assert!(stays_inside(&file.path), "{:?}", file.path);
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
fn a_path_that_is_accepted_stays_in_its_folder() {
    hunt("path", "[./a\\\\:\u{0}b-]{0,12}", |path| {
        prop_assert!(tree::validate_path(&path).is_err() || stays_inside(&path), "{path:?}");
        Ok(())
    });
}

#[test]
fn a_safetensors_header_is_read_or_refused() {
    let length =
        prop_oneof![4 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => (0..400u64).prop_map(Some)];
    hunt("safetensors header", (mutated(HEADER), length, 0..12usize), |(header, length, data)| {
        let length = length.unwrap_or(header.len() as u64);
        let mut content = length.to_le_bytes().to_vec();
        content.extend(header);
        content.resize(content.len() + data, 0);
        let size = content.len() as u64;
        let problem = safetensors::problem(&mut &content[..], size);
        if length.checked_add(8).is_none_or(|needed| needed > size) {
            prop_assert!(problem.is_some());
        }
        Ok(())
    });
}

#[test]
fn a_safetensors_index_is_read_or_refused() {
    hunt("safetensors index", mutated(INDEX), |json| {
        for shard in safetensors::shards_named_by(&json).into_iter().flatten() {
            prop_assert!(stays_inside(&shard), "{shard:?}");
        }
        Ok(())
    });
}

#[test]
fn a_receipt_is_read_or_refused() {
    hunt("receipt", mutated(RECEIPT), |json| {
        let Some(receipt) = read_receipt(&json) else { return Ok(()) };
        prop_assert!(receipt.files.iter().all(|file| stays_inside(&file.path)), "{receipt:?}");
        let again = serde_json::to_vec(&receipt).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read_receipt(&again), Some(receipt));
        Ok(())
    });
}

#[test]
fn a_record_of_ranges_is_read_or_refused() {
    hunt("record of ranges", (mutated(RECORD), any::<u64>()), |(json, size)| {
        for mut held in Progress::read(&json).into_values() {
            held.truncate(size);
            prop_assert!(held.iter().all(|range| range.start < range.end && range.end <= size), "{held:?}");
            let missing: u64 = held.gaps(size).into_iter().map(|gap| gap.end - gap.start).sum();
            prop_assert_eq!(held.bytes() + missing, size);
        }
        Ok(())
    });
}

#[test]
fn a_lock_file_is_read_whatever_it_is() {
    hunt("lock file", mutated(HOLDER), |json| {
        let holder = Record::read(&json);
        prop_assert_eq!(Record::read(&holder.json()), holder);
        Ok(())
    });
}

#[test]
fn a_content_range_is_read_or_refused() {
    let text = mutated(CONTENT_RANGE).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    hunt("Content-Range", prop_oneof![text, "(bytes ?)?[0-9*/ -]{0,30}"], |text| {
        if let Some(range) = ContentRange::parse(&text) {
            prop_assert!(range.first <= range.last);
            prop_assert!(range.size.is_none_or(|size| range.last < size));
        }
        Ok(())
    });
}

#[test]
fn a_pattern_is_understood_whatever_it_is() {
    hunt("glob", ("[ab*?!\\[\\]./ü-]{0,10}", "[ab!\\[\\]./ü-]{0,10}"), |(pattern, path)| {
        let filter = Filter::new(std::slice::from_ref(&pattern), &[])
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        let selected = !filter.select(std::iter::once(path.as_str())).is_empty();
        let whole = if pattern.ends_with('/') { format!("{pattern}*") } else { pattern };
        prop_assert_eq!(
            selected,
            fnmatch(&whole.chars().collect::<Vec<_>>(), &path.chars().collect::<Vec<_>>())
        );
        Ok(())
    });
}

/// Python's `fnmatch.fnmatchcase`, by trying everything.
fn fnmatch(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['*', rest @ ..], _) => (0..=text.len()).any(|from| fnmatch(rest, &text[from..])),
        (['[', rest @ ..], _) => match class(rest) {
            Some((members, after)) => text
                .split_first()
                .is_some_and(|(first, text)| in_class(members, *first) && fnmatch(after, text)),
            None => text.split_first().is_some_and(|(first, text)| *first == '[' && fnmatch(rest, text)),
        },
        ([wanted, rest @ ..], [first, text @ ..]) => {
            (*wanted == '?' || wanted == first) && fnmatch(rest, text)
        }
        _ => false,
    }
}

/// The members of a class behind its `[`, and what follows its `]`, which is no end as the first member.
fn class(rest: &[char]) -> Option<(&[char], &[char])> {
    let first = usize::from(rest.first() == Some(&'!'));
    let end = (first + 1..rest.len()).find(|at| rest[*at] == ']')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn in_class(members: &[char], character: char) -> bool {
    match members {
        ['!', members @ ..] => !holds(members, character),
        _ => holds(members, character),
    }
}

fn holds(members: &[char], character: char) -> bool {
    match members {
        [] => false,
        [from, '-', to, rest @ ..] => (*from..=*to).contains(&character) || holds(rest, character),
        [one, rest @ ..] => *one == character || holds(rest, character),
    }
}

#[test]
fn ranges_and_their_gaps_make_a_whole() {
    hunt("ranges", prop::collection::vec((0..100u64, 0..20u64), 0..12), |pairs| {
        let mut held = RangeSet::default();
        let mut expected = [false; 120];
        for (start, length) in pairs {
            held.insert(start..start + length);
            (start..start + length).for_each(|at| expected[at as usize] = true);
        }
        let missing = held.gaps(120);
        for at in 0..120u64 {
            prop_assert_eq!(!missing.iter().any(|gap| gap.contains(&at)), expected[at as usize]);
        }
        prop_assert_eq!(held.bytes(), expected.iter().filter(|held| **held).count() as u64);
        Ok(())
    });
}
