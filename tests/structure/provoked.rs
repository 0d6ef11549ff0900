//! `provoked.txt` names a test that provokes each message code, or says why none can; it stays true because this reads
//! the tests. A row: code, file, test, and where the test reads the code from a table, that table's file.

use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = include_str!("provoked.txt");

/// A file of the repository; empty where there is none.
fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap_or_default()
}

/// The text of a function, from its name to the brace that closes it.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("fn {name}("))?;
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let indentation: String = text[line..].chars().take_while(|letter| *letter == ' ').collect();
    let end = text[start..].find(&format!("\n{indentation}}}\n"))?;
    Some(&text[start..start + end])
}

/// What is wrong with a row; nothing where its test provokes its code.
fn fault(row: &str) -> Option<String> {
    let mut words = row.split_whitespace();
    let (code, file, test) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    if file == "never:" {
        return (row.len() < 40).then(|| format!("{code}: why can nothing provoke it?"));
    }
    let source = text(file);
    let Some(body) = body(&source, test) else { return Some(format!("{code}: {file} has no test {test}")) };
    let provokes = match words.next() {
        Some(table) => text(table).contains(code),
        None => body.contains(code),
    };
    (!provokes).then(|| format!("{code}: {test} of {file} does not speak of it"))
}

#[test]
fn every_message_code_has_a_test_that_provokes_it() {
    let rows: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
    let codes: Vec<&str> = rows.iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert!(codes.is_sorted_by(|one, next| one < next), "the rows are not in order, or a code has two");
    let page = text("docs/messages.md");
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.get(..6))
        .filter(|code| code.starts_with("KD"))
        .collect();
    let provoked: BTreeSet<&str> = codes.into_iter().collect();
    let mut faults: Vec<String> =
        listed.difference(&provoked).map(|code| format!("{code}: no test provokes it")).collect();
    faults.extend(provoked.difference(&listed).map(|code| format!("{code}: there is no such code")));
    faults.extend(rows.into_iter().filter_map(fault));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
