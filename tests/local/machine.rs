//! A machine for one case: a network of its own, a home of its own, the installed runtime of all.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kubectl_dynamo_tests::hub::{Hub, Settings};
use kubectl_dynamo_tests::namespace::{Namespace, lo_only_namespace};
use kubectl_dynamo_tests::processes::{self, Held};
use kubectl_dynamo_tests::{Outcome, ensure, programs};
use rustix::process::Signal;
use serde_json::Value;

use crate::Shared;

/// Longest time for a line to come; a whole start takes about three seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a case runs. What still runs in it when it is dropped is ended.
pub(crate) struct Machine {
    // Its processes end before the folders below go.
    namespace: Namespace,
    home: tempfile::TempDir,
    cache: PathBuf,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Fails the case unless it ended with this code and its stderr holds each of these.
    pub(crate) fn expect(&self, code: i32, stderr: &[&str]) -> Outcome<&Self> {
        ensure!(self.code == Some(code), "exit code {code} expected: {self:?}");
        for text in stderr {
            ensure!(self.stderr.contains(text), "stderr must hold `{text}`: {self:?}");
        }
        Ok(self)
    }

    /// Its stdout as one JSON object.
    pub(crate) fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.stdout).map_err(|error| format!("{error}: {self:?}"))?)
    }
}

impl Machine {
    pub(crate) fn new(shared: &Shared) -> Outcome<Self> {
        Ok(Self { namespace: lo_only_namespace()?, home: tempfile::tempdir()?, cache: shared.cache.clone() })
    }

    /// The same, with a cache folder of its own.
    pub(crate) fn with_cache(cache: &Path) -> Outcome<Self> {
        Ok(Self { namespace: lo_only_namespace()?, home: tempfile::tempdir()?, cache: cache.to_owned() })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home().join("state")
    }

    /// The plugin with these arguments, on this machine.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.other(programs::kubectl_dynamo());
        command.args(args);
        command
    }

    /// The plugin with these arguments, where no other program can be found.
    pub(crate) fn command_without_programs(&self, args: &[&str]) -> Command {
        let mut command = self.other("/usr/bin/env");
        command.arg(format!("PATH={}", self.home().display())).arg(programs::kubectl_dynamo()).args(args);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome<Said> {
        finish(self.command(args).stdin(Stdio::null()))
    }

    /// Runs a command that reads this from stdin.
    pub(crate) fn run_with_stdin(&self, args: &[&str], stdin: &str) -> Outcome<Said> {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("stdin is piped")?.write_all(stdin.as_bytes())?;
        said(child.wait_with_output()?)
    }

    /// Another program, with the same folders.
    pub(crate) fn other(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command(program);
        for name in ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home()).env("KUBECTL_DYNAMO_CACHE", &self.cache);
        command.env("KUBECTL_DYNAMO_STATE", self.state());
        command
    }

    /// Starts a command and reads what it says as it comes.
    pub(crate) fn start(&self, args: &[&str]) -> Outcome<Started> {
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
        Ok(Started { child, lines, seen: Vec::new() })
    }

    /// Serves detached, with these arguments besides; says what `status` knows.
    pub(crate) fn up(&self, args: &[&str]) -> Outcome<Value> {
        self.run(&[&["up", "--local", "--detach"], args].concat())?.expect(0, &["smoke test: done: 200"])?;
        self.run(&["status", "--local", "-o", "json"])?.expect(0, &[])?.json()
    }

    /// The processes on this machine.
    pub(crate) fn processes(&self) -> Outcome<Vec<u32>> {
        let path = self.namespace.path();
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a namespace has a name")?;
        let listed = Command::new("ip").args(["netns", "pids", name]).output()?;
        Ok(String::from_utf8(listed.stdout)?.lines().filter_map(|pid| pid.trim().parse().ok()).collect())
    }

    /// A hub on this machine; it runs until the sender is dropped.
    pub(crate) fn hub(&self, settings: Settings) -> Outcome<(String, tokio::sync::oneshot::Sender<()>)> {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = channel();
        let path = self.namespace.path();
        std::thread::spawn(move || {
            let serve = || -> Outcome<()> {
                enter(&path)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let hub = Hub::start(settings).await?;
                    tell.send(hub.url.clone())?;
                    // Its end is the case's end; the sender says nothing.
                    let _ = ended.await;
                    Ok(())
                })
            };
            // A hub that does not start sends no address, which fails the case.
            let _ = serve();
        });
        Ok((told.recv_timeout(PATIENCE)?, end))
    }
}

fn enter(path: &Path) -> Outcome {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let link = std::fs::File::open(path)?;
    let link = std::os::fd::AsFd::as_fd(&link);
    Ok(move_into_link_name_space(link, Some(LinkNameSpaceType::Network))?)
}

/// A command that runs.
pub(crate) struct Started {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Started {
    /// Waits for a line of stderr that holds this text; says it.
    pub(crate) fn until(&mut self, text: &str) -> Outcome<String> {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .map_err(|_| format!("no line with `{text}`; there were {:#?}", self.seen))?;
            self.seen.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
    }

    /// Reads stdout until it holds at least one byte.
    pub(crate) fn first_output(&mut self) -> Outcome<()> {
        let stdout = self.child.stdout.as_mut().ok_or("stdout is piped")?;
        Ok(stdout.read_exact(&mut [0])?)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        let held = processes::hold(self.child.id())?.ok_or("it still runs")?;
        Ok(held.signal(signal)?)
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Outcome<Said> {
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout)?;
        }
        let code = self.child.wait()?.code();
        self.seen.extend(self.lines.iter());
        Ok(Said { code, stdout, stderr: self.seen.join("\n") })
    }
}

/// Holds these processes, so that their end can be awaited.
pub(crate) fn hold(pids: &[u32]) -> Outcome<Vec<Held>> {
    let held: Result<Vec<_>, _> = pids.iter().map(|pid| processes::hold(*pid)).collect();
    Ok(held?.into_iter().flatten().collect())
}

/// Waits until all of them have ended.
pub(crate) fn all_end(held: &[Held]) -> Outcome {
    for process in held {
        ensure!(process.ended_within(60)?, "a process survived");
    }
    Ok(())
}

pub(crate) fn finish(command: &mut Command) -> Outcome<Said> {
    said(command.output()?)
}

fn said(output: std::process::Output) -> Outcome<Said> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
}
