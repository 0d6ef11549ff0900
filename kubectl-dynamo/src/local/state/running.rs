//! The record of a deployment's processes, which its supervisor writes to the state folder.
//! Other commands only read it.

use serde::{Deserialize, Serialize};

use crate::local::pid::ProcessId;
use crate::local::processes::{LOOPBACK, Process};
use kubectl_dynamo_core::intent::WorkerRole;

/// The supervisor and its processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::local) struct RunRecord {
    pub(super) supervisor: Option<ProcessId>,
    pub(in crate::local) processes: Vec<RunningProcess>,
}

impl RunRecord {
    /// An empty record with this process as the supervisor.
    pub(in crate::local) fn new() -> Self {
        Self { supervisor: ProcessId::from_pid(std::process::id()), processes: Vec::new() }
    }

    /// Records the exit status of a process and returns its name.
    pub(in crate::local) fn record_exit(&mut self, pid: u32, exit_status: &str) -> Option<String> {
        let exited_process = self.processes.iter_mut().find(|process| process.pid() == Some(pid))?;
        exited_process.exit_status = Some(exit_status.to_owned());
        Some(exited_process.name.clone())
    }
}

/// A process that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningProcess {
    pub name: String,
    pub role: WorkerRole,
    identity: Option<ProcessId>,
    /// The exit status, if it has exited.
    #[serde(alias = "ended")]
    pub exit_status: Option<String>,
    /// Port on loopback with the metrics at `/metrics`. Older records do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
}

impl RunningProcess {
    pub(in crate::local) fn new(process: &Process, pid: u32) -> Self {
        Self {
            name: process.name.clone(),
            role: process.role,
            identity: ProcessId::from_pid(pid),
            exit_status: None,
            metrics_port: process.metrics_port,
        }
    }

    /// The process ID.
    pub fn pid(&self) -> Option<u32> {
        self.identity.as_ref().map(|identity| identity.pid.unsigned_abs())
    }

    /// The URL of its metrics.
    pub fn metrics_url(&self) -> Option<String> {
        self.metrics_port.map(|port| format!("http://{LOOPBACK}:{port}/metrics"))
    }

    /// Whether the process is running.
    pub fn is_alive(&self) -> bool {
        self.exit_status.is_none() && self.identity.as_ref().is_some_and(ProcessId::is_alive)
    }
}
