//! The structure of both programs: which module may use which, where versions stand, how files are cut.
//! A failure names the file, the line, what is forbidden there, and where it belongs.

mod messages;
mod provoked;
mod rules;
mod source;
mod table;

use std::path::{Path, PathBuf};

use rules::Violation;
use source::Source;

/// Both programs, by the folder of the crate.
const PACKAGES: [&str; 2] = ["kubectl-dynamo", "model-fetcher"];

/// Every Rust file of a package: its path below `src`, and its text.
fn files(package: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the crate has a source folder") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source files are text");
                let below = path.strip_prefix(&root).expect("it was found below the root");
                files.push((below.to_path_buf(), text));
            }
        }
    }
    assert!(!files.is_empty(), "{package} has no source");
    files.sort();
    files
}

/// Collects what `check` finds in every file and fails with all of it.
fn check_every_file(check: impl Fn(&str, &Path, &str) -> Vec<Violation>) {
    let mut found = String::new();
    for package in PACKAGES {
        for (path, text) in files(package) {
            for violation in check(package, &path, &text) {
                let line = violation.line;
                found += &format!("{package}/src/{}:{line}: {}\n", path.display(), violation.text);
            }
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn modules_use_only_what_the_table_allows() {
    check_every_file(|package, path, text| rules::dependencies(package, &Source::parse(path, text)));
}

#[test]
fn only_the_catalogue_holds_versions_of_dynamo() {
    check_every_file(|package, path, text| match path.to_str() {
        // The built-in model's tokenizer file has a format version of its own.
        Some("release/catalog.rs" | "local/tiny_model.rs") => Vec::new(),
        _ if package == "kubectl-dynamo" => rules::versions(&Source::parse(path, text)),
        _ => Vec::new(),
    });
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    check_every_file(|_, path, text| rules::shape(path, text));
}
