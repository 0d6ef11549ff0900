//! Reconciles graph deployments: their component deployments, rollouts, and status.
//! It must not create pods; Deployments do.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::api_client::{ApiResult, OperatorClient, list, now, owner_references, strings, text};
use super::faults::OperatorFault;
use super::graph::OperatorGraph;
use super::status::{self, GraphState};
use super::{IDLE_INTERVAL, names, objects, restart, scaling};
use crate::kubernetes::definitions::GraphGeneration;

/// How long a new graph has no status, and a changed one the status of its old spec. The real operators take
/// about as long; a client must not trust the status in the meantime.
const FIRST_STATUS_DELAY: Duration = Duration::from_millis(300);
const STALE_STATUS_DELAY: Duration = Duration::from_millis(100);

pub(super) async fn reconcile(object: Arc<DynamicObject>, access: Arc<OperatorClient>) -> ApiResult<Action> {
    let namespace = object.namespace().unwrap_or_default();
    if access.faults.contains(OperatorFault::Idle, &namespace) {
        return Ok(Action::requeue(IDLE_INTERVAL));
    }
    let Some(found) = access.find(&namespace, &access.graphs(), &object.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let finalizers = strings(&found, "/metadata/finalizers");
    if found["metadata"].get("deletionTimestamp").is_some() {
        if finalizers.contains(&names::FINALIZER) {
            access.set_finalizer(&found, false).await?;
        }
        return Ok(Action::await_change());
    }
    if !finalizers.contains(&names::FINALIZER) {
        add_finalizer_and_defaults(&found, &access).await?;
        return Ok(Action::await_change());
    }
    let mut graph = OperatorGraph::from_object(found, access.generation);
    if graph.generation == GraphGeneration::V1Beta1 && graph.current_hash().is_empty() {
        set_hash(&graph, &access).await?;
        return Ok(Action::await_change());
    }
    if scaling::sync_adapters(&graph, &access).await? {
        return Ok(Action::await_change());
    }
    simulate_status_delay(&graph).await;
    if restart::has_restart(&graph) {
        let children = access.components_of(graph.namespace(), graph.name()).await?;
        graph.restart = restart::advance(&graph, &children);
    }
    match reconcile_children(&graph, &access).await {
        Ok(()) => update_status(&graph, &access).await,
        Err(failure) => {
            let children = access.components_of(graph.namespace(), graph.name()).await?;
            let (ReconcileFailure::ByOperator(graph_state) | ReconcileFailure::ByApiServer(graph_state, _)) =
                &failure;
            access
                .set_status(&graph.object, status::graph_status(&graph, graph_state, &children, None))
                .await?;
            // A missing object may be created later without an event of this graph.
            Ok(Action::requeue(Duration::from_secs(2)))
        }
    }
}

/// Adds the finalizer. 0.9.1 does it with a full update, which sets defaults and therefore increments the
/// generation to 2.
async fn add_finalizer_and_defaults(graph: &Value, access: &OperatorClient) -> ApiResult<()> {
    if access.generation == GraphGeneration::V1Beta1 {
        return access.set_finalizer(graph, true).await;
    }
    let mut filled = graph.clone();
    filled["metadata"]["finalizers"] = json!([names::FINALIZER]);
    if let Some(metadata) = filled["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    for pvc in filled.pointer_mut("/spec/pvcs").and_then(Value::as_array_mut).into_iter().flatten() {
        set_default(pvc, "size", json!("0"));
    }
    let services = filled.pointer_mut("/spec/services").and_then(Value::as_object_mut);
    for main in services
        .into_iter()
        .flatten()
        .filter_map(|(_, service)| service.pointer_mut("/extraPodSpec/mainContainer"))
    {
        set_default(main, "name", json!(""));
        set_default(main, "resources", json!({}));
    }
    access.replace(&filled).await
}

fn set_default(object: &mut Value, field: &str, value: Value) {
    if object.get(field).is_none() {
        object[field] = value;
    }
}

async fn set_hash(graph: &OperatorGraph, access: &OperatorClient) -> ApiResult<()> {
    access
        .merge_patch(&graph.object, json!({"metadata": {"annotations": {names::CURRENT_HASH: graph.hash}}}))
        .await
}

async fn simulate_status_delay(graph: &OperatorGraph) {
    let observed = &graph.object["status"]["conditions"][0]["observedGeneration"];
    if graph.object.get("status").is_none() {
        tokio::time::sleep(FIRST_STATUS_DELAY).await;
    } else if *observed != graph.object["metadata"]["generation"] {
        tokio::time::sleep(STALE_STATUS_DELAY).await;
    }
}

/// Why a graph's children cannot be created; written to the graph's status.
enum ReconcileFailure {
    ByOperator(GraphState),
    ByApiServer(GraphState, kube::Error),
}

impl From<kube::Error> for ReconcileFailure {
    fn from(error: kube::Error) -> Self {
        let message = match &error {
            kube::Error::Api(status) => status.message.clone(),
            error => error.to_string(),
        };
        Self::ByApiServer(GraphState::Failed("failed_to_reconcile_the_resources", message), error)
    }
}

/// Creates the graph's objects. Old workers of a rollout remain until `update_status` removes them.
async fn reconcile_children(
    graph: &OperatorGraph,
    access: &OperatorClient,
) -> ApiResult<(), ReconcileFailure> {
    reconcile_pvcs(graph, access).await?;
    for object in objects::discovery_objects(&graph.object, graph.generation) {
        let kind = text(&object, "/kind").to_owned();
        access
            .apply(&object)
            .await
            .map_err(|error| with_subject(error, &format!("K8s discovery resources: {kind}")))?;
    }
    for object in objects::planner_objects(graph.namespace()) {
        access.create_if_absent(&object).await?;
    }
    if graph.components.iter().any(|component| component.is_multinode) {
        let message = "no multinode orchestrator available";
        return Err(ReconcileFailure::ByOperator(match graph.generation {
            GraphGeneration::V1Beta1 => {
                GraphState::Failed("no_multinode_orchestrator_available", message.to_owned())
            }
            GraphGeneration::V1Alpha1 => GraphState::Failed(
                "failed_to_reconcile_the_resources",
                format!("failed to reconcile Dynamo components deployments: {message}"),
            ),
        }));
    }
    for component in &graph.components {
        access.apply(&graph.component_deployment(component)).await?;
    }
    Ok(())
}

fn with_subject(error: kube::Error, subject: &str) -> ReconcileFailure {
    let ReconcileFailure::ByApiServer(GraphState::Failed(reason, message), error) =
        ReconcileFailure::from(error)
    else {
        unreachable!("an error of the API server is always ByApiServer")
    };
    ReconcileFailure::ByApiServer(
        GraphState::Failed(reason, format!("failed to reconcile {subject}: {message}")),
        error,
    )
}

/// Creates and owns the PVCs of a v1alpha1 graph if `create` is set; otherwise they must exist.
async fn reconcile_pvcs(graph: &OperatorGraph, access: &OperatorClient) -> ApiResult<(), ReconcileFailure> {
    let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(access.client.clone(), graph.namespace());
    for pvc in list(&graph.object, "/spec/pvcs") {
        let name = text(pvc, "/name");
        if pvcs.get_opt(name).await?.is_some() {
            continue;
        }
        if pvc["create"] != true {
            let message =
                format!("failed to reconcile top-level PVCs: PersistentVolumeClaim \"{name}\" not found");
            return Err(ReconcileFailure::ByOperator(GraphState::Failed(
                "failed_to_reconcile_the_resources",
                message,
            )));
        }
        access
            .create_if_absent(&json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": graph.namespace(), "ownerReferences": owner_references(&graph.object)},
                "spec": {
                    "accessModes": [pvc["volumeAccessMode"]],
                    "storageClassName": pvc["storageClass"],
                    "resources": {"requests": {"storage": pvc["size"]}},
                },
            }))
            .await?;
    }
    Ok(())
}

/// Writes the status of a graph whose children exist, and advances a rollout of its workers.
async fn update_status(graph: &OperatorGraph, access: &OperatorClient) -> ApiResult<Action> {
    let children = access.components_of(graph.namespace(), graph.name()).await?;
    let graph_state = status::graph_state(graph, &children);
    let last = graph.object.pointer("/status/rollingUpdate").cloned();
    if graph.generation == GraphGeneration::V1Alpha1 {
        access.set_status(&graph.object, status::graph_status(graph, &graph_state, &children, None)).await?;
        return Ok(Action::await_change());
    }
    let old: Vec<&Value> = children.iter().filter(|child| is_old_worker(graph, child)).collect();
    let in_progress = last.as_ref().is_some_and(|rollout| rollout["phase"] != "Completed");
    if old.is_empty() && !in_progress {
        access.set_status(&graph.object, status::graph_status(graph, &graph_state, &children, last)).await?;
        return Ok(Action::await_change());
    }
    advance_rollout(graph, access, &children, &old, graph_state, in_progress.then_some(last).flatten()).await
}

fn is_old_worker(graph: &OperatorGraph, child: &Value) -> bool {
    let hash = child["metadata"]["labels"][names::WORKER_HASH_LABEL].as_str();
    hash.is_some_and(|hash| hash != graph.hash) && child["metadata"].get("deletionTimestamp").is_none()
}

/// Performs one step of a rollout: all new workers next to all old ones, then the hash, then the old ones are
/// removed.
async fn advance_rollout(
    graph: &OperatorGraph,
    access: &OperatorClient,
    children: &[Value],
    old: &[&Value],
    graph_state: GraphState,
    rollout: Option<Value>,
) -> ApiResult<Action> {
    let Some(mut rollout) = rollout else {
        let message = format!("Starting rolling update to worker hash {}", graph.hash);
        access.report_event(&graph.object, "Normal", "RollingUpdateStarted", &message).await?;
        let rollout = json!({"phase": "Pending", "startTime": now()});
        access
            .set_status(
                &graph.object,
                status::graph_status(graph, &GraphState::Rolling, children, Some(rollout)),
            )
            .await?;
        return Ok(Action::await_change());
    };
    // Applying an old spec again is a finished rollout immediately.
    let is_rollback = graph.current_hash() == graph.hash;
    if !is_rollback && graph_state != GraphState::Ready {
        rollout["phase"] = json!("InProgress");
        access
            .set_status(
                &graph.object,
                status::graph_status(graph, &GraphState::Rolling, children, Some(rollout)),
            )
            .await?;
        return Ok(Action::await_change());
    }
    if !is_rollback {
        set_hash(graph, access).await?;
    }
    for child in old {
        access.delete(child).await?;
    }
    let workers: Vec<&str> = graph
        .components
        .iter()
        .filter(|component| component.is_worker)
        .map(|component| component.name.as_str())
        .collect();
    rollout["phase"] = json!("Completed");
    rollout["endTime"] = json!(now());
    rollout["updatedComponents"] = json!(workers);
    let message = format!("Rolling update completed, worker hash {}", graph.hash);
    access.report_event(&graph.object, "Normal", "RollingUpdateCompleted", &message).await?;
    let remaining: Vec<Value> = children.iter().filter(|child| !old.contains(child)).cloned().collect();
    access
        .set_status(&graph.object, status::graph_status(graph, &graph_state, &remaining, Some(rollout)))
        .await?;
    Ok(Action::await_change())
}
