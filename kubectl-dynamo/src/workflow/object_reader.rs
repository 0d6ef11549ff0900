//! Reads the objects of a deployment: from its watches while they are current, otherwise from the API server.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::workflow::lookup;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind};
use kubectl_dynamo_core::object::ObservedObject;
use kubectl_dynamo_core::readiness::{DeploymentReducer, GRAPH_LABEL, ObservedKind};
use kubectl_dynamo_core::resources::GraphApi;

/// Reads the objects of one deployment.
#[derive(Clone, Copy)]
pub(crate) struct ObjectReader<'a> {
    pub cluster: &'a Cluster,
    watched: Option<&'a DeploymentReducer>,
}

impl<'a> From<&'a Cluster> for ObjectReader<'a> {
    fn from(cluster: &'a Cluster) -> Self {
        Self { cluster, watched: None }
    }
}

impl<'a> ObjectReader<'a> {
    /// Creates a reader for a deployment that is watched.
    pub(crate) fn with_watches(cluster: &'a Cluster, watched: &'a DeploymentReducer) -> Self {
        Self { cluster, watched: Some(watched) }
    }

    fn current(self, kind: ObservedKind) -> Option<&'a DeploymentReducer> {
        self.watched.filter(|objects| objects.is_current(kind))
    }

    pub(crate) async fn graph(self, api: GraphApi, name: &str) -> Result<Option<Value>, ClusterError> {
        match self.current(ObservedKind::Graph) {
            Some(objects) => Ok(objects.observation().graph.clone()),
            None => self.cluster.get(Kind::Graph(api), name).await,
        }
    }

    /// Returns the component deployments.
    pub(crate) async fn components(self, api: GraphApi, name: &str) -> Result<Vec<Value>, ClusterError> {
        match self.current(ObservedKind::ComponentDeployment) {
            Some(objects) => Ok(objects.observation().components.clone()),
            None => self.cluster.list(Kind::ComponentDeployment(api), &graph_selector(name)).await,
        }
    }

    pub(crate) async fn pods(self, name: &str) -> Result<Vec<ObservedObject<Pod>>, ClusterError> {
        match self.current(ObservedKind::Pod) {
            Some(objects) => Ok(objects.observation().pods.clone()),
            None => self.cluster.list_objects(&graph_selector(name)).await,
        }
    }

    pub(crate) async fn fetch_jobs(self, name: &str) -> Result<Vec<ObservedObject<Job>>, ClusterError> {
        match self.current(ObservedKind::Job) {
            Some(objects) => Ok(objects.jobs().to_vec()),
            None => lookup::fetch_jobs(self.cluster, name).await,
        }
    }
}

/// Returns the label selector of the objects below a graph.
fn graph_selector(name: &str) -> String {
    format!("{GRAPH_LABEL}={name}")
}
