//! The requests of the probe of metrics: one scrape of each metrics port, and the list of PodMonitors.

use futures::future::join_all;

use super::client::ProbeClient;
use super::metrics_port::MetricsPort;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, NamespaceScope};
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{AnswerFailure, PodMonitor, PodMonitorList, ProbedProcess, judge_metrics};
use kubectl_dynamo_core::prometheus::MetricSamples;

/// The most pods that are scraped. Each needs a connection.
const MAX_SCRAPED: usize = 16;

pub(super) async fn probe_metrics(client: &ProbeClient<'_>) -> CheckResult {
    let target = client.target;
    let scrapes = target.processes.iter().take(MAX_SCRAPED).map(async |process| ProbedProcess {
        name: process.name.clone(),
        role: process.role.clone(),
        series: scrape(process, client).await.map(|samples| samples.len()),
        pod: process.pod.clone(),
    });
    let processes = join_all(scrapes).await;
    let monitors = match &target.cluster {
        Some(cluster) => list_pod_monitors(cluster).await,
        None => PodMonitorList::NotInstalled,
    };
    judge_metrics(&processes, &monitors, &client.subject().place)
}

/// Reads the metrics of one process. A frontend is already connected.
pub(super) async fn scrape(
    process: &MetricsPort,
    client: &ProbeClient<'_>,
) -> Result<MetricSamples, AnswerFailure> {
    let target = client.target;
    let frontend = target.frontends.iter().find(|one| process.is_frontend() && one.name == process.name);
    if let Some(frontend) = frontend {
        return client.metrics_of(&frontend.endpoint).await;
    }
    let unreachable =
        |error: kubectl_dynamo_core::error::Error| AnswerFailure::Unreachable { cause: error.to_string() };
    let (endpoint, _tunnel) = process.connect(target.cluster.as_ref()).await.map_err(unreachable)?;
    client.metrics_of(&endpoint).await
}

/// Lists the PodMonitors of all namespaces, or of this one if that is not permitted.
async fn list_pod_monitors(cluster: &Cluster) -> PodMonitorList {
    let mut listed = cluster.list_in(NamespaceScope::AllNamespaces, Kind::PodMonitor, "").await;
    if let Err(error @ ClusterError::Forbidden { .. }) = &listed {
        cluster.mark_reported(error);
        listed = cluster.list(Kind::PodMonitor, "").await;
    }
    match listed {
        Ok(documents) => PodMonitorList::Listed(documents.iter().filter_map(PodMonitor::parse).collect()),
        Err(ClusterError::NotFound { .. }) => PodMonitorList::NotInstalled,
        Err(error) => PodMonitorList::Unknown(error.to_string()),
    }
}
