//! Pieces of pods that the Job and both shapes of the graph share.

use serde_json::{Value, json};

use crate::plan::{
    Component, EnvironmentValue, EnvironmentVariable, FetchStep, ModelCache, model_cache::MOUNT,
};

/// Name of the init container and of the Job's container. Never `runtime`, which Dynamo 1.6 reserves.
pub const FETCH_CONTAINER: &str = "model-fetch";

/// User and group of Dynamo's own images, so that what is fetched belongs to who reads it.
const DYNAMO_USER: u32 = 1000;

/// `env` entries of a container.
pub(super) fn environment(variables: &[EnvironmentVariable]) -> Value {
    variables
        .iter()
        .map(|variable| match &variable.value {
            EnvironmentValue::Literal(value) => json!({ "name": variable.name, "value": value }),
            EnvironmentValue::Secret { name, key } => json!({
                "name": variable.name,
                "valueFrom": { "secretKeyRef": { "name": name, "key": key } },
            }),
        })
        .collect()
}

/// The volume mount of the cache; the volume is named after the claim, as the operator names it too.
pub(super) fn cache_mount(cache: &ModelCache) -> Value {
    json!({ "name": cache.cache.claim(), "mountPath": MOUNT })
}

/// The pod's volume for the cache.
pub(super) fn cache_volume(cache: &ModelCache) -> Value {
    json!({
        "name": cache.cache.claim(),
        "persistentVolumeClaim": { "claimName": cache.cache.claim() },
    })
}

/// One run of model-fetcher: it needs no capability, writes only below the mount, and 64 MiB suffice it; the
/// limit leaves room for page cache.
pub(super) fn fetch_container(fetch: &FetchStep, cache: &ModelCache) -> Value {
    json!({
        "name": FETCH_CONTAINER,
        "image": fetch.image,
        "args": fetch.args,
        "env": environment(&fetch.environment),
        "volumeMounts": [cache_mount(cache)],
        "resources": {
            "requests": { "cpu": "250m", "memory": "128Mi" },
            "limits": { "memory": "512Mi" },
        },
        "securityContext": {
            "runAsUser": DYNAMO_USER,
            "runAsGroup": DYNAMO_USER,
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// The component's own container, as far as both shapes write it alike.
pub(super) fn main_container(component: &Component, image: &str) -> Value {
    let mut container = json!({ "image": image, "command": component.command });
    if !component.args.is_empty() {
        container["args"] = component.args.clone().into();
    }
    if let Some(folder) = &component.working_directory {
        container["workingDir"] = folder.clone().into();
    }
    container
}

/// Pod-wide settings from the wish: where it may run, as whom, with which pull secrets.
pub(super) fn pod_settings(
    plan: &crate::plan::ServingPlan,
    component: &Component,
) -> serde_json::Map<String, Value> {
    let placement = &plan.intent.placement;
    let mut settings = serde_json::Map::new();
    if let Some(account) = &placement.service_account {
        settings.insert("serviceAccountName".into(), account.clone().into());
    }
    if let Some(secrets) = pull_secrets(placement) {
        settings.insert("imagePullSecrets".into(), secrets);
    }
    if component.role != crate::intent::WorkerRole::Frontend && !placement.node_selector.is_empty() {
        let selector: serde_json::Map<String, Value> =
            placement.node_selector.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        settings.insert("nodeSelector".into(), selector.into());
    }
    if component.gpus > 0 {
        settings.insert("tolerations".into(), json!([gpu_toleration()]));
    }
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        settings.insert("initContainers".into(), json!([fetch_container(&cache.fetch, cache)]));
    }
    settings
}

/// `imagePullSecrets` of a pod, where any are named.
pub(super) fn pull_secrets(placement: &crate::intent::Placement) -> Option<Value> {
    let secrets: Vec<Value> =
        placement.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    (!secrets.is_empty()).then(|| secrets.into())
}

/// GPU nodes are commonly tainted `nvidia.com/gpu`, as NVIDIA's own operator documents.
pub(super) fn gpu_toleration() -> Value {
    json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" })
}

/// Pod security of the fetch Job: the volume's group is Dynamo's.
pub(super) fn pod_security() -> Value {
    json!({ "fsGroup": DYNAMO_USER, "seccompProfile": { "type": "RuntimeDefault" } })
}
