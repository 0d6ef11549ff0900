//! Errors of local deployments, with message code, hint, and exit code.
//! Errors of the fetcher keep its hint and show its exit code.

use std::path::{Path, PathBuf};

use super::LocalFeature;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::release::DEFAULT_RELEASE;

/// An error of `up --local` or of another verb with `--local`.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("{} needs Linux, but this is {system}", feature.name())]
    UnsupportedSystem { feature: LocalFeature, system: String },
    #[error("Python not found in PATH; 3.10 or later is required")]
    NoPython,
    #[error("{} is Python {found}, but 3.10 or later is required", python.display())]
    PythonTooOld { python: PathBuf, found: String },
    #[error("{} (Python {version}) does not have the \"{module}\" module", python.display())]
    NoVenv { python: PathBuf, version: String, module: &'static str },
    #[error("cannot install {title}: \"{step}\" failed ({status}):\n{tail}")]
    Install { title: String, step: String, status: String, tail: String },
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("home directory for the cache and the state not found")]
    NoHomeDirectory,
    #[error("Dynamo {version} does not support local deployments: {reason}")]
    UnsupportedRelease { version: String, reason: &'static str },
    #[error("--backend vllm needs an NVIDIA GPU, but {reason}")]
    NoGpu { reason: String },
    #[error("the plan needs {needed} GPUs, but this machine has {found}")]
    TooFewGpus { needed: u32, found: u32 },
    #[error("{flag} cannot be used with --local")]
    ClusterOnlyFlag { flag: String },
    #[error("port {port} on 127.0.0.1 is already in use")]
    PortInUse { port: u16 },
    #[error("cannot start process \"{process}\": {reason}")]
    StartFailed { process: String, reason: String },
    #[error("process \"{process}\" exited before the model was ready ({exit_status})")]
    ProcessExited { process: String, exit_status: String, log: PathBuf },
    #[error("local deployment \"{name}\" stopped: process \"{process}\" exited ({exit_status})")]
    DeploymentStopped { name: String, process: String, exit_status: String, log: PathBuf },
    #[error("the supervisor of local deployment \"{name}\" exited; its processes were stopped")]
    SupervisorExited { name: String },
    #[error("local deployment \"{name}\" was stopped by another command")]
    StoppedByOther { name: String },
    #[error(
        "timed out after {seconds} s waiting for local deployment \"{name}\": still waiting for {waits_for}"
    )]
    ReadyTimeout { name: String, seconds: u64, waits_for: String },
    #[error("local deployment \"{name}\" already runs with a different configuration: {difference}")]
    SpecMismatch { name: String, difference: String },
    #[error("local deployment \"{name}\" not found")]
    DeploymentNotFound { name: String },
    #[error("local deployment \"{name}\" is not running")]
    NotRunning { name: String },
    #[error("no local deployments found")]
    NoDeployments,
    #[error("name missing, and there are several local deployments: {names}")]
    AmbiguousDeployment { names: String },
    #[error("\"{}\" is not a folder", path.display())]
    ModelFolderNotFound { path: PathBuf },
    #[error("model folder {} is incomplete: {missing} not found", path.display())]
    IncompleteModel { path: PathBuf, missing: &'static str },
    #[error("{0} (model-fetcher exit code {code})", code = .0.exit_code())]
    Fetch(model_fetcher::FetcherError),
}

impl LocalError {
    /// Creates a [`LocalError::File`] for `map_err`; `action` is a verb phrase such as "write".
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// Returns a command about a deployment of this machine.
pub(crate) fn local_command(verb: &str, name: &str) -> SuggestedCommand {
    SuggestedCommand::plugin(verb).operand(name, "NAME").flag("--local")
}

impl Explain for LocalError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::UnsupportedSystem { .. } => MessageCode::LocalSystemUnsupported,
            Self::NoPython => MessageCode::PythonNotFound,
            Self::PythonTooOld { .. } => MessageCode::PythonTooOld,
            Self::NoVenv { .. } => MessageCode::PythonModuleMissing,
            Self::Install { .. } => MessageCode::RuntimeInstallFailed,
            Self::File { .. } | Self::NoHomeDirectory => MessageCode::LocalFileError,
            Self::UnsupportedRelease { .. } => MessageCode::ReleaseNeedsServices,
            Self::StartFailed { .. } | Self::ProcessExited { .. } | Self::DeploymentStopped { .. } => {
                MessageCode::LocalProcessExited
            }
            Self::ReadyTimeout { .. } => MessageCode::LocalRolloutTimeout,
            Self::SpecMismatch { .. } => MessageCode::LocalConfigurationDiffers,
            Self::DeploymentNotFound { .. } | Self::NoDeployments | Self::AmbiguousDeployment { .. } => {
                MessageCode::LocalDeploymentNotFound
            }
            Self::NotRunning { .. } => MessageCode::LocalDeploymentNotRunning,
            Self::NoGpu { .. } | Self::TooFewGpus { .. } => MessageCode::NotEnoughLocalGpus,
            Self::SupervisorExited { .. } | Self::StoppedByOther { .. } => {
                MessageCode::LocalDeploymentNotRunning
            }
            Self::ClusterOnlyFlag { .. } => MessageCode::ClusterFlagWithLocal,
            Self::PortInUse { .. } => MessageCode::LocalAddressUnavailable,
            Self::ModelFolderNotFound { .. } => MessageCode::ModelFolderNotFound,
            Self::IncompleteModel { .. } => MessageCode::IncompleteModelFolder,
            Self::Fetch(_) => MessageCode::LocalModelFetchFailed,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::Fetch(error) => return error.hint().map(Fix::from),
            Self::UnsupportedSystem { feature, .. } => feature.alternative(),
            Self::NoPython => "install Python: sudo apt-get install python3 python3-venv".into(),
            Self::PythonTooOld { .. } => {
                "install a newer Python, for example: sudo apt-get install python3.11 python3.11-venv".into()
            }
            Self::NoVenv { .. } => "install the module: sudo apt-get install python3-venv".into(),
            Self::Install { .. } => "rerun the same command to restart the installation".into(),
            Self::File { path, .. } => {
                format!("check the owner and the free space of {}", path.display()).into()
            }
            Self::NoHomeDirectory => "set HOME, or both KUBECTL_DYNAMO_CACHE and KUBECTL_DYNAMO_STATE".into(),
            Self::UnsupportedRelease { .. } => {
                format!("use --release {DEFAULT_RELEASE}, or deploy to a cluster").into()
            }
            Self::NoGpu { .. } => "use --backend mocker, or omit --local to deploy to a cluster".into(),
            Self::TooFewGpus { .. } => "use fewer replicas or a smaller --tensor-parallel-size".into(),
            Self::ClusterOnlyFlag { flag } => format!("omit {flag} or --local").into(),
            Self::PortInUse { .. } => "choose another port with --port, or omit it to use a free one".into(),
            Self::ProcessExited { log, .. } | Self::DeploymentStopped { log, .. } => {
                format!("read the full log: {}", log.display()).into()
            }
            Self::StartFailed { .. } | Self::SupervisorExited { .. } | Self::StoppedByOther { .. } => {
                "rerun the same command to start it again".into()
            }
            Self::ReadyTimeout { name, .. } => local_command("logs", name).after("read the logs: "),
            Self::SpecMismatch { name, .. } => {
                local_command("down", name).after("choose another --name, or stop it first: ")
            }
            Self::DeploymentNotFound { .. } => {
                SuggestedCommand::plugin("list").flag("--local").after("list the local deployments: ")
            }
            Self::NotRunning { name } => local_command("status", name)
                .after("see why: ")
                .text("; remove it: ")
                .command(local_command("down", name)),
            Self::NoDeployments => SuggestedCommand::plugin("up").flag("--local").after("start one: "),
            Self::AmbiguousDeployment { .. } => "specify a name, or add --all if the verb supports it".into(),
            Self::ModelFolderNotFound { .. } => {
                "specify the folder with config.json, or a model ID such as Qwen/Qwen3-0.6B".into()
            }
            Self::IncompleteModel { .. } => SuggestedCommand::plugin("up ORG/NAME")
                .flag("--local")
                .after("add config.json and tokenizer.json, or fetch a model: "),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ClusterOnlyFlag { .. } | Self::AmbiguousDeployment { .. } => Exit::Usage,
            Self::UnsupportedSystem { .. } | Self::UnsupportedRelease { .. } => Exit::Platform,
            Self::NoGpu { .. } | Self::TooFewGpus { .. } => Exit::DoesNotFit,
            Self::ReadyTimeout { .. } => Exit::NotReadyInTime,
            Self::ModelFolderNotFound { .. } | Self::IncompleteModel { .. } => Exit::Model,
            Self::Fetch(error) if error.exit_code() == model_fetcher_contract::exit::ACCESS => Exit::Access,
            Self::Fetch(_) => Exit::Model,
            _ => Exit::Failed,
        }
    }
}
