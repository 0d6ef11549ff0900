//! Installs the Dynamo runtime of one release into a private Python environment and reuses it.
//!
//! The scripts of an environment contain its path, so it is built in place. The marker file is written last:
//! a folder without a matching marker is deleted and rebuilt. A lock prevents concurrent installations.

mod packages;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::supervisor::output_tied_to_parent;
use super::{Folders, LocalError, LocalEvent, LocalObserver, python};
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{FileDiscovery, ModelCard, Release};

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

/// An installed runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The Python interpreter of the environment.
    pub interpreter: PathBuf,
    /// Whether it was already installed.
    pub reused: bool,
}

/// The runtime that a local deployment needs.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeRequest<'a> {
    pub release: &'a Release,
    /// Version of the Dynamo package.
    pub version: &'a str,
    pub backend: Backend,
    /// Path of this program, which runs pip as a supervisor.
    pub supervisor: &'a Path,
}

/// Finds or installs a runtime.
///
/// # Errors
/// A release without support for local deployments, no suitable Python, or a failed installation.
pub async fn prepare(
    folders: &Folders,
    request: &RuntimeRequest<'_>,
    observer: LocalObserver<'_>,
) -> Result<Runtime, LocalError> {
    let RuntimeRequest { release, version, backend, supervisor } = *request;
    if let Some(reason) = missing_service(release) {
        return Err(LocalError::UnsupportedRelease { version: version.into(), reason });
    }
    let steps = packages::install_steps(release, version, backend);
    let name = match backend {
        Backend::Mocker => version.to_owned(),
        Backend::Vllm => format!("{version}-vllm"),
    };
    let folder = folders.runtimes().join(&name);
    if let Some(runtime) = find_installed(&folder, &steps) {
        return Ok(runtime);
    }
    let on_wait =
        || observer(LocalEvent::Runtime { waits_for: "another installation of this release".into() });
    let _lock = super::folders::lock(&folders.runtimes().join(format!("{name}.lock")), on_wait).await?;
    // Another command may have finished the installation in the meantime.
    if let Some(runtime) = find_installed(&folder, &steps) {
        return Ok(runtime);
    }
    Installation { folder: &folder, version, supervisor, observer }.run(&steps).await
}

/// Why a release cannot run without other services; `None` if it can.
fn missing_service(release: &Release) -> Option<&'static str> {
    match (release.file_discovery, release.model_card) {
        (FileDiscovery::StoreKv, _) => Some("its mocker needs a NATS server"),
        (_, ModelCard::FrontendResolvesName | ModelCard::FrontendReadsPath) => {
            Some("its frontend looks up the model on the hub by the served name")
        }
        (FileDiscovery::DiscoveryBackend, ModelCard::WorkersServe) => None,
    }
}

/// The environment in `folder`, if it is complete and has exactly these packages.
fn find_installed(folder: &Path, steps: &[packages::PipStep]) -> Option<Runtime> {
    let marker = std::fs::read_to_string(folder.join(MARKER)).ok()?;
    let interpreter = interpreter(folder);
    // If the system Python was removed, the interpreter of the environment is a broken link.
    (marker == packages::marker_text(steps) && interpreter.exists())
        .then_some(Runtime { interpreter, reused: true })
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python3")
}

struct Installation<'a> {
    folder: &'a Path,
    version: &'a str,
    supervisor: &'a Path,
    observer: LocalObserver<'a>,
}

impl Installation<'_> {
    async fn run(&self, steps: &[packages::PipStep]) -> Result<Runtime, LocalError> {
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
        super::folders::write_atomically(&marker, packages::marker_text(steps).as_bytes())
            .map_err(LocalError::file("write", &marker))?;
        Ok(Runtime { interpreter: interpreter(self.folder), reused: false })
    }

    async fn pip(&self, step: &packages::PipStep) -> Result<(), LocalError> {
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
        output_tied_to_parent(self.supervisor, command, PIP_REMOVED_ENVIRONMENT, report_line).await.map_err(
            |failure| LocalError::Install {
                version: self.version.into(),
                step: step.into(),
                status: failure.status,
                tail: failure.tail,
            },
        )
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

    #[test]
    fn environment_without_marker_is_not_reused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let release = Release::find("1.6.1").expect("the catalog has this release");
        let steps = packages::install_steps(release, "1.6.1", Backend::Mocker);
        std::fs::create_dir(folder.path().join("bin")).expect("writable");
        std::fs::write(interpreter(folder.path()), "").expect("writable");
        assert_eq!(find_installed(folder.path(), &steps), None);
        std::fs::write(folder.path().join(MARKER), packages::marker_text(&steps)).expect("writable");
        assert!(find_installed(folder.path(), &steps).is_some());
        let other_steps = packages::install_steps(release, "1.6.0", Backend::Mocker);
        assert_eq!(find_installed(folder.path(), &other_steps), None);
    }
}
