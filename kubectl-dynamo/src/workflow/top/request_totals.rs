//! Reads the requests of one deployment for `status`: one scrape of its frontends.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::connections::MetricsConnections;
use super::processes::{DeploymentProcesses, cluster_processes, local_processes};
use crate::local::state::LocalDeployment;
use kubectl_dynamo_cluster::Cluster;
use kubectl_dynamo_core::object::ObservedObject;
use kubectl_dynamo_core::top::{FrontendMetrics, RequestTotals};

/// The maximum time to wait for the frontends.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the requests of a deployment in a cluster. `None` if a ready frontend does not answer, or without the permission
/// to forward ports.
pub(crate) async fn of_graph(
    graph: &Value,
    pods: &[ObservedObject<Pod>],
    cluster: &Cluster,
) -> Option<RequestTotals> {
    scrape_frontends(&cluster_processes(graph, pods, cluster)).await
}

/// Reads the requests of a deployment on this machine. `None` if a running frontend does not answer.
pub(crate) async fn of_local(deployment: &LocalDeployment) -> Option<RequestTotals> {
    scrape_frontends(&local_processes(deployment)).await
}

async fn scrape_frontends(deployment: &DeploymentProcesses) -> Option<RequestTotals> {
    let mut connections = MetricsConnections::new().ok()?;
    let answers = connections.scrape(deployment.frontend_addresses(), SCRAPE_TIMEOUT).await;
    let read = |body: &String| FrontendMetrics::read(body, deployment.release);
    let frontends: Option<Vec<_>> =
        answers.values().map(|answer| answer.body.as_ref().ok().map(read)).collect();
    frontends.filter(|all| !all.is_empty()).map(|all| RequestTotals::from_frontends(&all))
}
