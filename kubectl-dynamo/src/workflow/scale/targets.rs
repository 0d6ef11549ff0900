//! The requested replica counts per component, and the stored intent with the same counts. It makes no
//! requests.

use std::fmt;

use serde_json::Value;

use super::{RequestedReplicas, ScaleError};
use crate::workflow::summary;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::{ComponentView, GraphView};
use kubectl_dynamo_core::intent::Topology;

/// A component with its current and its requested replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplicaChange {
    pub component: String,
    pub role: String,
    pub from: u64,
    pub to: u32,
    /// Whether a scaling adapter owns the replicas.
    pub has_adapter: bool,
}

impl fmt::Display for ReplicaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {} replicas", self.component, self.from, self.to)
    }
}

/// Returns the requested change of each component that the flags select.
pub(super) fn replica_changes(
    name: &str,
    requested: &RequestedReplicas,
    graph: &Value,
) -> Result<Vec<ReplicaChange>> {
    let components = GraphView::new(graph).components();
    let mut changes: Vec<ReplicaChange> = Vec::new();
    for (flag, role, to) in [
        ("--replicas", "worker", requested.workers),
        ("--prefill-replicas", "prefill", requested.prefill),
        ("--decode-replicas", "decode", requested.decode),
        ("--frontend-replicas", "frontend", requested.frontend),
    ] {
        let Some(to) = to else { continue };
        // `--replicas` applies to all workers. A role-specific flag overrides it.
        let is_targeted = |one: &&ComponentView| one.role() == role || (role == "worker" && one.is_worker());
        let targeted: Vec<&ComponentView> = components.iter().filter(is_targeted).collect();
        if targeted.is_empty() {
            let names = components.iter().map(|one| one.name.to_owned()).collect();
            let name = name.to_owned();
            return Err(ScaleError::NoSuchRole { name, role, flag, components: names }.into());
        }
        changes.retain(|one| targeted.iter().all(|component| component.name != one.component));
        changes.extend(targeted.into_iter().map(|one| ReplicaChange {
            component: one.name.into(),
            role: one.role().into(),
            from: one.replicas(),
            to,
            has_adapter: one.has_scaling_adapter(),
        }));
    }
    if changes.is_empty() {
        return Err(ScaleError::NoReplicas { name: name.into() }.into());
    }
    Ok(changes)
}

/// Returns the stored intent of a live graph with these replicas, or `None` if the graph has no stored
/// intent.
pub(super) fn intent_with_replicas(graph: &Value, changes: &[ReplicaChange]) -> Option<String> {
    let mut intent = summary::stored_intent(graph)?;
    for one in changes {
        match (&mut intent.topology, one.role.as_str()) {
            (_, "frontend") => intent.frontend_replicas = one.to,
            (Topology::Aggregated { worker }, _) => worker.replicas = one.to,
            (Topology::Disaggregated { prefill, .. }, "prefill") => prefill.replicas = one.to,
            (Topology::Disaggregated { decode, .. }, "decode") => decode.replicas = one.to,
            (Topology::Disaggregated { .. }, _) => {}
        }
    }
    serde_json::to_string(&intent).ok()
}
