//! The object that creates the pods of a component: a Deployment, a LeaderWorkerSet, or a PodCliqueSet.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use super::count;
use crate::object::{ObjectView, ObservedObject};

/// A workload of a component.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    Deployment(Box<ObservedObject<Deployment>>),
    /// A LeaderWorkerSet or a PodCliqueSet, which are not kinds of Kubernetes itself.
    Custom(Value),
}

impl From<ObservedObject<Deployment>> for Workload {
    fn from(deployment: ObservedObject<Deployment>) -> Self {
        Self::Deployment(Box::new(deployment))
    }
}

impl Workload {
    /// Returns the complete document.
    pub fn document(&self) -> &Value {
        match self {
            Self::Deployment(deployment) => deployment.document(),
            Self::Custom(document) => document,
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> &str {
        match self {
            Self::Deployment(_) => "Deployment",
            Self::Custom(document) => ObjectView::new(document).kind(),
        }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        ObjectView::new(self.document()).name()
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        ObjectView::new(self.document()).namespace()
    }

    /// Returns the UID.
    pub fn uid(&self) -> &str {
        ObjectView::new(self.document()).uid()
    }

    /// Returns the desired and the available number of replicas.
    pub fn replicas(&self) -> (u64, u64) {
        match self {
            Self::Deployment(deployment) => {
                let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
                (desired.map_or(1, count), available.map_or(0, count))
            }
            Self::Custom(document) => {
                let view = ObjectView::new(document);
                let available = view.number("/status/availableReplicas");
                (view.number("/spec/replicas").unwrap_or(1), available.unwrap_or(0))
            }
        }
    }

    /// Returns why the workload cannot create its pods.
    pub fn replica_failure(&self) -> Option<&str> {
        match self {
            Self::Deployment(deployment) => {
                let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
                let failure = conditions.iter().find(|one| one.type_ == "ReplicaFailure")?;
                (failure.status == "True").then(|| failure.message.as_deref().unwrap_or_default())
            }
            Self::Custom(document) => {
                let failure = ObjectView::new(document).condition("ReplicaFailure")?;
                failure.is_true().then(|| failure.message().unwrap_or_default())
            }
        }
    }
}
