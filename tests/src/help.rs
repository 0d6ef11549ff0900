//! The help of a program and of all its subcommands. It must not interpret the texts.

use std::path::Path;
use std::process::Command;

/// The help of one subcommand.
#[derive(Debug)]
pub struct HelpText {
    /// The words of the subcommand. Empty for the program itself.
    pub words: Vec<String>,
    pub text: String,
}

/// Returns the long help of a program and of all its subcommands, each before its own subcommands, with those of
/// `hidden` at the end.
pub fn help_of_all(program: &Path, hidden: &[&str]) -> Vec<HelpText> {
    let mut waiting: Vec<Vec<String>> = hidden.iter().map(|verb| vec![(*verb).to_owned()]).collect();
    waiting.push(Vec::new());
    let mut texts = Vec::new();
    while let Some(words) = waiting.pop() {
        // The manual page that `model-fetcher --help` prints does not list its verbs.
        let below = subcommands(&help(program, &words, "-h")).into_iter().filter(|one| one != "help");
        let mut below: Vec<Vec<String>> = below.map(|one| [&words[..], &[one]].concat()).collect();
        below.reverse();
        waiting.extend(below);
        texts.push(HelpText { text: help(program, &words, "--help"), words });
    }
    texts
}

fn help(program: &Path, words: &[String], flag: &str) -> String {
    let output = Command::new(program)
        .args(words)
        .arg(flag)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("help is UTF-8")
}

/// Returns the names in the list of commands of a help text.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| !line.eq_ignore_ascii_case("commands:")).skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let name = |line: &str| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')).map(str::to_owned);
    let names = listed.filter_map(name);
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}
