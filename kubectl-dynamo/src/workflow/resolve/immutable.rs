//! Refuses a change that the operator does not allow for an existing deployment, before anything is sent.

use serde_json::Value;

use crate::workflow::resolve::error::ResolveError;
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::change::immutable_changes;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::name;
use kubectl_dynamo_core::resources::{GraphApi, Resource};

/// Compares the live graph with the one to apply, which is the last resource.
///
/// # Errors
/// [`ResolveError::ImmutableFields`], with a free name for a second deployment.
pub(super) async fn check_immutable_fields(
    cluster: &Cluster,
    graph_api: GraphApi,
    live: &Value,
    resources: &[Resource],
    max_name_length: usize,
) -> Result<()> {
    let Some(desired) = resources.last() else { return Ok(()) };
    let reasons = immutable_changes(live, &desired.object);
    if reasons.is_empty() {
        return Ok(());
    }
    let name = desired.name();
    let mut free_name = None;
    for candidate in name::numbered_names(name, max_name_length) {
        if cluster.get(Kind::Graph(graph_api), &candidate).await?.is_none() {
            free_name = Some(candidate);
            break;
        }
    }
    let namespace = cluster.namespace.clone();
    Err(ResolveError::ImmutableFields { name: name.into(), namespace, reasons, free_name }.into())
}
