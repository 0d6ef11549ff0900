//! The cross tier: both programs for linux/arm64, which `tests/run cross` builds and qemu-user runs, compared with the
//! programs of this machine, and the image index of both platforms in containerd. `tests/run cross` also runs the unit
//! tests for arm64, and the cases of other tiers in `cases` with these programs.

mod image_index;
mod programs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kubectl_dynamo_tests::{Outcome, cache, cases, suite};
use tokio::runtime::Runtime;

/// The variable that refers to the folder with the programs and the commands that run them, from `tests/cross/run`.
const FOLDER: &str = "KUBECTL_DYNAMO_TEST_ARM64";

/// State that the cases share.
struct Shared {
    folder: PathBuf,
}

impl Shared {
    /// Returns the command that runs a program for arm64 under qemu-user.
    fn command(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns a program for arm64.
    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.arm64"))
    }
}

fn main() -> ExitCode {
    let folder = cache::set(FOLDER);
    let missing = match &folder {
        None => Some(format!("{FOLDER} is not set: run `tests/run cross`")),
        Some(folder) => missing_program(folder),
    };
    let cases = cases![
        programs::programs_are_static_and_for_arm64,
        programs::version_and_help_are_the_same,
        programs::rendered_objects_are_the_same,
        programs::messages_are_the_same,
        programs::fit_of_a_local_model_is_the_same,
        image_index::containerd_selects_the_program_of_each_platform,
    ];
    suite::run("cross", missing, cases, || {
        let folder = folder.ok_or_else(|| format!("{FOLDER} is not set"))?;
        let shared: Outcome<_> = Ok((Runtime::new()?, Shared { folder }));
        shared
    })
}

/// Returns what is missing in the folder.
fn missing_program(folder: &Path) -> Option<String> {
    ["kubectl-dynamo", "kubectl-dynamo.arm64", "model-fetcher", "model-fetcher.arm64"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| !path.is_file())
        .map(|path| format!("{} not found: run `tests/run cross`", path.display()))
}
