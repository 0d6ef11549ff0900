//! DynamoGraphDeployment in the shape of `nvidia.com/v1beta1`: a list of components, each with a pod template.

use serde_json::{Value, json};

use super::container::{cache_mount, cache_volume, environment, main_container, pod_settings};
use super::graph_metadata;
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
    let mut container = main_container(component, &plan.image);
    // The operator merges its defaults into the container of this name; every other one is left alone.
    container["name"] = "main".into();
    if !component.environment.is_empty() {
        container["env"] = environment(&component.environment);
    }
    if component.gpus > 0 {
        container["resources"] = json!({ "limits": { "nvidia.com/gpu": component.gpus.to_string() } });
    }
    let mut pod = pod_settings(plan, component);
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        container["volumeMounts"] = json!([cache_mount(cache)]);
        pod.insert("volumes".into(), json!([cache_volume(cache)]));
    }
    pod.insert("containers".into(), json!([container]));
    let mut value = json!({
        "name": component.name(),
        "type": component_type(component.role),
        "replicas": component.replicas,
        "podTemplate": { "spec": pod },
    });
    if let Some(size) =
        plan.intent.placement.shared_memory.as_ref().filter(|_| component.role != WorkerRole::Frontend)
    {
        value["sharedMemorySize"] = size.clone().into();
    }
    if !has_version_tag(&plan.image) {
        // The admission rule of 1.4 and later for images whose tag does not say their version.
        value["runtimeVersionOverride"] = plan.release.version.into();
    }
    value
}

fn component_type(role: WorkerRole) -> &'static str {
    match role {
        WorkerRole::Frontend => "frontend",
        WorkerRole::Combined => "worker",
        WorkerRole::Prefill => "prefill",
        WorkerRole::Decode => "decode",
    }
}

/// Whether the operator can read a version from an image's tag: `v?N.N.N` with an optional suffix.
fn has_version_tag(image: &str) -> bool {
    let without_digest = image.split('@').next().unwrap_or(image);
    let tag = match without_digest.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => return false,
    };
    let core = tag.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::has_version_tag;

    #[test]
    fn reads_versions_as_the_operator_does() {
        for image in ["r:1.6.1", "host:5000/r:v1.0.0", "r:1.2.0-cuda13", "r:1.6.1@sha256:00"] {
            assert!(has_version_tag(image), "{image}");
        }
        for image in ["r", "r:latest", "r:1.6", "host:5000/r", "r@sha256:00", "r:my-tag"] {
            assert!(!has_version_tag(image), "{image}");
        }
    }
}
