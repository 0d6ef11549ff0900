//! What a cluster leaves on the machine, in one place: a lock, a folder, a network namespace, control groups.
//! Taking the state clears what an interrupted run left, whichever process made it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{UnmountFlags, unmount};

use crate::namespace::{self, Namespace};
use crate::{cache, processes};

/// The machine-wide claim on one kind of cluster; dropping it ends the cluster's processes and keeps its logs.
#[derive(Debug)]
pub struct State {
    name: &'static str,
    folder: PathBuf,
    /// Held for its lock: the kernel releases it when this process ends in any way.
    _lock: File,
}

impl State {
    /// Waits for the lock of `name`, clears what the last holder left, and starts with an empty folder.
    pub fn take(name: &'static str) -> io::Result<Self> {
        let mut lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(lock_path(name))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut last_folder = String::new();
        lock.read_to_string(&mut last_folder)?;
        let folder = cache::folder().join("clusters").join(name);
        for left in [Path::new(last_folder.trim()), folder.as_path()] {
            clear(name, left)?;
            if left.is_absolute() && left.exists() {
                fs::remove_dir_all(left)?;
            }
        }
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(folder.as_os_str().as_encoded_bytes())?;
        for part in ["pki", "log"] {
            fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self { name, folder, _lock: lock })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn log(&self, program: &str) -> PathBuf {
        self.folder.join("log").join(format!("{program}.log"))
    }

    /// The cluster's own network namespace, holding only `lo` so far.
    pub fn namespace(&self) -> io::Result<Namespace> {
        Namespace::create(&namespace_name(self.name))
    }

    /// The control group under which the kubelet puts its pods, made in every hierarchy of the machine.
    pub fn control_group(&self) -> io::Result<String> {
        for path in control_groups(self.name)? {
            fs::create_dir_all(path)?;
        }
        Ok(format!("/{}", namespace_name(self.name)))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Nothing can be reported from here; the next `take` clears what is left.
        let _ = clear(self.name, &self.folder);
        for heavy in ["containerd", "kubelet", "etcd"] {
            let _ = fs::remove_dir_all(self.folder.join(heavy));
        }
    }
}

fn lock_path(name: &str) -> PathBuf {
    Path::new("/run/lock").join(format!("kubectl-dynamo-tests-{name}.lock"))
}

fn namespace_name(name: &str) -> String {
    format!("kdt-{name}")
}

/// Ends processes and pods of the cluster `name`, and takes away its mounts; the folder's files stay.
fn clear(name: &str, folder: &Path) -> io::Result<()> {
    namespace::remove(&namespace_name(name))?;
    clear_control_groups(name)?;
    if folder.is_absolute() { unmount_below(folder) } else { Ok(()) }
}

fn clear_control_groups(name: &str) -> io::Result<()> {
    for root in control_groups(name)?.into_iter().filter(|path| path.exists()) {
        let groups = folders_below(&root)?;
        let mut pids = Vec::new();
        for group in &groups {
            let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            pids.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        processes::kill_all(&pids)?;
        for group in groups.iter().rev() {
            // A group whose last process is just leaving is busy for a moment; the next run removes it.
            let _ = fs::remove_dir(group);
        }
    }
    Ok(())
}

/// The group of this cluster in each hierarchy: several with version 1, one with version 2.
fn control_groups(name: &str) -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (place, kind) = (fields.nth(1)?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(place).join(namespace_name(name)))
    });
    Ok(hierarchies.collect())
}

/// The folder and all folders below it, parents first.
fn folders_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Unmounts everything below the folder, the newest first, so that removing files reaches no volume.
fn unmount_below(folder: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let places =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(|place| place.replace("\\040", " "));
    let mut below: Vec<String> = places.filter(|place| Path::new(place).starts_with(folder)).collect();
    below.reverse();
    for place in below {
        match unmount(&place, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io::Error::other(format!("unmount {place}: {error}"))),
        }
    }
    Ok(())
}
