//! The processes of a deployment as its supervisor records them.

use serde::{Deserialize, Serialize};

use crate::intent::WorkerRole;
use crate::local::identity::Identity;
use crate::local::processes::Process;

/// What runs, written by the supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::local) struct Running {
    pub(super) supervisor: Option<Identity>,
    pub(in crate::local) processes: Vec<RunningProcess>,
}

impl Running {
    /// Nothing yet, under this process as the supervisor.
    pub(in crate::local) fn new() -> Self {
        Self { supervisor: Identity::of(std::process::id()), processes: Vec::new() }
    }

    /// Notes that a process ended; says its name.
    pub(in crate::local) fn ended(&mut self, pid: u32, how: &str) -> Option<String> {
        let ended = self.processes.iter_mut().find(|process| process.pid() == Some(pid))?;
        ended.ended = Some(how.to_owned());
        Some(ended.name.clone())
    }
}

/// One process that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningProcess {
    pub name: String,
    pub role: WorkerRole,
    identity: Option<Identity>,
    /// How it ended, if it did.
    pub ended: Option<String>,
}

impl RunningProcess {
    pub(in crate::local) fn new(process: &Process, pid: u32) -> Self {
        Self { name: process.name.clone(), role: process.role, identity: Identity::of(pid), ended: None }
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.identity.as_ref().map(|identity| identity.pid.unsigned_abs())
    }

    /// Whether it runs now.
    pub fn is_alive(&self) -> bool {
        self.ended.is_none() && self.identity.as_ref().is_some_and(Identity::is_alive)
    }
}
