//! The checks themselves: each takes one file and returns what is wrong with it.

use std::path::Path;

use kubectl_dynamo::release::CATALOG;

use crate::source::{Found, Source};
use crate::table::{CORE, DISK_METHODS, RULES, Rule};

/// Something that must not be, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A file is at most this long.
const LONGEST_FILE: usize = 400;

/// Where the file names something that its module must not use.
pub(crate) fn dependencies(package: &str, source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in RULES.iter().filter(|rule| rule.package == package && rule.binds(&source.module)) {
        for (forbidden, right_place) in rule.never {
            let named = source.paths.iter().filter(|path| is_below(&path.text, forbidden));
            found.extend(named.map(|path| must_not_use(source, path, &path.text, right_place)));
        }
    }
    if package == "kubectl-dynamo" {
        found.extend(order_of_the_core(source));
        found.extend(uses_of_commands(source));
    }
    found.sort_by(|a, b| (a.line, &a.text).cmp(&(b.line, &b.text)));
    found.dedup();
    found
}

impl Rule {
    fn binds(&self, module: &str) -> bool {
        let among = |modules: &[&str]| modules.iter().any(|of| is_below(module, of));
        among(self.modules) && !among(self.except)
    }
}

/// The pure modules use only those before them, wait for nothing and never ask the disk.
fn order_of_the_core(source: &Source) -> Vec<Violation> {
    let Some(place) = CORE.iter().position(|module| is_below(&source.module, module)) else {
        return Vec::new();
    };
    let later = source.paths.iter().filter(|path| CORE[place + 1..].iter().any(|m| is_below(&path.text, m)));
    let waits = source.asyncs.iter().map(|a| must_not_use(source, a, "async", "cluster or local"));
    let asks = source.methods.iter().filter(|method| DISK_METHODS.contains(&method.text.as_str()));
    later
        .map(|path| must_not_use(source, path, &path.text, "a module after both, or commands"))
        .chain(waits)
        .chain(asks.map(|m| must_not_use(source, m, &format!("the disk (.{})", m.text), "commands or local")))
        .collect()
}

/// `commands` is the top: only `lib.rs` calls it.
fn uses_of_commands(source: &Source) -> Vec<Violation> {
    if source.module == "crate" || is_below(&source.module, "crate::commands") {
        return Vec::new();
    }
    let named = source.paths.iter().filter(|path| is_below(&path.text, "crate::commands"));
    named.map(|path| must_not_use(source, path, &path.text, "the module below that both can use")).collect()
}

/// Where a string names a version: a full one, or the major and minor of a release in the catalogue.
pub(crate) fn versions(source: &Source) -> Vec<Violation> {
    let minors: Vec<&str> = CATALOG
        .iter()
        .filter_map(|release| release.version.rsplit_once('.'))
        .map(|(minor, _)| minor)
        .collect();
    let is_version = |number: &str| match number.split('.').count() {
        2 => minors.contains(&number),
        parts => parts == 3,
    };
    let named = source.literals.iter().filter_map(|literal| {
        dotted_numbers(&literal.text)
            .into_iter()
            .find(|number| is_version(number))
            .map(|number| (literal, number))
    });
    named
        .map(|(literal, number)| Violation {
            line: literal.line,
            text: format!("version {number} stands in a string; only release/catalog.rs holds versions"),
        })
        .collect()
}

/// The runs of numbers with dots between them: `v1.6.1-x` holds `1.6.1`.
fn dotted_numbers(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .map(|number| number.trim_matches('.'))
        .filter(|number| number.contains('.') && number.split('.').all(|part| !part.is_empty()))
        .collect()
}

/// Length, opening line and name of a file.
pub(crate) fn shape(path: &Path, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        found.push(Violation {
            line: lines,
            text: format!("{lines} lines, {LONGEST_FILE} at most: cut it by subject"),
        });
    }
    if !text.starts_with("//!") {
        let text = "opens without `//!`: say what the file is for and what it must not do".into();
        found.push(Violation { line: 1, text });
    }
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        found.push(Violation {
            line: 1,
            text: "is called mod.rs: name it after its folder, beside it".into(),
        });
    }
    found
}

fn must_not_use(source: &Source, at: &Found, what: &str, right_place: &str) -> Violation {
    let module = source.module.trim_start_matches("crate::");
    Violation { line: at.line, text: format!("{module} must not use {what}; it belongs in {right_place}") }
}

/// Whether `path` is `ancestor` or something inside it.
fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(package: &str, path: &str, text: &str) -> Vec<String> {
        let violations = dependencies(package, &Source::parse(Path::new(path), text));
        violations.into_iter().map(|violation| format!("{}: {}", violation.line, violation.text)).collect()
    }

    #[test]
    fn every_line_of_the_table_is_enforced() {
        for rule in RULES {
            for (forbidden, right_place) in rule.never {
                let file = match rule.modules[0].strip_prefix("crate::") {
                    Some(module) => format!("{module}/any.rs"),
                    None => "any.rs".into(),
                };
                let text = format!("//! Doc.\nfn f() {{ {forbidden}::x(); }}");
                let violations = found(rule.package, &file, &text);
                assert!(
                    violations.iter().any(|v| v.starts_with("2: ") && v.contains(right_place)),
                    "{file} uses {forbidden}: {violations:?}"
                );
            }
        }
    }

    #[test]
    fn what_the_table_leaves_free_is_free() {
        for (package, path, text) in [
            ("kubectl-dynamo", "report/terminal.rs", "use indicatif::ProgressBar;"),
            (
                "kubectl-dynamo",
                "commands/up.rs",
                "use crate::cluster::apply; use std::env; fn f() { env::var(); }",
            ),
            (
                "kubectl-dynamo",
                "local/python.rs",
                "use tokio::process::Command; use crate::plan::ServingPlan;",
            ),
            ("kubectl-dynamo", "plan.rs", "use crate::intent::Word; use std::time::Duration;"),
            ("kubectl-dynamo", "lib.rs", "mod commands; fn f() { commands::run(); }"),
            ("model-fetcher", "source/hugging_face.rs", "use hf_hub::api;"),
            ("kubectl-dynamo", "plan.rs", "fn f() {} #[cfg(test)] mod tests { use tokio::test; }"),
        ] {
            assert_eq!(found(package, path, text), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_violation_names_line_module_and_right_place() {
        assert_eq!(
            found(
                "kubectl-dynamo",
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
    fn the_core_uses_only_what_comes_before_it() {
        for (path, text) in [
            ("intent.rs", "use crate::release::Release;"),
            ("plan/x.rs", "fn f() { super::super::resources::render() }"),
            ("readiness.rs", "async fn f() {}"),
            ("preflight/storage.rs", "fn f(path: &std::path::Path) { path.exists(); }"),
            ("report.rs", "use super::commands::Context;"),
        ] {
            assert_eq!(found("kubectl-dynamo", path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn versions_are_found_in_strings_and_nowhere_else() {
        let newest = CATALOG.last().map(|release| release.version).expect("the catalogue has rows");
        let minor = newest.rsplit_once('.').map(|(minor, _)| minor).expect("a version has three parts");
        for text in ["such as 7.8.9", "v1.2.3-cuda13", newest, &format!("since {minor},")] {
            let source = Source::parse(Path::new("plan.rs"), &format!("fn f() {{ g({text:?}) }}"));
            assert_eq!(versions(&source).len(), 1, "{text}");
        }
        for text in ["127.0.0.1:80", "0.5", "1.", "a.b.c", "/v1/models"] {
            let source =
                Source::parse(Path::new("plan.rs"), &format!("/// As 1.2.3.\nfn f() {{ g({text:?}) }}"));
            assert_eq!(versions(&source), [], "{text}");
        }
    }

    #[test]
    fn shape_is_length_opening_and_name() {
        let long = format!("//! Doc.\n{}", "\n".repeat(LONGEST_FILE));
        for (path, text) in [("a.rs", long.as_str()), ("a.rs", "fn f() {}"), ("a/mod.rs", "//! Doc.")] {
            assert_eq!(shape(Path::new(path), text).len(), 1, "{path}");
        }
        assert_eq!(shape(Path::new("a.rs"), "//! Doc.\n"), []);
    }
}
