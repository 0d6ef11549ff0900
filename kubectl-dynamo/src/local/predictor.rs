//! Installs the pinned predictor of speed into a private Python environment, and runs it. The predictor is
//! aiconfigurator. Its successor aisimulate has the same command and files, so that only the package and the version
//! change here. The predictor and its processes stop when this program exits. It does not read the predictor's files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::processes::NOT_INHERITED;
use super::python_environment::{PipStep, PythonEnvironment};
use super::supervisor::{CommandFailure, output_tied_to_parent};
use super::{Folders, LocalError, LocalObserver};
use kubectl_dynamo_core::release::AICONFIGURATOR_VERSION;

/// The package on PyPI.
pub const PACKAGE: &str = "aiconfigurator";
/// The program in the package.
const PROGRAM: &str = "aiconfigurator";
/// The folder with configurations of models, below `site-packages`.
const MODEL_CONFIGS: &str = "aiconfigurator_core/model_configs";

/// An installed predictor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predictor {
    /// The folder of the Python environment.
    folder: PathBuf,
    /// Whether it was already installed.
    pub reused: bool,
}

/// How a run of the predictor that failed ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictorFailure {
    /// Such as `exit code 1`.
    pub status: String,
    /// The last lines of its output.
    pub tail: String,
}

/// Finds or installs the predictor. `supervisor` is the path of this program.
///
/// # Errors
/// No suitable Python, or a failed installation.
pub async fn prepare(
    folders: &Folders,
    supervisor: &Path,
    observer: LocalObserver<'_>,
) -> Result<Predictor, LocalError> {
    let requirement = format!("{PACKAGE}=={AICONFIGURATOR_VERSION}");
    let name = format!("{PACKAGE}-{AICONFIGURATOR_VERSION}");
    let title = format!("{PACKAGE} {AICONFIGURATOR_VERSION}");
    let environment = PythonEnvironment {
        parent: folders.runtimes(),
        name: name.clone(),
        title: title.clone(),
        steps: vec![PipStep { title, requirements: vec![requirement], with_dependencies: true }],
        supervisor,
    };
    let reused = environment.prepare(observer).await?.reused;
    Ok(Predictor { folder: folders.runtimes().join(name), reused })
}

impl Predictor {
    /// Runs the predictor with these arguments. Dropping the future stops it.
    ///
    /// # Errors
    /// It exits with another code than 0.
    pub async fn run(&self, supervisor: &Path, arguments: &[String]) -> Result<(), PredictorFailure> {
        let program = self.folder.join("bin").join(PROGRAM);
        let mut command: Vec<&OsStr> = vec![program.as_os_str()];
        command.extend(arguments.iter().map(OsStr::new));
        let uninterrupted = std::future::pending();
        output_tied_to_parent(supervisor, &command, NOT_INHERITED, |_| {}, uninterrupted)
            .await
            .map_err(|CommandFailure { status, tail }| PredictorFailure { status, tail })
    }

    /// Returns the files of a model in the package: its configuration and, for some models, its quantization, with the
    /// names that they have in a model folder. Empty if the package does not contain the model.
    pub fn model_files(&self, repository: &str) -> Vec<(&'static str, PathBuf)> {
        let Some(configs) = self.site_packages().map(|folder| folder.join(MODEL_CONFIGS)) else {
            return Vec::new();
        };
        let beginning = repository.replace('/', "--");
        let named = |name: &'static str| (name, configs.join(format!("{beginning}_{name}")));
        let config = named("config.json");
        match config.1.is_file() {
            true => [config, named("hf_quant_config.json")]
                .into_iter()
                .filter(|(_, path)| path.is_file())
                .collect(),
            false => Vec::new(),
        }
    }

    fn site_packages(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.folder.join("lib")).ok()?;
        entries.flatten().map(|entry| entry.path().join("site-packages")).find(|folder| folder.is_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_the_package_are_found_by_their_hub_id() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let configs = folder.path().join("lib/python3.11/site-packages").join(MODEL_CONFIGS);
        std::fs::create_dir_all(&configs).expect("writable");
        for name in ["acme--tiny_config.json", "acme--small_config.json", "acme--small_hf_quant_config.json"]
        {
            std::fs::write(configs.join(name), "{}").expect("writable");
        }
        let predictor = Predictor { folder: folder.path().to_owned(), reused: true };
        let names = |repository: &str| -> Vec<&str> {
            predictor.model_files(repository).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("acme/tiny"), ["config.json"]);
        assert_eq!(names("acme/small"), ["config.json", "hf_quant_config.json"]);
        assert_eq!(names("acme/other"), [""; 0]);
    }
}
