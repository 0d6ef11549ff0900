//! `docs/messages.md` lists every message code of the plugin with the exit code and the meaning from the table in the
//! core's `code.rs`, and has a section for each. No other file of the plugin contains a code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kubectl_dynamo_core::code::{MessageCategory, MessageCode};
use kubectl_dynamo_core::exit::Exit;
use kubectl_dynamo_tests::pages::{check_generated, table_row};

use crate::source::ParsedSource;

/// Returns the codes in a text: `KD` and four digits.
fn find_codes(text: &str) -> Vec<&str> {
    let starts = text.match_indices("KD").map(|(at, _)| at);
    let code = |at: usize| text.get(at..at + 6).filter(|code| code[2..].bytes().all(|b| b.is_ascii_digit()));
    starts.filter_map(code).collect()
}

/// Returns the table of codes as the page shows it. A code with [`Exit::Ok`] is only used for warnings.
fn table_of_codes() -> String {
    let exit = |code: &MessageCode| match code.exit() {
        Exit::Ok => "warning".to_owned(),
        exit => (exit as u8).to_string(),
    };
    let rows = MessageCode::ALL
        .iter()
        .map(|code| table_row(&[code.to_string(), exit(code), code.meaning().to_owned()]));
    format!("| Code | Exit code | Meaning |\n|---|---|---|\n{}", rows.collect::<String>())
}

/// Returns what is wrong with the codes and the sections of the page.
fn problems(codes: &BTreeMap<&str, &str>, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut meanings: BTreeMap<&str, usize> = BTreeMap::new();
    for (code, meaning) in codes {
        if !page.contains(&format!("\n### {code}\n")) {
            found.push(format!("{code} does not have a section"));
        }
        *meanings.entry(meaning).or_default() += 1;
    }
    let sections = page.lines().filter_map(|line| line.strip_prefix("### "));
    let unknown = sections.filter(|section| section.starts_with("KD") && !codes.contains_key(section));
    found.extend(unknown.map(|section| format!("{section} has a section and is not in code.rs")));
    let duplicates = meanings.into_iter().filter(|(_, times)| *times > 1);
    found.extend(duplicates.map(|(meaning, _)| format!("two codes have the meaning \"{meaning}\"")));
    found
}

fn codes_used_in(files: &[(PathBuf, String)]) -> BTreeSet<String> {
    let literals = files.iter().flat_map(|(path, text)| ParsedSource::parse(path, text).literals);
    literals
        .flat_map(|literal| find_codes(&literal.text).into_iter().map(String::from).collect::<Vec<_>>())
        .collect()
}
fn message_page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md");
    std::fs::read_to_string(page).expect("docs/messages.md exists")
}

#[test]
fn page_lists_every_code_with_exit_code_and_meaning() {
    check_generated("docs/messages.md", "codes", &table_of_codes());
    assert!(
        MessageCode::ALL.is_sorted_by(|one, next| one.as_str() < next.as_str()),
        "the codes are in order"
    );
}

#[test]
fn every_message_code_has_a_section_and_its_own_meaning() {
    let codes = MessageCode::ALL.iter().map(|code| (code.as_str(), code.meaning())).collect();
    assert_eq!(problems(&codes, &message_page()), [""; 0]);
}

#[test]
fn page_lists_the_categories() {
    let page = message_page().split_whitespace().collect::<Vec<_>>().join(" ");
    let titles = MessageCategory::ALL.iter().enumerate();
    let expected: Vec<String> =
        titles.map(|(digits, category)| format!("{digits:02} {}", category.title())).collect();
    assert!(page.contains(&expected.join(", ")), "{expected:?}");
}

/// Every file of the plugin except the table.
fn files_outside_the_table() -> Vec<(PathBuf, String)> {
    let plugin = crate::PACKAGES.into_iter().filter(|package| crate::is_of_plugin(package));
    let is_table =
        |package: &str, path: &Path| package == "kubectl-dynamo/core" && path == Path::new("code.rs");
    let files = plugin.flat_map(|package| {
        crate::package_files(package).into_iter().filter(move |(path, _)| !is_table(package, path))
    });
    files.collect()
}

#[test]
fn codes_are_written_only_in_the_table() {
    let files = files_outside_the_table();
    assert!(files.len() > 100, "{} files", files.len());
    assert_eq!(codes_used_in(&files), BTreeSet::new());
}

#[test]
fn every_message_code_is_used() {
    let files = files_outside_the_table();
    let paths = files.iter().flat_map(|(path, text)| ParsedSource::parse(path, text).paths);
    let used: BTreeSet<String> =
        paths.filter_map(|path| Some(path.text.split_once("MessageCode::")?.1.to_owned())).collect();
    let unused: Vec<String> = MessageCode::ALL
        .iter()
        .filter(|code| !used.contains(&format!("{code:?}")))
        .map(|code| format!("{code} {code:?}"))
        .collect();
    assert_eq!(unused, [""; 0]);
}

#[test]
fn page_and_sources_are_compared_in_both_directions() {
    let file = |text: &str| [(PathBuf::from("any.rs"), text.to_owned())];
    let used = codes_used_in(&file("/// KD0009\nfn f() { g(\"KD0001\", \"error [KD0002]:\", \"KD12\") }"));
    assert_eq!(used, BTreeSet::from(["KD0001".into(), "KD0002".into()]));
    let codes = BTreeMap::from([("KD0001", "one"), ("KD0002", "two")]);
    assert_eq!(problems(&codes, "\n### KD0001\n\n### KD0002\n"), [""; 0]);
    assert_eq!(problems(&codes, "\n### KD0001\n"), ["KD0002 does not have a section"]);
    let more = "\n### KD0001\n\n### KD0002\n\n### KD0003\n";
    assert_eq!(problems(&codes, more), ["KD0003 has a section and is not in code.rs"]);
    let same = BTreeMap::from([("KD0001", "one"), ("KD0002", "one")]);
    assert_eq!(problems(&same, "\n### KD0001\n\n### KD0002\n"), ["two codes have the meaning \"one\""]);
}
