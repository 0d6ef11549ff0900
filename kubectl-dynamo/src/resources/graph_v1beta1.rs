//! DynamoGraphDeployment in the shape of `nvidia.com/v1beta1`: a list of components, each with a pod template.

use serde_json::{Map, Value, json};

use super::container::{
    cache_mount, cache_volume, environment, main_container, offload_mount, pod_metadata, pod_settings,
    resources, worker_liveness,
};
use super::{graph_metadata, has_version_tag};
use crate::intent::WorkerRole;
use crate::plan::{Component, ServingPlan};

pub(super) fn graph(plan: &ServingPlan, namespace: &str) -> Value {
    json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": graph_metadata(plan, namespace),
        "spec": {
            "backendFramework": "vllm",
            "components": plan.components.iter().map(|one| component(plan, one)).collect::<Vec<_>>(),
        },
    })
}

fn component(plan: &ServingPlan, component: &Component) -> Value {
    let mut template = json!({ "spec": pod(plan, component) });
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
        // The admission rule of 1.4 and later for images whose tag does not say their version.
        value["runtimeVersionOverride"] = plan.release.version.into();
    }
    value
}

fn pod(plan: &ServingPlan, component: &Component) -> Map<String, Value> {
    let mut container = main_container(component, &plan.image);
    // The operator merges its defaults into the container of this name; every other one is left alone.
    container["name"] = "main".into();
    container["resources"] = resources(component, "nvidia.com/gpu");
    if !component.environment.is_empty() {
        container["env"] = environment(&component.environment);
    }
    if component.role != WorkerRole::Frontend {
        container["livenessProbe"] = worker_liveness();
    }
    let mut pod = pod_settings(plan, component);
    let cache = plan.cache.as_ref().filter(|_| component.needs_model);
    let disk = component.offload_disk.as_ref();
    let mounts: Vec<Value> =
        cache.map(cache_mount).into_iter().chain(disk.map(|_| offload_mount())).collect();
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
        WorkerRole::Combined => "worker",
        WorkerRole::Prefill => "prefill",
        WorkerRole::Decode => "decode",
    }
}
