//! Waits until a graph and its pods are deleted, and reports the finalizers that block the deletion.
//! It must not remove a finalizer.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use crate::context::Context;
use crate::report::Stage;
use crate::workflow::watched_objects::WatchedObjects;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform, SendMode, WatchEvent, WatchTarget};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObjectView};
use kubectl_dynamo_core::readiness::{DeploymentReducer, GRAPH_LABEL, ObjectChange, Observation, Workload};
use kubectl_dynamo_core::resources::{GraphApi, Resource};

/// The time that a running operator may take to remove its finalizer. The longest measured time is one
/// second.
const FINALIZER_TIMEOUT: Duration = Duration::from_secs(5);
/// The field manager of the dry run that tests whether the operator's webhook responds.
const PROBE_FIELD_MANAGER: &str = "kubectl-dynamo-asks";

/// Waits until the graph and its children are deleted. The pods still answer for a moment after the operator
/// has removed the graph's finalizer.
pub(crate) async fn wait_for_graph_deletion(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    let graph_selector = || format!("{GRAPH_LABEL}={name}");
    let kinds = [
        WatchTarget::by_name(Kind::Graph(platform.graph_api), name),
        WatchTarget::by_labels(Kind::ComponentDeployment(platform.graph_api), graph_selector()),
        WatchTarget::by_labels(Kind::Deployment, graph_selector()),
        WatchTarget::by_labels(Kind::Pod, graph_selector()),
    ];
    wait_for_deletion(cluster, name, &kinds, |remaining| {
        context.report.waiting(Stage::Deploy, format!("{} to be deleted", remaining.join(", ")));
    })
    .await
}

/// Waits up to 5 s for the operator to remove its finalizer, and reports the remaining finalizers after that.
pub(crate) async fn warn_if_not_deleted(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    let kind = Kind::Graph(platform.graph_api);
    let kinds = [WatchTarget::by_name(kind, name)];
    let deletion = wait_for_deletion(cluster, name, &kinds, |_| {});
    if let Ok(deletion) = tokio::time::timeout(FINALIZER_TIMEOUT, deletion).await {
        return deletion;
    }
    let Some(graph) = cluster.get(kind, name).await? else { return Ok(()) };
    let finalizers: Vec<&str> = ObjectView::new(&graph).texts("/metadata/finalizers").collect();
    let message = format!(
        "dynamographdeployment/{name} is not deleted yet: waiting for finalizers {}",
        finalizers.join(", ")
    );
    let inspect = SuggestedCommand::kubectl("get dgd").operand(name, "NAME").in_namespace(&cluster.namespace);
    let inspect = inspect.flag("-o").flag("yaml");
    match probe_operator(cluster, platform.graph_api, name).await {
        Err(operator_error @ ClusterError::WebhookUnavailable { .. }) => {
            use kubectl_dynamo_core::error::Explain;
            let text = format!(
                "{message}; {operator_error}; it and its pods are deleted when the operator runs again"
            );
            context.report.warn(operator_error.code(), text, operator_error.hint());
        }
        _ => context.report.warn(
            Some(MessageCode::DeletionBlockedByFinalizer),
            message,
            Some(inspect.after("inspect it with ")),
        ),
    }
    Ok(())
}

/// Tests whether the operator responds. Every write of a graph calls the operator's webhook, including a dry
/// run.
async fn probe_operator(
    cluster: &Cluster,
    api: GraphApi,
    name: &str,
) -> std::result::Result<(), ClusterError> {
    use kubectl_dynamo_core::intent::StringEnum;
    let object = json!({
        "apiVersion": format!("nvidia.com/{}", api.as_str()),
        "kind": "DynamoGraphDeployment",
        "metadata": { "name": name, "annotations": { "kubectl-dynamo.dev/asks": "" } },
    });
    cluster.apply_as(PROBE_FIELD_MANAGER, &Resource { object }, SendMode::DryRun).await.map(|_| ())
}

/// Waits until no object of a deployment is left of several kinds.
pub(crate) async fn wait_for_deletion(
    cluster: &Cluster,
    name: &str,
    kinds: &[WatchTarget],
    mut report: impl FnMut(&[&str]),
) -> Result<()> {
    let mut events = cluster.watch(kinds);
    let mut objects = DeploymentReducer::for_deployment(name, BTreeMap::new());
    let is_listed = |objects: &DeploymentReducer, target: &WatchTarget| {
        target.kind.observed().is_some_and(|kind| objects.is_listed(kind))
    };
    while let Some(WatchEvent { kind, change }) = events.next().await {
        let change = match change {
            Ok(change) => change,
            Err(error) if error.is_retryable() => continue,
            Err(error) if matches!(kind, Kind::Graph(_)) => return Err(error.into()),
            // Without the permission to watch child objects, do not wait for them.
            Err(_) => ObjectChange::Listed(Vec::new()),
        };
        objects.record_change(kind, change)?;
        let remaining = remaining_names(objects.observation());
        if !remaining.is_empty() {
            report(&remaining);
        } else if kinds.iter().all(|target| is_listed(&objects, target)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the names of the objects, by kind.
fn remaining_names(observation: &Observation) -> Vec<&str> {
    let Observation { graph, components, workloads, pods, .. } = observation;
    let documents = components.iter().chain(graph).map(|object| ObjectView::new(object).name());
    let workloads = workloads.iter().map(Workload::name);
    workloads.chain(documents).chain(pods.iter().map(|pod| pod.name())).collect()
}
