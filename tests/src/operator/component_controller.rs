//! Reconciles component deployments: a Deployment and Services for each, and its conditions.
//! It must not write the graph.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::api_client::{ApiResult, OperatorClient, now, strings, text};
use super::faults::OperatorFault;
use super::workload::ComponentWorkload;
use super::{IDLE_INTERVAL, names, objects};
use crate::kubernetes::definitions::GraphGeneration;

pub(super) async fn reconcile(object: Arc<DynamicObject>, access: Arc<OperatorClient>) -> ApiResult<Action> {
    let namespace = object.namespace().unwrap_or_default();
    if access.faults.contains(OperatorFault::Idle, &namespace) {
        return Ok(Action::requeue(IDLE_INTERVAL));
    }
    let Some(component) = access.find(&namespace, &access.components(), &object.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let finalizers = strings(&component, "/metadata/finalizers");
    if component["metadata"].get("deletionTimestamp").is_some() {
        if finalizers.contains(&names::FINALIZER) {
            access.set_finalizer(&component, false).await?;
        }
        // 0.9.1 adds its finalizer again to a component that waits for its dependents, so foreground deletion
        // never ends.
        if access.generation != GraphGeneration::V1Alpha1 || !finalizers.contains(&"foregroundDeletion") {
            return Ok(Action::await_change());
        }
    } else if !finalizers.contains(&names::FINALIZER) {
        access.set_finalizer(&component, true).await?;
        access.set_status(&component, starting_status(&component, access.generation)).await?;
        return Ok(Action::await_change());
    }
    match apply_objects(&component, &access).await {
        Ok(deployment) => {
            access
                .set_status(&component, component_status(&component, &deployment, access.generation))
                .await?
        }
        Err(error) => {
            access.set_status(&component, failed_status(&component, &error, access.generation)).await?;
            return Err(error);
        }
    }
    Ok(Action::await_change())
}

/// Creates the component's objects and returns the current Deployment.
async fn apply_objects(component: &Value, access: &OperatorClient) -> ApiResult<Value> {
    let workload = ComponentWorkload::from_deployment(component, access.generation);
    let first = component["status"]["observedGeneration"].is_null();
    let deployment = match deployment_to_leave(&workload, access).await? {
        Some(deployment) => deployment,
        None => access.apply(&objects::deployment(&workload, component, access.generation)).await?,
    };
    for service in objects::services(&workload, component, access.generation) {
        access.apply(&service).await?;
    }
    if first {
        // With the real operators, healthy deployments have such an event too, so it is not a sign of a
        // problem.
        let message = format!(
            "Failed to reconcile DynamoComponentDeployment: Operation cannot be fulfilled on \
             dynamocomponentdeployments.nvidia.com \"{}\": the object has been modified; please apply your changes \
             to the latest version and try again",
            workload.name
        );
        access.report_event(component, "Warning", "ReconcileError", &message).await?;
    }
    Ok(deployment)
}

/// Returns the existing Deployment if this namespace's Deployments are not updated.
async fn deployment_to_leave(
    workload: &ComponentWorkload,
    access: &OperatorClient,
) -> ApiResult<Option<Value>> {
    if !access.faults.contains(OperatorFault::LeavesDeployments, &workload.namespace) {
        return Ok(None);
    }
    access.find(&workload.namespace, &ApiResource::erase::<Deployment>(&()), &workload.name).await
}

fn starting_status(component: &Value, generation: GraphGeneration) -> Value {
    match generation {
        GraphGeneration::V1Alpha1 => json!({"conditions": [valid_condition(component)]}),
        GraphGeneration::V1Beta1 => {
            let message = "Starting to reconcile DynamoComponentDeployment";
            json!({"conditions": [
                condition(component, "Available", "Unknown", "Reconciling", message),
                condition(component, "DynamoComponentReady", "Unknown", "Reconciling", message),
            ]})
        }
    }
}

fn failed_status(component: &Value, error: &kube::Error, generation: GraphGeneration) -> Value {
    let cause = match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    };
    let message = format!("Failed to reconcile DynamoComponentDeployment: {cause}");
    let mut status =
        component.get("status").cloned().unwrap_or_else(|| starting_status(component, generation));
    let mut conditions = vec![condition(component, "Available", "False", "Reconciling", &message)];
    let others = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.extend(others.into_iter().filter(|condition| condition["type"] != "Available"));
    status["conditions"] = json!(conditions);
    status
}

fn component_status(component: &Value, deployment: &Value, generation: GraphGeneration) -> Value {
    let ready = is_ready(deployment);
    let name = text(component, "/metadata/name");
    let counted = &deployment["status"];
    let mut replicas = json!({"componentKind": "Deployment"});
    for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        replicas[count] = json!(counted[count].as_i64().unwrap_or(0));
    }
    let available = match ready {
        true => condition(component, "Available", "True", "DeploymentReady", "Deployment is ready"),
        false => condition(component, "Available", "False", "DeploymentNotReady", "Deployment is not ready"),
    };
    let observed = component["metadata"]["generation"].clone();
    match generation {
        GraphGeneration::V1Alpha1 => {
            replicas["componentName"] = json!(name);
            json!({"conditions": [valid_condition(component), available], "observedGeneration": observed, "service": replicas})
        }
        GraphGeneration::V1Beta1 => {
            replicas["componentNames"] = json!([name]);
            replicas["runtimeNamespace"] = json!(runtime_namespace(component, generation));
            let part = match ready {
                true => condition(
                    component,
                    "DynamoComponentReady",
                    "True",
                    "ComponentReady",
                    "DynamoComponent is ready",
                ),
                false => condition(
                    component,
                    "DynamoComponentReady",
                    "False",
                    "ComponentNotReady",
                    "DynamoComponent is not ready",
                ),
            };
            json!({"component": replicas, "conditions": [available, part], "observedGeneration": observed})
        }
    }
}

fn runtime_namespace(component: &Value, generation: GraphGeneration) -> String {
    let workload = ComponentWorkload::from_deployment(component, generation);
    let namespace = workload.dynamo_namespace();
    workload.hash.map(|hash| format!("{namespace}-{hash}")).unwrap_or(namespace)
}

/// Returns whether the current spec of the Deployment runs completely, without old pods.
fn is_ready(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let desired = spec["replicas"].as_i64().unwrap_or(1);
    let count = |name: &str| status[name].as_i64().unwrap_or(0);
    status["observedGeneration"].as_i64() >= deployment["metadata"]["generation"].as_i64()
        && ["replicas", "updatedReplicas", "availableReplicas"].into_iter().all(|name| count(name) == desired)
}

fn valid_condition(component: &Value) -> Value {
    let mut valid =
        condition(component, "Valid", "True", "ValidationPassed", "DynamoComponentDeployment spec is valid");
    valid["observedGeneration"] = component["metadata"]["generation"].clone();
    valid
}

/// Returns the condition, with its previous time if it has not changed.
pub(super) fn condition(object: &Value, kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let before = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let same = before.filter(|condition| condition["type"] == kind && condition["status"] == status);
    let since = same.map(|condition| condition["lastTransitionTime"].clone()).next();
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since.unwrap_or_else(|| json!(now())),
    })
}
