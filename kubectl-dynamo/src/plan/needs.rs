//! What one pod of a component asks of its node besides GPUs: enough to be placed sanely, and for workers that
//! offload KV cache a bound, since their memory is known.

use super::PlanError;
use super::kv_offload::Offload;
use super::quantity::Quantity;
use crate::intent::{Backend, ServingIntent};

/// CPU and memory of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Thousandths of a core.
    pub cpu_millicores: u32,
    pub memory: Quantity,
    /// What it may not exceed; no bound where nobody can know one.
    pub memory_limit: Option<Quantity>,
}

/// The operator's own size of /dev/shm.
const GIBIBYTES_SHARED: u64 = 8;
/// What a vLLM process of one GPU takes on its host, roughly; a request places the pod and bounds nothing.
const GIBIBYTES_PER_GPU: u64 = 8;
const MILLICORES_PER_GPU: u32 = 1000;
/// The starter kit's room beside KVBM's CPU tier: this much is asked for, and twice as much allowed.
const GIBIBYTES_BESIDE_OFFLOAD: u64 = 16;

impl Needs {
    /// Of a frontend, which routes and tokenizes.
    pub(super) fn of_frontend(backend: Backend) -> Self {
        match backend {
            Backend::Vllm => Self { cpu_millicores: 500, memory: Quantity::gibibytes(2), memory_limit: None },
            Backend::Mocker => Self::of_trial(),
        }
    }

    /// Of a worker whose pods have so many GPUs each.
    ///
    /// # Errors
    /// A size of /dev/shm that is none.
    pub(super) fn of_worker(
        intent: &ServingIntent,
        gpus_per_pod: u32,
        offload: Option<&Offload>,
    ) -> Result<Self, PlanError> {
        if intent.backend == Backend::Mocker {
            return Ok(Self::of_trial());
        }
        let working = GIBIBYTES_PER_GPU.saturating_mul(gpus_per_pod.into());
        let cpu_millicores = MILLICORES_PER_GPU.saturating_mul(gpus_per_pod);
        let Some(offload) = offload else {
            return Ok(Self { cpu_millicores, memory: Quantity::gibibytes(working), memory_limit: None });
        };
        let shared = shared_memory(intent)?.unwrap_or_else(|| Quantity::gibibytes(GIBIBYTES_SHARED));
        let working = working.max(GIBIBYTES_BESIDE_OFFLOAD);
        let beside = |gibibytes: u64| Quantity::gibibytes(gibibytes) + offload.cpu + shared;
        Ok(Self {
            cpu_millicores,
            memory: beside(working),
            memory_limit: Some(beside(working.saturating_mul(2))),
        })
    }

    /// Of a process of a deployment with the mocker; measured at 120 MB and almost no CPU.
    fn of_trial() -> Self {
        let memory = Quantity::parse("256Mi").expect("a quantity");
        Self { cpu_millicores: 50, memory, memory_limit: None }
    }

    /// The cores as Kubernetes writes them.
    pub fn cpu(&self) -> String {
        match self.cpu_millicores {
            millicores if millicores.is_multiple_of(1000) => (millicores / 1000).to_string(),
            millicores => format!("{millicores}m"),
        }
    }
}

/// The size of /dev/shm that is wished for, if any.
///
/// # Errors
/// A size that is none.
pub(super) fn shared_memory(intent: &ServingIntent) -> Result<Option<Quantity>, PlanError> {
    let Some(given) = &intent.placement.shared_memory else { return Ok(None) };
    let size = Quantity::parse(given);
    size.map(Some).ok_or_else(|| PlanError::Quantity { what: "/dev/shm", given: given.clone() })
}
