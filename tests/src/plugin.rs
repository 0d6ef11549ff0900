//! The plugin as its users run it: a process with arguments, a kubeconfig and a namespace.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{Outcome, ensure, programs};

/// `kubectl dynamo` for one user in one namespace.
#[derive(Debug, Clone)]
pub struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
}

/// How a run of it ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Plugin {
    pub fn new(kubeconfig: PathBuf, namespace: &str) -> Self {
        Self { program: programs::kubectl_dynamo(), kubeconfig, namespace: namespace.to_owned() }
    }

    /// A command with these words; nothing of the machine's own user reaches it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--namespace").arg(&self.namespace).args(words);
        command.env_clear().env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The same as a line for a shell, for programs that want a terminal.
    pub fn line(&self, words: &str) -> String {
        let (program, kubeconfig) = (self.program.display(), self.kubeconfig.display());
        format!("{program} --kubeconfig {kubeconfig} --namespace {} {words}", self.namespace)
    }

    /// A kubectl for the same user in the same namespace.
    pub fn kubectl(&self, words: &[&str]) -> Outcome<Command> {
        let mut command = Command::new(crate::kubernetes::programs::compiled("kubectl")?);
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--namespace").arg(&self.namespace).args(words);
        command.env_clear().env("HOME", self.kubeconfig.parent().unwrap_or(Path::new("/")));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Runs it to its end.
    pub async fn run(&self, words: &[&str]) -> Outcome<Said> {
        said(self.command(words).output().await?)
    }

    /// Runs it to its end with this text on its standard input.
    pub async fn run_with_input(&self, words: &[&str], input: &str) -> Outcome<Said> {
        fed(self.command(words).stdin(Stdio::piped()), input).await
    }

    /// Runs kubectl to its end with this text on its standard input.
    pub async fn run_kubectl(&self, words: &[&str], input: &str) -> Outcome<Said> {
        fed(&mut self.kubectl(words)?, input).await
    }

    /// Starts it and answers it, still running, once a line of its stderr holds `text`; and the lines so far.
    /// None when it ended before.
    pub async fn run_until(&self, words: &[&str], text: &str) -> Outcome<(Option<Child>, Vec<String>)> {
        let mut child = self.command(words).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("a child without an error stream")?).lines();
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await? {
            let is_it = line.contains(text);
            seen.push(line);
            if is_it {
                // The stream is read on, so that the child is not stopped by a full pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((Some(child), seen));
            }
        }
        child.wait().await?;
        Ok((None, seen))
    }
}

/// A run that has not ended, whose stderr is read line by line.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    said: String,
}

impl Plugin {
    /// Starts it.
    pub fn start(&self, words: &[&str]) -> Outcome<Running> {
        let mut child = self.command(words).spawn()?;
        let lines = BufReader::new(child.stderr.take().ok_or("a child without an error stream")?).lines();
        Ok(Running { child, lines, said: String::new() })
    }
}

impl Running {
    /// Reads on until a line holds `text`.
    pub async fn until(&mut self, text: &str) -> Outcome {
        while let Some(line) = self.lines.next_line().await? {
            self.said.push_str(&line);
            self.said.push('\n');
            if line.contains(text) {
                return Ok(());
            }
        }
        Err(format!("it ended before it said {text:?}:\n{}", self.said).into())
    }

    /// Its process, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) -> Outcome {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("it has ended")?;
        Ok(kill_process(id, signal)?)
    }

    /// How it ended, and all it said.
    pub async fn end(mut self) -> Outcome<Said> {
        while let Some(line) = self.lines.next_line().await? {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        let output = self.child.wait_with_output().await?;
        Ok(Said { code: output.status.code(), out: String::from_utf8(output.stdout)?, err: self.said })
    }
}

impl Said {
    /// Itself, unless the exit code is another one.
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

async fn fed(command: &mut Command, input: &str) -> Outcome<Said> {
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("a child without an input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    said(child.wait_with_output().await?)
}

fn said(output: std::process::Output) -> Outcome<Said> {
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    Ok(Said { code: output.status.code(), out, err })
}
