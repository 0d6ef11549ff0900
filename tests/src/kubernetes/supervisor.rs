//! Starts the programs of a cluster so that they end with the test program, and shows their log when one
//! fails.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::state::ClusterState;
use crate::Outcome;

/// The running programs of one cluster. Start them from the main thread: `setpriv` kills them when that
/// thread ends.
#[derive(Debug)]
pub struct ProgramSupervisor {
    state: ClusterState,
    running: Vec<(String, Child)>,
}

impl ProgramSupervisor {
    pub fn new(state: ClusterState) -> Self {
        Self { state, running: Vec::new() }
    }

    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Starts `program` as `name`. Its output is written to the log of that name.
    pub fn start(&mut self, name: &str, program: PathBuf, arguments: &[String]) -> Outcome {
        let log = File::create(self.state.log(name))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .current_dir(self.state.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.running.push((name.to_owned(), child));
        Ok(())
    }

    /// Sends a signal to the program `name`.
    pub fn signal(&self, name: &str, signal: Signal) -> Outcome {
        let running = self.running.iter().find(|(running, _)| running == name);
        let (_, child) = running.ok_or_else(|| format!("program {name} was not started"))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Returns an error with the end of its log if the program `name` has exited.
    pub fn ensure_running(&mut self, name: &str) -> Outcome {
        for (running, child) in &mut self.running {
            if running == name
                && let Some(status) = child.try_wait()?
            {
                let log = std::fs::read_to_string(self.state.log(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                return Err(format!("{name} exited ({status}):\n{end}").into());
            }
        }
        Ok(())
    }
}

impl Drop for ProgramSupervisor {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            // An error means that the child has already exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
