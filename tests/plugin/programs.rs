//! The real kubectl, and this repository's packaging commands.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::kubernetes::programs::compiled_program;
pub(crate) use kubectl_dynamo_tests::programs::{kubectl_dynamo, model_fetcher};

/// Returns the real kubectl, or `None` after printing why the cases that need it are skipped.
pub(crate) fn kubectl() -> Option<&'static Path> {
    static KUBECTL: LazyLock<Option<PathBuf>> = LazyLock::new(|| compiled("kubectl"));
    KUBECTL.as_deref()
}

/// Returns a program that `tests/run` compiles, or `None` after printing why the cases that need it are skipped.
pub(crate) fn compiled(name: &str) -> Option<PathBuf> {
    let found = compiled_program(name);
    if let Err(reason) = &found {
        let reason = format!("plugin tier cannot use {name}: {reason}");
        assert!(std::env::var_os("REQUIRE_ALL_TIERS").is_none_or(|value| value != "1"), "{reason}");
        // Written directly because the test harness captures the output of passing tests. A closed stderr does not
        // matter.
        let _ = writeln!(std::io::stderr().lock(), "{reason}");
    }
    found.ok()
}

/// Runs one of this repository's commands and fails with its output.
pub(crate) fn run_repository_command<S: AsRef<OsStr>>(command: &str, arguments: &[S]) -> Output {
    let command = cache::repository().join(command);
    let output = Command::new(&command).args(arguments).env("KUBECTL_DYNAMO_BIN", kubectl_dynamo()).output();
    let output = output.expect("the command is executable");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
