//! The state of local deployments: one folder for each, which stays readable after a crash.
//! It does not start a process.

mod running;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LocalError;
use super::folders::{Folders, write_atomically};
use super::pid::{self, ProcessId};
use super::processes::Process;
use crate::file_modes;
use kubectl_dynamo_core::intent::ServingIntent;
pub(super) use running::RunRecord;
pub use running::RunningProcess;

/// The requested local deployment, written before a process starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalDeploymentSpec {
    pub name: String,
    pub intent: ServingIntent,
    /// Dynamo version of the runtime.
    pub version: String,
    /// Port of the first frontend on loopback.
    pub port: u16,
    /// Path of the model folder.
    pub model_folder: PathBuf,
    /// Whether it continues to run after the command that started it.
    pub detached: bool,
    /// Start time in RFC 3339.
    pub started_at: String,
}

impl LocalDeploymentSpec {
    /// The base URL for clients, ending in `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}:{}/v1", super::processes::LOOPBACK, self.port)
    }

    /// The first difference from another request with the same name, as text; `None` if there is none.
    pub fn difference(&self, intent: &ServingIntent, version: &str, port: Option<u16>) -> Option<String> {
        if self.version != version {
            return Some(format!("Dynamo {} instead of {version}", self.version));
        }
        if let Some(port) = port.filter(|port| *port != self.port) {
            return Some(format!("port {} instead of {port}", self.port));
        }
        if self.intent == *intent {
            return None;
        }
        let fields = |intent| match serde_json::to_value(intent) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (current, requested) = (fields(&self.intent), fields(intent));
        let (field, requested) =
            requested.iter().find(|(field, value)| current.get(*field) != Some(value))?;
        let current = current.get(field).unwrap_or_default();
        let is_scalar = |value: &serde_json::Value| !value.is_object() && !value.is_array();
        Some(if is_scalar(current) && is_scalar(requested) {
            format!("{field} {current} instead of {requested}")
        } else {
            format!("{field} differs")
        })
    }
}

/// A local deployment with its recorded processes.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalDeployment {
    pub spec: LocalDeploymentSpec,
    pub processes: Vec<RunningProcess>,
    pub folder: PathBuf,
    supervisor: Option<ProcessId>,
}

impl LocalDeployment {
    /// Whether its supervisor is running.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.as_ref().is_some_and(ProcessId::is_alive)
    }

    /// Whether its supervisor and all its processes are running.
    pub fn is_healthy(&self) -> bool {
        self.is_supervised() && self.processes.iter().all(RunningProcess::is_alive)
    }

    /// The number of its processes that are still running although their supervisor is not.
    pub fn leftover_processes(&self) -> usize {
        if self.is_supervised() {
            return 0;
        }
        let (name, value) = env_marker(&self.folder);
        pid::pids_with_variable(&format!("{name}={value}")).len()
    }

    /// Asks the supervisor to stop all processes, then stops the remaining ones. Returns when all have
    /// exited.
    pub async fn stop(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.signal(rustix::process::Signal::TERM);
            wait_while(|| supervisor.is_alive()).await;
        }
        kill_orphans(&self.folder).await;
    }
}

/// Stops the processes of a deployment without a supervisor, with SIGTERM and then SIGKILL.
pub async fn kill_orphans(folder: &Path) {
    let (name, value) = env_marker(folder);
    let variable = format!("{name}={value}");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let remaining = pid::pids_with_variable(&variable);
        remaining.iter().for_each(|pid| pid::send_signal(*pid, signal));
        if remaining.is_empty() || wait_while(|| !pid::pids_with_variable(&variable).is_empty()).await {
            return;
        }
    }
}

/// Waits while the condition is true, at most as long as a supervisor may take. Returns whether it became
/// false.
async fn wait_while(condition: impl Fn() -> bool) -> bool {
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);
    const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);
    let finished = async {
        while condition() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(TIMEOUT, finished).await.is_ok()
}

/// Name and value of the variable in the environment of every process of a deployment.
pub(super) fn env_marker(folder: &Path) -> (&'static str, String) {
    ("KUBECTL_DYNAMO_LOCAL_DEPLOYMENT", folder.display().to_string())
}

/// Writes the deployment and its processes, before the supervisor is started.
///
/// # Errors
/// The folder cannot be written.
pub fn write_spec(
    folder: &Path,
    spec: &LocalDeploymentSpec,
    processes: &[Process],
) -> Result<(), LocalError> {
    for subfolder in ["logs", "home"] {
        let path = folder.join(subfolder);
        std::fs::create_dir_all(&path).map_err(LocalError::file("create", &path))?;
    }
    restrict_to_owner(folder)?;
    write(folder, LAUNCH, &processes)?;
    write(folder, DEPLOYMENT, spec)
}

/// Locks the name against other `up` commands until the file is dropped. `on_wait` is called if the lock is
/// held.
///
/// # Errors
/// The state folder cannot be written.
pub async fn lock(
    folders: &Folders,
    name: &str,
    on_wait: impl FnOnce(),
) -> Result<std::fs::File, LocalError> {
    super::folders::lock(&folders.state.join("locks").join(name), on_wait).await
}

/// All deployments with a readable record, sorted by name.
pub fn list(folders: &Folders) -> Vec<LocalDeployment> {
    let Ok(entries) = std::fs::read_dir(folders.deployments()) else { return Vec::new() };
    let mut all: Vec<LocalDeployment> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
    all.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    all
}

/// Finds a deployment by name.
pub fn find(folders: &Folders, name: &str) -> Option<LocalDeployment> {
    read(&folders.deployment(name))
}

/// Reads the deployment in a folder.
pub fn read(folder: &Path) -> Option<LocalDeployment> {
    let spec: LocalDeploymentSpec = read_file(folder, DEPLOYMENT).ok()?;
    let running: Option<RunRecord> = read_file(folder, RUNNING).ok();
    let (supervisor, processes) =
        running.map_or((None, Vec::new()), |running| (running.supervisor, running.processes));
    Some(LocalDeployment { spec, processes, folder: folder.to_owned(), supervisor })
}

/// Removes the folder of a stopped deployment. A missing folder is not an error.
///
/// # Errors
/// The folder cannot be removed.
pub fn remove(folder: &Path) -> Result<(), LocalError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// The path of a process's log file.
pub fn log_file(folder: &Path, process: &str) -> PathBuf {
    folder.join("logs").join(format!("{process}.log"))
}

/// The name and the log file of every process of the deployment in `folder`.
pub fn logs(folder: &Path) -> Vec<(String, PathBuf)> {
    let launch = read_launch(folder).unwrap_or_default();
    launch.into_iter().map(|process| (process.name.clone(), log_file(folder, &process.name))).collect()
}

/// The name and the base URL of every frontend of the deployment in `folder`.
pub fn frontend_urls(folder: &Path) -> Vec<(String, String)> {
    let frontends = read_launch(folder).unwrap_or_default().into_iter();
    frontends.filter_map(|process| Some((process.name.clone(), process.frontend_url()?))).collect()
}

const DEPLOYMENT: &str = "deployment.json";
const LAUNCH: &str = "launch.json";
const RUNNING: &str = "running.json";

pub(super) fn read_launch(folder: &Path) -> Result<Vec<Process>, LocalError> {
    read_file(folder, LAUNCH)
}

pub(super) fn write_running(folder: &Path, running: &RunRecord) -> Result<(), LocalError> {
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
    write_atomically(&path, &text).map_err(LocalError::file("write", &path))
}

/// Makes a folder private, because values of `--env` may be confidential.
fn restrict_to_owner(folder: &Path) -> Result<(), LocalError> {
    file_modes::make_private(folder).map_err(LocalError::file("protect", folder))
}
