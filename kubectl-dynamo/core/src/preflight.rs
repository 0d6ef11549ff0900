//! Preflight checks: compare the facts of a cluster with the plan before anything is applied.
//!
//! Each check is a pure function and one row of [`CHECKS`]. A check must not send requests. If a fact is
//! unavailable, the check is skipped and reports the reason.

mod access;
mod cache;
mod capacity;
mod cluster_gpus;
mod facts;
mod images;
mod limits;
mod memory;
mod placement;
mod platform;
mod requests;
mod storage;

pub use crate::finding::{Category, CheckProblem, CheckResult, Finding, FindingCounts};
use crate::plan::ServingPlan;
use crate::resources::Resource;
pub use capacity::gpu_line;
pub use cluster_gpus::{ClusterHardwareError, GPU_PRODUCT, cluster_hardware};
pub use facts::{
    AccessError, Authorizer, ClusterFacts, Fact, LimitRange, ModelLookup, ModelMetadata, Node, OperatorFacts,
    Platform, PodUsage, PolicyRule, PvcFacts, Quota, StorageClass, Taint, Volume, Webhook,
};
pub use memory::{GpuMemory, worker_gpu_memory};
pub use platform::{newest_operator_version, operator_problem};
pub use requests::{ComponentRequests, component_requests};

/// What will run on the cluster. If it is empty, only the cluster is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreflightInput<'a> {
    /// The plan, or `None` if the objects come from a manifest.
    pub plan: Option<&'a ServingPlan>,
    /// The objects to apply. Empty if nothing will be applied.
    pub resources: &'a [Resource],
    /// The existing PVC of the model cache.
    pub pvc: Option<&'a PvcFacts>,
    /// The number of pods that will start, by component name. `None` means all pods.
    pub starting_pods: Option<&'a [(String, u64)]>,
    /// The command that will run, by its name in the permission table; `None` is `check`, for a later `up`.
    pub command: Option<&'static str>,
}

impl PreflightInput<'_> {
    /// Returns whether the findings are all that the command prints.
    fn is_check(&self) -> bool {
        self.command.is_none()
    }

    /// Returns the command whose permissions are checked.
    fn command(&self) -> &'static str {
        self.command.unwrap_or("up")
    }
}

/// One preflight check.
#[derive(Debug)]
pub struct PreflightCheck {
    pub category: Category,
    /// The permanent name, which scripts and reports rely on.
    pub name: &'static str,
    /// Returns `None` if the check does not apply.
    run: fn(&ClusterFacts, &PreflightInput<'_>) -> Option<CheckResult>,
}

/// All checks in display order.
pub const CHECKS: &[PreflightCheck] = &[
    PreflightCheck { category: Category::Access, name: "permissions", run: access::permissions },
    PreflightCheck { category: Category::Access, name: "watch", run: access::watch_permissions },
    PreflightCheck { category: Category::Cluster, name: "kubernetes", run: platform::kubernetes },
    PreflightCheck { category: Category::Cluster, name: "namespace", run: limits::namespace },
    PreflightCheck { category: Category::Cluster, name: "quota", run: limits::quota },
    PreflightCheck { category: Category::Cluster, name: "limit-range", run: limits::limit_range },
    PreflightCheck { category: Category::Platform, name: "crds", run: platform::custom_resource_definitions },
    PreflightCheck { category: Category::Platform, name: "operator", run: platform::operator },
    PreflightCheck {
        category: Category::Platform,
        name: "operator-version",
        run: platform::operator_version,
    },
    PreflightCheck { category: Category::Platform, name: "webhook", run: platform::webhook },
    PreflightCheck { category: Category::Platform, name: "orchestrator", run: platform::orchestrator },
    PreflightCheck { category: Category::Platform, name: "kai-scheduler", run: platform::kai_scheduler },
    PreflightCheck { category: Category::Platform, name: "image-tag", run: platform::image_tag },
    PreflightCheck { category: Category::Platform, name: "runtime-image", run: images::runtime_image },
    PreflightCheck { category: Category::Platform, name: "pod-monitor", run: platform::pod_monitor },
    PreflightCheck { category: Category::Gpu, name: "gpus", run: capacity::gpus },
    PreflightCheck { category: Category::Gpu, name: "gpu-placement", run: capacity::gpu_placement },
    PreflightCheck { category: Category::Gpu, name: "gpu-memory", run: memory::gpu_memory },
    PreflightCheck { category: Category::Storage, name: "storage-class", run: storage::storage_class },
    PreflightCheck { category: Category::Storage, name: "pvc", run: storage::existing_pvc },
    PreflightCheck { category: Category::Storage, name: "access-mode", run: storage::access_mode },
    PreflightCheck { category: Category::Cache, name: "fetcher-image", run: images::fetcher_image },
    PreflightCheck { category: Category::Cache, name: "token-secret", run: cache::token_secret },
    PreflightCheck { category: Category::Cache, name: "hub", run: cache::hub },
    PreflightCheck { category: Category::Cache, name: "hub-endpoint", run: cache::hub_endpoint },
    PreflightCheck { category: Category::Cache, name: "pvc-size", run: cache::pvc_size },
    PreflightCheck { category: Category::Network, name: "rdma", run: capacity::rdma },
];

/// Runs all checks and returns the findings of those that apply.
pub fn run_checks(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Vec<Finding> {
    let one = |check: &PreflightCheck| {
        let result = (check.run)(facts, input)?;
        Some(Finding { category: check.category, name: check.name, outcome: result })
    };
    CHECKS.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_facts_yield_no_findings() {
        assert_eq!(run_checks(&ClusterFacts::default(), &PreflightInput::default()), []);
    }

    #[test]
    fn check_names_are_unique() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
