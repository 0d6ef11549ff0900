//! Network namespaces of our own, holding only `lo`, so that what a test starts is reachable by that test alone.
//! Dynamo's workers bind 0.0.0.0 whatever they are told, and ports of two cases must not meet.
//! Making one needs root and iproute2. Nothing here touches the machine's own network.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::processes;

/// Names of short-lived namespaces: this, the process id of the maker, and a number.
const PREFIX: &str = "kubectl-dynamo-";
const FOLDER: &str = "/run/netns";
static MADE: AtomicU32 = AtomicU32::new(0);

/// A named network namespace; dropping it ends every process inside and removes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

/// Makes a namespace with only `lo` (up), named after this process; first clears those whose maker is gone.
pub fn lo_only_namespace() -> io::Result<Namespace> {
    clear_abandoned()?;
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    Namespace::create(&format!("{PREFIX}{}-{number}", std::process::id()))
}

impl Namespace {
    /// Makes the namespace `name` with only `lo`, clearing one of that name that an interrupted run left.
    pub fn create(name: &str) -> io::Result<Self> {
        remove(name)?;
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self { name: name.to_owned() };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// A command that runs `program` inside; what it starts stays inside.
    /// `nsenter`, not `ip netns exec`: that one mounts /sys anew and hides the control groups.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Moves the calling thread inside: its sockets, and the threads and processes it starts from now on.
    /// A test that runs a `tokio` runtime of one thread after this has a client inside.
    pub fn enter(&self) -> io::Result<()> {
        let link = std::fs::File::open(self.path())?;
        Ok(move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// The file that names the namespace, for `nsenter --net=…`.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing can be reported from here; the next `create` or `lo_only_namespace` clears what is left.
        let _ = remove(&self.name);
    }
}

/// Whether this process may make namespaces; else the reason, as one line.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("making a network namespace needs root".to_owned());
    }
    for program in ["ip", "nsenter"] {
        which::which(program).map_err(|_| format!("`{program}` is missing"))?;
    }
    Ok(())
}

/// Ends every process inside the namespace `name` and removes it; one that does not exist is fine.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    if !Path::new(FOLDER).join(name).exists() {
        return Ok(());
    }
    let own = std::process::id();
    for _ in 0..20 {
        let listed = run(Command::new("ip").args(["netns", "pids", name]))?;
        let pids: Vec<u32> = String::from_utf8_lossy(&listed.stdout)
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|pid| *pid != own)
            .collect();
        if pids.is_empty() {
            break;
        }
        processes::kill_all(&pids)?;
    }
    run(Command::new("ip").args(["netns", "del", name])).map(drop)
}

fn clear_abandoned() -> io::Result<()> {
    let entries = match std::fs::read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::parse::<u32>);
        if let Some(Ok(maker)) = maker
            && !Path::new("/proc").join(maker.to_string()).exists()
        {
            remove(&name)?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> io::Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_listens_inside_is_reachable_inside_only() {
        if available().is_err() {
            return;
        }
        let namespace = lo_only_namespace().expect("root may make one");
        let address = std::thread::scope(|threads| {
            threads
                .spawn(|| {
                    namespace.enter().expect("root may enter");
                    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
                    let port = listener.local_addr().expect("bound").port();
                    TcpStream::connect(("127.0.0.1", port)).expect("reachable from its own namespace");
                    (listener, port)
                })
                .join()
                .expect("the thread inside ends well")
        });
        TcpStream::connect(("127.0.0.1", address.1)).expect_err("unreachable from outside");
    }

    #[test]
    fn ends_what_still_runs_inside_when_dropped() {
        if available().is_err() {
            return;
        }
        let namespace = lo_only_namespace().expect("root may make one");
        let mut child = namespace.command("sleep").arg("600").spawn().expect("sleep starts");
        let path = namespace.path();
        // The child may still be on its way in: it is inside once it has become `sleep`.
        while std::fs::read_to_string(format!("/proc/{}/comm", child.id())).expect("it lives").trim()
            != "sleep"
        {
            std::thread::yield_now();
        }
        drop(namespace);
        assert!(!child.wait().expect("it ended").success());
        assert!(!path.exists());
    }
}
