//! Resolves the topology: aggregated workers, or separate prefill and decode workers. Rejects settings that
//! only apply to the other mode.

use super::{bool_value, count_or_one, enum_value, resolve_engine_args};
use crate::intent::request::{MergedSettings, ResolvedSetting, TopologyMode};
use crate::intent::{IntentError, Parallelism, Topology, WorkerGroup};

/// Resolves the settings to a topology.
pub(super) fn resolve_topology(settings: &MergedSettings) -> Result<Topology, IntentError> {
    match enum_value(settings, "mode").unwrap_or(TopologyMode::Aggregated) {
        TopologyMode::Aggregated => {
            let is_disaggregated_only = |found: &&ResolvedSetting| {
                let path = found.setting.field.path;
                path.starts_with("prefill.") || path.starts_with("decode.")
            };
            reject_settings_of_other_mode(settings, "disagg", is_disaggregated_only)?;
            Ok(Topology::Aggregated { worker: resolve_worker_group(settings, "worker")? })
        }
        TopologyMode::Disaggregated => {
            reject_settings_of_other_mode(settings, "agg", |found| {
                found.setting.field.path == "worker.replicas"
            })?;
            Ok(Topology::Disaggregated {
                prefill: resolve_worker_group(settings, "prefill")?,
                decode: resolve_worker_group(settings, "decode")?,
            })
        }
    }
}

/// Rejects settings of the other mode whose source has at least the precedence of the mode. Settings with
/// lower precedence are ignored, so that a changed mode drops the settings of the previous mode.
fn reject_settings_of_other_mode(
    settings: &MergedSettings,
    other_mode: &'static str,
    belongs_to_other_mode: impl Fn(&&ResolvedSetting) -> bool,
) -> Result<(), IntentError> {
    let mode = settings.get("mode");
    let mut other_mode_settings = settings.iter().filter(belongs_to_other_mode);
    match other_mode_settings.find(|found| found.is_explicit(mode)) {
        Some(found) => Err(IntentError::WrongMode { flag: found.describe(), mode: other_mode }),
        None => Ok(()),
    }
}

fn resolve_worker_group(settings: &MergedSettings, role: &str) -> Result<WorkerGroup, IntentError> {
    let path = |field: &str| format!("{role}.{field}");
    // A setting for all workers applies to a role unless the role has a setting with at least the same
    // precedence.
    let shared = |field: &str| -> Option<&ResolvedSetting> {
        let for_all_workers =
            settings.iter().find(|found| found.setting.field.path == format!("worker.{field}"));
        let for_role = settings.iter().find(|found| found.setting.field.path == path(field));
        match (for_role, for_all_workers) {
            (Some(for_role), Some(for_all_workers))
                if !for_role.has_at_least_precedence_of(for_all_workers) =>
            {
                Some(for_all_workers)
            }
            (for_role, for_all_workers) => for_role.or(for_all_workers),
        }
    };
    Ok(WorkerGroup {
        replicas: count_or_one(settings.get(&path("replicas")))?,
        parallelism: Parallelism {
            tensor: count_or_one(shared("tensorParallelSize"))?,
            pipeline: count_or_one(shared("pipelineParallelSize"))?,
            data: count_or_one(shared("dataParallelSize"))?,
            expert: shared("enableExpertParallel")
                .and_then(|found| found.setting.value.as_bool())
                .unwrap_or_else(|| bool_value(settings, "worker.enableExpertParallel").unwrap_or(false)),
        },
        nodes: count_or_one(shared("nodes"))?,
        engine_args: resolve_engine_args(settings, &path("args"))?,
    })
}
