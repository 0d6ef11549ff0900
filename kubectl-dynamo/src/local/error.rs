//! What can go wrong on this machine, each with its permanent code and the command that helps.

use std::path::{Path, PathBuf};

use crate::error::{Exit, Explain};
use crate::release::DEFAULT;

/// A failure of `up --local` and of the verbs that follow it.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("no Python is on the PATH, and the Dynamo runtime needs 3.10 or later")]
    NoPython,
    #[error("{} is Python {found}, and the Dynamo runtime needs 3.10 or later", python.display())]
    PythonTooOld { python: PathBuf, found: String },
    #[error("{} (Python {version}) lacks its `{module}` module", python.display())]
    NoVenv { python: PathBuf, version: String, module: &'static str },
    #[error("installing the Dynamo {version} runtime stopped at `{step}` ({status}):\n{tail}")]
    Install { version: String, step: String, status: String, tail: String },
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("there is no home folder to keep the cache and the state in")]
    NoHome,
    #[error("Dynamo {version} cannot run on this machine alone: {reason}")]
    NeedsServices { version: String, reason: &'static str },
    #[error("--backend vllm needs an NVIDIA GPU, and {reason}")]
    NoGpu { reason: String },
    #[error("the plan takes {needed} GPUs, and this machine has {found}")]
    TooFewGpus { needed: u32, found: u32 },
    #[error("`{flag}` is about a cluster and means nothing with --local")]
    ClusterFlag { flag: String },
    #[error("port {port} of 127.0.0.1 is in use")]
    PortInUse { port: u16 },
    #[error("{process} could not be started: {reason}")]
    NotStarted { process: String, reason: String },
    #[error("{process} ended before the model answered ({how})")]
    ProcessEnded { process: String, how: String, log: PathBuf },
    #[error("{process} ended ({how}), so `{name}` serves nothing any more")]
    ServingEnded { name: String, process: String, how: String, log: PathBuf },
    #[error("the supervisor of `{name}` is gone; what it had started was ended")]
    SupervisorGone { name: String },
    #[error("`{name}` was ended by another command")]
    EndedElsewhere { name: String },
    #[error("`{name}` did not answer within {seconds} s: {waits_for}")]
    NotReadyInTime { name: String, seconds: u64, waits_for: String },
    #[error("`{name}` already runs on this machine and serves something else: {difference}")]
    AnotherWish { name: String, difference: String },
    #[error("no deployment `{name}` is on this machine")]
    NoSuchDeployment { name: String },
    #[error("`{name}` does not run any more")]
    NotServing { name: String },
    #[error("no deployment is on this machine")]
    NoDeployment,
    #[error("several deployments are on this machine ({names}), and none is named")]
    WhichDeployment { names: String },
    #[error("`{}` is not a folder", path.display())]
    NoModelFolder { path: PathBuf },
    #[error("{} is not a complete model: it has no {missing}", path.display())]
    IncompleteModel { path: PathBuf, missing: &'static str },
    #[error("{0} (model-fetcher's exit code {code})", code = .0.exit_code())]
    Fetch(model_fetcher::Error),
}

impl LocalError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

impl Explain for LocalError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoPython => "KD0511",
            Self::PythonTooOld { .. } => "KD0512",
            Self::NoVenv { .. } => "KD0513",
            Self::Install { .. } => "KD0514",
            Self::File { .. } | Self::NoHome => "KD0515",
            Self::NeedsServices { .. } => "KD0516",
            Self::NotStarted { .. } | Self::ProcessEnded { .. } | Self::ServingEnded { .. } => "KD0517",
            Self::NotReadyInTime { .. } => "KD0518",
            Self::AnotherWish { .. } => "KD0519",
            Self::NoSuchDeployment { .. } | Self::NoDeployment | Self::WhichDeployment { .. } => "KD0520",
            Self::NotServing { .. } => "KD0522",
            Self::NoGpu { .. } | Self::TooFewGpus { .. } => "KD0521",
            Self::SupervisorGone { .. } | Self::EndedElsewhere { .. } => "KD0522",
            Self::ClusterFlag { .. } => "KD0523",
            Self::PortInUse { .. } => "KD0803",
            Self::NoModelFolder { .. } => "KD0404",
            Self::IncompleteModel { .. } => "KD0405",
            Self::Fetch(_) => "KD0406",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Fetch(error) => return error.hint(),
            Self::NoPython => "sudo apt-get install python3 python3-venv".into(),
            Self::PythonTooOld { .. } => {
                "install a newer one beside it, for example: sudo apt-get install python3.11 python3.11-venv".into()
            }
            Self::NoVenv { .. } => "sudo apt-get install python3-venv".into(),
            Self::Install { .. } => "run the same command again: it starts the installation afresh".into(),
            Self::File { path, .. } => format!("look at the owner and the free space of {}", path.display()),
            Self::NoHome => "set HOME, or both KUBECTL_DYNAMO_CACHE and KUBECTL_DYNAMO_STATE".into(),
            Self::NeedsServices { .. } => format!("use --release {DEFAULT}, or a cluster"),
            Self::NoGpu { .. } => "use --backend mocker, or leave --local out to serve on a cluster".into(),
            Self::TooFewGpus { .. } => "use fewer replicas or a smaller --tensor-parallel-size".into(),
            Self::ClusterFlag { flag } => format!("leave {flag} out, or --local"),
            Self::PortInUse { .. } => "choose another with --port, or leave it out for a free one".into(),
            Self::ProcessEnded { log, .. } | Self::ServingEnded { log, .. } => {
                format!("the whole log is {}", log.display())
            }
            Self::NotStarted { .. } | Self::SupervisorGone { .. } | Self::EndedElsewhere { .. } => {
                "run the same command again to serve it once more".into()
            }
            Self::NotReadyInTime { name, .. } => format!("kubectl dynamo logs {name} --local"),
            Self::AnotherWish { name, .. } => {
                format!("kubectl dynamo down {name} --local, then the same command again; or choose another --name")
            }
            Self::NoSuchDeployment { .. } => "kubectl dynamo list --local".into(),
            Self::NotServing { name } => {
                format!("see why: kubectl dynamo status {name} --local; clear it: kubectl dynamo down {name} --local")
            }
            Self::NoDeployment => "kubectl dynamo up --local".into(),
            Self::WhichDeployment { .. } => "name one, or add --all where the verb has it".into(),
            Self::NoModelFolder { .. } => {
                "give the folder that holds config.json, or a hub id such as Qwen/Qwen3-0.6B".into()
            }
            Self::IncompleteModel { .. } => {
                "a model folder holds config.json and tokenizer.json; fetch one with: kubectl dynamo up --local org/name".into()
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ClusterFlag { .. } | Self::WhichDeployment { .. } => Exit::Usage,
            Self::NeedsServices { .. } => Exit::Platform,
            Self::NoGpu { .. } | Self::TooFewGpus { .. } => Exit::DoesNotFit,
            Self::NotReadyInTime { .. } => Exit::NotReadyInTime,
            Self::NoModelFolder { .. } | Self::IncompleteModel { .. } => Exit::Model,
            Self::Fetch(error) if error.exit_code() == model_fetcher::contract::exit::ACCESS => Exit::Access,
            Self::Fetch(_) => Exit::Model,
            _ => Exit::Failed,
        }
    }
}
