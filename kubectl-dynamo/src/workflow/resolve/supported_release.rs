//! The default release of a cluster: the newest one that its operator supports. It must not write to the
//! cluster.

use kubectl_dynamo_cluster::{Cluster, FactsRequest, Platform};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::preflight::{Fact, OperatorFacts, newest_operator_version};
use kubectl_dynamo_core::release::{self, OperatorGeneration};
use kubectl_dynamo_core::resources::GraphApi;

/// Returns the newest release that the platform supports, according to the API versions of its CRDs.
pub(super) fn detected_release(platform: &Platform) -> &'static str {
    release::newest_release_for(generation(platform), None)
}

/// Returns the newest release that the platform and these operators support.
pub(super) fn supported_release(platform: &Platform, operators: &Fact<Vec<OperatorFacts>>) -> &'static str {
    release::newest_release_for(generation(platform), newest_operator_version(operators))
}

/// Queries the operators of the cluster, and returns the newest release that they support.
pub(crate) async fn query_supported_release(cluster: &Cluster, platform: &Platform) -> Result<&'static str> {
    Ok(supported_release(platform, &query_operators(cluster).await?))
}

/// Queries the operators of the cluster. Without the permission, they are unavailable.
pub(super) async fn query_operators(cluster: &Cluster) -> Result<Fact<Vec<OperatorFacts>>> {
    let request = FactsRequest { operators: true, ..FactsRequest::default() };
    Ok(cluster.collect_facts(&request).await?.operators)
}

fn generation(platform: &Platform) -> OperatorGeneration {
    match platform {
        Platform { graph_api: GraphApi::V1Beta1, .. } => OperatorGeneration::StoresBeta,
        Platform { serves_v1beta1_graph: true, .. } => OperatorGeneration::ServesBetaGraph,
        Platform { serves_v1beta1: true, .. } => OperatorGeneration::ServesBetaGroup,
        Platform { .. } => OperatorGeneration::AlphaOnly,
    }
}
