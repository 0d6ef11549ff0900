//! Every reader of foreign text and bytes against random and mutated input: an answer or an error, never a panic,
//! never a large allocation.
//!
//! `PROPTEST_CASES=10000000 cargo test --release -p model-fetcher hostile` is the long run.

use proptest::prelude::*;

use crate::contract::Receipt;
use crate::filter::Filter;
use crate::ranges::RangeSet;
use crate::safetensors;
use crate::source::answer::ContentRange;
use crate::source::tree;

const TREE: &str = r#"[{"type":"file","oid":"a94a8fe5ccb19ba61c4c0873d391e987982fbbd3","size":12,"path":"a/b.json",
    "lfs":{"oid":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":9,"pointerSize":134}}]"#;
const HEADER: &str =
    r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
const RECEIPT: &str = r#"{"format":1,"repository":"a/b","endpoint":"https://hub","revision":"main","commit":"c",
    "files":[{"path":"x","size":1,"git_sha1":"00","modified":5}],"completed_at":"","fetcher":""}"#;

/// A sound text with some of its bytes replaced.
fn mutated(sound: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((0..sound.len(), any::<u8>()), 0..6);
    (changes, 0..=sound.len()).prop_map(move |(changes, length)| {
        let mut bytes = sound.as_bytes().to_vec();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(length.max(1));
        bytes
    })
}

fn safetensors_of(header: &[u8], length: u64, data: usize) -> Vec<u8> {
    let mut content = length.to_le_bytes().to_vec();
    content.extend(header);
    content.resize(content.len() + data, 0);
    content
}

proptest! {
    #[test]
    fn a_listing_is_read_or_refused(json in mutated(TREE), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        for bytes in [json, noise] {
            if let Ok(files) = tree::read_page(&bytes) {
                for file in files {
                    prop_assert!(tree::validate_path(&file.path).is_ok());
                    prop_assert!(matches!(file.checksum.digits().len(), 40 | 64));
                }
            }
        }
    }

    #[test]
    fn a_path_that_is_accepted_stays_in_its_folder(path in "[./a\\\\:\u{0}b-]{0,12}") {
        if tree::validate_path(&path).is_ok() {
            let inside = std::path::Path::new(&path).components();
            prop_assert!(inside.into_iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
        }
    }

    #[test]
    fn a_safetensors_header_is_read_or_refused(
        header in mutated(HEADER),
        length in prop_oneof![Just(HEADER.len() as u64), any::<u64>(), 0..200u64],
        data in 0..10usize,
    ) {
        let content = safetensors_of(&header, length, data);
        let size = content.len() as u64;
        let problem = safetensors::problem(&mut &content[..], size);
        if length.checked_add(8).is_none_or(|needed| needed > size) {
            prop_assert!(problem.is_some());
        }
    }

    #[test]
    fn a_receipt_is_read_or_refused(json in mutated(RECEIPT)) {
        if let Ok(receipt) = serde_json::from_slice::<Receipt>(&json) {
            let again = serde_json::to_vec(&receipt).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Receipt>(&again).unwrap(), receipt);
        }
    }

    #[test]
    fn a_content_range_is_read_or_refused(text in "(bytes ?)?[0-9*/ -]{0,30}") {
        if let Some(range) = ContentRange::parse(&text) {
            prop_assert!(range.first <= range.last);
            prop_assert!(range.size.is_none_or(|size| range.last < size));
        }
    }

    #[test]
    fn a_pattern_is_understood_whatever_it_is(pattern in "[ab*?!\\[\\]./ü-]{0,10}", path in "[ab!\\[\\]./ü-]{0,10}") {
        let filter = Filter::new(std::slice::from_ref(&pattern), &[]).unwrap();
        let selected = filter.select(std::iter::once(path.as_str()));
        prop_assert!(selected.len() <= 1);
    }

    #[test]
    fn ranges_and_their_gaps_make_a_whole(pairs in prop::collection::vec((0..100u64, 0..20u64), 0..12)) {
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
    }
}
