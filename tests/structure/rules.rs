//! The structure checks. Each takes one file and returns its violations.

use std::path::Path;

use kubectl_dynamo_core::release::CATALOG;

use crate::source::{FoundToken, ParsedSource};
use crate::table::{CORE_MODULES, DISK_METHODS, DependencyRule, RULES};

/// A forbidden use, and its location.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Maximum number of lines of a file.
const LONGEST_FILE: usize = 400;

/// Maximum number of lines of a file directly below `commands/`, without its tests.
const LONGEST_COMMAND: usize = 150;

/// Checks that a command only turns arguments into options, calls a workflow, and renders its result: a longer
/// file contains something else.
pub(crate) fn command_length(path: &Path, text: &str) -> Vec<Violation> {
    if path.parent() != Some(Path::new("commands")) {
        return Vec::new();
    }
    let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
    let lines = code.lines().count();
    if lines <= LONGEST_COMMAND {
        return Vec::new();
    }
    let text = format!(
        "{lines} lines, at most {LONGEST_COMMAND} allowed: steps belong in workflow/, and screens in render/"
    );
    vec![Violation { line: lines, text }]
}

/// Returns where the file uses something that its module must not use.
pub(crate) fn dependency_violations(package: &str, source: &ParsedSource) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.package == package && rule.applies_to(&source.module)) {
        for (forbidden, proper_module) in rule.forbidden {
            let matches = source.paths.iter().filter(|path| is_below(&path.text, forbidden));
            found.extend(matches.map(|path| forbidden_use(source, path, &path.text, proper_module)));
        }
    }
    match package {
        "kubectl-dynamo" => found.extend(commands_violations(source)),
        "kubectl-dynamo/core" => found.extend(core_violations(source)),
        _ => {}
    }
    found.sort_by(|a, b| (a.line, &a.text).cmp(&(b.line, &b.text)));
    found.dedup();
    found
}

impl DependencyRule {
    fn applies_to(&self, module: &str) -> bool {
        let is_below_any = |modules: &[&str]| modules.iter().any(|parent| is_below(module, parent));
        is_below_any(self.modules) && !is_below_any(self.exceptions)
    }
}

/// Checks that core modules use only earlier modules, are not async, and never access the disk.
fn core_violations(source: &ParsedSource) -> Vec<Violation> {
    let Some(position) = CORE_MODULES.iter().position(|module| is_below(&source.module, module)) else {
        return Vec::new();
    };
    let later = source
        .paths
        .iter()
        .filter(|path| CORE_MODULES[position + 1..].iter().any(|m| is_below(&path.text, m)));
    let async_uses = source.asyncs.iter().map(|a| forbidden_use(source, a, "async", "cluster or local"));
    let disk_uses = source.methods.iter().filter(|method| DISK_METHODS.contains(&method.text.as_str()));
    later
        .map(|path| forbidden_use(source, path, &path.text, "a module after both, or commands"))
        .chain(async_uses)
        .chain(
            disk_uses
                .map(|m| forbidden_use(source, m, &format!("the disk (.{})", m.text), "commands or local")),
        )
        .collect()
}

/// Checks that only `lib.rs` uses `commands`, the top layer.
fn commands_violations(source: &ParsedSource) -> Vec<Violation> {
    if source.module == "crate" || is_below(&source.module, "crate::commands") {
        return Vec::new();
    }
    let matches = source.paths.iter().filter(|path| is_below(&path.text, "crate::commands"));
    matches
        .map(|path| forbidden_use(source, path, &path.text, "the module below that both can use"))
        .collect()
}

/// Returns strings that contain a version: a full one, or the major and minor version of a cataloged release.
pub(crate) fn version_violations(source: &ParsedSource) -> Vec<Violation> {
    let minors: Vec<&str> = CATALOG
        .iter()
        .filter_map(|release| release.version.rsplit_once('.'))
        .map(|(minor, _)| minor)
        .collect();
    let is_version = |number: &str| match number.split('.').count() {
        2 => minors.contains(&number),
        parts => parts == 3,
    };
    let matches = source.literals.iter().filter_map(|literal| {
        dotted_numbers(&literal.text)
            .into_iter()
            .find(|number| is_version(number))
            .map(|number| (literal, number))
    });
    matches
        .map(|(literal, number)| Violation {
            line: literal.line,
            text: format!("version {number} in a string; only release/catalog.rs may contain versions"),
        })
        .collect()
}

/// Returns the runs of numbers separated by dots: `v1.6.1-x` contains `1.6.1`.
fn dotted_numbers(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|number| number.trim_matches('.'))
        .filter(|number| number.contains('.') && number.split('.').all(|part| !part.is_empty()))
        .collect()
}

/// Checks the length, first line, and name of a file.
pub(crate) fn file_format(path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        found.push(Violation {
            line: lines,
            text: format!("{lines} lines, at most {LONGEST_FILE} allowed: split it by subject"),
        });
    }
    if !text.starts_with("//!") {
        let text = "does not start with `//!`: describe what the file is for and what it must not do".into();
        found.push(Violation { line: 1, text });
    }
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        found.push(Violation {
            line: 1,
            text: "is named mod.rs: name it after its folder, next to the folder".into(),
        });
    }
    found
}

fn forbidden_use(source: &ParsedSource, at: &FoundToken, what: &str, proper_module: &str) -> Violation {
    let module = source.module.trim_start_matches("crate::");
    Violation { line: at.line, text: format!("{module} must not use {what}; it belongs in {proper_module}") }
}

/// Returns whether `path` is `ancestor` or below it.
fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations_in(package: &str, path: &str, text: &str) -> Vec<String> {
        let violations = dependency_violations(package, &ParsedSource::parse(Path::new(path), text));
        violations.into_iter().map(|violation| format!("{}: {}", violation.line, violation.text)).collect()
    }

    #[test]
    fn every_table_row_is_enforced() {
        for rule in RULES {
            for (forbidden, proper_module) in rule.forbidden {
                let file = match rule.modules[0].strip_prefix("crate::") {
                    Some(module) => format!("{module}/any.rs"),
                    None => "any.rs".into(),
                };
                let text = format!("//! Doc.\nfn f() {{ {forbidden}::x(); }}");
                let violations = violations_in(rule.package, &file, &text);
                assert!(
                    violations.iter().any(|v| v.starts_with("2: ") && v.contains(proper_module)),
                    "{file} uses {forbidden}: {violations:?}"
                );
            }
        }
    }

    #[test]
    fn allowed_dependencies_are_accepted() {
        for (package, path, text) in [
            ("kubectl-dynamo", "report/terminal.rs", "use indicatif::ProgressBar;"),
            (
                "kubectl-dynamo",
                "commands/up.rs",
                "use kubectl_dynamo_cluster::apply; use std::env; fn f() { env::var(); }",
            ),
            (
                "kubectl-dynamo",
                "local/python.rs",
                "use tokio::process::Command; use kubectl_dynamo_core::plan::ServingPlan;",
            ),
            ("kubectl-dynamo/core", "plan.rs", "use crate::intent::Word; use std::time::Duration;"),
            ("kubectl-dynamo", "lib.rs", "mod commands; fn f() { commands::run(); }"),
            ("model-fetcher", "progress/bars.rs", "use indicatif::ProgressBar;"),
            ("kubectl-dynamo/core", "plan.rs", "fn f() {} #[cfg(test)] mod tests { use tokio::test; }"),
        ] {
            assert_eq!(violations_in(package, path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn violation_names_line_module_and_proper_module() {
        assert_eq!(
            violations_in(
                "kubectl-dynamo/core",
                "plan/engine_args.rs",
                "//! Doc.\nuse std::{fmt, fs};\nfn f() { fs::read(0) }"
            ),
            [
                "2: plan::engine_args must not use std::fs; it belongs in commands or local",
                "3: plan::engine_args must not use std::fs::read; it belongs in commands or local",
            ]
        );
    }

    #[test]
    fn core_modules_depend_only_on_earlier_modules() {
        for (path, text) in [
            ("intent.rs", "use crate::release::Release;"),
            ("plan/x.rs", "fn f() { super::super::resources::render() }"),
            ("readiness.rs", "async fn f() {}"),
            ("preflight/storage.rs", "fn f(path: &std::path::Path) { path.exists(); }"),
        ] {
            assert_eq!(violations_in("kubectl-dynamo/core", path, text).len(), 1, "{path}: {text}");
        }
        assert_eq!(violations_in("kubectl-dynamo", "report.rs", "use super::commands::Context;").len(), 1);
    }

    #[test]
    fn versions_are_found_only_in_strings() {
        let newest = CATALOG.last().map(|release| release.version).expect("the catalog has rows");
        let minor = newest.rsplit_once('.').map(|(minor, _)| minor).expect("a version has three parts");
        for text in ["such as 7.8.9", "v1.2.3-cuda13", newest, &format!("since {minor},")] {
            let source = ParsedSource::parse(Path::new("plan.rs"), &format!("fn f() {{ g({text:?}) }}"));
            assert_eq!(version_violations(&source).len(), 1, "{text}");
        }
        for text in ["127.0.0.1:80", "0.5", "1.", "a.b.c", "/v1/models"] {
            let source = ParsedSource::parse(
                Path::new("plan.rs"),
                &format!("/// As 1.2.3.\nfn f() {{ g({text:?}) }}"),
            );
            assert_eq!(version_violations(&source), [], "{text}");
        }
    }

    #[test]
    fn command_length_counts_lines_without_tests() {
        let code = "\n".repeat(LONGEST_COMMAND);
        let with_tests = format!("{code}#[cfg(test)]\n{code}");
        for (path, text, violations) in [
            ("commands/up.rs", code.as_str(), 0),
            ("commands/up.rs", &with_tests, 0),
            ("commands/up.rs", &format!("{code}\n"), 1),
            ("commands/cache/list.rs", &format!("{code}\n"), 0),
        ] {
            assert_eq!(command_length(Path::new(path), text).len(), violations, "{path}");
        }
    }

    #[test]
    fn file_format_checks_length_first_line_and_name() {
        let long = format!("//! Doc.\n{}", "\n".repeat(LONGEST_FILE));
        for (path, text) in [("a.rs", long.as_str()), ("a.rs", "fn f() {}"), ("a/mod.rs", "//! Doc.")] {
            assert_eq!(file_format(Path::new(path), text).len(), 1, "{path}");
        }
        assert_eq!(file_format(Path::new("a.rs"), "//! Doc.\n"), []);
    }
}
