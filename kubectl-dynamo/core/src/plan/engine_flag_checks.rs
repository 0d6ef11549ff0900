//! Checks the user's engine flags against the rest of the plan: flags that the release's vLLM does not
//! accept, and flags that contradict flags of the plugin. Without these checks the engine would fail later,
//! on a GPU.

use super::error::PlanError;
use super::unknown_names::UnknownNames;
use super::warning::PlanWarning;
use super::{environment, kv_offload, parsers};
use crate::intent::engine_flags::{has_flag, is_enabled, names, value, values};
use crate::intent::{Backend, RouterMode, ServingIntent, Topology, WorkerGroup, WorkerRole};
use crate::release::{ConnectorSpelling, Release};

/// Connector names of release 0.9.1. The last two mean no connector.
const KNOWN_CONNECTORS: [&str; 5] = ["nixl", "lmcache", "kvbm", "none", "null"];

/// Selects a KV connector by name.
pub(super) const CONNECTOR_FLAG: &str = "--connector";
/// Configures the KV connector, as JSON.
pub(super) const KV_TRANSFER_FLAG: &str = "--kv-transfer-config";
/// Configures the KV events of a worker, as JSON.
pub(super) const KV_EVENTS_FLAG: &str = "--kv-events-config";

/// Data type of the KV cache. It must be the same for prefill and decode, because vLLM's NIXL connector
/// compares it before a transfer.
const KV_CACHE_DTYPE_FLAG: &str = "--kv-cache-dtype";

/// The engine arguments of a worker group: those of all workers, then those of the group.
pub(super) fn args_for_group(intent: &ServingIntent, group: &WorkerGroup) -> Vec<String> {
    intent.engine_args.iter().chain(&group.engine_args).cloned().collect()
}

/// Checks the engine flags of every worker group and returns the warnings.
///
/// # Errors
/// Flags that the release's engine rejects, and flags that contradict the rest of the request.
pub(super) fn check(
    intent: &ServingIntent,
    release: &'static Release,
    version: &str,
) -> Result<Vec<PlanWarning>, PlanError> {
    let mut warnings = Vec::new();
    if intent.backend != Backend::Vllm {
        return Ok(warnings);
    }
    for (role, group) in intent.topology.groups() {
        let args = args_for_group(intent, group);
        check_connector(intent, release, role, &args)?;
        check_events(intent, role, &args)?;
        let unknown_names = UnknownNames::for_image(intent, release, version);
        warnings.extend(check_flag_names(release, &args, unknown_names)?);
        warnings.extend(parsers::check(intent, release, &args, unknown_names)?);
    }
    if let Topology::Disaggregated { prefill, decode } = &intent.topology {
        check_kv_transfer(intent, prefill, decode)?;
    }
    warnings.dedup();
    Ok(warnings)
}

fn check_connector(
    intent: &ServingIntent,
    release: &'static Release,
    role: WorkerRole,
    args: &[String],
) -> Result<(), PlanError> {
    let given = values(args, CONNECTOR_FLAG);
    let unknown = given.iter().flatten().find(|name| !KNOWN_CONNECTORS.contains(&name.as_str()));
    match (release.connector_spelling, &given, unknown) {
        (ConnectorSpelling::KvTransferConfig, Some(_), _) => {
            return Err(PlanError::ConnectorRemoved { release: release.version });
        }
        (ConnectorSpelling::Connector, Some(_), Some(name)) => {
            return Err(PlanError::UnknownConnector { release: release.version, given: name.clone() });
        }
        (ConnectorSpelling::Connector, _, _) | (ConnectorSpelling::KvTransferConfig, None, _) => {}
    }
    let user_flag = [CONNECTOR_FLAG, KV_TRANSFER_FLAG].into_iter().find(|flag| has_flag(args, flag));
    match user_flag.filter(|_| intent.kv_offload.is_some() && kv_offload::can_offload(role)) {
        Some(flag) => Err(PlanError::FlagConflict {
            flag,
            plugin_flag: "--kv-offload",
            why: "both select the KV connector",
        }),
        None => Ok(()),
    }
}

fn check_events(intent: &ServingIntent, role: WorkerRole, args: &[String]) -> Result<(), PlanError> {
    let publishes_events =
        intent.router.mode == RouterMode::Kv && intent.router.kv_events && role != WorkerRole::Decode;
    if publishes_events && is_enabled(args, "--enable-prefix-caching") == Some(false) {
        let why = "KV events require prefix caching";
        let flag = "--no-enable-prefix-caching";
        return Err(PlanError::FlagConflict { flag, plugin_flag: "--router-mode kv", why });
    }
    Ok(())
}

/// Checks that the engine accepts the flags.
fn check_flag_names(
    release: &'static Release,
    args: &[String],
    unknown_names: UnknownNames,
) -> Result<Vec<PlanWarning>, PlanError> {
    let args: Vec<String> = environment::worker_args(args, release).cloned().collect();
    let mut warnings = Vec::new();
    for names::UnknownFlag { flag, nearest, known_in_other_release: known_elsewhere } in
        names::unknown_flags(release.version, &args)
    {
        if unknown_names == UnknownNames::Rejected {
            let release = release.version;
            return Err(PlanError::UnknownEngineFlag {
                release,
                flag,
                nearest,
                known_in_other_release: known_elsewhere,
            });
        }
        warnings.push(PlanWarning::UnknownEngineFlag { release: release.version, flag });
    }
    Ok(warnings)
}

/// Checks the flag names and the parsers in the arguments of a worker from a DynamoGraphDeployment manifest.
///
/// # Errors
/// Flags that the release's engine does not accept, and parsers that it does not know.
pub fn check_engine_flag_names(release: &'static Release, args: &[String]) -> Result<(), PlanError> {
    match (release.connector_spelling, names::unknown_flags(release.version, args).into_iter().next()) {
        (ConnectorSpelling::KvTransferConfig, _) if has_flag(args, CONNECTOR_FLAG) => {
            Err(PlanError::ConnectorRemoved { release: release.version })
        }
        (_, Some(names::UnknownFlag { flag, nearest, known_in_other_release })) => {
            Err(PlanError::UnknownEngineFlag {
                release: release.version,
                flag,
                nearest,
                known_in_other_release,
            })
        }
        (_, None) => match parsers::unknown_in_args(release, args).next() {
            Some(unknown) => Err(PlanError::UnknownParser { release: release.version, unknown }),
            None => Ok(()),
        },
    }
}

/// Checks the settings that prefill and decode must share for KV transfer.
fn check_kv_transfer(
    intent: &ServingIntent,
    prefill: &WorkerGroup,
    decode: &WorkerGroup,
) -> Result<(), PlanError> {
    let (prefill_tensor, decode_tensor) =
        (prefill.parallelism.tensor.max(1), decode.parallelism.tensor.max(1));
    // vLLM asserts this for the pair (`tp_ratio` of its transfer topology).
    if !prefill_tensor.max(decode_tensor).is_multiple_of(prefill_tensor.min(decode_tensor)) {
        return Err(PlanError::IncompatibleTensorParallelism {
            prefill: prefill_tensor,
            decode: decode_tensor,
        });
    }
    let kv_cache_dtype = |group| {
        value(&args_for_group(intent, group), KV_CACHE_DTYPE_FLAG).unwrap_or_else(|| "not set".into())
    };
    let (prefill, decode) = (kv_cache_dtype(prefill), kv_cache_dtype(decode));
    if prefill != decode {
        return Err(PlanError::RoleFlagMismatch { flag: KV_CACHE_DTYPE_FLAG, prefill, decode });
    }
    Ok(())
}

/// Warnings about a topology that is valid but whose effect is missing or uncertain.
pub(super) fn topology_warnings(intent: &ServingIntent) -> Vec<PlanWarning> {
    let mut warnings = Vec::new();
    let groups = intent.topology.groups();
    // The KV router selects among the workers that process prompts: aggregated and prefill workers.
    let routed = groups.iter().find(|(role, _)| *role != WorkerRole::Decode);
    if let Some((role, group)) = routed.filter(|_| intent.router.mode == RouterMode::Kv)
        && group.replicas.saturating_mul(group.parallelism.data) <= 1
    {
        let component = match role {
            WorkerRole::Prefill => "prefill worker",
            WorkerRole::Frontend | WorkerRole::Aggregated | WorkerRole::Decode => "worker",
        };
        warnings.push(PlanWarning::SingleWorkerKvRouter { component });
    }
    let disaggregated = matches!(intent.topology, Topology::Disaggregated { .. });
    let with_pipeline = groups.iter().find(|(_, group)| group.parallelism.pipeline > 1);
    if let Some((role, _)) = with_pipeline.filter(|_| disaggregated && intent.backend == Backend::Vllm) {
        warnings.push(PlanWarning::PipelineKvTransfer { component: role.component_name() });
    }
    warnings
}
