//! Network namespaces that contain only `lo`, so that programs started by a test are reachable only by that
//! test. Dynamo's workers always bind 0.0.0.0, and the ports of two cases must not conflict. Creating a
//! namespace requires root and iproute2. The machine's network is not changed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::processes;

/// Prefix of the names of short-lived namespaces, followed by the creator's process ID and a number.
const PREFIX: &str = "kubectl-dynamo-";
const FOLDER: &str = "/run/netns";
static NAMESPACE_COUNTER: AtomicU32 = AtomicU32::new(0);

/// A named network namespace; dropping it ends every process inside and removes it.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
}

/// Creates a namespace with only `lo` (up), named after this process. Removes those whose creator has exited
/// first.
pub fn create_temporary() -> io::Result<NetworkNamespace> {
    clear_abandoned()?;
    let number = NAMESPACE_COUNTER.fetch_add(1, Ordering::Relaxed);
    NetworkNamespace::create(&format!("{PREFIX}{}-{number}", std::process::id()))
}

impl NetworkNamespace {
    /// Creates the namespace `name` with only `lo`. Removes one of that name that an interrupted run left
    /// behind.
    pub fn create(name: &str) -> io::Result<Self> {
        remove(name)?;
        run(Command::new("ip").args(["netns", "add", name]))?;
        let namespace = Self { name: name.to_owned() };
        run(namespace.command("ip").args(["link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// Returns a command that runs `program` and its children inside. It uses `nsenter` because `ip netns
    /// exec` remounts /sys and hides the cgroups.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Moves the calling thread inside: its sockets, and the threads and processes it starts from now on. A
    /// test that then runs a single-threaded `tokio` runtime has a client inside.
    pub fn enter(&self) -> io::Result<()> {
        let link = std::fs::File::open(self.path())?;
        Ok(move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Returns the path of the namespace file, for `nsenter --net=…`.
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        // Errors cannot be reported here; the next `create` or `create_temporary` removes leftovers.
        let _ = remove(&self.name);
    }
}

/// Checks whether this process may create namespaces; returns the reason as one line if not.
pub fn check_available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("creating a network namespace requires root".to_owned());
    }
    for program in ["ip", "nsenter"] {
        which::which(program).map_err(|_| format!("`{program}` not found"))?;
    }
    Ok(())
}

/// Ends every process in the namespace `name` and removes it. A missing namespace is not an error.
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
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::parse::<u32>);
        if let Some(Ok(owner)) = owner
            && !Path::new("/proc").join(owner.to_string()).exists()
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, stderr.trim())))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn listener_is_reachable_only_inside_its_namespace() {
        if check_available().is_err() {
            return;
        }
        let namespace = create_temporary().expect("root can create a namespace");
        let address = std::thread::scope(|threads| {
            threads
                .spawn(|| {
                    namespace.enter().expect("root can enter the namespace");
                    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
                    let port = listener.local_addr().expect("bound").port();
                    TcpStream::connect(("127.0.0.1", port)).expect("reachable from its own namespace");
                    (listener, port)
                })
                .join()
                .expect("the thread inside does not panic")
        });
        TcpStream::connect(("127.0.0.1", address.1)).expect_err("unreachable from outside");
    }

    #[test]
    fn drop_ends_processes_in_the_namespace() {
        if check_available().is_err() {
            return;
        }
        let namespace = create_temporary().expect("root can create a namespace");
        let mut child = namespace.command("sleep").arg("600").spawn().expect("sleep starts");
        let path = namespace.path();
        // The child may not be inside yet: it is once it has become `sleep`.
        while std::fs::read_to_string(format!("/proc/{}/comm", child.id()))
            .expect("the process exists")
            .trim()
            != "sleep"
        {
            std::thread::yield_now();
        }
        drop(namespace);
        assert!(!child.wait().expect("the process exited").success());
        assert!(!path.exists());
    }
}
