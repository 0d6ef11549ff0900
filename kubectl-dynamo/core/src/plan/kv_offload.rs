//! KV offload of a plan: the tiers that KVBM manages for a worker, their volume, and their environment
//! variables. Combinations that KVBM of the release does not support are rejected here, before anything is
//! applied.

use super::quantity::Quantity;
use super::warning::PlanWarning;
use super::{EnvironmentVariable, PlanError};
use crate::intent::{Backend, DiskTier, DiskVolume, PodSecurity, ServingIntent, Topology, WorkerRole};
use crate::release::{CATALOG, DEFAULT_RELEASE, Kvbm, Release};

/// Path at which a worker mounts the disk tier.
pub const OFFLOAD_DISK_PATH: &str = "/kv-offload";

/// The offload tiers of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KvOffloadPlan {
    pub(super) cpu: Quantity,
    pub(super) disk: Option<OffloadDisk>,
}

/// The disk tier below the CPU tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffloadDisk {
    pub size: Quantity,
    pub volume: DiskVolume,
}

impl KvOffloadPlan {
    /// Plans the offload settings of an intent. `None` if offload is disabled.
    ///
    /// # Errors
    /// Sizes that are invalid or too small, and combinations that KVBM of this release does not support.
    pub(super) fn from_intent(intent: &ServingIntent, release: &Release) -> Result<Option<Self>, PlanError> {
        let Some(requested) = &intent.kv_offload else { return Ok(None) };
        if intent.backend == Backend::Mocker {
            return Err(PlanError::OffloadUnsupportedByMocker);
        }
        let aggregated = matches!(intent.topology, Topology::Aggregated { .. });
        if release.kvbm == Kvbm::StallsAggregated && aggregated {
            return Err(PlanError::OffloadStallsAggregated {
                release: release.version,
                alternative: newest_release_for_aggregated(),
            });
        }
        for (role, group) in intent.topology.groups().into_iter().filter(|(role, _)| can_offload(*role)) {
            let component = role.component_name();
            if group.nodes > 1 {
                // KVBM's leader listens on 127.0.0.1, and its workers connect to it there.
                return Err(PlanError::OffloadOnMultipleNodes { component, nodes: group.nodes });
            }
            if group.parallelism.data > 1 {
                // Each copy starts its own leader, and all leaders use the same port (kvbm,
                // consolidator_config.py).
                return Err(PlanError::OffloadWithDataParallel { component, copies: group.parallelism.data });
            }
        }
        let is_restricted = intent.placement.pod_security == PodSecurity::Restricted;
        let is_on_host_path = |disk: &DiskTier| matches!(disk.volume, DiskVolume::HostPath { .. });
        if is_restricted && requested.disk.as_ref().is_some_and(is_on_host_path) {
            return Err(PlanError::OffloadOnHostPathOfRestrictedPods);
        }
        let cpu = parse_tier_size("the CPU tier", &requested.cpu)?;
        let disk = match &requested.disk {
            Some(disk) => Some(OffloadDisk {
                size: parse_tier_size("the disk tier", &disk.size)?,
                volume: disk.volume.clone(),
            }),
            None => None,
        };
        Ok(Some(Self { cpu, disk }))
    }

    /// Environment variables for KVBM. Its filter stays enabled: to reduce disk writes, it only writes blocks
    /// that were used twice.
    pub(super) fn environment(&self) -> Vec<EnvironmentVariable> {
        let gigabytes = |size: Quantity| size.to_gigabytes().to_string();
        let mut variables = vec![EnvironmentVariable::literal("DYN_KVBM_CPU_CACHE_GB", gigabytes(self.cpu))];
        if let Some(disk) = &self.disk {
            variables.push(EnvironmentVariable::literal("DYN_KVBM_DISK_CACHE_GB", gigabytes(disk.size)));
            variables.push(EnvironmentVariable::literal("DYN_KVBM_DISK_CACHE_DIR", OFFLOAD_DISK_PATH));
        }
        variables
    }
}

/// Whether workers of this role offload. Decode workers do not, because they receive their blocks from
/// prefill.
pub(super) fn can_offload(role: WorkerRole) -> bool {
    match role {
        WorkerRole::Aggregated | WorkerRole::Prefill => true,
        WorkerRole::Frontend | WorkerRole::Decode => false,
    }
}

/// Warning about KVBM in this release, if any.
pub(super) fn offload_warning(release: &Release) -> Option<PlanWarning> {
    match release.kvbm {
        Kvbm::Eager => Some(PlanWarning::CudaGraphsDisabled { release: release.version }),
        Kvbm::Works | Kvbm::WithoutHybridCache | Kvbm::StallsAggregated => None,
        Kvbm::Deprecated => Some(PlanWarning::OffloadDeprecated { release: release.version }),
    }
}

fn parse_tier_size(tier: &'static str, given: &str) -> Result<Quantity, PlanError> {
    match Quantity::parse(given) {
        Some(size) if size.to_gigabytes() > 0 => Ok(size),
        Some(_) => Err(PlanError::OffloadTooSmall { tier, given: given.into() }),
        None => Err(PlanError::Quantity { what: tier, given: given.into() }),
    }
}

fn newest_release_for_aggregated() -> &'static str {
    let supports_aggregated = |release: &&Release| release.kvbm != Kvbm::StallsAggregated;
    CATALOG.iter().rfind(supports_aggregated).map_or(DEFAULT_RELEASE, |release| release.version)
}
