//! Checks the structure of all crates: which module may use which, where versions are, and the size of files.
//! A failure prints the file, the line, what is forbidden there, and where it belongs.

mod code_coverage;
mod messages;
mod report;
mod rules;
mod signatures;
mod source;
mod systems;
mod table;
mod typed_commands;

use std::path::{Path, PathBuf};

use rules::Violation;
use source::ParsedSource;

/// The folders of all crates.
const PACKAGES: [&str; 5] = [
    "kubectl-dynamo",
    "kubectl-dynamo/core",
    "kubectl-dynamo/cluster",
    "model-fetcher",
    "model-fetcher/contract",
];

/// Returns whether the crate belongs to the plugin.
fn is_of_plugin(package: &str) -> bool {
    package.starts_with("kubectl-dynamo")
}

/// Returns every Rust file of a package: its path below `src`, and its text.
fn package_files(package: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate has a source folder") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source files are UTF-8");
                let below = path.strip_prefix(&root).expect("it was found below the root");
                files.push((below.to_path_buf(), text));
            }
        }
    }
    assert!(!files.is_empty(), "no source files in {package}");
    files.sort();
    files
}

/// Runs `check` on every file and fails with all violations.
fn check_every_file(check: impl Fn(&str, &Path, &str) -> Vec<Violation>) {
    let mut found = String::new();
    for package in PACKAGES {
        for (path, text) in package_files(package) {
            for violation in check(package, &path, &text) {
                let line = violation.line;
                found += &format!("{package}/src/{}:{line}: {}\n", path.display(), violation.text);
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn modules_respect_the_dependency_table() {
    check_every_file(|package, path, text| {
        rules::dependency_violations(package, &ParsedSource::parse(path, text))
    });
}

#[test]
fn only_the_catalog_contains_dynamo_versions() {
    check_every_file(|package, path, text| match path.to_str() {
        // The tokenizer file of the built-in model has its own format version.
        Some("release/catalog.rs" | "local/tiny_model.rs") => Vec::new(),
        // Unit tests in a file of their own.
        Some(path) if path.ends_with("/tests.rs") => Vec::new(),
        _ if is_of_plugin(package) => rules::version_violations(&ParsedSource::parse(path, text)),
        _ => Vec::new(),
    });
}

#[test]
fn only_listed_files_know_the_operating_system() {
    check_every_file(systems::system_violations);
    check_every_file(systems::unix_violations);
}

#[test]
fn commands_contain_only_arguments_and_output() {
    check_every_file(|package, path, text| match package {
        "kubectl-dynamo" => rules::command_length(path, text),
        _ => Vec::new(),
    });
}

#[test]
fn files_are_short_and_documented() {
    check_every_file(|_, path, text| rules::file_format(path, text));
}
