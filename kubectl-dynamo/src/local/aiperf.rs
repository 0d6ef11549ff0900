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
    /// Whether it was already installed.
    pub reused: bool,
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
    Ok(Aiperf { program: runtime.interpreter.with_file_name("aiperf"), reused: runtime.reused })
}

impl Aiperf {
    /// The folder of the Python environment.
    pub fn environment(&self) -> &Path {
        self.program.parent().and_then(Path::parent).unwrap_or(Path::new("/"))
    }

    /// Runs AIPerf with these arguments until it exits. When `interrupt` completes, AIPerf writes what it has measured
    /// and exits. Dropping the future stops it and its processes.
    pub async fn run(
        &self,
        supervisor: &Path,
        arguments: &[String],
        interrupt: impl Future<Output = ()>,
    ) -> AiperfExit {
        let mut command: Vec<&OsStr> = vec![self.program.as_os_str()];
        command.extend(arguments.iter().map(OsStr::new));
        match output_tied_to_parent(supervisor, &command, REMOVED_ENVIRONMENT, |_| {}, interrupt).await {
            Ok(()) => AiperfExit { status: "exit code 0".into(), has_succeeded: true, tail: String::new() },
            Err(CommandFailure { status, tail }) => AiperfExit { status, has_succeeded: false, tail },
        }
    }
}
