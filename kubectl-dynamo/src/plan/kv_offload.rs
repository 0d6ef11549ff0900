//! KV cache beyond the GPU: KVBM's tiers of a worker, with their real volume, in the release's words.

use super::quantity::Quantity;
use super::warning::PlanWarning;
use super::{EnvironmentVariable, PlanError};
use crate::intent::{Backend, DiskVolume, ServingIntent, Topology, WorkerRole};
use crate::release::{CATALOG, DEFAULT, Kvbm, Release};

/// Where a worker finds the disk tier.
pub const DISK_FOLDER: &str = "/kv-offload";

/// The tiers of each worker that offloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offload {
    pub(super) cpu: Quantity,
    pub(super) disk: Option<OffloadDisk>,
}

/// The disk behind the CPU tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffloadDisk {
    pub size: Quantity,
    pub volume: DiskVolume,
}

impl Offload {
    /// What the wish asks for.
    ///
    /// # Errors
    /// Sizes that are none or too small, and what KVBM of this release cannot do.
    pub(super) fn of(intent: &ServingIntent, release: &Release) -> Result<Option<Self>, PlanError> {
        let Some(wished) = &intent.kv_offload else { return Ok(None) };
        if intent.backend == Backend::Mocker {
            return Err(PlanError::OffloadOfMocker);
        }
        let aggregated = matches!(intent.topology, Topology::Aggregated { .. });
        if release.kvbm == Kvbm::StallsAggregated && aggregated {
            return Err(PlanError::OffloadStalls { release: release.version, good: newest_for_aggregated() });
        }
        for (role, group) in intent.topology.groups().into_iter().filter(|(role, _)| offloads(*role)) {
            let component = role.component_name();
            if group.nodes > 1 {
                // KVBM's leader listens on 127.0.0.1 and its workers look for it there.
                return Err(PlanError::OffloadOverNodes { component, nodes: group.nodes });
            }
            if group.parallelism.data > 1 {
                // Each copy has a leader of its own, and all of them the same port (kvbm, consolidator_config.py).
                return Err(PlanError::OffloadOfCopies { component, copies: group.parallelism.data });
            }
        }
        let cpu = tier("the CPU tier", &wished.cpu)?;
        let disk = match &wished.disk {
            Some(disk) => {
                Some(OffloadDisk { size: tier("the disk tier", &disk.size)?, volume: disk.volume.clone() })
            }
            None => None,
        };
        Ok(Some(Self { cpu, disk }))
    }

    /// KVBM's own settings. Its filter stays on: only blocks used twice go to disk, which spares it.
    pub(super) fn environment(&self) -> Vec<EnvironmentVariable> {
        let gigabytes = |size: Quantity| size.whole_gigabytes().to_string();
        let mut variables = vec![EnvironmentVariable::literal("DYN_KVBM_CPU_CACHE_GB", gigabytes(self.cpu))];
        if let Some(disk) = &self.disk {
            variables.push(EnvironmentVariable::literal("DYN_KVBM_DISK_CACHE_GB", gigabytes(disk.size)));
            variables.push(EnvironmentVariable::literal("DYN_KVBM_DISK_CACHE_DIR", DISK_FOLDER));
        }
        variables
    }
}

/// Whether workers of this role offload: decode gets its blocks from prefill, which has them.
pub(super) fn offloads(role: WorkerRole) -> bool {
    match role {
        WorkerRole::Combined | WorkerRole::Prefill => true,
        WorkerRole::Frontend | WorkerRole::Decode => false,
    }
}

/// What to know of KVBM in this release.
pub(super) fn warning(release: &Release) -> Option<PlanWarning> {
    match release.kvbm {
        Kvbm::Eager => Some(PlanWarning::Eager { release: release.version }),
        Kvbm::Works | Kvbm::WithoutHybridCache | Kvbm::StallsAggregated => None,
        Kvbm::Deprecated => Some(PlanWarning::OffloadDeprecated { release: release.version }),
    }
}

fn tier(tier: &'static str, given: &str) -> Result<Quantity, PlanError> {
    match Quantity::parse(given) {
        Some(size) if size.whole_gigabytes() > 0 => Ok(size),
        Some(_) => Err(PlanError::OffloadTooSmall { tier, given: given.into() }),
        None => Err(PlanError::Quantity { what: tier, given: given.into() }),
    }
}

fn newest_for_aggregated() -> &'static str {
    let good = |release: &&Release| release.kvbm != Kvbm::StallsAggregated;
    CATALOG.iter().rfind(good).map_or(DEFAULT, |release| release.version)
}
