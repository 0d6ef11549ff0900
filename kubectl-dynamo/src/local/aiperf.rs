//! Installs the pinned AIPerf into a private Python environment, and runs it. AIPerf and all its processes stop when
//! this program exits. It does not read AIPerf's files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::python_environment::{PipStep, PythonEnvironment};
use super::supervisor::{CommandFailure, output_tied_to_parent};
use super::{Folders, LocalError, LocalObserver};
use kubectl_dynamo_core::release::AIPERF_VERSION;

/// An installed AIPerf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aiperf {
    program: PathBuf,
    key: Option<ServerKey>,
    /// Whether it was already installed.
    pub reused: bool,
}

/// The API key of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerKey {
    /// The environment variable with the key.
    pub variable: String,
    pub value: String,
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKey").field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// How AIPerf ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AiperfExit {
    /// Such as `exit code 0`.
    pub status: String,
    pub has_succeeded: bool,
    /// The last lines of its output if it failed.
    pub tail: String,
}

/// Inherited variables that are removed for AIPerf: secrets, settings of another Python, and the offline mode of the
/// hub, with which AIPerf rejects a local folder as the tokenizer.
const REMOVED_ENVIRONMENT: &[&str] = &[
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "OPENAI_API_KEY",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
];

/// Starts AIPerf with an API key, which AIPerf itself only reads from its command line. Other users of the machine could
/// read it there. The first argument is the name of the variable; AIPerf's processes do not inherit it.
const KEY_LAUNCHER: &str = "\
import os, sys
variable, *arguments = sys.argv[1:]
sys.argv = ['aiperf', *arguments, '--api-key=' + os.environ.pop(variable).strip()]
from aiperf.cli import app
sys.exit(app())
";

/// Finds or installs AIPerf. `supervisor` is the path of this program.
///
/// # Errors
/// No suitable Python, or a failed installation.
pub async fn prepare(
    folders: &Folders,
    supervisor: &Path,
    observer: LocalObserver<'_>,
) -> Result<Aiperf, LocalError> {
    let requirement = format!("aiperf=={AIPERF_VERSION}");
    let environment = PythonEnvironment {
        parent: folders.runtimes(),
        name: format!("aiperf-{AIPERF_VERSION}"),
        title: format!("AIPerf {AIPERF_VERSION}"),
        steps: vec![PipStep {
            title: format!("aiperf {AIPERF_VERSION}"),
            requirements: vec![requirement],
            with_dependencies: true,
        }],
        supervisor,
    };
    let runtime = environment.prepare(observer).await?;
    let program = runtime.interpreter.with_file_name("aiperf");
    Ok(Aiperf { program, key: None, reused: runtime.reused })
}

impl Aiperf {
    /// The folder of the Python environment.
    pub fn environment(&self) -> &Path {
        self.program.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    /// Sends this key with each request.
    #[must_use]
    pub fn with_key(self, key: Option<ServerKey>) -> Self {
        Self { key, ..self }
    }

    /// Runs AIPerf with these arguments until it exits. When `interrupt` completes, AIPerf writes what it has measured
    /// and exits. Dropping the future stops it and its processes.
    pub async fn run(
        &self,
        supervisor: &Path,
        arguments: &[String],
        interrupt: impl Future<Output = ()>,
    ) -> AiperfExit {
        let interpreter = self.program.with_file_name("python3");
        let mut command: Vec<&OsStr> = match &self.key {
            None => vec![self.program.as_os_str()],
            Some(key) => {
                let launcher = ["-I", "-c", KEY_LAUNCHER, &key.variable].map(OsStr::new);
                [&[interpreter.as_os_str()], &launcher[..]].concat()
            }
        };
        command.extend(arguments.iter().map(OsStr::new));
        let is_removed = |name: &&&str| self.key.as_ref().is_none_or(|key| key.variable != **name);
        let removed: Vec<&str> = REMOVED_ENVIRONMENT.iter().filter(is_removed).copied().collect();
        match output_tied_to_parent(supervisor, &command, &removed, |_| {}, interrupt).await {
            Ok(()) => AiperfExit { status: "exit code 0".into(), has_succeeded: true, tail: String::new() },
            Err(CommandFailure { status, tail }) => {
                AiperfExit { status, has_succeeded: false, tail: self.without_key(&tail) }
            }
        }
    }

    /// Returns output of AIPerf without the lines that contain a part of the API key. A line can be cut, or a panel can
    /// break the key.
    fn without_key(&self, output: &str) -> String {
        match self.key.as_ref().map(|key| key.value.trim()).filter(|value| !value.is_empty()) {
            Some(value) => {
                output.lines().filter(|line| !has_part_of(line, value)).collect::<Vec<_>>().join("\n")
            }
            None => output.to_owned(),
        }
    }
}

/// How many characters of a key make a line secret; a shorter key as a whole.
const KEY_PART: usize = 8;

fn has_part_of(line: &str, key: &str) -> bool {
    let letters: Vec<char> = key.chars().collect();
    letters.windows(KEY_PART.min(letters.len())).any(|part| line.contains(&part.iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_part_of_the_key_are_removed() {
        let key = ServerKey { variable: "KEY".into(), value: " sk-0123456789abcdef\n".into() };
        let aiperf = Aiperf { program: "aiperf".into(), key: Some(key), reused: true };
        let output =
            "start\nAuthorization: sk-0123456789abcdef\n│ sk-01234567 │\n│ 89abcdef │\ncut: sk-01234…\nend";
        assert_eq!(aiperf.without_key(output), "start\nend");
        assert_eq!(aiperf.clone().with_key(None).without_key(output), output);
        assert!(!format!("{aiperf:?}").contains("0123"), "{aiperf:?}");
    }
}
