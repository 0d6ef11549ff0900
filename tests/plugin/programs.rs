//! Where the programs under test are, and the commands of this repository that pack them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::kubernetes::programs::compiled;

/// The plugin: `KUBECTL_DYNAMO_BIN`, else what Cargo put beside these tests.
pub(crate) fn kubectl_dynamo() -> PathBuf {
    program("KUBECTL_DYNAMO_BIN", "kubectl-dynamo")
}

/// The fetcher: `MODEL_FETCHER_BIN`, else what Cargo put beside these tests.
pub(crate) fn model_fetcher() -> PathBuf {
    program("MODEL_FETCHER_BIN", "model-fetcher")
}

fn program(variable: &str, name: &str) -> PathBuf {
    let built = || {
        let test = std::env::current_exe().expect("a running program knows its path");
        test.ancestors().nth(2).expect("Cargo puts tests into deps/").join(name)
    };
    let path = cache::set(variable).unwrap_or_else(built);
    assert!(path.is_file(), "{} is missing: cargo build --bins", path.display());
    path
}

/// The real kubectl, or `None` with a line that says why cases that need it do not run.
pub(crate) fn kubectl() -> Option<&'static Path> {
    static KUBECTL: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let found = compiled("kubectl");
        if let Err(reason) = &found {
            let reason = format!("plugin tier cannot run through kubectl: {reason}");
            assert!(std::env::var_os("REQUIRE_ALL_TIERS").is_none_or(|value| value != "1"), "{reason}");
            // Past the test harness, which keeps what passing tests print; a closed stderr changes nothing.
            let _ = writeln!(std::io::stderr().lock(), "{reason}");
        }
        found.ok()
    });
    KUBECTL.as_deref()
}

/// Runs one of this repository's own commands and fails with what it says.
pub(crate) fn run<S: AsRef<OsStr>>(command: &str, arguments: &[S]) -> Output {
    let command = cache::repository().join(command);
    let output = Command::new(&command).args(arguments).output().expect("the command is executable");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
