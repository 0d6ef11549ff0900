//! Checks `code_coverage.txt`, which names a test for each message code, or explains why none is possible. The test's
//! source must contain the code. A row has a code, a file, a test, and, if the test reads the code from a
//! table, that table's file.

use std::collections::BTreeSet;
use std::path::Path;

use kubectl_dynamo_core::code::MessageCode;

const TABLE: &str = include_str!("code_coverage.txt");

/// Returns the text of a file of the repository; empty if it does not exist.
fn read_file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap_or_default()
}

/// Returns the text of a function, from its name to its closing brace.
fn function_body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("fn {name}("))?;
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let indentation: String = text[line..].chars().take_while(|letter| *letter == ' ').collect();
    let end = text[start..].find(&format!("\n{indentation}}}\n"))?;
    Some(&text[start..start + end])
}

/// Returns whether a text contains a code, as users see it or as its variant.
fn names_code(text: &str, code: &str) -> bool {
    let variant = MessageCode::ALL.iter().find(|one| one.as_str() == code);
    let variant = variant.map(|one| format!("MessageCode::{one:?}"));
    let is_complete = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric());
    text.contains(code) || variant.is_some_and(|variant| text.split(&variant).skip(1).any(is_complete))
}

/// Returns what is wrong with a row; `None` if its test contains its code.
fn row_problem(row: &str) -> Option<String> {
    let mut columns = row.split_whitespace();
    let (code, file, test) = (columns.next()?, columns.next()?, columns.next().unwrap_or_default());
    if file == "never:" {
        return (row.len() < 40).then(|| format!("{code}: explain why no test can trigger it"));
    }
    let source = read_file(file);
    let Some(body) = function_body(&source, test) else {
        return Some(format!("{code}: {test} not found in {file}"));
    };
    let provokes = match columns.next() {
        Some(table) => names_code(&read_file(table), code),
        None => names_code(body, code),
    };
    (!provokes).then(|| format!("{code}: test {test} in {file} does not mention it"))
}

#[test]
fn every_message_code_has_a_test() {
    let rows: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
    let codes: Vec<&str> = rows.iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert!(codes.is_sorted_by(|one, next| one < next), "the rows are not sorted, or a code is listed twice");
    let page = read_file("docs/messages.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.get(..6))
        .filter(|code| code.starts_with("KD"))
        .collect();
    let tested: BTreeSet<&str> = codes.into_iter().collect();
    let mut faults: Vec<String> =
        listed.difference(&tested).map(|code| format!("{code}: no test triggers it")).collect();
    faults.extend(tested.difference(&listed).map(|code| format!("{code}: unknown code")));
    faults.extend(rows.into_iter().filter_map(row_problem));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
