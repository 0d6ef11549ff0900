//! LiteLLM's proxy: its installation from PyPI into a private environment in the cache folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, ensure};

/// The tested version. `gateway` verbs do not depend on it.
const REQUIREMENT: &str = "litellm[proxy]==1.108.7";

/// A dependency of LiteLLM on Python before 3.11.3, which the runtime images have.
const OLDER_PYTHON: &str = "async-timeout==5.0.1";

/// The marker file, which is written last.
const MARKER: &str = "kubectl-dynamo-tests.installed";

/// The name of the variable with the key, and the key.
pub const KEY_VARIABLE: &str = "LITELLM_MASTER_KEY";
pub const KEY: &str = "sk-tests-0123456789";

/// Installs LiteLLM below the cache folder, unless it is installed, and returns its program.
pub fn install(cache: &Path) -> Outcome<PathBuf> {
    let folder = cache.join("litellm-environment");
    let program = folder.join("bin/litellm");
    let marker = folder.join(MARKER);
    let requirements = [REQUIREMENT, OLDER_PYTHON];
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == requirements.join(" ")) {
        return Ok(program);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"];
    run(Command::new(folder.join("bin/python3")).args(pip).args(requirements))?;
    std::fs::write(&marker, requirements.join(" "))?;
    Ok(program)
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
