//! Installs pinned Python packages into a private environment and reuses it.
//!
//! The scripts of an environment contain its path, so it is built in place. The marker file is written last:
//! a folder without a matching marker is deleted and rebuilt. A lock prevents concurrent installations.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::supervisor::output_tied_to_parent;
use super::{LocalError, LocalEvent, LocalObserver, python};

/// Marker file with the installed packages, written after the installation is complete.
const MARKER: &str = "kubectl-dynamo.installed";

/// Inherited variables that are removed for pip: secrets, and settings that change where packages go.
const PIP_REMOVED_ENVIRONMENT: &[&str] = &[
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_REQUIRE_HASHES",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
];

/// One run of pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PipStep {
    /// Title for progress and messages.
    pub(super) title: String,
    pub(super) requirements: Vec<String>,
    /// Whether pip also installs dependencies.
    pub(super) with_dependencies: bool,
}

/// The content of the marker file: one requirement per line.
pub(super) fn marker_text(steps: &[PipStep]) -> String {
    steps.iter().flat_map(|step| &step.requirements).map(|requirement| format!("{requirement}\n")).collect()
}

/// An installed environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The Python interpreter of the environment.
    pub interpreter: PathBuf,
    /// Whether it was already installed.
    pub reused: bool,
}

/// An environment that is installed below a folder of environments.
pub(super) struct PythonEnvironment<'a> {
    /// The folder of all environments.
    pub(super) parent: PathBuf,
    /// The name of the folder of this one.
    pub(super) name: String,
    /// What it contains, for messages, such as `the Dynamo 1.6 runtime`.
    pub(super) title: String,
    pub(super) steps: Vec<PipStep>,
    /// Path of this program, which runs pip as a supervisor.
    pub(super) supervisor: &'a Path,
}

impl PythonEnvironment<'_> {
    /// Finds or installs the environment.
    ///
    /// # Errors
    /// No suitable Python, or a failed installation.
    pub(super) async fn prepare(&self, observer: LocalObserver<'_>) -> Result<Runtime, LocalError> {
        let folder = self.parent.join(&self.name);
        if let Some(runtime) = find_installed(&folder, &self.steps) {
            return Ok(runtime);
        }
        let on_wait = || {
            observer(LocalEvent::Runtime { waits_for: format!("another installation of {}", self.title) });
        };
        let lock = self.parent.join(format!("{}.lock", self.name));
        let _lock = super::folders::lock(&lock, on_wait).await?;
        // Another command may have finished the installation in the meantime.
        if let Some(runtime) = find_installed(&folder, &self.steps) {
            return Ok(runtime);
        }
        let installation =
            Installation { folder: &folder, title: &self.title, supervisor: self.supervisor, observer };
        installation.run(&self.steps).await
    }
}

/// The environment in `folder`, if it is complete and has exactly these packages.
fn find_installed(folder: &Path, steps: &[PipStep]) -> Option<Runtime> {
    let marker = std::fs::read_to_string(folder.join(MARKER)).ok()?;
    let interpreter = interpreter(folder);
    // If the system Python was removed, the interpreter of the environment is a broken link.
    (marker == marker_text(steps) && interpreter.exists()).then_some(Runtime { interpreter, reused: true })
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python3")
}

struct Installation<'a> {
    folder: &'a Path,
    title: &'a str,
    supervisor: &'a Path,
    observer: LocalObserver<'a>,
}

impl Installation<'_> {
    async fn run(&self, steps: &[PipStep]) -> Result<Runtime, LocalError> {
        self.report_wait("Python 3.10 or later");
        let python = python::find().await?;
        // Leftovers of an interrupted installation are removed first.
        super::state::remove(self.folder)?;
        self.report_wait("a private Python environment");
        let folder = self.folder.as_os_str();
        self.command(
            "python -m venv",
            &[python.as_os_str(), "-I".as_ref(), "-m".as_ref(), "venv".as_ref(), folder],
        )
        .await?;
        for step in steps {
            self.pip(step).await?;
        }
        let marker = self.folder.join(MARKER);
        super::folders::write_atomically(&marker, marker_text(steps).as_bytes())
            .map_err(LocalError::file("write", &marker))?;
        Ok(Runtime { interpreter: interpreter(self.folder), reused: false })
    }

    async fn pip(&self, step: &PipStep) -> Result<(), LocalError> {
        let interpreter = interpreter(self.folder);
        let mut command: Vec<&OsStr> = vec![interpreter.as_os_str()];
        command.extend(PIP_INSTALL.iter().map(OsStr::new));
        if !step.with_dependencies {
            command.push("--no-deps".as_ref());
        }
        command.extend(step.requirements.iter().map(OsStr::new));
        self.report_wait(&format!("PyPI: {}", step.title));
        self.command(&format!("pip install {}", step.title), &command).await
    }

    async fn command(&self, step: &str, command: &[&OsStr]) -> Result<(), LocalError> {
        let report_line = |line: &str| {
            if let Some(waits_for) = pip_progress(line) {
                self.report_wait(&waits_for);
            }
        };
        let uninterrupted = std::future::pending();
        let output = output_tied_to_parent(
            self.supervisor,
            command,
            PIP_REMOVED_ENVIRONMENT,
            report_line,
            uninterrupted,
        );
        output.await.map_err(|failure| LocalError::Install {
            title: self.title.into(),
            step: step.into(),
            status: failure.status,
            tail: failure.tail,
        })
    }

    fn report_wait(&self, waits_for: &str) {
        (self.observer)(LocalEvent::Runtime { waits_for: waits_for.into() });
    }
}

/// Arguments of `pip install`. Only wheels are allowed, so no code of a package runs during the installation.
const PIP_INSTALL: &[&str] = &[
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
    "--only-binary=:all:",
];

/// The current step from a line of pip's output; `None` for other lines.
fn pip_progress(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("Downloading ") {
        let (address, size) = rest.split_once(" (").unwrap_or((rest, ""));
        let file = address.rsplit('/').next().unwrap_or(address);
        let package = file.split('-').next().unwrap_or(file);
        let size = size.trim_end_matches(')');
        return Some(format!("PyPI: {package} {size}").trim_end().to_owned());
    }
    line.strip_prefix("Installing collected packages: ").map(|packages| format!("pip to install {packages}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_pip_progress() {
        assert_eq!(
            pip_progress(
                "  Downloading ai_dynamo_runtime-1.6.1-cp310-abi3-manylinux_2_28_x86_64.whl (70.1 MB)"
            ),
            Some("PyPI: ai_dynamo_runtime 70.1 MB".into())
        );
        assert_eq!(
            pip_progress("Downloading https://files.example/a/msgspec-0.22.0.whl.metadata (1.2 kB)"),
            Some("PyPI: msgspec 1.2 kB".into())
        );
        assert_eq!(
            pip_progress("Installing collected packages: uvloop, packaging"),
            Some("pip to install uvloop, packaging".into())
        );
        assert_eq!(pip_progress("Collecting uvloop"), None);
    }

    fn steps(requirement: &str) -> Vec<PipStep> {
        let requirements = vec![requirement.to_owned()];
        vec![PipStep { title: "ai-dynamo".into(), requirements, with_dependencies: true }]
    }

    #[test]
    fn environment_without_marker_is_not_reused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let installed = steps("ai-dynamo==1");
        std::fs::create_dir(folder.path().join("bin")).expect("writable");
        std::fs::write(interpreter(folder.path()), "").expect("writable");
        assert_eq!(find_installed(folder.path(), &installed), None);
        std::fs::write(folder.path().join(MARKER), marker_text(&installed)).expect("writable");
        assert!(find_installed(folder.path(), &installed).is_some());
        assert_eq!(find_installed(folder.path(), &steps("ai-dynamo==2")), None);
    }
}
