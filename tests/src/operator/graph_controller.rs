//! Reconciles graph deployments: their component deployments, their rollouts, their status.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::access::{Access, Result, list, now, owned_by, strings, text};
use super::graph::Graph;
use super::status::{self, Standing};
use super::{objects, restart, scaling, words};
use crate::kubernetes::definitions::GraphGeneration;

/// How long a new graph has no status, and a changed one the status of its old specification.
/// The real operators take about as long; a client that believes what it reads meanwhile is wrong.
const BEFORE_FIRST_STATUS: Duration = Duration::from_millis(300);
const STALE_STATUS: Duration = Duration::from_millis(100);

pub(super) async fn reconcile(object: Arc<DynamicObject>, access: Arc<Access>) -> Result<Action> {
    let namespace = object.namespace().unwrap_or_default();
    let Some(found) = access.find(&namespace, &access.graphs(), &object.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let finalizers = strings(&found, "/metadata/finalizers");
    if found["metadata"].get("deletionTimestamp").is_some() {
        if finalizers.contains(&words::FINALIZER) {
            access.set_finalizer(&found, false).await?;
        }
        return Ok(Action::await_change());
    }
    if !finalizers.contains(&words::FINALIZER) {
        adopt(&found, &access).await?;
        return Ok(Action::await_change());
    }
    let mut graph = Graph::read(found, access.generation);
    if graph.generation == GraphGeneration::V1Beta1 && graph.current_hash().is_empty() {
        set_hash(&graph, &access).await?;
        return Ok(Action::await_change());
    }
    if scaling::follow(&graph, &access).await? {
        return Ok(Action::await_change());
    }
    wait_as_the_real_one(&graph).await;
    if restart::was_asked_for(&graph) {
        let children = access.components_of(graph.namespace(), graph.name()).await?;
        graph.restart = restart::step(&graph, &children);
    }
    match children(&graph, &access).await {
        Ok(()) => follow(&graph, &access).await,
        Err(refused) => {
            let children = access.components_of(graph.namespace(), graph.name()).await?;
            let (Refused::Here(standing) | Refused::ByServer(standing, _)) = &refused;
            access.set_status(&graph.object, status::status(&graph, standing, &children, None)).await?;
            // What is missing may be made later, and that is no event of this graph.
            Ok(Action::requeue(Duration::from_secs(2)))
        }
    }
}

/// The finalizer; in 0.9.1 with a whole update, which fills in defaults and so makes generation 2.
async fn adopt(graph: &Value, access: &Access) -> Result<()> {
    if access.generation == GraphGeneration::V1Beta1 {
        return access.set_finalizer(graph, true).await;
    }
    let mut filled = graph.clone();
    filled["metadata"]["finalizers"] = json!([words::FINALIZER]);
    if let Some(metadata) = filled["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    for claim in filled.pointer_mut("/spec/pvcs").and_then(Value::as_array_mut).into_iter().flatten() {
        fill(claim, "size", json!("0"));
    }
    let services = filled.pointer_mut("/spec/services").and_then(Value::as_object_mut);
    for main in services
        .into_iter()
        .flatten()
        .filter_map(|(_, service)| service.pointer_mut("/extraPodSpec/mainContainer"))
    {
        fill(main, "name", json!(""));
        fill(main, "resources", json!({}));
    }
    access.replace(&filled).await
}

fn fill(object: &mut Value, field: &str, value: Value) {
    if object.get(field).is_none() {
        object[field] = value;
    }
}

async fn set_hash(graph: &Graph, access: &Access) -> Result<()> {
    access.merge(&graph.object, json!({"metadata": {"annotations": {words::CURRENT_HASH: graph.hash}}})).await
}

async fn wait_as_the_real_one(graph: &Graph) {
    let observed = &graph.object["status"]["conditions"][0]["observedGeneration"];
    if graph.object.get("status").is_none() {
        tokio::time::sleep(BEFORE_FIRST_STATUS).await;
    } else if *observed != graph.object["metadata"]["generation"] {
        tokio::time::sleep(STALE_STATUS).await;
    }
}

/// Why a graph's children cannot be made; the graph's status says it.
enum Refused {
    Here(Standing),
    ByServer(Standing, kube::Error),
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        let message = match &error {
            kube::Error::Api(status) => status.message.clone(),
            error => error.to_string(),
        };
        Self::ByServer(Standing::Failed("failed_to_reconcile_the_resources", message), error)
    }
}

/// Makes what the graph asks for; old workers of a rollout stay until `follow` takes them away.
async fn children(graph: &Graph, access: &Access) -> Result<(), Refused> {
    claims(graph, access).await?;
    for object in objects::discovery(&graph.object, graph.generation) {
        let kind = text(&object, "/kind").to_owned();
        access
            .apply(&object)
            .await
            .map_err(|error| prefixed(error, &format!("K8s discovery resources: {kind}")))?;
    }
    for object in objects::left_behind(graph.namespace()) {
        access.create_if_absent(&object).await?;
    }
    if graph.components.iter().any(|component| component.is_multinode) {
        let message = "no multinode orchestrator available";
        return Err(Refused::Here(match graph.generation {
            GraphGeneration::V1Beta1 => {
                Standing::Failed("no_multinode_orchestrator_available", message.to_owned())
            }
            GraphGeneration::V1Alpha1 => Standing::Failed(
                "failed_to_reconcile_the_resources",
                format!("failed to reconcile Dynamo components deployments: {message}"),
            ),
        }));
    }
    for component in &graph.components {
        access.apply(&graph.child(component)).await?;
    }
    Ok(())
}

fn prefixed(error: kube::Error, subject: &str) -> Refused {
    let Refused::ByServer(Standing::Failed(reason, message), error) = Refused::from(error) else {
        unreachable!("an error of the server is the server's refusal")
    };
    Refused::ByServer(Standing::Failed(reason, format!("failed to reconcile {subject}: {message}")), error)
}

/// The claims that a v1alpha1 graph names: made and owned where it says so, otherwise they must be there.
async fn claims(graph: &Graph, access: &Access) -> Result<(), Refused> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(access.client.clone(), graph.namespace());
    for claim in list(&graph.object, "/spec/pvcs") {
        let name = text(claim, "/name");
        if claims.get_opt(name).await?.is_some() {
            continue;
        }
        if claim["create"] != true {
            let message =
                format!("failed to reconcile top-level PVCs: PersistentVolumeClaim \"{name}\" not found");
            return Err(Refused::Here(Standing::Failed("failed_to_reconcile_the_resources", message)));
        }
        access
            .create_if_absent(&json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": graph.namespace(), "ownerReferences": owned_by(&graph.object)},
                "spec": {
                    "accessModes": [claim["volumeAccessMode"]],
                    "storageClassName": claim["storageClass"],
                    "resources": {"requests": {"storage": claim["size"]}},
                },
            }))
            .await?;
    }
    Ok(())
}

/// Writes the status of a graph whose children are made, and drives a rollout of its workers.
async fn follow(graph: &Graph, access: &Access) -> Result<Action> {
    let children = access.components_of(graph.namespace(), graph.name()).await?;
    let standing = status::standing(graph, &children);
    let last = graph.object.pointer("/status/rollingUpdate").cloned();
    if graph.generation == GraphGeneration::V1Alpha1 {
        access.set_status(&graph.object, status::status(graph, &standing, &children, None)).await?;
        return Ok(Action::await_change());
    }
    let old: Vec<&Value> = children.iter().filter(|child| is_old_worker(graph, child)).collect();
    let in_progress = last.as_ref().is_some_and(|rollout| rollout["phase"] != "Completed");
    if old.is_empty() && !in_progress {
        access.set_status(&graph.object, status::status(graph, &standing, &children, last)).await?;
        return Ok(Action::await_change());
    }
    roll(graph, access, &children, &old, standing, in_progress.then_some(last).flatten()).await
}

fn is_old_worker(graph: &Graph, child: &Value) -> bool {
    let hash = child["metadata"]["labels"][words::WORKER_HASH].as_str();
    hash.is_some_and(|hash| hash != graph.hash) && child["metadata"].get("deletionTimestamp").is_none()
}

/// One step of a rollout: all new workers beside all old ones, then the hash, then the old ones go.
async fn roll(
    graph: &Graph,
    access: &Access,
    children: &[Value],
    old: &[&Value],
    standing: Standing,
    rollout: Option<Value>,
) -> Result<Action> {
    let Some(mut rollout) = rollout else {
        let message = format!("Starting rolling update to worker hash {}", graph.hash);
        access.event(&graph.object, "Normal", "RollingUpdateStarted", &message).await?;
        let rollout = json!({"phase": "Pending", "startTime": now()});
        access
            .set_status(&graph.object, status::status(graph, &Standing::Rolling, children, Some(rollout)))
            .await?;
        return Ok(Action::await_change());
    };
    // An old specification applied again is a finished rollout at once.
    let back = graph.current_hash() == graph.hash;
    if !back && standing != Standing::Ready {
        rollout["phase"] = json!("InProgress");
        access
            .set_status(&graph.object, status::status(graph, &Standing::Rolling, children, Some(rollout)))
            .await?;
        return Ok(Action::await_change());
    }
    if !back {
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
    access.event(&graph.object, "Normal", "RollingUpdateCompleted", &message).await?;
    let kept: Vec<Value> = children.iter().filter(|child| !old.contains(child)).cloned().collect();
    access.set_status(&graph.object, status::status(graph, &standing, &kept, Some(rollout))).await?;
    Ok(Action::await_change())
}
