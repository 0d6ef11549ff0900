//! The Dynamo runtime of one release in a private Python environment, installed once and used by every start.
//!
//! An environment holds its own path in its scripts, so it is built in place and its marker is written last:
//! without a right marker the folder is rubbish and is built anew. Two installations never meet (a lock).

mod packages;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::supervisor::guarded_output;
use super::{Folders, LocalError, Observer, Progress, python};
use crate::intent::Backend;
use crate::release::{FileDiscovery, ModelCard, Release};

/// Written when everything is installed; holds the list of what is.
const MARKER: &str = "kubectl-dynamo.installed";

/// Inherited variables that pip must not see: secrets, and settings that would put packages elsewhere.
const NOT_FOR_PIP: &[&str] = &[
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

/// A runtime that is ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The Python that has Dynamo.
    pub interpreter: PathBuf,
    /// Whether it was there already.
    pub reused: bool,
}

/// The runtime of `version`: found, repaired or installed. `supervisor` is this program, which guards pip.
///
/// # Errors
/// A release that cannot run on one machine, no fit Python, an installation that stopped.
pub async fn prepare(
    folders: &Folders,
    release: &Release,
    version: &str,
    backend: Backend,
    supervisor: &Path,
    observer: Observer<'_>,
) -> Result<Runtime, LocalError> {
    if let Some(reason) = needs_services(release) {
        return Err(LocalError::NeedsServices { version: version.into(), reason });
    }
    let wanted = packages::requirements(release, version, backend);
    let name = match backend {
        Backend::Mocker => version.to_owned(),
        Backend::Vllm => format!("{version}-vllm"),
    };
    let folder = folders.runtimes().join(&name);
    if let Some(runtime) = installed(&folder, &wanted) {
        return Ok(runtime);
    }
    let waits = || observer(Progress::Runtime { waits_for: "another installation of this release".into() });
    let _lock = super::folders::lock(&folders.runtimes().join(format!("{name}.lock")), waits).await?;
    // Another installation may have ended while this one waited.
    if let Some(runtime) = installed(&folder, &wanted) {
        return Ok(runtime);
    }
    Installation { folder: &folder, version, supervisor, observer }.run(&wanted).await
}

/// What a release wants besides its own processes, if anything.
fn needs_services(release: &Release) -> Option<&'static str> {
    match (release.file_discovery, release.model_card) {
        (FileDiscovery::StoreKv, _) => Some("its mocker needs a NATS server"),
        (_, ModelCard::FrontendResolvesName | ModelCard::FrontendReadsPath) => {
            Some("its frontend looks for the model on the hub by the served name")
        }
        (FileDiscovery::DiscoveryBackend, ModelCard::WorkersServe) => None,
    }
}

/// The environment in `folder`, if it is whole and has just what is wanted.
fn installed(folder: &Path, wanted: &[packages::Step]) -> Option<Runtime> {
    let marker = std::fs::read_to_string(folder.join(MARKER)).ok()?;
    let interpreter = interpreter(folder);
    // The link of an environment whose Python was removed leads nowhere.
    (marker == packages::as_text(wanted) && interpreter.exists())
        .then_some(Runtime { interpreter, reused: true })
}

fn interpreter(folder: &Path) -> PathBuf {
    folder.join("bin").join("python3")
}

struct Installation<'a> {
    folder: &'a Path,
    version: &'a str,
    supervisor: &'a Path,
    observer: Observer<'a>,
}

impl Installation<'_> {
    async fn run(&self, steps: &[packages::Step]) -> Result<Runtime, LocalError> {
        self.waits_for("a Python of 3.10 or later");
        let python = python::find().await?;
        // What an interrupted installation left is not trusted.
        super::state::forget(self.folder)?;
        self.waits_for("a private Python environment");
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
        super::folders::write_whole(&marker, packages::as_text(steps).as_bytes())
            .map_err(LocalError::file("write", &marker))?;
        Ok(Runtime { interpreter: interpreter(self.folder), reused: false })
    }

    async fn pip(&self, step: &packages::Step) -> Result<(), LocalError> {
        let interpreter = interpreter(self.folder);
        let mut command: Vec<&OsStr> = vec![interpreter.as_os_str()];
        command.extend(PIP_INSTALL.iter().map(OsStr::new));
        if !step.with_dependencies {
            command.push("--no-deps".as_ref());
        }
        command.extend(step.requirements.iter().map(OsStr::new));
        self.waits_for(&format!("PyPI: {}", step.title));
        self.command(&format!("pip install {}", step.title), &command).await
    }

    async fn command(&self, step: &str, command: &[&OsStr]) -> Result<(), LocalError> {
        let show = |line: &str| {
            if let Some(waits_for) = what_pip_does(line) {
                self.waits_for(&waits_for);
            }
        };
        guarded_output(self.supervisor, command, NOT_FOR_PIP, show).await.map_err(|refused| {
            LocalError::Install {
                version: self.version.into(),
                step: step.into(),
                status: refused.status,
                tail: refused.tail,
            }
        })
    }

    fn waits_for(&self, waits_for: &str) {
        (self.observer)(Progress::Runtime { waits_for: waits_for.into() });
    }
}

/// Wheels only: nothing of a package runs while it is installed.
const PIP_INSTALL: &[&str] = &[
    "-m",
    "pip",
    "install",
    "--disable-pip-version-check",
    "--no-input",
    "--progress-bar=off",
    "--only-binary=:all:",
];

/// The lines of pip that say what it waits for now.
fn what_pip_does(line: &str) -> Option<String> {
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
    fn says_what_pip_waits_for() {
        assert_eq!(
            what_pip_does(
                "  Downloading ai_dynamo_runtime-1.6.1-cp310-abi3-manylinux_2_28_x86_64.whl (70.1 MB)"
            ),
            Some("PyPI: ai_dynamo_runtime 70.1 MB".into())
        );
        assert_eq!(
            what_pip_does("Downloading https://files.example/a/msgspec-0.22.0.whl.metadata (1.2 kB)"),
            Some("PyPI: msgspec 1.2 kB".into())
        );
        assert_eq!(
            what_pip_does("Installing collected packages: uvloop, packaging"),
            Some("pip to install uvloop, packaging".into())
        );
        assert_eq!(what_pip_does("Collecting uvloop"), None);
    }

    #[test]
    fn an_environment_without_its_marker_is_not_used() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let release = Release::find("1.6.1").expect("in the catalogue");
        let wanted = packages::requirements(release, "1.6.1", Backend::Mocker);
        std::fs::create_dir(folder.path().join("bin")).expect("writable");
        std::fs::write(interpreter(folder.path()), "").expect("writable");
        assert_eq!(installed(folder.path(), &wanted), None);
        std::fs::write(folder.path().join(MARKER), packages::as_text(&wanted)).expect("writable");
        assert!(installed(folder.path(), &wanted).is_some());
        let other = packages::requirements(release, "1.6.0", Backend::Mocker);
        assert_eq!(installed(folder.path(), &other), None);
    }
}
