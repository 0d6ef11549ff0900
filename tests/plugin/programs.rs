//! The real kubectl, and the commands of this repository that pack its programs.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::kubernetes::programs::compiled;
pub(crate) use kubectl_dynamo_tests::programs::{kubectl_dynamo, model_fetcher};

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
    let output = Command::new(&command).args(arguments).env("KUBECTL_DYNAMO_BIN", kubectl_dynamo()).output();
    let output = output.expect("the command is executable");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
