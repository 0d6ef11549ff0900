//! Runs the plugin as users do: a process with arguments, a kubeconfig, and a namespace.
//! Environment variables of the machine's user do not reach the plugin.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{Outcome, ensure, programs};

/// The variable that decides whether the plugin asks registries for images.
pub const IMAGE_CHECK: &str = "KUBECTL_DYNAMO_IMAGE_CHECK";

/// `kubectl dynamo` for one user in one namespace.
#[derive(Debug, Clone)]
pub struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: PathBuf,
}

/// Exit code and output of a finished run.
#[derive(Debug, Clone)]
pub struct PluginOutput {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Plugin {
    pub fn new(kubeconfig: PathBuf, namespace: &str) -> Self {
        let home = kubeconfig.parent().unwrap_or(Path::new("/")).to_owned();
        Self { program: programs::kubectl_dynamo(), kubeconfig, namespace: namespace.to_owned(), home }
    }

    /// The same user on another machine: with this home folder.
    pub fn with_home(self, home: &Path) -> Self {
        Self { home: home.to_owned(), ..self }
    }

    /// Returns a command with these arguments; settings of the machine's user do not reach it. It does not ask
    /// registries for images, because they are not on this machine.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--namespace").arg(&self.namespace).args(args);
        command.env_clear().env("HOME", &self.home).env(IMAGE_CHECK, "off");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Returns the same as a shell line, for tests that need a terminal.
    pub fn shell_line(&self, args: &str) -> String {
        let (program, kubeconfig) = (self.program.display(), self.kubeconfig.display());
        format!("{program} --kubeconfig {kubeconfig} --namespace {} {args}", self.namespace)
    }

    /// Returns a kubectl command for the same user and namespace.
    pub fn kubectl(&self, args: &[&str]) -> Outcome<Command> {
        let mut command = Command::new(crate::kubernetes::programs::compiled_program("kubectl")?);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--namespace").arg(&self.namespace).args(args);
        command.env_clear().env("HOME", &self.home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs the plugin until it exits.
    pub async fn run(&self, args: &[&str]) -> Outcome<PluginOutput> {
        to_output(self.command(args).output().await?)
    }

    /// Runs the plugin with this text on stdin until it exits.
    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Outcome<PluginOutput> {
        run_with_stdin(self.command(args).stdin(Stdio::piped()), input).await
    }

    /// Runs kubectl with this text on stdin until it exits.
    pub async fn run_kubectl(&self, args: &[&str], input: &str) -> Outcome<PluginOutput> {
        run_with_stdin(&mut self.kubectl(args)?, input).await
    }

    /// Starts the plugin and returns the running child once a line on stderr contains `text`, with the lines so far.
    /// The child is `None` if it exited before.
    pub async fn run_until(&self, args: &[&str], text: &str) -> Outcome<(Option<Child>, Vec<String>)> {
        let mut child = self.command(args).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("child does not have stderr")?).lines();
        let mut read_lines = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let is_match = line.contains(text);
            read_lines.push(line);
            if is_match {
                // Keeps reading, so that the child is not blocked by a full pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((Some(child), read_lines));
            }
        }
        child.wait().await?;
        Ok((None, read_lines))
    }
}

/// A running plugin whose stderr is read line by line.
pub struct RunningPlugin {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    stderr: String,
}

impl Plugin {
    /// Starts the plugin.
    pub fn start(&self, args: &[&str]) -> Outcome<RunningPlugin> {
        let mut child = self.command(args).spawn()?;
        let lines = BufReader::new(child.stderr.take().ok_or("child does not have stderr")?).lines();
        Ok(RunningPlugin { child, lines, stderr: String::new() })
    }
}

impl RunningPlugin {
    /// Reads until a line contains `text`.
    pub async fn wait_for_line(&mut self, text: &str) -> Outcome {
        while let Some(line) = self.lines.next_line().await? {
            self.stderr.push_str(&line);
            self.stderr.push('\n');
            if line.contains(text) {
                return Ok(());
            }
        }
        Err(format!("exited before printing {text:?}:\n{}", self.stderr).into())
    }

    /// Returns the process ID while it is running.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn send_signal(&self, signal: Signal) -> Outcome {
        let id = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?))
            .ok_or("the process has exited")?;
        Ok(kill_process(id, signal)?)
    }

    /// Waits until it exits and returns its output.
    pub async fn finish(mut self) -> Outcome<PluginOutput> {
        while let Some(line) = self.lines.next_line().await? {
            self.stderr.push_str(&line);
            self.stderr.push('\n');
        }
        let output = self.child.wait_with_output().await?;
        Ok(PluginOutput {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: self.stderr,
        })
    }
}

impl PluginOutput {
    /// Returns the output unless the exit code differs from `code`.
    pub fn expect(self, code: i32) -> Outcome<Self> {
        ensure!(
            self.code == Some(code),
            "exit code {:?} instead of {code}\n{}\n{}",
            self.code,
            self.out,
            self.err
        );
        Ok(self)
    }
}

async fn run_with_stdin(command: &mut Command, input: &str) -> Outcome<PluginOutput> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("child does not have stdin")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    to_output(child.wait_with_output().await?)
}

fn to_output(output: std::process::Output) -> Outcome<PluginOutput> {
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(PluginOutput { code: output.status.code(), out, err })
}
