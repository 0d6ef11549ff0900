//! Scaling adapters: the objects that own the replicas of a component if they are enabled. `scale` changes an
//! adapter and never the graph for such a component.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::json;

use super::{ReplicaChange, ScaleError};
use crate::report::{Report, Stage};
use crate::workflow::wait_ready::RolloutTarget;
use crate::workflow::watched_objects::WatchedObjects;
use kubectl_dynamo_cluster::{Cluster, Kind, SendMode, WatchTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::readiness::{COMPONENT_LABEL, DeploymentReducer, GRAPH_LABEL, Observation};
use kubectl_dynamo_core::resources::{FIELD_MANAGER, GraphApi, Resource};

/// The change of a component's scaling adapter.
pub(super) struct AdapterChange<'a> {
    pub replicas: &'a ReplicaChange,
    /// The fields to apply, or `None` if the adapter already has these replicas.
    patch: Option<Resource>,
}

/// Finds the scaling adapters of the changed components.
///
/// # Errors
/// A component whose adapter does not exist, and every API error.
pub(super) async fn find<'a>(
    cluster: &Cluster,
    api: GraphApi,
    graph: &str,
    changes: &'a [ReplicaChange],
) -> Result<Vec<AdapterChange<'a>>> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let adapters = cluster.list(Kind::ScalingAdapter(api), "").await?;
    let field = match api {
        GraphApi::V1Alpha1 => "serviceName",
        GraphApi::V1Beta1 => "componentName",
    };
    let to_change = |replicas: &'a ReplicaChange| {
        let adapter = adapters.iter().map(ObjectView::new).find(|one| {
            let target = one.map("/spec/dgdRef");
            let refers_to = |field: &str, name: &str| {
                target.is_some_and(|target| target.get(field).is_some_and(|one| one == name))
            };
            refers_to("name", graph) && refers_to(field, &replicas.component)
        });
        let component = replicas.component.clone();
        let adapter = adapter.ok_or_else(|| ScaleError::NoAdapter { name: graph.into(), component })?;
        let object = json!({
            "apiVersion": format!("nvidia.com/{}", api.as_str()),
            "kind": "DynamoGraphDeploymentScalingAdapter",
            "metadata": { "name": adapter.name(), "namespace": cluster.namespace },
            "spec": { "replicas": replicas.to },
        });
        let is_unchanged = adapter.number("/spec/replicas") == Some(replicas.to.into());
        Ok(AdapterChange { replicas, patch: (!is_unchanged).then_some(Resource { object }) })
    };
    changes.iter().map(to_change).collect()
}

impl AdapterChange<'_> {
    /// Sets the replicas of the adapter, as `kubectl scale` would, or only asks the API server whether it
    /// would accept them.
    pub(super) async fn send(&self, cluster: &Cluster, mode: SendMode) -> Result<()> {
        if let Some(patch) = &self.patch {
            cluster.apply_as(FIELD_MANAGER, patch, mode).await?;
        }
        Ok(())
    }
}

/// Waits until the operator has copied the adapters' replicas into the graph. For v1alpha1, whose status has
/// no generation, it also waits for the component deployments. Until then the graph reports its previous spec
/// as ready.
pub(super) async fn wait_until_applied(
    cluster: &Cluster,
    target: &RolloutTarget,
    changes: &[ReplicaChange],
    report: &Report,
) -> Result<()> {
    let api = target.graph_api;
    report.waiting(Stage::Deploy, "the operator to apply the replicas of the scaling adapter");
    let mut events = cluster.watch(&[
        WatchTarget::by_name(Kind::Graph(api), &target.name),
        WatchTarget::by_labels(Kind::ComponentDeployment(api), format!("{GRAPH_LABEL}={}", target.name)),
    ]);
    let mut pending: Vec<(&ReplicaChange, Kind)> = Vec::new();
    for one in changes {
        pending.push((one, Kind::Graph(api)));
        if api == GraphApi::V1Alpha1 {
            pending.push((one, Kind::ComponentDeployment(api)));
        }
    }
    let mut objects = DeploymentReducer::for_deployment(&target.name, BTreeMap::new());
    while !pending.is_empty() {
        let Some(event) = events.next().await else { break };
        let kind = event.kind;
        let Some(change) = event.into_change()? else { continue };
        objects.record_change(kind, change)?;
        pending.retain(|(one, kind)| !has_replicas(objects.observation(), *kind, one));
    }
    Ok(())
}

fn has_replicas(observation: &Observation, kind: Kind, change: &ReplicaChange) -> bool {
    let to = u64::from(change.to);
    let Observation { graph, components, .. } = observation;
    match kind {
        Kind::Graph(_) => {
            let mut components = graph.iter().flat_map(|graph| GraphView::new(graph).components());
            components.any(|one| one.name == change.component && one.replicas() == to)
        }
        _ => components.iter().map(ObjectView::new).any(|one| {
            one.label(COMPONENT_LABEL) == Some(&change.component) && one.number("/spec/replicas") == Some(to)
        }),
    }
}
