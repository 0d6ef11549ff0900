//! `docs/messages.md` lists every message code of the plugin, once and with a meaning of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::Source;

/// The codes in a text: `KD` and four digits.
fn codes(text: &str) -> Vec<&str> {
    let begins = text.match_indices("KD").map(|(at, _)| at);
    let code = |at: usize| text.get(at..at + 6).filter(|code| code[2..].bytes().all(|b| b.is_ascii_digit()));
    begins.filter_map(code).collect()
}

/// The table's rows: code and meaning.
fn rows(page: &str) -> Vec<(&str, &str)> {
    page.lines().filter_map(|line| line.strip_prefix("| KD")?.strip_suffix(" |")?.split_once(" | ")).collect()
}

/// What is wrong between the codes that the sources use and the page that lists them.
fn disagreements(used: &BTreeSet<String>, page: &str) -> Vec<String> {
    let rows = rows(page);
    let listed: BTreeSet<String> = rows.iter().map(|(digits, _)| format!("KD{digits}")).collect();
    let mut found: Vec<String> =
        used.difference(&listed).map(|code| format!("{code} is not listed")).collect();
    found.extend(listed.difference(used).map(|code| format!("{code} is listed and never used")));
    let mut meanings: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, meaning) in &rows {
        *meanings.entry(meaning).or_default() += 1;
    }
    let twice = meanings.into_iter().filter(|(_, times)| *times > 1);
    found.extend(twice.map(|(meaning, _)| format!("two codes mean \"{meaning}\"")));
    if !rows.is_sorted_by(|(one, _), (next, _)| one < next) {
        found.push("the codes are not in order, or one is listed twice".into());
    }
    found
}

fn used_in(files: &[(PathBuf, String)]) -> BTreeSet<String> {
    let literals = files.iter().flat_map(|(path, text)| Source::parse(path, text).literals);
    literals
        .flat_map(|literal| codes(&literal.text).into_iter().map(String::from).collect::<Vec<_>>())
        .collect()
}

#[test]
fn every_message_code_is_listed_with_its_meaning() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let used = used_in(&crate::files("kubectl-dynamo"));
    assert!(used.contains("KD0001"), "no code was found in the sources");
    assert_eq!(disagreements(&used, &page), [""; 0]);
}

#[test]
fn the_page_is_compared_with_the_sources_both_ways() {
    let file = |text: &str| [(PathBuf::from("any.rs"), text.to_owned())];
    let used = used_in(&file("/// KD0009\nfn f() { g(\"KD0001\", \"error [KD0002]:\", \"KD12\") }"));
    assert_eq!(used, BTreeSet::from(["KD0001".into(), "KD0002".into()]));
    assert_eq!(disagreements(&used, "| KD0001 | one |\n| KD0002 | two |\n"), [""; 0]);
    assert_eq!(disagreements(&used, "| KD0001 | one |\n"), ["KD0002 is not listed"]);
    let more = "| KD0001 | one |\n| KD0002 | two |\n| KD0003 | three |\n";
    assert_eq!(disagreements(&used, more), ["KD0003 is listed and never used"]);
    assert_eq!(disagreements(&used, "| KD0001 | one |\n| KD0002 | one |\n"), ["two codes mean \"one\""]);
    assert_eq!(disagreements(&used, "| KD0002 | two |\n| KD0001 | one |\n").len(), 1);
}
