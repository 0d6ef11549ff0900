//! Renders a DynamoGraphDeployment in `nvidia.com/v1beta1`, which has a list of components with pod
//! templates. Fields that both API versions share belong in `container`.

use serde_json::{Map, Value, json};

use super::container::{
    cache_mount, cache_volume, container_env, further_mounts, main_container, pod_metadata, pod_settings,
    resource_requirements, worker_liveness,
};
use super::{graph_metadata, has_version_tag};
use crate::intent::WorkerRole;
use crate::plan::{PlanComponent, ServingPlan};

pub(super) fn render_graph(plan: &ServingPlan, namespace: &str) -> Value {
    json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": graph_metadata(plan, namespace),
        "spec": {
            "backendFramework": "vllm",
            "components": plan.components.iter().map(|plan_component| render_component(plan, plan_component)).collect::<Vec<_>>(),
        },
    })
}

fn render_component(plan: &ServingPlan, component: &PlanComponent) -> Value {
    let mut template = json!({ "spec": pod_spec(plan, component) });
    if let Some(metadata) = pod_metadata(&plan.intent.placement) {
        template["metadata"] = metadata;
    }
    let mut value = json!({
        "name": component.name(),
        "type": component_type(component.role),
        "replicas": component.replicas,
        "podTemplate": template,
    });
    if component.nodes > 1 {
        value["multinode"] = json!({ "nodeCount": component.nodes });
    }
    if let Some(size) = plan.shared_memory.filter(|_| component.role != WorkerRole::Frontend) {
        value["sharedMemorySize"] = size.to_string().into();
    }
    if !has_version_tag(&plan.image) {
        // Since 1.4 an admission rule requires this field for images whose tag does not contain the version.
        value["runtimeVersionOverride"] = plan.release.version.into();
    }
    value
}

fn pod_spec(plan: &ServingPlan, component: &PlanComponent) -> Map<String, Value> {
    let mut container = main_container(plan, component);
    // The operator merges its defaults into the container with this name and does not modify other
    // containers.
    container["name"] = "main".into();
    container["resources"] = resource_requirements(component, "nvidia.com/gpu");
    let env = container_env(&component.environment, plan.intent.placement.ca_bundle.as_ref());
    if env.as_array().is_some_and(|env| !env.is_empty()) {
        container["env"] = env;
    }
    if component.role != WorkerRole::Frontend {
        container["livenessProbe"] = worker_liveness();
    }
    let mut pod = pod_settings(plan, component);
    let cache = plan.cache.as_ref().filter(|_| component.needs_model);
    let mounts: Vec<Value> =
        cache.map(cache_mount).into_iter().chain(further_mounts(plan, component)).collect();
    if !mounts.is_empty() {
        container["volumeMounts"] = mounts.into();
    }
    if let Some(cache) = cache {
        let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
        volumes.as_array_mut().expect("volumes are a list").insert(0, cache_volume(cache));
    }
    pod.insert("containers".into(), json!([container]));
    pod
}

fn component_type(role: WorkerRole) -> &'static str {
    match role {
        WorkerRole::Frontend => "frontend",
        WorkerRole::Aggregated => "worker",
        WorkerRole::Prefill => "prefill",
        WorkerRole::Decode => "decode",
    }
}
