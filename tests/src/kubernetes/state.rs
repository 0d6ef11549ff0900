//! Manages what a cluster creates on the machine: a lock, a folder, a network namespace, and cgroups.
//! Acquiring the state removes leftovers of an interrupted run, whichever process created them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{UnmountFlags, unmount};

use crate::network_namespace::{self, NetworkNamespace};
use crate::{cache, processes};

/// Machine-wide lock for one kind of cluster. Dropping it ends the cluster's processes and keeps its logs.
#[derive(Debug)]
pub struct ClusterState {
    name: &'static str,
    folder: PathBuf,
    /// Open for its lock, which the kernel releases when this process exits.
    _lock: File,
}

impl ClusterState {
    /// Waits for the lock of `name`, removes leftovers of the last holder, and creates an empty folder.
    pub fn acquire(name: &'static str) -> io::Result<Self> {
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
        for stale_folder in [Path::new(last_folder.trim()), folder.as_path()] {
            end_cluster(name, stale_folder)?;
            if stale_folder.is_absolute() && stale_folder.exists() {
                fs::remove_dir_all(stale_folder)?;
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

    /// Creates the cluster's network namespace, with only `lo`.
    pub fn namespace(&self) -> io::Result<NetworkNamespace> {
        NetworkNamespace::create(&namespace_name(self.name))
    }

    /// Creates the kubelet's cgroup in every hierarchy of the machine and returns its name.
    pub fn control_group(&self) -> io::Result<String> {
        for path in control_groups(self.name)? {
            fs::create_dir_all(path)?;
        }
        Ok(format!("/{}", namespace_name(self.name)))
    }
}

impl Drop for ClusterState {
    fn drop(&mut self) {
        // Errors cannot be reported here; the next `acquire` removes leftovers.
        let _ = end_cluster(self.name, &self.folder);
        for large_folder in ["containerd", "kubelet", "etcd", super::dynamo_services::FOLDER] {
            let _ = fs::remove_dir_all(self.folder.join(large_folder));
        }
    }
}

fn lock_path(name: &str) -> PathBuf {
    Path::new("/run/lock").join(format!("kubectl-dynamo-tests-{name}.lock"))
}

fn namespace_name(name: &str) -> String {
    format!("kdt-{name}")
}

/// Ends processes and pods of the cluster `name` and unmounts its mounts; files in the folder remain.
fn end_cluster(name: &str, folder: &Path) -> io::Result<()> {
    network_namespace::remove(&namespace_name(name))?;
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
            // A cgroup whose last process is exiting is busy for a moment; the next run removes it.
            let _ = fs::remove_dir(group);
        }
    }
    Ok(())
}

/// Returns the cgroup of this cluster in each hierarchy: several with version 1, one with version 2.
fn control_groups(name: &str) -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let hierarchies = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (mount_point, kind) = (fields.nth(1)?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| Path::new(mount_point).join(namespace_name(name)))
    });
    Ok(hierarchies.collect())
}

/// Returns the folder and all folders below it, parents first.
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

/// Unmounts everything below the folder, newest mount first, so that removing files does not touch a volume.
fn unmount_below(folder: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount_points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(|mount_point| mount_point.replace("\\040", " "));
    let mut below: Vec<String> =
        mount_points.filter(|mount_point| Path::new(mount_point).starts_with(folder)).collect();
    below.reverse();
    for mount_point in below {
        match unmount(&mount_point, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(io::Error::other(format!("unmount {mount_point}: {error}"))),
        }
    }
    Ok(())
}
