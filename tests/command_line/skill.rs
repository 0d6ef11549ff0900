//! The generated tables of docs/skills/kubectl-dynamo/SKILL.md, and its front matter.

use kubectl_dynamo_core::code::{MessageCategory, MessageCode};
use kubectl_dynamo_core::exit::EXIT_CODES;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::rbac::command_permissions;
use kubectl_dynamo_tests::cache::repository;
use kubectl_dynamo_tests::help::{HelpText, help_of_all};
use kubectl_dynamo_tests::pages::{check_generated, table_row};
use kubectl_dynamo_tests::programs;

const PAGE: &str = "docs/skills/kubectl-dynamo/SKILL.md";

fn read(page: &str) -> String {
    std::fs::read_to_string(repository().join(page)).expect("the page can be read")
}

#[test]
fn skill_lists_every_verb() {
    let texts = help_of_all(&programs::kubectl_dynamo(), &[]);
    let verbs = texts.iter().filter(|one| !one.words.is_empty() && !one.text.contains("\nCommands:\n"));
    let rows = verbs.map(|verb| table_row(&verb_row(verb))).collect::<String>();
    check_generated(
        PAGE,
        "verbs",
        &format!("| Verb | Description | Role | Asks |\n|---|---|---|---|\n{rows}"),
    );
}

/// The name, the first paragraph of the help, the persona, and whether the verb has `-y`.
fn verb_row(verb: &HelpText) -> [String; 4] {
    let name = verb.words.join(" ");
    let about = verb.text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let persona =
        command_permissions(&name).map_or("-".to_owned(), |row| format!("`{}`", row.persona.as_str()));
    let asks = if verb.text.contains("\n  -y, --yes\n") { "yes" } else { "" };
    [format!("`{name}`"), about, persona, asks.to_owned()]
}

#[test]
fn skill_lists_every_exit_code() {
    let entries = EXIT_CODES.lines().skip(1).flat_map(|line| line.split("  ")).map(str::trim);
    let mut codes: Vec<(u8, &str)> = entries
        .filter(|entry| !entry.is_empty())
        .map(|entry| entry.split_once(' ').expect("a code and its meaning"))
        .map(|(code, meaning)| (code.parse().expect("exit codes are numbers"), meaning))
        .collect();
    codes.sort_unstable();
    let rows = codes.iter().map(|(code, meaning)| table_row(&[&code.to_string(), *meaning]));
    check_generated(
        PAGE,
        "exit-codes",
        &format!("| Code | Meaning |\n|---|---|\n{}", rows.collect::<String>()),
    );
}

/// The documents are those that the reference page lists with their fields.
#[test]
fn skill_lists_every_json_document() {
    let reference = read("docs/reference/json.md");
    let (_, rest) = reference.split_once("| Command | `kind` | Fields |\n|---|---|---|\n").expect("a table");
    let rows = rest.lines().take_while(|line| line.starts_with("| ")).map(|line| {
        let mut cells = line.trim_start_matches("| ").split(" | ");
        let mut cell = || cells.next().expect("a row has three cells");
        table_row(&[cell(), cell()])
    });
    let rows = rows.collect::<String>();
    check_generated(PAGE, "documents", &format!("| Command | `kind` |\n|---|---|\n{rows}"));
}

#[test]
fn skill_lists_the_ranges_of_codes() {
    let rows = MessageCategory::ALL.iter().map(|category| {
        let mut codes = MessageCode::ALL.iter().filter(|code| code.category() == *category);
        let first = codes.next().expect("every category has a code");
        table_row(&[
            format!("{first} to {}", codes.next_back().unwrap_or(first)),
            category.title().to_owned(),
        ])
    });
    let rows = rows.collect::<String>();
    check_generated(PAGE, "codes", &format!("| Codes | About |\n|---|---|\n{rows}"));
}

/// The limits of the format, <https://agentskills.io/specification>: the name is that of the folder, and the description
/// has at most 1,024 characters.
#[test]
fn skill_has_a_valid_name_and_description() {
    let page = read(PAGE);
    let (front_matter, _) =
        page.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).expect("it exists");
    let value = |key: &str| front_matter.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    assert_eq!(value("name:"), Some("kubectl-dynamo"));
    let description = value("description:").expect("it has a description");
    assert!((1..=1024).contains(&description.chars().count()), "{description}");
    assert!(value("compatibility:").is_some_and(|text| text.chars().count() <= 500));
    assert!(page.lines().count() < 500, "agents read the whole page");
}
