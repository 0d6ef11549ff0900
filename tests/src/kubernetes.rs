//! Runs a real Kubernetes on this machine in its own network namespace: control planes and optionally a node.
//!
//! The thread that starts a cluster enters the namespace first, so test clients and started programs are
//! inside it. Nothing is reachable from outside, and ports cannot conflict. A lock allows one cluster of each
//! layout at a time. Leftovers of an interrupted run are removed first.

pub mod audit;
pub mod authority;
pub mod case_namespace;
pub mod control_plane;
pub mod definition_sets;
pub mod definitions;
pub mod dynamo_services;
mod etcd;
pub mod fake_kubelet;
pub mod node;
pub mod pod_reports;
pub mod programs;
pub mod service_dns;
pub mod state;
pub mod supervisor;

use std::ffi::OsStr;
use std::process::Command;

use rustix::process::Signal;

use authority::CertificateAuthority;
use control_plane::ControlPlane;
use definitions::GraphGeneration;
use state::ClusterState;
use supervisor::ProgramSupervisor;

use crate::Outcome;
use crate::network_namespace::NetworkNamespace;

/// The parts of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterLayout {
    /// One control plane for each generation of Dynamo's CRDs and one without, no node: pods do not run.
    ControlPlanes,
    /// One control plane without Dynamo's CRDs, no node: the test installs what it needs.
    Bare,
    /// One control plane with the CRDs of this generation, and one node: pods run.
    Node(GraphGeneration),
}

/// A running cluster; dropping it stops everything it started.
pub struct TestCluster {
    authority: CertificateAuthority,
    control_planes: Vec<ControlPlane>,
    // Fields are dropped in this order: programs stop before their namespace and state are removed.
    supervisor: ProgramSupervisor,
    namespace: NetworkNamespace,
}

/// Acquires the lock, moves the calling thread into the cluster's namespace, and starts the network for a
/// node. Call it on the main thread before any other thread exists, then `start` in a runtime.
pub fn prepare(layout: ClusterLayout) -> Outcome<PreparedCluster> {
    let state = ClusterState::acquire(match layout {
        ClusterLayout::ControlPlanes => "control-planes",
        ClusterLayout::Bare => "bare",
        ClusterLayout::Node(_) => "node",
    })?;
    let namespace = state.namespace()?;
    namespace.enter()?;
    if let ClusterLayout::Node(_) = layout {
        node::create_network()?;
    }
    Ok(PreparedCluster { layout, supervisor: ProgramSupervisor::new(state), namespace })
}

/// A cluster whose namespace exists and whose programs are not running yet.
#[derive(Debug)]
pub struct PreparedCluster {
    layout: ClusterLayout,
    supervisor: ProgramSupervisor,
    namespace: NetworkNamespace,
}

impl PreparedCluster {
    /// Starts the programs and waits until the API servers and the node, if any, are ready.
    pub async fn start(mut self) -> Outcome<TestCluster> {
        let authority = CertificateAuthority::new()?;
        let mut control_planes = Vec::new();
        let (generations, address) = match self.layout {
            ClusterLayout::ControlPlanes => {
                (vec![Some(GraphGeneration::V1Beta1), Some(GraphGeneration::V1Alpha1), None], None)
            }
            ClusterLayout::Bare => (vec![None], None),
            ClusterLayout::Node(generation) => (vec![Some(generation)], Some(node::ADDRESS)),
        };
        let mut starting = Vec::new();
        for (index, generation) in (0..).zip(generations) {
            starting.push(control_plane::start(
                &mut self.supervisor,
                &authority,
                index,
                generation,
                address,
            )?);
        }
        for plane in starting {
            control_planes.push(plane.finish(&mut self.supervisor).await?);
        }
        if self.layout == ClusterLayout::Node(GraphGeneration::V1Alpha1) {
            dynamo_services::start(&mut self.supervisor)?;
        }
        if let (ClusterLayout::Node(_), Some(plane)) = (self.layout, control_planes.first()) {
            node::start(&mut self.supervisor, &authority, plane).await?;
        }
        Ok(TestCluster { authority, control_planes, supervisor: self.supervisor, namespace: self.namespace })
    }
}

impl TestCluster {
    /// Returns the control plane with the CRDs of this generation; `None` is the one without Dynamo.
    pub fn control_plane(&self, generation: impl Into<Option<GraphGeneration>>) -> Outcome<&ControlPlane> {
        let generation = generation.into();
        let found = self.control_planes.iter().find(|plane| plane.generation == generation);
        found.ok_or_else(|| format!("no control plane with {generation:?} in this cluster").into())
    }

    /// Returns the authority that signs certificates for users and webhooks of this cluster.
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Returns the folder of the cluster's files and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.supervisor.state().folder()
    }

    /// Sends a signal to one of the cluster's programs, such as `kubelet`.
    pub fn signal_program(&self, program: &str, signal: Signal) -> Outcome {
        self.supervisor.signal(program, signal)
    }

    /// Returns the name of the network namespace for `ip netns exec`.
    pub fn namespace_name(&self) -> String {
        self.namespace.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns a command that runs inside the cluster's namespace, also when the calling thread is outside.
    pub fn command_in_namespace(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }
}
