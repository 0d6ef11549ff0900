//! Which files contain code for one operating system, or use interfaces of Unix. Each is the module of one concern, so that
//! a verb never knows on which operating system it runs.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

use crate::rules::Violation;
use crate::source::ParsedSource;

/// Files that may contain code for one operating system: a `cfg` or `cfg!` with its name, [`std::env::consts::OS`], or a
/// path below `/proc` or `/sys`.
const SYSTEM_FILES: &[&str] = &[
    "kubectl-dynamo/cluster/src/port_forward/peer.rs",
    "kubectl-dynamo/src/local/pid.rs",
    "kubectl-dynamo/src/local/supervisor/subreaper.rs",
    "kubectl-dynamo/src/settings/folders.rs",
    "kubectl-dynamo/src/signals/ignored.rs",
    "kubectl-dynamo/src/workflow/local/environment.rs",
    "model-fetcher/contract/src/user_agent.rs",
    "model-fetcher/src/certificates.rs",
    "model-fetcher/src/lease/boot_id.rs",
    "model-fetcher/src/transfer/budget.rs",
];

/// Files that may use interfaces of Unix, which Linux and macOS have: signals, process groups, terminals, file modes,
/// locks, and reads at an offset.
const UNIX_FILES: &[&str] = &[
    "kubectl-dynamo/cluster/src/port_forward.rs",
    "kubectl-dynamo/cluster/src/port_forward/peer.rs",
    "kubectl-dynamo/src/file_modes.rs",
    "kubectl-dynamo/src/local/launch.rs",
    "kubectl-dynamo/src/local/pid.rs",
    "kubectl-dynamo/src/local/state.rs",
    "kubectl-dynamo/src/local/supervisor/process_group.rs",
    "kubectl-dynamo/src/local/supervisor/serving.rs",
    "kubectl-dynamo/src/local/supervisor/subreaper.rs",
    "kubectl-dynamo/src/local/supervisor/tied_command.rs",
    "kubectl-dynamo/src/prompt.rs",
    "kubectl-dynamo/src/prompt/line_editor.rs",
    "kubectl-dynamo/src/prompt/plain_lines.rs",
    "kubectl-dynamo/src/report/terminal/layout.rs",
    "kubectl-dynamo/src/signals.rs",
    "kubectl-dynamo/src/signals/ignored.rs",
    "model-fetcher/src/certificates.rs",
    "model-fetcher/src/lease.rs",
    "model-fetcher/src/lease/lock_file.rs",
    "model-fetcher/src/lease/record.rs",
    "model-fetcher/src/program.rs",
    "model-fetcher/src/source/mirror_folder.rs",
    "model-fetcher/src/store.rs",
    "model-fetcher/src/transfer/in_order_hasher.rs",
    "model-fetcher/src/transfer/partial.rs",
];

/// Words in a `cfg` that select an operating system.
const SYSTEM_CONDITIONS: &[&str] =
    &["target_os", "target_family", "target_vendor", "target_env", "unix", "windows"];

/// Folders of Linux.
const LINUX_FOLDERS: &[&str] = &["/proc/", "/sys/"];

/// Modules that only Unix has.
const UNIX_MODULES: &[&str] = &["rustix", "libc", "nix", "std::os", "tokio::signal::unix"];

/// A path that one operating system decides the value of.
const SYSTEM_NAMES: &[&str] = &["std::env::consts::OS", "std::env::consts::FAMILY"];

/// Returns the code for one operating system in a file that is not listed, and an entry of the list that is not needed.
pub(crate) fn system_violations(package: &str, path: &Path, text: &str) -> Vec<Violation> {
    let source = ParsedSource::parse(path, text);
    let tokens: TokenStream = text.parse().unwrap_or_default();
    let mut found = Vec::new();
    find_conditions(tokens, &mut found);
    let names = source.paths.iter().filter(|path| SYSTEM_NAMES.contains(&path.text.as_str()));
    let folders = source
        .literals
        .iter()
        .filter(|literal| LINUX_FOLDERS.iter().any(|folder| literal.text.starts_with(folder)));
    found.extend(names.chain(folders).map(|token| (token.line, token.text.clone())));
    check_list(&file_name(package, path), SYSTEM_FILES, found, "code for one operating system")
}

/// Returns the interfaces of Unix in a file that is not listed, and an entry of the list that is not needed.
pub(crate) fn unix_violations(package: &str, path: &Path, text: &str) -> Vec<Violation> {
    let source = ParsedSource::parse(path, text);
    let is_of_unix = |path: &str| {
        UNIX_MODULES.iter().any(|module| {
            path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
    };
    let paths = source.paths.iter().filter(|path| is_of_unix(&path.text));
    let found = paths.map(|path| (path.line, path.text.clone())).collect();
    check_list(&file_name(package, path), UNIX_FILES, found, "an interface of Unix")
}

fn file_name(package: &str, path: &Path) -> String {
    format!("{package}/src/{}", path.display())
}

fn check_list(file: &str, list: &[&str], found: Vec<(usize, String)>, what: &str) -> Vec<Violation> {
    match (list.contains(&file), found.is_empty()) {
        (true, true) => {
            let text = format!("does not contain {what}: remove it from the list in systems.rs");
            vec![Violation { line: 1, text }]
        }
        (true, false) | (false, true) => Vec::new(),
        (false, false) => {
            let violation = |(line, text)| Violation {
                line,
                text: format!(
                    "{text} is {what}: use or write the module of this concern (systems.rs lists them)"
                ),
            };
            found.into_iter().map(violation).collect()
        }
    }
}

/// Collects the conditions of `cfg`, `cfg_attr`, and `cfg!` that select an operating system, in test code as well.
fn find_conditions(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    let mut is_condition = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => is_condition = word == "cfg" || word == "cfg_attr",
            // Between `cfg` and its arguments.
            TokenTree::Punct(punct) if punct.as_char() == '!' => {}
            TokenTree::Group(group) if is_condition => {
                find_system_words(group.stream(), found);
                is_condition = false;
            }
            TokenTree::Group(group) => find_conditions(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => is_condition = false,
        }
    }
}

fn find_system_words(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) if SYSTEM_CONDITIONS.contains(&word.to_string().as_str()) => {
                found.push((word.span().start().line, format!("cfg({word})")));
            }
            TokenTree::Group(group) => find_system_words(group.stream(), found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERB: &str = "commands/up.rs";

    fn lines(violations: Vec<Violation>) -> Vec<usize> {
        violations.into_iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn code_for_one_system_is_found_in_a_verb() {
        for text in [
            "//! Doc.\n#[cfg(target_os = \"macos\")]\nfn f() {}",
            "//! Doc.\nfn f() -> bool { cfg!(not(windows)) }",
            "//! Doc.\n#[cfg_attr(unix, derive(Debug))]\nstruct S;",
            "//! Doc.\nfn f() { #[cfg(all(test, unix))] g(); }",
            "//! Doc.\nfn f() { std::env::consts::OS; }",
            "//! Doc.\nfn f() { g(\"/proc/self/status\") }",
        ] {
            assert_eq!(lines(system_violations("kubectl-dynamo", Path::new(VERB), text)), [2], "{text}");
        }
        for text in [
            "//! Doc about /proc/self.\n#[cfg(test)]\nmod tests {}",
            "//! Doc.\nfn f(unix: bool, windows: bool) { g(unix, windows); g(\"see /proc/self\") }",
        ] {
            assert_eq!(lines(system_violations("kubectl-dynamo", Path::new(VERB), text)), [0; 0], "{text}");
        }
    }

    #[test]
    fn interfaces_of_unix_are_found_in_a_verb() {
        for text in [
            "//! Doc.\nuse std::os::unix::fs::PermissionsExt;",
            "//! Doc.\nfn f() { rustix::process::getpid(); }",
            "//! Doc.\nuse tokio::signal::unix::{SignalKind, signal};",
        ] {
            let found = lines(unix_violations("kubectl-dynamo", Path::new(VERB), text));
            assert!(found.contains(&2), "{text}");
        }
        let portable = "//! Doc.\nuse std::fs::File; use tokio::signal::ctrl_c;";
        assert_eq!(lines(unix_violations("kubectl-dynamo", Path::new(VERB), portable)), [0; 0]);
    }

    #[test]
    fn every_listed_file_exists() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for file in SYSTEM_FILES.iter().chain(UNIX_FILES) {
            assert!(repository.join(file).is_file(), "{file} does not exist: remove it from the list");
        }
    }

    #[test]
    fn listed_file_must_need_its_entry() {
        let (package, path) = ("model-fetcher", Path::new("certificates.rs"));
        assert_eq!(lines(system_violations(package, path, "//! Doc.")), [1]);
        assert_eq!(lines(unix_violations(package, path, "//! Doc.")), [1]);
    }
}
