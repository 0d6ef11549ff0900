//! Changes of an adopted graph: only the fields that a request affects are changed, because the graph was not
//! rendered from a request. It must not write to the cluster.

use serde_json::Value;

use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::resolve::error::ResolveError;
use crate::workflow::revisions;
use kubectl_dynamo_cluster::{Cluster, ClusterError};
use kubectl_dynamo_core::change::revision::{self, Revision};
use kubectl_dynamo_core::change::{owned_by, three_way_merge};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::resources::{ADOPTED_ANNOTATION, FIELD_MANAGER, Resource};

pub(super) fn is_adopted(graph: &Value) -> bool {
    GraphView::new(graph).annotation(ADOPTED_ANNOTATION).is_some()
}

/// Applies the difference between the two deployments to the graph as it was applied last. The PVC and the
/// Job are not included.
pub(super) async fn merge_change(
    cluster: &Cluster,
    live: &Value,
    before: &ResolvedDeployment,
    mut after: ResolvedDeployment,
) -> Result<ResolvedDeployment> {
    let base = last_applied(cluster, live).await?;
    let graph = |deployment: &ResolvedDeployment| deployment.resources.last().map(|one| one.object.clone());
    let (old, desired) = (graph(before).unwrap_or_default(), graph(&after).unwrap_or_default());
    let object = three_way_merge(&base, &old, &desired)
        .map_err(|fields| ResolveError::UnsupportedAdoptedChange { name: after.name.clone(), fields })?;
    after.resources = vec![Resource { object }];
    Ok(after)
}

/// Returns the fields that this program applied last, from the current revision. Another manager that changed
/// one of them owns it now, so that the fields that this program still owns do not show the change. Applying
/// all of them again reports the conflict, as for a graph that this program rendered.
async fn last_applied(cluster: &Cluster, live: &Value) -> Result<Value> {
    let owned = || owned_by(live, FIELD_MANAGER).unwrap_or_default();
    let Some(number) = revision::number(live) else { return Ok(owned()) };
    match revisions::list(cluster, live).await {
        Ok(recorded) => {
            let current = recorded.iter().find(|one: &&Revision| one.number == number);
            Ok(current.map_or_else(owned, |one| revision::to_resource(one, &cluster.namespace).object))
        }
        // The skipped permission is reported at the end of the command.
        Err(ClusterError::Forbidden { .. }) => Ok(owned()),
        Err(error) => Err(error.into()),
    }
}
