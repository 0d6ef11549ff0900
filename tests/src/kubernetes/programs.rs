//! Finds the programs of a cluster: those compiled from the modules `tests/kubernetes`, `tests/nats`, `tests/registry`,
//! and `tests/release-tools`, and those of the machine.
//! It does not install or compile anything; `tests/run` does.

use std::io;
use std::path::PathBuf;

use crate::cache;

/// Programs of a control plane.
pub const CONTROL_PLANE_PROGRAMS: &[&str] =
    &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// Additional programs of a node, and the NATS server of Dynamo 0.9.1.
pub const NODE_PROGRAMS: &[&str] = &["kubelet", "kube-proxy", "pause", "kubectl", "nats-server"];
/// Programs that a node needs from the machine; `tests/run` lists their Debian packages.
const MACHINE_PROGRAMS: &[&str] = &["containerd", "ctr", "runc", "iptables", "conntrack"];
/// Folder of the CNI plugins in Debian's package containernetworking-plugins.
pub const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// Returns the path of a compiled program: from `KUBEBUILDER_ASSETS` if it is there, else from the cache.
pub fn compiled_program(name: &str) -> io::Result<PathBuf> {
    let compiled = ["kubernetes/current", "nats/current", "registry/current", "release-tools/current"]
        .map(|folder| Some(cache::folder().join(folder)));
    let folders = [cache::set("KUBEBUILDER_ASSETS")].into_iter().chain(compiled);
    folders.flatten().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("`{name}` not found: run `tests/run prepare` to compile it"),
        )
    })
}

/// Returns why a control plane cannot run on this machine, if it cannot.
pub fn control_plane_missing_reason() -> Option<String> {
    crate::network_namespace::check_available()
        .err()
        .or_else(|| CONTROL_PLANE_PROGRAMS.iter().find_map(|name| missing_program(name)))
}

/// Returns why a node cannot run on this machine, if it cannot.
pub fn node_missing_reason() -> Option<String> {
    let machine = || MACHINE_PROGRAMS.iter().find(|name| which::which(name).is_err());
    control_plane_missing_reason()
        .or_else(|| NODE_PROGRAMS.iter().find_map(|name| missing_program(name)))
        .or_else(|| machine().map(|name| format!("`{name}` is not installed")))
        .or_else(|| {
            let bridge = PathBuf::from(NETWORK_PLUGINS).join("bridge");
            (!bridge.is_file())
                .then(|| format!("{} not found (install containernetworking-plugins)", bridge.display()))
        })
}

fn missing_program(name: &str) -> Option<String> {
    compiled_program(name).err().map(|error| error.to_string())
}
