//! Starts the programs of a cluster so that they end with the test program, and shows their log when one fails.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::state::State;
use crate::Outcome;

/// The running programs of one cluster. Start them from the main thread: `setpriv` ties their life to that thread.
#[derive(Debug)]
pub struct Supervisor {
    state: State,
    running: Vec<(String, Child)>,
}

impl Supervisor {
    pub fn new(state: State) -> Self {
        Self { state, running: Vec::new() }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Starts `program`, called `name` in messages, its output in the log of that name.
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

    /// Sends the program `name` a signal.
    pub fn send(&self, name: &str, signal: Signal) -> Outcome {
        let running = self.running.iter().find(|(running, _)| running == name);
        let (_, child) = running.ok_or_else(|| format!("no program {name} was started"))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// An error with the end of its log when the program `name` has ended.
    pub fn check(&mut self, name: &str) -> Outcome {
        for (running, child) in &mut self.running {
            if running == name
                && let Some(status) = child.try_wait()?
            {
                let log = std::fs::read_to_string(self.state.log(name)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                return Err(format!("{name} ended ({status}):\n{end}").into());
            }
        }
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            // A child that has ended is as good as a killed one.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
