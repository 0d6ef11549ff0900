//! CPU and memory requests of the pods of a component. They are large enough for sensible scheduling. Only
//! workers with KV offload have a memory limit, because only their memory use is known. GPUs are planned
//! elsewhere.

use super::PlanError;
use super::kv_offload::KvOffloadPlan;
use super::quantity::Quantity;
use crate::intent::{Backend, ServingIntent};

/// CPU and memory requests of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceRequests {
    /// CPU request, in thousandths of a core.
    pub cpu_millicores: u32,
    pub memory: Quantity,
    /// Memory limit. `None` if the memory use is not known.
    pub memory_limit: Option<Quantity>,
}

/// Default size of /dev/shm in Dynamo's operator, in GiB.
const DEFAULT_SHARED_MEMORY_GIB: u64 = 8;
/// Approximate host memory of a vLLM process per GPU, in GiB. It is only used as a request, not as a limit.
const MEMORY_GIB_PER_GPU: u64 = 8;
const MILLICORES_PER_GPU: u32 = 1000;
/// Host memory in addition to KVBM's CPU tier, in GiB, from the starter kit. The limit is twice the request.
const MIN_OFFLOAD_WORKING_MEMORY_GIB: u64 = 16;

impl ResourceRequests {
    /// Requests of a frontend, which routes and tokenizes.
    pub(super) fn for_frontend(backend: Backend) -> Self {
        match backend {
            Backend::Vllm => Self { cpu_millicores: 500, memory: Quantity::gibibytes(2), memory_limit: None },
            Backend::Mocker => Self::for_mocker(),
        }
    }

    /// Requests of a worker with `gpus_per_pod` GPUs per pod.
    ///
    /// # Errors
    /// An invalid size of /dev/shm.
    pub(super) fn for_worker(
        intent: &ServingIntent,
        gpus_per_pod: u32,
        offload: Option<&KvOffloadPlan>,
    ) -> Result<Self, PlanError> {
        if intent.backend == Backend::Mocker {
            return Ok(Self::for_mocker());
        }
        let working_gib = MEMORY_GIB_PER_GPU.saturating_mul(gpus_per_pod.into());
        let cpu_millicores = MILLICORES_PER_GPU.saturating_mul(gpus_per_pod);
        let Some(offload) = offload else {
            return Ok(Self { cpu_millicores, memory: Quantity::gibibytes(working_gib), memory_limit: None });
        };
        let shared_memory =
            parse_shared_memory(intent)?.unwrap_or_else(|| Quantity::gibibytes(DEFAULT_SHARED_MEMORY_GIB));
        let working_gib = working_gib.max(MIN_OFFLOAD_WORKING_MEMORY_GIB);
        let total_memory = |gibibytes: u64| Quantity::gibibytes(gibibytes) + offload.cpu + shared_memory;
        Ok(Self {
            cpu_millicores,
            memory: total_memory(working_gib),
            memory_limit: Some(total_memory(working_gib.saturating_mul(2))),
        })
    }

    /// Requests of a process in a mocker deployment. Measured: 120 MB and almost no CPU.
    fn for_mocker() -> Self {
        let memory = Quantity::parse("256Mi").expect("a quantity");
        Self { cpu_millicores: 50, memory, memory_limit: None }
    }

    /// CPU request in Kubernetes notation, for example `500m`.
    pub fn cpu(&self) -> String {
        crate::quantity::format_cpu(self.cpu_millicores)
    }
}

/// The requested size of /dev/shm, if set.
///
/// # Errors
/// An invalid quantity.
pub(super) fn parse_shared_memory(intent: &ServingIntent) -> Result<Option<Quantity>, PlanError> {
    let Some(given) = &intent.placement.shared_memory else { return Ok(None) };
    let size = Quantity::parse(given);
    size.map(Some).ok_or_else(|| PlanError::Quantity { what: "/dev/shm", given: given.clone() })
}
