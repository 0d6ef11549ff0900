//! A real Kubernetes on this machine, in a network namespace of its own: control planes, and a node where asked.
//!
//! The thread that starts a cluster moves into the namespace first, so the clients of the tests and every program
//! they start live there without more ado; nothing is reachable from outside and no port can clash.
//! One cluster of each layout at a time, under a lock; what an interrupted run left is cleared before.

pub mod audit;
pub mod authority;
pub mod case_namespace;
pub mod control_plane;
pub mod definitions;
pub mod node;
pub mod pods;
pub mod programs;
pub mod puppet;
pub mod state;
pub mod supervisor;

use std::ffi::OsStr;
use std::process::Command;

use rustix::process::Signal;

use authority::Authority;
use control_plane::ControlPlane;
use definitions::GraphGeneration;
use state::State;
use supervisor::Supervisor;

use crate::Outcome;
use crate::namespace::Namespace;

/// What a cluster consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One control plane for each generation of Dynamo's definitions and one without, no node: no pod runs.
    ControlPlanes,
    /// One control plane without definitions of Dynamo, no node: whoever uses it puts what it needs.
    Bare,
    /// One control plane with definitions of this generation, and one node: pods run.
    Node(GraphGeneration),
}

/// A running cluster; dropping it ends everything it started.
pub struct Cluster {
    authority: Authority,
    control_planes: Vec<ControlPlane>,
    // Fields drop in this order: the programs end before their namespace and their state go.
    supervisor: Supervisor,
    namespace: Namespace,
}

/// Takes the lock, moves the calling thread into the cluster's namespace and starts the network a node needs.
/// Call it on the main thread, before any other thread exists; then `Prepared::start` in a runtime.
pub fn prepare(layout: Layout) -> Outcome<Prepared> {
    let state = State::take(match layout {
        Layout::ControlPlanes => "control-planes",
        Layout::Bare => "bare",
        Layout::Node(_) => "node",
    })?;
    let namespace = state.namespace()?;
    namespace.enter()?;
    if let Layout::Node(_) = layout {
        node::make_network()?;
    }
    Ok(Prepared { layout, supervisor: Supervisor::new(state), namespace })
}

/// A cluster whose namespace exists and whose programs do not run yet.
#[derive(Debug)]
pub struct Prepared {
    layout: Layout,
    supervisor: Supervisor,
    namespace: Namespace,
}

impl Prepared {
    /// Starts the programs and waits until the API servers, and the node if any, are ready.
    pub async fn start(mut self) -> Outcome<Cluster> {
        let authority = Authority::new()?;
        let mut control_planes = Vec::new();
        let (generations, address) = match self.layout {
            Layout::ControlPlanes => {
                (vec![Some(GraphGeneration::V1Beta1), Some(GraphGeneration::V1Alpha1), None], None)
            }
            Layout::Bare => (vec![None], None),
            Layout::Node(generation) => (vec![Some(generation)], Some(node::ADDRESS)),
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
        if let (Layout::Node(_), Some(plane)) = (self.layout, control_planes.first()) {
            node::start(&mut self.supervisor, &authority, plane).await?;
        }
        Ok(Cluster { authority, control_planes, supervisor: self.supervisor, namespace: self.namespace })
    }
}

impl Cluster {
    /// The control plane with the definitions of this generation; `None` is the one without Dynamo.
    pub fn control_plane(&self, generation: impl Into<Option<GraphGeneration>>) -> Outcome<&ControlPlane> {
        let generation = generation.into();
        let found = self.control_planes.iter().find(|plane| plane.generation == generation);
        found.ok_or_else(|| format!("this cluster has no control plane with {generation:?}").into())
    }

    /// Signs what must be trusted in this cluster: users, webhooks.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where the cluster keeps its files and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.supervisor.state().folder()
    }

    /// Sends a signal to one of the cluster's programs, such as `kubelet`.
    pub fn send(&self, program: &str, signal: Signal) -> Outcome {
        self.supervisor.send(program, signal)
    }

    /// The name of the network namespace, as `ip netns exec` takes it.
    pub fn namespace_name(&self) -> String {
        self.namespace.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A command inside the cluster's namespace, also from a thread that stands outside.
    pub fn command_in_namespace(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }
}
