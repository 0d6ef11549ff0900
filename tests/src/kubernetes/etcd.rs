//! Starts an etcd: the store of a control plane, or the one that Dynamo's platform has.

use std::net::Ipv4Addr;
use std::path::Path;

use super::programs;
use super::supervisor::ProgramSupervisor;
use crate::Outcome;

/// Starts an etcd as the program `name`, with its address and the ports for clients and peers.
pub(super) fn start(
    supervisor: &mut ProgramSupervisor,
    name: &str,
    data: &Path,
    (address, client, peer): (Ipv4Addr, u16, u16),
) -> Outcome {
    let (client, peer) = (format!("http://{address}:{client}"), format!("http://{address}:{peer}"));
    supervisor.start(
        name,
        programs::compiled_program("etcd")?,
        &[
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            // A test's etcd need not survive a power failure.
            "--unsafe-no-fsync".to_owned(),
        ],
    )
}
