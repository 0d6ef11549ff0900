//! The etcd and the NATS server of Dynamo's platform, which the pods of 0.9.1 need even if they discover each other
//! through Kubernetes. They have the addresses of the recorded clusters.

use super::node::ADDRESS;
use super::supervisor::ProgramSupervisor;
use super::{etcd, programs};
use crate::Outcome;

const ETCD_PORT: u16 = 12379;
const ETCD_PEER_PORT: u16 = 12380;
const NATS_PORT: u16 = 4222;

/// Their folder below that of the cluster.
pub(super) const FOLDER: &str = "dynamo";
/// Name of the etcd among the cluster's programs.
pub const ETCD: &str = "dynamo-etcd";

/// Returns the variable with etcd's address in every pod of 0.9.1.
pub fn etcd_endpoints() -> String {
    format!("{ADDRESS}:{ETCD_PORT}")
}

/// Returns the variable with the address of NATS in every pod of 0.9.1.
pub fn nats_server() -> String {
    format!("nats://{ADDRESS}:{NATS_PORT}")
}

/// Starts both programs. Pods that start earlier are restarted by their node.
pub(super) fn start(supervisor: &mut ProgramSupervisor) -> Outcome {
    let folder = supervisor.state().folder().join(FOLDER);
    etcd::start(supervisor, ETCD, &folder.join("etcd"), (ADDRESS, ETCD_PORT, ETCD_PEER_PORT))?;
    supervisor.start(
        "nats",
        programs::compiled_program("nats-server")?,
        &[
            format!("--addr={ADDRESS}"),
            format!("--port={NATS_PORT}"),
            "--jetstream".to_owned(),
            format!("--store_dir={}", folder.join("nats").display()),
        ],
    )
}
