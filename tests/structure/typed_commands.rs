//! A command that a message asks the user to type is a `SuggestedCommand`, never a part of a string: only then it is
//! quoted, and gets the namespace and the context with which the run reached its cluster.

use std::path::Path;

use crate::rules::Violation;
use crate::source::ParsedSource;

/// The plugin's own verb of kubectl, and the verbs that messages suggest.
const VERBS: [&str; 19] = [
    "apply",
    "auth",
    "cluster-info",
    "config",
    "create",
    "delete",
    "describe",
    "dynamo",
    "edit",
    "exec",
    "explain",
    "get",
    "label",
    "logs",
    "patch",
    "port-forward",
    "rollout",
    "scale",
    "top",
];

/// Files with texts that are not messages about a cluster of this run.
const EXEMPT: [(&str, &str); 5] = [
    ("kubectl-dynamo/core/command.rs", "defines the type"),
    ("kubectl-dynamo/core/intent/request/schema.rs", "the published schema"),
    ("kubectl-dynamo/commands/completion/shim.rs", "a shell script and the line that loads it"),
    ("kubectl-dynamo/commands/version.rs", "the name and the version"),
    ("kubectl-dynamo/commands.rs", "the name"),
];

/// Returns whether a string contains `kubectl` with one of the verbs.
fn contains_command(text: &str) -> bool {
    text.match_indices("kubectl ").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(rest.len());
        VERBS.contains(&&rest[..end])
    })
}

fn violations(package: &str, path: &Path, text: &str) -> Vec<Violation> {
    let file = format!("{package}/{}", path.display());
    let is_exempt = EXEMPT.iter().any(|(exempt, _)| *exempt == file) || path.ends_with("tests.rs");
    if is_exempt || !crate::is_of_plugin(package) {
        return Vec::new();
    }
    // The examples of `--help` are not about a certain cluster.
    let literals = ParsedSource::parse(path, text).literals;
    let commands = literals.into_iter().filter(|one| !is_help(&one.text) && contains_command(&one.text));
    let violation = |one: crate::source::FoundToken| Violation {
        line: one.line,
        text: format!("a command in a string, {:?}: use SuggestedCommand", one.text),
    };
    commands.map(violation).collect()
}

fn is_help(text: &str) -> bool {
    text.trim_start_matches(['\\', 'n', '\n']).starts_with("Examples:")
}

#[test]
fn no_message_contains_a_command_that_is_text() {
    crate::check_every_file(violations);
}

#[test]
fn commands_are_found_in_strings() {
    let find = |text: &str| violations("kubectl-dynamo", Path::new("any.rs"), text).len();
    assert_eq!(find("fn f() { g(\"list them: kubectl dynamo list\", \"see kubectl get pods -A\") }"), 2);
    assert_eq!(
        find(
            "/// kubectl dynamo list\nfn f() { g(\"kubectl finds it\", \"Examples:\\n  kubectl dynamo up\") }"
        ),
        0
    );
}
