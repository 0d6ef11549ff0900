//! Pieces of pods that the Job and both shapes of the graph share.

use serde_json::{Map, Value, json};

use crate::intent::{DiskVolume, Placement, Toleration, Word, WorkerRole};
use crate::plan::kv_offload::DISK_FOLDER;
use crate::plan::model_cache::MOUNT;
use crate::plan::{
    Component, EnvironmentValue, EnvironmentVariable, FetchStep, ModelCache, OffloadDisk, ServingPlan,
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
            // An operator that reads and writes a graph back drops the empty text, and would own the list then.
            EnvironmentValue::Literal(value) if value.is_empty() => json!({ "name": variable.name }),
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

/// Pod-wide settings from the wish: where it may run, as whom, with which pull secrets, and the disk tier.
/// The cache's volume is each shape's own to write.
pub(super) fn pod_settings(plan: &ServingPlan, component: &Component) -> Map<String, Value> {
    let placement = &plan.intent.placement;
    let mut settings = Map::new();
    if let Some(account) = &placement.service_account {
        settings.insert("serviceAccountName".into(), account.clone().into());
    }
    if let Some(class) = &placement.priority_class {
        settings.insert("priorityClassName".into(), class.clone().into());
    }
    if let Some(secrets) = pull_secrets(placement) {
        settings.insert("imagePullSecrets".into(), secrets);
    }
    if component.role != WorkerRole::Frontend {
        if !placement.node_selector.is_empty() {
            settings.insert("nodeSelector".into(), pairs(&placement.node_selector).into());
        }
        let tolerations = tolerations(placement, component.gpus);
        if !tolerations.is_empty() {
            settings.insert("tolerations".into(), tolerations.into());
        }
    }
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        settings.insert("initContainers".into(), json!([fetch_container(&cache.fetch, cache)]));
    }
    if let Some(disk) = &component.offload_disk {
        settings.insert("volumes".into(), json!([offload_volume(disk)]));
    }
    settings
}

/// Labels and annotations that the person wants on pods.
pub(super) fn pod_metadata(placement: &Placement) -> Option<Value> {
    let mut metadata = Map::new();
    for (field, given) in [("labels", &placement.labels), ("annotations", &placement.annotations)] {
        if !given.is_empty() {
            metadata.insert(field.into(), pairs(given).into());
        }
    }
    (!metadata.is_empty()).then(|| metadata.into())
}

/// `key: value` for each pair.
pub(super) fn pairs(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

const OFFLOAD_VOLUME: &str = "kv-offload";

/// Where the main container finds the disk tier.
pub(super) fn offload_mount() -> Value {
    json!({ "name": OFFLOAD_VOLUME, "mountPath": DISK_FOLDER })
}

fn offload_volume(disk: &OffloadDisk) -> Value {
    let mut volume = json!({ "name": OFFLOAD_VOLUME });
    match &disk.volume {
        DiskVolume::Ephemeral { storage_class } => {
            let mut claim = json!({
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": disk.size.to_string() } },
            });
            if let Some(class) = storage_class {
                claim["storageClassName"] = class.clone().into();
            }
            volume["ephemeral"] = json!({ "volumeClaimTemplate": { "spec": claim } });
        }
        // Made by whoever runs the node, for user 1000: a folder that Kubernetes makes belongs to root.
        DiskVolume::HostPath { path } => volume["hostPath"] = json!({ "path": path, "type": "Directory" }),
        DiskVolume::Claim { claim } => volume["persistentVolumeClaim"] = json!({ "claimName": claim }),
    }
    volume
}

/// What a pod asks for and may use, in the words of either shape: `gpu` names the GPU's key.
pub(super) fn resources(component: &Component, gpu: &str) -> Value {
    let needs = &component.needs;
    let mut resources = json!({ "requests": { "cpu": needs.cpu(), "memory": needs.memory.to_string() } });
    if let Some(limit) = needs.memory_limit {
        resources["limits"]["memory"] = limit.to_string().into();
    }
    if component.gpus > 0 {
        resources["limits"][gpu] = component.gpus_per_pod().to_string().into();
    }
    resources
}

/// The operator's own probe of a worker's life, with three failures instead of one: a worker that is busy for
/// four seconds would be killed (ai-dynamo/dynamo#8113; still one in 1.5, seen on the real operator).
pub(super) fn worker_liveness() -> Value {
    json!({
        "httpGet": { "path": "/live", "port": "system" },
        "periodSeconds": 5,
        "timeoutSeconds": 4,
        "failureThreshold": 3,
    })
}

/// `imagePullSecrets` of a pod, where any are named.
pub(super) fn pull_secrets(placement: &Placement) -> Option<Value> {
    let secrets: Vec<Value> =
        placement.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    (!secrets.is_empty()).then(|| secrets.into())
}

/// The taints a pod bears: that of GPU nodes where it has GPUs, and those of the wish.
pub(super) fn tolerations(placement: &Placement, gpus: u32) -> Vec<Value> {
    let gpu = (gpus > 0).then(gpu_toleration);
    gpu.into_iter().chain(placement.tolerations.iter().map(toleration)).collect()
}

fn toleration(given: &Toleration) -> Value {
    let mut toleration = match &given.value {
        Some(value) => json!({ "key": given.key, "operator": "Equal", "value": value }),
        None => json!({ "key": given.key, "operator": "Exists" }),
    };
    if let Some(effect) = given.effect {
        toleration["effect"] = effect.as_str().into();
    }
    toleration
}

/// GPU nodes are commonly tainted `nvidia.com/gpu`, as NVIDIA's own operator documents.
fn gpu_toleration() -> Value {
    json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" })
}

/// Pod security of the fetch Job: the volume's group is Dynamo's.
pub(super) fn pod_security() -> Value {
    json!({ "fsGroup": DYNAMO_USER, "seccompProfile": { "type": "RuntimeDefault" } })
}
