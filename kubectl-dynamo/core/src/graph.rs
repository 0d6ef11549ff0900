//! A view of DynamoGraphDeployments that reads v1alpha1 and v1beta1 in the same way.
//!
//! It borrows the document, so unknown fields are preserved, and it accepts documents of any shape: a field with an
//! unexpected type is absent.

mod component;
mod references;
#[cfg(test)]
mod tests;

use std::ops::Deref;

use serde_json::Value;

use crate::object::ObjectView;
pub use component::{ComponentView, ContainerView, GPU_RESOURCE};
pub use references::References;

/// A view of a DynamoGraphDeployment of either API version.
#[derive(Debug, Clone, Copy)]
pub struct GraphView<'a>(ObjectView<'a>);

impl<'a> Deref for GraphView<'a> {
    type Target = ObjectView<'a>;

    fn deref(&self) -> &ObjectView<'a> {
        &self.0
    }
}

/// A PVC in the list `spec.pvcs` of v1alpha1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPvc<'a> {
    pub name: &'a str,
    /// Whether the operator creates it as a child of the graph.
    pub is_created: bool,
}

/// What the operator reports about a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartStatus<'a> {
    /// The ID of the restart that the operator works on or has completed.
    pub observed_id: Option<&'a str>,
    pub phase: Option<&'a str>,
    /// The components that restart now.
    pub in_progress: Vec<&'a str>,
}

impl<'a> GraphView<'a> {
    /// Creates a view of a graph.
    pub fn new(graph: &'a Value) -> Self {
        Self(ObjectView::new(graph))
    }

    /// Returns the spec, or null.
    pub fn spec(self) -> &'a Value {
        self.document().get("spec").unwrap_or(&Value::Null)
    }

    /// Returns the components, in the order of the document.
    pub fn components(self) -> Vec<ComponentView<'a>> {
        let listed = self.items("/spec/components").map(ComponentView::listed);
        let keyed = self.map("/spec/services").into_iter().flatten();
        listed.chain(keyed.map(|(name, service)| ComponentView::keyed(name, service))).collect()
    }

    /// Returns whether the components are services, as in v1alpha1.
    pub fn has_services(self) -> bool {
        self.map("/spec/services").is_some()
    }

    /// Returns the PVCs that v1alpha1 lists.
    pub fn listed_pvcs(self) -> impl Iterator<Item = ListedPvc<'a>> + use<'a> {
        self.items("/spec/pvcs").filter_map(|pvc| {
            let is_created = pvc.document().get("create") == Some(&Value::Bool(true));
            Some(ListedPvc { name: pvc.text("/name")?, is_created })
        })
    }

    /// Returns the names of the environment variables of all components.
    pub fn env_names(self) -> Vec<&'a str> {
        component::env_names(self.spec())
    }

    /// Returns the environment variables of all components, as Kubernetes objects.
    pub(crate) fn env(self) -> impl Iterator<Item = ObjectView<'a>> + use<'a> {
        self.items("/spec/env").chain(self.items("/spec/envs"))
    }

    /// Returns the PVCs and Secrets that the spec refers to.
    pub fn references(self) -> References<'a> {
        References::of_value(self.spec())
    }

    /// Returns whether a field of the spec that affects all components differs from that of another graph.
    pub fn shared_fields_differ(self, other: GraphView<'_>) -> bool {
        ["/spec/env", "/spec/envs", "/spec/labels", "/spec/annotations"]
            .iter()
            .any(|pointer| non_null(self.document(), pointer) != non_null(other.document(), pointer))
    }

    /// Returns the state that the operator reports, such as `successful`.
    pub fn state(self) -> Option<&'a str> {
        self.text("/status/state")
    }

    /// Returns the ID of the requested restart.
    pub fn requested_restart(self) -> Option<&'a str> {
        self.text("/spec/restart/id")
    }

    /// Returns what the operator reports about a restart.
    pub fn restart_status(self) -> RestartStatus<'a> {
        RestartStatus {
            observed_id: self.text("/status/restart/observedID"),
            phase: self.text("/status/restart/phase"),
            in_progress: self.texts("/status/restart/inProgress").collect(),
        }
    }

    /// Returns the number of replicas that the operator reports as available.
    pub fn available_replicas(self) -> u64 {
        ["/status/components", "/status/services"]
            .iter()
            .filter_map(|pointer| self.map(pointer))
            .flat_map(|counts| counts.values())
            .map(|counts| {
                let counts = ObjectView::new(counts);
                counts.number("/availableReplicas").or(counts.number("/readyReplicas")).unwrap_or(0)
            })
            .sum()
    }
}

fn non_null<'a>(document: &'a Value, pointer: &str) -> Option<&'a Value> {
    document.pointer(pointer).filter(|value| !value.is_null())
}

/// Returns the entry of the named component in the graph's spec for modification.
pub fn component_mut<'a>(graph: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if graph.pointer("/spec/components").is_some_and(Value::is_array) {
        let listed = graph.pointer_mut("/spec/components")?.as_array_mut()?;
        return listed.iter_mut().find(|one| one.get("name").is_some_and(|found| found == name));
    }
    graph.pointer_mut("/spec/services")?.get_mut(name)
}
