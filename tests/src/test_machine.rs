//! An isolated environment for one case: its own network and home, and the shared runtime.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::hub::{Hub, HubSettings};
use crate::network_namespace::{NetworkNamespace, create_temporary};
use crate::processes::{self, ProcessHandle};
use crate::terminal::TestTerminal;
use crate::{Outcome, ensure, programs};

/// Maximum time to wait for a line; a complete start takes about three seconds.
const LINE_TIMEOUT: Duration = Duration::from_secs(120);

/// The environment of a case. Dropping it ends the processes inside.
pub struct TestMachine {
    // Its processes end before the folders below are removed.
    namespace: NetworkNamespace,
    home: tempfile::TempDir,
    cache: PathBuf,
}

/// Output and exit code of a command.
#[derive(Debug)]
pub struct CommandResult {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandResult {
    /// Fails the case unless the exit code is `code` and stderr contains each of these texts.
    pub fn expect(&self, code: i32, stderr: &[&str]) -> Outcome<&Self> {
        ensure!(self.code == Some(code), "exit code {code} expected: {self:?}");
        for text in stderr {
            ensure!(self.stderr.contains(text), "stderr must contain `{text}`: {self:?}");
        }
        Ok(self)
    }

    /// Returns stdout as one JSON object.
    pub fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.stdout).map_err(|error| format!("{error}: {self:?}"))?)
    }
}

impl TestMachine {
    /// Creates a machine with this cache folder, which has the installed runtimes.
    pub fn with_cache(cache: &Path) -> Outcome<Self> {
        Ok(Self { namespace: create_temporary()?, home: tempfile::tempdir()?, cache: cache.to_owned() })
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn state(&self) -> PathBuf {
        self.home().join("state")
    }

    /// Returns a command that runs the plugin with these arguments on this machine.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program_command(programs::kubectl_dynamo());
        command.args(args);
        command
    }

    /// Returns a command that runs the plugin without any other program in PATH.
    pub fn command_without_programs(&self, args: &[&str]) -> Command {
        let mut command = self.program_command("/usr/bin/env");
        command.arg(format!("PATH={}", self.home().display())).arg(programs::kubectl_dynamo()).args(args);
        command
    }

    /// Runs a command until it exits.
    pub fn run(&self, args: &[&str]) -> Outcome<CommandResult> {
        run_to_end(self.command(args).stdin(Stdio::null()))
    }

    /// Runs a command with this text on stdin.
    pub fn run_with_stdin(&self, args: &[&str], stdin: &str) -> Outcome<CommandResult> {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("stdin is piped")?.write_all(stdin.as_bytes())?;
        to_result(child.wait_with_output()?)
    }

    /// Returns a command for another program with the same folders.
    pub fn program_command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command(program);
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home()).env("KUBECTL_DYNAMO_CACHE", &self.cache);
        command.env("KUBECTL_DYNAMO_STATE", self.state());
        command
    }

    /// Runs a line of a shell, which begins with the arguments of the plugin, in a terminal of this machine.
    pub fn terminal(&self, line: &str) -> Outcome<TestTerminal> {
        let plugin = programs::kubectl_dynamo();
        let namespace = self.namespace.path();
        let line = format!("nsenter --net={} -- sh -c '{} {line}'", namespace.display(), plugin.display());
        let state = self.state();
        let text =
            |path: &Path| path.to_str().map(str::to_owned).ok_or("the path of a temporary folder is UTF-8");
        let (home, cache, state) = (text(self.home())?, text(&self.cache)?, text(&state)?);
        let variables = [
            ("HOME", home.as_str()),
            ("KUBECTL_DYNAMO_CACHE", &cache),
            ("KUBECTL_DYNAMO_STATE", &state),
            ("TERM", "xterm-256color"),
        ];
        Ok(TestTerminal::start(&line, self.home(), &variables)?)
    }

    /// Starts a command and reads its output line by line.
    pub fn start(&self, args: &[&str]) -> Outcome<RunningCommand> {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("stderr is piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(RunningCommand { child, lines, read_lines: Vec::new() })
    }

    /// Runs `up --detach` with additional arguments; returns the output of `status`.
    pub fn up_detached(&self, args: &[&str]) -> Outcome<Value> {
        self.run(&[&["up", "--local", "--detach"], args].concat())?.expect(0, &["smoke test: done: 200"])?;
        self.run(&["status", "--local", "-o", "json"])?.expect(0, &[])?.json()
    }

    /// Returns the processes on this machine.
    pub fn processes(&self) -> Outcome<Vec<u32>> {
        let path = self.namespace.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a namespace has a name")?;
        let listed = Command::new("ip").args(["netns", "pids", name]).output()?;
        Ok(String::from_utf8(listed.stdout)?.lines().filter_map(|pid| pid.trim().parse().ok()).collect())
    }

    /// Returns the body of a successful request from this machine.
    pub fn get(&self, url: &str) -> Outcome<String> {
        let address = url.to_owned();
        let request = async move { Ok(reqwest::get(&address).await?.error_for_status()?.text().await?) };
        self.run_inside(request).map_err(|error| format!("GET {url}: {error}").into())
    }

    /// Runs requests from this machine.
    pub fn run_inside<T: Send + 'static>(
        &self,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
    ) -> Outcome<T> {
        let path = self.namespace.path();
        let run = move || -> Outcome<T> {
            enter_network_namespace(&path)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work)
        };
        std::thread::spawn(run).join().map_err(|_| "the request panicked")?
    }

    /// Starts a hub on this machine; it runs until the sender is dropped.
    pub fn start_hub(&self, settings: HubSettings) -> Outcome<(String, tokio::sync::oneshot::Sender<()>)> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (url_sender, url_receiver) = channel();
        let path = self.namespace.path();
        std::thread::spawn(move || {
            let serve = || -> Outcome<()> {
                enter_network_namespace(&path)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let hub = Hub::start(settings).await?;
                    url_sender.send(hub.url.clone())?;
                    // The sender is dropped at the end of the case and sends no value.
                    let _ = stopped.await;
                    Ok(())
                })
            };
            // A hub that does not start sends no address, which fails the case.
            let _ = serve();
        });
        Ok((url_receiver.recv_timeout(LINE_TIMEOUT)?, stop))
    }
}

fn enter_network_namespace(path: &Path) -> Outcome {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let link = std::fs::File::open(path)?;
    let link = std::os::fd::AsFd::as_fd(&link);
    Ok(move_into_link_name_space(link, Some(LinkNameSpaceType::Network))?)
}

/// A running command.
pub struct RunningCommand {
    child: Child,
    lines: Receiver<String>,
    read_lines: Vec<String>,
}

impl RunningCommand {
    /// Waits for a line of stderr that contains this text, and returns it.
    pub fn wait_for_line(&mut self, text: &str) -> Outcome<String> {
        loop {
            let line = self
                .lines
                .recv_timeout(LINE_TIMEOUT)
                .map_err(|_| format!("no line with `{text}` in {:#?}", self.read_lines))?;
            self.read_lines.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Reads at least one byte of stdout.
    pub fn wait_for_output(&mut self) -> Outcome<()> {
        let stdout = self.child.stdout.as_mut().ok_or("stdout is piped")?;
        Ok(stdout.read_exact(&mut [0])?)
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Outcome {
        let process = processes::open_process(self.child.id())?.ok_or("the process is running")?;
        Ok(process.signal(signal)?)
    }

    /// Waits until it exits.
    pub fn finish(mut self) -> Outcome<CommandResult> {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout)?;
        }
        let code = self.child.wait()?.code();
        self.read_lines.extend(self.lines.iter());
        Ok(CommandResult { code, stdout, stderr: self.read_lines.join("\n") })
    }
}

/// Opens these processes, so that their exit can be awaited.
pub fn open_processes(pids: &[u32]) -> Outcome<Vec<ProcessHandle>> {
    let handles: Result<Vec<_>, _> = pids.iter().map(|pid| processes::open_process(*pid)).collect();
    Ok(handles?.into_iter().flatten().collect())
}

/// Waits until all of them have exited.
pub fn wait_until_all_exit(handles: &[ProcessHandle]) -> Outcome {
    for process in handles {
        ensure!(process.wait_for_exit(60)?, "a process survived");
    }
    Ok(())
}

pub fn run_to_end(command: &mut Command) -> Outcome<CommandResult> {
    to_result(command.output()?)
}

fn to_result(output: std::process::Output) -> Outcome<CommandResult> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(CommandResult { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}
