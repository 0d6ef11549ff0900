//! DynamoGraphDeployment in the shape of `nvidia.com/v1alpha1`: a map of services.

use serde_json::{Map, Value, json};

use super::container::{
    environment, main_container, offload_mount, pod_metadata, pod_settings, resources, worker_liveness,
};
use super::{SPEC_HASH_ANNOTATION, graph_metadata, has_version_tag, short_hash};
use crate::intent::WorkerRole;
use crate::plan::{Component, Quantity, ServingPlan, model_cache::MOUNT};
use crate::release::ImageTag;

pub(super) fn graph(plan: &ServingPlan, namespace: &str) -> Value {
    let services: Map<String, Value> =
        plan.components.iter().map(|component| (component.name().into(), service(plan, component))).collect();
    let mut spec = json!({ "backendFramework": "vllm", "services": services });
    if let Some(cache) = &plan.cache {
        // Never `create: true`: such a claim dies with its graph. Without `size` the operator adds "0" itself
        // and owns the list from then on, which makes the next apply fail.
        spec["pvcs"] = json!([{ "name": cache.cache.claim(), "create": false, "size": "0" }]);
    }
    let mut graph = json!({
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": graph_metadata(plan, namespace),
        "spec": spec,
    });
    stamp(&mut graph);
    graph
}

/// Gives every service the hash of what it says now; the other shape has none and needs none. Each service by itself:
/// where the operator hands it on to pods, only those of a changed service move.
pub fn stamp(graph: &mut Value) {
    let services = graph.pointer_mut("/spec/services").and_then(Value::as_object_mut);
    for service in services.into_iter().flat_map(Map::values_mut) {
        let Some(fields) = service.as_object_mut() else { continue };
        let annotations = fields.remove("annotations");
        let hash = short_hash(service, 12);
        service["annotations"] = annotations.filter(Value::is_object).unwrap_or_else(|| json!({}));
        service["annotations"][SPEC_HASH_ANNOTATION] = hash.into();
    }
}

fn service(plan: &ServingPlan, component: &Component) -> Value {
    let placement = &plan.intent.placement;
    let mut pod = pod_settings(plan, component);
    let mut container = main_container(component, &plan.image);
    // The operator fills this in, and its write would otherwise change the generation.
    container["name"] = "main".into();
    if component.offload_disk.is_some() {
        container["volumeMounts"] = json!([offload_mount()]);
    }
    pod.insert("mainContainer".into(), container);
    let (component_type, sub_type) = component_type(component.role);
    let mut value = json!({
        "componentType": component_type,
        "replicas": component.replicas,
        "resources": resources(component, "gpu"),
        "extraPodSpec": pod,
    });
    if let Some(sub_type) = sub_type {
        value["subComponentType"] = sub_type.into();
    }
    if let Some(metadata) = pod_metadata(placement) {
        value["extraPodMetadata"] = metadata;
    }
    if !component.environment.is_empty() {
        value["envs"] = environment(&component.environment);
    }
    if component.nodes > 1 {
        value["multinode"] = json!({ "nodeCount": component.nodes });
    }
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        // The operator makes a volume of the claim's name, which the init container mounts too. The last
        // field is the default that is filled in on read: without it a conflict would show a change.
        value["volumeMounts"] =
            json!([{ "name": cache.cache.claim(), "mountPoint": MOUNT, "useAsCompilationCache": false }]);
    }
    if component.role != WorkerRole::Frontend {
        value["livenessProbe"] = worker_liveness();
        if let Some(size) = plan.shared_memory {
            value["sharedMemory"] = shared_memory(size);
        }
    }
    if plan.release.image_tag == ImageTag::VersionInEitherShape && !has_version_tag(&plan.image) {
        value["runtimeVersionOverride"] = plan.release.version.into();
    }
    value
}

/// A size of zero is refused here, and another field says it.
fn shared_memory(size: Quantity) -> Value {
    match size.bytes {
        0 => json!({ "disabled": true }),
        _ => json!({ "size": size.to_string() }),
    }
}

fn component_type(role: WorkerRole) -> (&'static str, Option<&'static str>) {
    match role {
        WorkerRole::Frontend => ("frontend", None),
        WorkerRole::Combined => ("worker", None),
        WorkerRole::Prefill => ("worker", Some("prefill")),
        WorkerRole::Decode => ("worker", Some("decode")),
    }
}
