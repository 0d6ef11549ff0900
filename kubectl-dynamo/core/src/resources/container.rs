//! Parts of pods that the fetch Job and both API versions of the graph share.
//! Fields that differ between the API versions belong in the graph modules.

use serde_json::{Map, Value, json};

use crate::intent::{CaBundle, DiskVolume, Placement, PodSecurity, StringEnum, Toleration, WorkerRole};
use crate::plan::kv_offload::OFFLOAD_DISK_PATH;
use crate::plan::model_cache::CACHE_MOUNT_PATH;
use crate::plan::{
    EnvironmentValue, EnvironmentVariable, FetchStep, ModelCache, OffloadDisk, PlanComponent, ServingPlan,
};

/// Name of the fetch container in init containers and Jobs. It must not be `runtime`, which Dynamo 1.6
/// reserves.
pub const FETCH_CONTAINER: &str = "model-fetch";

/// User and group ID of Dynamo's images. The fetch containers use it, so that workers own the fetched files.
const DYNAMO_UID: u32 = 1000;

/// `env` entries of a container.
fn env_entries(variables: &[EnvironmentVariable]) -> Value {
    variables
        .iter()
        .map(|variable| match &variable.value {
            // An operator that reads a graph and writes it back drops empty strings. It would then own the
            // list.
            EnvironmentValue::Literal(value) if value.is_empty() => json!({ "name": variable.name }),
            EnvironmentValue::Literal(value) => json!({ "name": variable.name, "value": value }),
            EnvironmentValue::Secret { name, key } => json!({
                "name": variable.name,
                "valueFrom": { "secretKeyRef": { "name": name, "key": key } },
            }),
        })
        .collect()
}

/// The variables from which programs read the path of CA certificates: Rust, Go, and OpenSSL the first one, and Python's
/// requests the second one.
const CA_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];
const CA_VOLUME: &str = "ca-bundle";
const CA_MOUNT_PATH: &str = "/etc/kubectl-dynamo/ca";
const CA_FILE: &str = "ca.crt";

/// The variables of a container, with those of the CA certificates. The user's variables win.
pub(super) fn container_env(variables: &[EnvironmentVariable], ca_bundle: Option<&CaBundle>) -> Value {
    let is_set = |name: &str| variables.iter().any(|variable| variable.name == name);
    let ca_variables = CA_VARIABLES.into_iter().filter(|name| ca_bundle.is_some() && !is_set(name));
    let ca_variables =
        ca_variables.map(|name| EnvironmentVariable::literal(name, format!("{CA_MOUNT_PATH}/{CA_FILE}")));
    let all: Vec<EnvironmentVariable> = ca_variables.chain(variables.iter().cloned()).collect();
    env_entries(&all)
}

/// The pod's volume with the CA certificates.
pub(super) fn ca_volume(bundle: &CaBundle) -> Value {
    let items = json!([{ "key": bundle.key, "path": CA_FILE }]);
    json!({ "name": CA_VOLUME, "configMap": { "name": bundle.config_map, "items": items } })
}

/// The volume mount of the CA certificates.
fn ca_mount() -> Value {
    json!({ "name": CA_VOLUME, "mountPath": CA_MOUNT_PATH, "readOnly": true })
}

/// The mounts of a main container besides the cache: the disk tier, and the CA certificates.
pub(super) fn further_mounts(plan: &ServingPlan, component: &PlanComponent) -> Vec<Value> {
    let disk = component.offload_disk.iter().map(|_| offload_mount());
    disk.chain(plan.intent.placement.ca_bundle.iter().map(|_| ca_mount())).collect()
}

/// The volume mount of the cache. The volume has the name of the PVC, as in the operator.
pub(super) fn cache_mount(cache: &ModelCache) -> Value {
    json!({ "name": cache.cache.pvc(), "mountPath": CACHE_MOUNT_PATH })
}

/// The pod's volume for the cache.
pub(super) fn cache_volume(cache: &ModelCache) -> Value {
    json!({
        "name": cache.cache.pvc(),
        "persistentVolumeClaim": { "claimName": cache.cache.pvc() },
    })
}

/// The container of a fetch step. It does not need capabilities and only writes below the mount. It uses 64
/// MiB; the higher limit allows for page cache.
pub(super) fn fetch_container(fetch: &FetchStep, cache: &ModelCache, profile: SeccompProfile) -> Value {
    let mounts: Vec<Value> =
        std::iter::once(cache_mount(cache)).chain(fetch.ca_bundle.iter().map(|_| ca_mount())).collect();
    json!({
        "name": FETCH_CONTAINER,
        "image": fetch.image,
        "args": fetch.args,
        "env": container_env(&fetch.environment, fetch.ca_bundle.as_ref()),
        "volumeMounts": mounts,
        "resources": {
            "requests": { "cpu": "250m", "memory": "128Mi" },
            "limits": { "memory": "512Mi" },
        },
        "securityContext": fetch_security_context(profile),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// The fields of a container that meets the Pod Security Standard `restricted`, except for the seccomp profile. The user is a
/// number, because the kubelet cannot tell from a name in the image whether it is root.
fn unprivileged_fields() -> Map<String, Value> {
    let fields = [
        ("runAsUser", DYNAMO_UID.into()),
        ("runAsNonRoot", true.into()),
        ("allowPrivilegeEscalation", false.into()),
        ("capabilities", json!({ "drop": ["ALL"] })),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// Where the seccomp profile of a fetch container is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeccompProfile {
    /// By its pod, or not at all.
    OfPod,
    /// By the container. A security context of the pod would make the operator omit its `fsGroup`.
    OfContainer,
}

fn fetch_security_context(profile: SeccompProfile) -> Map<String, Value> {
    let mut fields = unprivileged_fields();
    fields.insert("runAsGroup".into(), DYNAMO_UID.into());
    fields.insert("readOnlyRootFilesystem".into(), true.into());
    if profile == SeccompProfile::OfContainer {
        fields.insert("seccompProfile".into(), runtime_profile());
    }
    fields
}

/// The security context of a main container, whose group is that of the user in the image.
fn main_security_context(level: PodSecurity) -> Option<Map<String, Value>> {
    (level == PodSecurity::Restricted).then(|| {
        let mut fields = unprivileged_fields();
        fields.insert("seccompProfile".into(), runtime_profile());
        fields
    })
}

fn runtime_profile() -> Value {
    json!({ "type": "RuntimeDefault" })
}

/// The main container of a component, with the fields that are identical in both API versions.
pub(super) fn main_container(plan: &ServingPlan, component: &PlanComponent) -> Value {
    let mut container = Map::new();
    container.insert("image".into(), plan.image.clone().into());
    container.insert("command".into(), component.command.clone().into());
    if !component.args.is_empty() {
        container.insert("args".into(), component.args.clone().into());
    }
    if let Some(folder) = &component.working_directory {
        container.insert("workingDir".into(), folder.clone().into());
    }
    if let Some(fields) = main_security_context(plan.intent.placement.pod_security) {
        container.insert("securityContext".into(), fields.into());
    }
    container.into()
}

/// Pod-level settings of a component: placement, service account, pull secrets, init container, and disk tier
/// volume. The cache volume differs between the API versions and is added elsewhere.
pub(super) fn pod_settings(plan: &ServingPlan, component: &PlanComponent) -> Map<String, Value> {
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
            settings.insert("nodeSelector".into(), to_map(&placement.node_selector).into());
        }
        let tolerations = tolerations(placement, component.gpus);
        if !tolerations.is_empty() {
            settings.insert("tolerations".into(), tolerations.into());
        }
    }
    if let Some(cache) = plan.cache.as_ref().filter(|_| component.needs_model) {
        let profile = match placement.pod_security {
            PodSecurity::Baseline => SeccompProfile::OfPod,
            PodSecurity::Restricted => SeccompProfile::OfContainer,
        };
        let fetch = fetch_container(&cache.fetch, cache, profile);
        settings.insert("initContainers".into(), json!([fetch]));
    }
    let disk = component.offload_disk.iter().map(offload_volume);
    let volumes: Vec<Value> = disk.chain(placement.ca_bundle.iter().map(ca_volume)).collect();
    if !volumes.is_empty() {
        settings.insert("volumes".into(), volumes.into());
    }
    settings
}

/// The user's labels and annotations for pods, if any.
pub(super) fn pod_metadata(placement: &Placement) -> Option<Value> {
    let mut metadata = Map::new();
    for (field, given) in [("labels", &placement.labels), ("annotations", &placement.annotations)] {
        if !given.is_empty() {
            metadata.insert(field.into(), to_map(given).into());
        }
    }
    (!metadata.is_empty()).then(|| metadata.into())
}

/// Converts pairs to a JSON object.
pub(super) fn to_map(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect()
}

const OFFLOAD_VOLUME: &str = "kv-offload";

/// The volume mount of the disk tier in the main container.
fn offload_mount() -> Value {
    json!({ "name": OFFLOAD_VOLUME, "mountPath": OFFLOAD_DISK_PATH })
}

fn offload_volume(disk: &OffloadDisk) -> Value {
    let mut volume = json!({ "name": OFFLOAD_VOLUME });
    match &disk.volume {
        DiskVolume::Ephemeral { storage_class } => {
            let mut pvc_spec = json!({
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": disk.size.to_string() } },
            });
            if let Some(class) = storage_class {
                pvc_spec["storageClassName"] = class.clone().into();
            }
            volume["ephemeral"] = json!({ "volumeClaimTemplate": { "spec": pvc_spec } });
        }
        // The directory must exist and be writable for user 1000. A directory created by Kubernetes is owned
        // by root.
        DiskVolume::HostPath { path } => volume["hostPath"] = json!({ "path": path, "type": "Directory" }),
        DiskVolume::Pvc { name } => volume["persistentVolumeClaim"] = json!({ "claimName": name }),
    }
    volume
}

/// Resource requests and limits of a pod. `gpu` is the key of the GPU limit in the API version.
pub(super) fn resource_requirements(component: &PlanComponent, gpu_resource: &str) -> Value {
    let requests = &component.requests;
    let mut resources =
        json!({ "requests": { "cpu": requests.cpu(), "memory": requests.memory.to_string() } });
    if let Some(limit) = requests.memory_limit {
        resources["limits"]["memory"] = limit.to_string().into();
    }
    if component.gpus > 0 {
        resources["limits"][gpu_resource] = component.gpus_per_pod().to_string().into();
    }
    resources
}

/// The operator's liveness probe for workers, with a failure threshold of 3 instead of 1. With 1, a worker
/// that is busy for four seconds would be killed (ai-dynamo/dynamo#8113; still 1 in 1.5, measured with the
/// real operator).
pub(super) fn worker_liveness() -> Value {
    json!({
        "httpGet": { "path": "/live", "port": "system" },
        "periodSeconds": 5,
        "timeoutSeconds": 4,
        "failureThreshold": 3,
    })
}

/// `imagePullSecrets` of a pod, if any are set.
pub(super) fn pull_secrets(placement: &Placement) -> Option<Value> {
    let secrets: Vec<Value> =
        placement.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    (!secrets.is_empty()).then(|| secrets.into())
}

/// Tolerations of a pod: for GPU nodes if the pod uses GPUs, and those of the intent.
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

/// Toleration for the usual taint of GPU nodes, `nvidia.com/gpu`, as in the documentation of NVIDIA's GPU
/// Operator.
fn gpu_toleration() -> Value {
    json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" })
}

/// Pod security context of the fetch Job. The group of the volume is the group of Dynamo's images.
pub(super) fn pod_security_context() -> Value {
    json!({ "fsGroup": DYNAMO_UID, "seccompProfile": runtime_profile() })
}
