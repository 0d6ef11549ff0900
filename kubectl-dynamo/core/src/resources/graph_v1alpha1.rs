//! Renders a DynamoGraphDeployment in `nvidia.com/v1alpha1`, which has a map of services. Fields that the
//! operator fills in must be rendered with the operator's values, so that a second apply is unchanged.

use serde_json::{Map, Value, json};

use super::container::{
    container_env, further_mounts, main_container, pod_metadata, pod_settings, resource_requirements,
    worker_liveness,
};
use super::{SPEC_HASH_ANNOTATION, graph_metadata, has_version_tag, short_hash};
use crate::intent::WorkerRole;
use crate::plan::{PlanComponent, Quantity, ServingPlan, model_cache::CACHE_MOUNT_PATH};
use crate::release::ImageTag;

pub(super) fn render_graph(plan: &ServingPlan, namespace: &str) -> Value {
    let services: Map<String, Value> = plan
        .components
        .iter()
        .map(|component| (component.name().into(), render_service(plan, component)))
        .collect();
    let mut spec = json!({ "backendFramework": "vllm", "services": services });
    if let Some(cache) = &plan.cache {
        // Never `create: true`: such a PVC is deleted with its graph. Without `size` the operator adds "0"
        // and then owns the list, which makes the next apply fail.
        spec["pvcs"] = json!([{ "name": cache.cache.pvc(), "create": false, "size": "0" }]);
    }
    let mut graph = json!({
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": graph_metadata(plan, namespace),
        "spec": spec,
    });
    update_spec_hash(&mut graph);
    graph
}

/// Updates the spec hash of every service. v1beta1 does not need the hash. Each service has a separate hash:
/// if the operator copies it to pods, only the pods of changed services are replaced.
pub fn update_spec_hash(graph: &mut Value) {
    let services = graph.pointer_mut("/spec/services").and_then(Value::as_object_mut);
    for service in services.into_iter().flat_map(Map::values_mut) {
        let Some(fields) = service.as_object_mut() else { continue };
        let annotations = fields.remove("annotations");
        let hash = short_hash(service, 12);
        service["annotations"] = annotations.filter(Value::is_object).unwrap_or_else(|| json!({}));
        service["annotations"][SPEC_HASH_ANNOTATION] = hash.into();
    }
}

fn render_service(plan: &ServingPlan, component: &PlanComponent) -> Value {
    let placement = &plan.intent.placement;
    let mut pod = pod_settings(plan, component);
    let mut container = main_container(plan, component);
    // The operator fills in this field. Without it, the operator's write would change the generation.
    container["name"] = "main".into();
    let mounts = further_mounts(plan, component);
    if !mounts.is_empty() {
        container["volumeMounts"] = mounts.into();
    }
    pod.insert("mainContainer".into(), container);
    let (component_type, sub_type) = component_type(component.role);
    let mut value = json!({
        "componentType": component_type,
        "replicas": component.replicas,
        "resources": resource_requirements(component, "gpu"),
        "extraPodSpec": pod,
    });
    if let Some(sub_type) = sub_type {
        value["subComponentType"] = sub_type.into();
    }
    if let Some(metadata) = pod_metadata(placement) {
        value["extraPodMetadata"] = metadata;
    }
    let env = container_env(&component.environment, placement.ca_bundle.as_ref());
    if env.as_array().is_some_and(|env| !env.is_empty()) {
        value["envs"] = env;
    }
    if component.nodes > 1 {
        value["multinode"] = json!({ "nodeCount": component.nodes });
    }
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        // The operator creates a volume with the name of the PVC, which the init container also mounts. The
        // last field is a default that the API server fills in. Without it, a conflict would show a change.
        value["volumeMounts"] = json!([{ "name": cache.cache.pvc(), "mountPoint": CACHE_MOUNT_PATH, "useAsCompilationCache": false }]);
    }
    if component.role != WorkerRole::Frontend {
        value["livenessProbe"] = worker_liveness();
        if let Some(size) = plan.shared_memory {
            value["sharedMemory"] = shared_memory_field(size);
        }
    }
    if plan.release.image_tag == ImageTag::VersionInEitherApi && !has_version_tag(&plan.image) {
        value["runtimeVersionOverride"] = plan.release.version.into();
    }
    value
}

/// The `sharedMemory` field. v1alpha1 rejects a size of zero and uses `disabled` instead.
fn shared_memory_field(size: Quantity) -> Value {
    match size.bytes {
        0 => json!({ "disabled": true }),
        _ => json!({ "size": size.to_string() }),
    }
}

fn component_type(role: WorkerRole) -> (&'static str, Option<&'static str>) {
    match role {
        WorkerRole::Frontend => ("frontend", None),
        WorkerRole::Aggregated => ("worker", None),
        WorkerRole::Prefill => ("worker", Some("prefill")),
        WorkerRole::Decode => ("worker", Some("decode")),
    }
}
