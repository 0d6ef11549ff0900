//! The help of every verb. Names, values, and defaults are a contract; the prose is not.

use std::path::Path;

use kubectl_dynamo_tests::help::help_of_all;
use kubectl_dynamo_tests::programs;

use crate::frozen;

/// A subcommand that help does not list.
const HIDDEN: &[&str] = &["__supervise"];

#[test]
fn help_of_the_plugin() {
    frozen!("help-kubectl-dynamo", texts_of_all(&programs::kubectl_dynamo(), HIDDEN));
}

#[test]
fn help_of_the_fetcher() {
    frozen!("help-model-fetcher", texts_of_all(&programs::model_fetcher(), &[]));
}

/// Returns the help of a program and of all its subcommands, each below its command line.
fn texts_of_all(program: &Path, hidden: &[&str]) -> String {
    let name = program.file_name().unwrap().to_string_lossy();
    let mut text = String::new();
    for one in help_of_all(program, hidden) {
        let line = one.words.iter().map(String::as_str).chain(["--help"]).collect::<Vec<_>>().join(" ");
        text += &format!("$ {name} {line}\n{}\n", one.text);
    }
    text
}
