//! What is known about the deployments of this machine: one folder each, readable after any crash.

mod running;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LocalError;
use super::folders::{Folders, write_whole};
use super::identity::{self, Identity};
use super::processes::Process;
use crate::intent::ServingIntent;
pub(super) use running::Running;
pub use running::RunningProcess;

/// What was asked for, written before anything starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub name: String,
    pub intent: ServingIntent,
    /// Dynamo version of the runtime.
    pub version: String,
    /// Port of the first frontend on loopback.
    pub port: u16,
    /// The model's folder as the processes see it.
    pub model_folder: PathBuf,
    /// Whether it outlives the command that started it.
    pub detached: bool,
    /// RFC 3339.
    pub started_at: String,
}

impl Deployment {
    /// The address clients use.
    pub fn base_url(&self) -> String {
        format!("http://{}:{}/v1", super::processes::LOOPBACK, self.port)
    }

    /// What another wish of the same name wants differently, in words; nothing when it wants just this.
    pub fn difference(&self, intent: &ServingIntent, version: &str, port: Option<u16>) -> Option<String> {
        if self.version != version {
            return Some(format!("Dynamo {}, and {version} is wanted", self.version));
        }
        if let Some(port) = port.filter(|port| *port != self.port) {
            return Some(format!("port {}, and {port} is wanted", self.port));
        }
        if self.intent == *intent {
            return None;
        }
        let fields = |intent| match serde_json::to_value(intent) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (here, wanted) = (fields(&self.intent), fields(intent));
        let (field, wanted) = wanted.iter().find(|(field, value)| here.get(*field) != Some(value))?;
        let here = here.get(field).unwrap_or_default();
        let plain = |value: &serde_json::Value| !value.is_object() && !value.is_array();
        Some(if plain(here) && plain(wanted) {
            format!("{field} {here}, and {wanted} is wanted")
        } else {
            format!("its {field} differs")
        })
    }
}

/// A deployment as found on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub deployment: Deployment,
    pub processes: Vec<RunningProcess>,
    pub folder: PathBuf,
    supervisor: Option<Identity>,
}

impl Found {
    /// Whether its supervisor runs, and with it what serves.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.as_ref().is_some_and(Identity::is_alive)
    }

    /// Whether its supervisor runs and nothing that it started has ended.
    pub fn is_whole(&self) -> bool {
        self.is_supervised() && self.processes.iter().all(RunningProcess::is_alive)
    }

    /// Asks the supervisor to end everything; without one, the processes themselves. Returns when all are gone.
    pub async fn end(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.signal(rustix::process::Signal::TERM);
            until_gone(|| supervisor.is_alive()).await;
        }
        end_leftovers(&self.folder).await;
    }
}

/// What ends a deployment that no supervisor watches any more: ask, then kill.
pub async fn end_leftovers(folder: &Path) {
    let (name, value) = marker(folder);
    let variable = format!("{name}={value}");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let left = identity::started_with(&variable);
        left.iter().for_each(|pid| identity::signal(*pid, signal));
        if left.is_empty() || until_gone(|| !identity::started_with(&variable).is_empty()).await {
            return;
        }
    }
}

/// Waits until something is no longer so, for as long as a supervisor may take; says whether it came to that.
async fn until_gone(still: impl Fn() -> bool) -> bool {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
    const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
    let gone = async {
        while still() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.is_ok()
}

/// The variable that every process of a deployment is started with.
pub(super) fn marker(folder: &Path) -> (&'static str, String) {
    ("KUBECTL_DYNAMO_LOCAL_DEPLOYMENT", folder.display().to_string())
}

/// Writes what will run, before the supervisor reads it.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_deployment(
    folder: &Path,
    deployment: &Deployment,
    processes: &[Process],
) -> Result<(), LocalError> {
    for below in ["logs", "home"] {
        let path = folder.join(below);
        std::fs::create_dir_all(&path).map_err(LocalError::file("make", &path))?;
    }
    only_for_its_owner(folder)?;
    write(folder, LAUNCH, &processes)?;
    write(folder, DEPLOYMENT, deployment)
}

/// Keeps every other `up` of the same name away until the file is dropped.
///
/// # Errors
/// A state folder that cannot be written.
pub async fn lock(folders: &Folders, name: &str, waits: impl FnOnce()) -> Result<std::fs::File, LocalError> {
    super::folders::lock(&folders.state.join("locks").join(name), waits).await
}

/// Every deployment whose record can be read, by name.
pub fn list(folders: &Folders) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(folders.deployments()) else { return Vec::new() };
    let mut all: Vec<Found> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
    all.sort_by(|a, b| a.deployment.name.cmp(&b.deployment.name));
    all
}

/// The deployment of this name.
pub fn find(folders: &Folders, name: &str) -> Option<Found> {
    read(&folders.deployment(name))
}

/// The deployment that a folder describes.
pub fn read(folder: &Path) -> Option<Found> {
    let deployment: Deployment = read_file(folder, DEPLOYMENT).ok()?;
    let running: Option<Running> = read_file(folder, RUNNING).ok();
    let (supervisor, processes) =
        running.map_or((None, Vec::new()), |running| (running.supervisor, running.processes));
    Some(Found { deployment, processes, folder: folder.to_owned(), supervisor })
}

/// Forgets a deployment that has ended.
///
/// # Errors
/// A folder that cannot be removed.
pub fn forget(folder: &Path) -> Result<(), LocalError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Where a process writes what it says.
pub fn log_file(folder: &Path, process: &str) -> PathBuf {
    folder.join("logs").join(format!("{process}.log"))
}

/// The log of every process that `folder` describes, with the process's name.
pub fn logs(folder: &Path) -> Vec<(String, PathBuf)> {
    let launch = read_launch(folder).unwrap_or_default();
    launch.into_iter().map(|process| (process.name.clone(), log_file(folder, &process.name))).collect()
}

const DEPLOYMENT: &str = "deployment.json";
const LAUNCH: &str = "launch.json";
const RUNNING: &str = "running.json";

pub(super) fn read_launch(folder: &Path) -> Result<Vec<Process>, LocalError> {
    read_file(folder, LAUNCH)
}

pub(super) fn write_running(folder: &Path, running: &Running) -> Result<(), LocalError> {
    write(folder, RUNNING, running)
}

fn read_file<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, LocalError> {
    let path = folder.join(name);
    let text = std::fs::read(&path).map_err(LocalError::file("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| LocalError::file("read", &path)(error.into()))
}

fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), LocalError> {
    let path = folder.join(name);
    let text =
        serde_json::to_vec_pretty(value).map_err(|error| LocalError::file("write", &path)(error.into()))?;
    write_whole(&path, &text).map_err(LocalError::file("write", &path))
}

/// `--env` may carry what others of the machine must not read.
fn only_for_its_owner(folder: &Path) -> Result<(), LocalError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .map_err(LocalError::file("protect", folder))
}
