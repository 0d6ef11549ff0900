//! The GPUs for which the predictor has measurements of vLLM, by the names of `--gpu`.

use super::RecommendError;
use crate::fit::Hardware;

/// A kind of GPU as the predictor names it, such as `h200_sxm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuSystem {
    /// The beginning of the name in `--gpu`.
    gpu: &'static str,
    name: &'static str,
}

/// The systems of aiconfigurator with measurements of vLLM. It also names systems without any, such as
/// `h100_pcie` and `l4`, and does not have one for an A100 with 40 GB.
const SYSTEMS: &[GpuSystem] = &[
    GpuSystem { gpu: "a100-80g", name: "a100_sxm" },
    GpuSystem { gpu: "h100", name: "h100_sxm" },
    GpuSystem { gpu: "h200", name: "h200_sxm" },
    GpuSystem { gpu: "b200", name: "b200_sxm" },
    GpuSystem { gpu: "b300", name: "b300_sxm" },
    GpuSystem { gpu: "gb200", name: "gb200" },
    GpuSystem { gpu: "gb300", name: "gb300" },
    GpuSystem { gpu: "l40s", name: "l40s" },
    GpuSystem { gpu: "rtx-pro-6000", name: "rtx_pro_6000_server" },
];

impl GpuSystem {
    /// All systems.
    pub fn all() -> impl Iterator<Item = Self> {
        SYSTEMS.iter().copied()
    }

    /// The name for the predictor.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Finds the system of the GPUs.
    ///
    /// # Errors
    /// The predictor does not have measurements for them.
    pub fn find(hardware: &Hardware) -> Result<Self, RecommendError> {
        let is_of = |gpu: &str| {
            hardware.name.strip_prefix(gpu).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        Self::all().find(|system| is_of(system.gpu)).ok_or_else(|| RecommendError::UnknownGpu {
            gpu: hardware.name.clone(),
            known: Self::all().map(|system| system.gpu).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::MessageCode;
    use crate::error::Explain;

    fn system(gpu: &str) -> Result<&'static str, RecommendError> {
        GpuSystem::find(&gpu.parse().expect("a value of --gpu")).map(GpuSystem::name)
    }

    #[test]
    fn gpu_names_become_system_names() {
        for (gpu, name) in [
            ("h100-80g:8", "h100_sxm"),
            ("h200:8x2", "h200_sxm"),
            ("a100-80g:8", "a100_sxm"),
            ("l40s", "l40s"),
            ("gb200-186g:4x18", "gb200"),
            ("b300-sxm6-ac-268g:8", "b300_sxm"),
            ("rtx-pro-6000-blackwell-server-95g:8", "rtx_pro_6000_server"),
        ] {
            assert_eq!(system(gpu), Ok(name), "{gpu}");
        }
    }

    #[test]
    fn gpu_without_measurements_is_rejected_with_the_known_ones() {
        for gpu in ["l4:8", "a100-40g:8", "t4:4", "h1000-80g"] {
            let error = system(gpu).expect_err("no measurements");
            assert_eq!(error.code(), Some(MessageCode::PredictionGpuUnknown), "{gpu}");
            assert!(error.hint().expect("a hint").to_string().contains("h200"), "{gpu}");
        }
    }
}
