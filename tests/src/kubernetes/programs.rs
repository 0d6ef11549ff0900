//! Finds the programs of a cluster: those compiled from `tests/kubernetes/go.mod`, and the machine's own.

use std::io;
use std::path::PathBuf;

use crate::cache;

/// What a control plane runs.
pub const CONTROL_PLANE: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// What a node runs besides, from the same folder.
pub const NODE: &[&str] = &["kubelet", "kube-proxy", "pause", "kubectl"];
/// What a node needs from the machine; Debian's packages of `tests/run` hold them.
const MACHINE: &[&str] = &["containerd", "ctr", "runc", "iptables", "conntrack"];
/// Where Debian's containernetworking-plugins puts the network plugins.
pub const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// The path of one of the compiled programs: from `KUBEBUILDER_ASSETS` where it is there, else from the cache.
pub fn compiled(name: &str) -> io::Result<PathBuf> {
    let folders = [cache::set("KUBEBUILDER_ASSETS"), Some(cache::folder().join("kubernetes/current"))];
    folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(
        || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("`{name}` is missing: `tests/run control-plane` compiles it"),
            )
        },
    )
}

/// Why a control plane cannot run here, if it cannot.
pub fn control_plane_missing() -> Option<String> {
    crate::namespace::available().err().or_else(|| CONTROL_PLANE.iter().find_map(|name| absent(name)))
}

/// Why a node cannot run here, if it cannot.
pub fn node_missing() -> Option<String> {
    let machine = || MACHINE.iter().find(|name| which::which(name).is_err());
    control_plane_missing()
        .or_else(|| NODE.iter().find_map(|name| absent(name)))
        .or_else(|| machine().map(|name| format!("`{name}` is not installed")))
        .or_else(|| {
            let bridge = PathBuf::from(NETWORK_PLUGINS).join("bridge");
            (!bridge.is_file())
                .then(|| format!("{} is missing (containernetworking-plugins)", bridge.display()))
        })
}

fn absent(name: &str) -> Option<String> {
    compiled(name).err().map(|error| error.to_string())
}
