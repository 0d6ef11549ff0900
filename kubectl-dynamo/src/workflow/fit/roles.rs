//! The fit of a complete deployment: memory per GPU for each worker role, the capacity of its KV cache tiers,
//! and whether the hardware has enough GPUs. The memory arithmetic is in the core and must not be repeated
//! here.

use super::{FitQuery, FitRow};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::fit::{EngineMemory, Hardware, RequestedLength};
use kubectl_dynamo_core::intent::request::MergedSettings;
use kubectl_dynamo_core::intent::{
    Backend, Fallback, ModelRef, ServingIntent, WorkerGroup, WorkerRole, resolve,
};
use kubectl_dynamo_core::plan::Quantity;

/// The fields that describe a single worker; with only these, `fit` shows every parallelism.
const PARALLELISM_FIELDS: [&str; 4] =
    ["worker.tensorParallelSize", "worker.pipelineParallelSize", "worker.enableExpertParallel", "engineArgs"];

/// Returns whether the settings describe a deployment and not only a worker.
pub(super) fn is_deployment_request(settings: &MergedSettings) -> bool {
    settings.iter().any(|found| !PARALLELISM_FIELDS.contains(&found.setting.field.path))
}

/// The fit of one worker role.
pub(crate) struct RoleFit {
    pub role: WorkerRole,
    pub group: WorkerGroup,
    pub row: FitRow,
    /// The number of full-length requests that fit into the CPU tier of one worker.
    pub cpu_tier_requests: Option<u64>,
    /// The number of full-length requests that fit into the disk tier of one worker.
    pub disk_tier_requests: Option<u64>,
}

/// The fit of a complete deployment.
pub(crate) struct RoleFits {
    pub roles: Vec<RoleFit>,
    /// The number of required GPUs, or why the deployment does not fit.
    pub gpus_needed: std::result::Result<u32, PlacementError>,
}

impl RoleFits {
    pub(crate) fn fits(&self) -> bool {
        self.gpus_needed.is_ok() && self.roles.iter().all(|role| role.row.fits())
    }
}

/// Why the workers cannot be placed on the hardware.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacementError {
    #[error(
        "a {role} worker requires {gpus_per_pod} GPUs per node, but a node has {available}: set --nodes {needed}"
    )]
    WorkerTooLarge { role: WorkerRole, gpus_per_pod: u32, available: u32, needed: u32 },
    #[error("{needed} GPUs required, {available} available: the last {role} worker does not fit")]
    NotEnoughGpus { role: WorkerRole, needed: u32, available: u32 },
}

/// Returns the fit of each worker role.
pub(crate) fn role_fits(query: &FitQuery, settings: &MergedSettings) -> Result<RoleFits> {
    let model = ModelRef::parse_path_or_hub_id(&query.model.name)?;
    let fallback = Fallback { model: Some(model), backend: Backend::Vllm, max_name_length: usize::MAX };
    let intent = resolve(settings, &fallback)?;
    let roles = intent
        .topology
        .groups()
        .into_iter()
        .map(|(role, group)| fit_role(query, &intent, role, group))
        .collect::<Result<Vec<RoleFit>>>()?;
    let gpus_needed = place_workers(&query.hardware, &roles);
    Ok(RoleFits { roles, gpus_needed })
}

fn fit_role(
    query: &FitQuery,
    intent: &ServingIntent,
    role: WorkerRole,
    group: &WorkerGroup,
) -> Result<RoleFit> {
    let mut engine = EngineMemory::of_worker(intent, role, group, &query.rules)?;
    if engine.max_model_len == RequestedLength::ModelDefault {
        engine.max_model_len = query.engine.max_model_len;
    }
    let role_query = FitQuery { engine, ..query.clone() };
    let row = role_query.evaluate(group.parallelism);
    let offload = intent.kv_offload.as_ref().filter(|_| role != WorkerRole::Decode);
    let requests_in_tier = |size: &str| {
        let bytes = Quantity::parse(size)?.bytes;
        row.fit.map(|fit| fit.requests_in_tier(bytes))
    };
    let cpu_tier_requests = offload.and_then(|offload| requests_in_tier(&offload.cpu));
    let disk_tier_requests = offload.and_then(|offload| requests_in_tier(&offload.disk.as_ref()?.size));
    Ok(RoleFit { role, group: group.clone(), row, cpu_tier_requests, disk_tier_requests })
}

/// Returns the number of required GPUs, or the reason why the deployment does not fit.
fn place_workers(hardware: &Hardware, roles: &[RoleFit]) -> std::result::Result<u32, PlacementError> {
    let mut free = vec![hardware.gpus_per_node; hardware.nodes as usize];
    let mut pods: Vec<(u32, &RoleFit)> = Vec::new();
    for role in roles {
        let nodes = role.group.nodes.max(1);
        let gpus = role.group.parallelism.gpus();
        let gpus_per_pod = gpus / nodes;
        if gpus_per_pod > hardware.gpus_per_node {
            let needed = gpus.div_ceil(hardware.gpus_per_node);
            let available = hardware.gpus_per_node;
            return Err(PlacementError::WorkerTooLarge { role: role.role, gpus_per_pod, available, needed });
        }
        let count = role.group.replicas.saturating_mul(nodes).min(hardware.gpus().saturating_add(1));
        pods.extend((0..count).map(|_| (gpus_per_pod, role)));
    }
    // First fit, largest pods first.
    pods.sort_by_key(|(gpus, _)| std::cmp::Reverse(*gpus));
    for (gpus, role) in &pods {
        match free.iter_mut().find(|free_gpus| **free_gpus >= *gpus) {
            Some(free_gpus) => *free_gpus -= gpus,
            None => {
                let needed = roles.iter().fold(0_u32, |sum, role| sum.saturating_add(role.group.gpus()));
                let available = hardware.gpus();
                return Err(PlacementError::NotEnoughGpus { role: role.role, needed, available });
            }
        }
    }
    Ok(pods.iter().map(|(gpus, _)| gpus).sum())
}
