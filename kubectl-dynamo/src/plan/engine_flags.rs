//! What a person's own engine flags may not say beside the rest of a plan: names that the release's vLLM does not have,
//! and flags against what this program says itself. The engine would find out too, on a GPU.

use super::error::PlanError;
use super::warning::PlanWarning;
use super::{environment, kv_offload};
use crate::intent::engine_flags::{has, names, value, values};
use crate::intent::{Backend, RouterMode, ServingIntent, Topology, WorkerGroup, WorkerRole};
use crate::release::{ConnectorSpelling, Release};

/// 0.9.1's own names of connectors; the last two are none.
const CONNECTORS: [&str; 5] = ["nixl", "lmcache", "kvbm", "none", "null"];

/// A flag by which a person chooses a KV connector.
pub(super) const CONNECTOR: &str = "--connector";
/// The same, as JSON.
pub(super) const TRANSFER: &str = "--kv-transfer-config";
/// What a worker announces, and where.
pub(super) const EVENTS: &str = "--kv-events-config";

/// What prefill and decode must say alike: vLLM's NIXL connector compares it before it hands blocks over.
const PRECISION: &str = "--kv-cache-dtype";

/// The flags of one kind of worker, those of all workers first.
pub(super) fn of_role(intent: &ServingIntent, group: &WorkerGroup) -> Vec<String> {
    intent.engine_args.iter().chain(&group.engine_args).cloned().collect()
}

/// Checks the flags of every kind of worker. What is only to be told comes back.
///
/// # Errors
/// Flags that the release's engine ends at, and flags that contradict the rest of the wish.
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
        let args = of_role(intent, group);
        check_connector(intent, release, role, &args)?;
        check_events(intent, role, &args)?;
        warnings.extend(check_names(intent, release, version, &args)?);
    }
    if let Topology::Disaggregated { prefill, decode } = &intent.topology {
        check_hand_over(intent, prefill, decode)?;
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
    let given = values(args, CONNECTOR);
    let unknown = given.iter().flatten().find(|name| !CONNECTORS.contains(&name.as_str()));
    match (release.connector_spelling, &given, unknown) {
        (ConnectorSpelling::KvTransferConfig, Some(_), _) => {
            return Err(PlanError::ConnectorWentAway { release: release.version });
        }
        (ConnectorSpelling::Connector, Some(_), Some(name)) => {
            return Err(PlanError::UnknownConnector { release: release.version, given: name.clone() });
        }
        (ConnectorSpelling::Connector, _, _) | (ConnectorSpelling::KvTransferConfig, None, _) => {}
    }
    let own = [CONNECTOR, TRANSFER].into_iter().find(|flag| has(args, flag));
    match own.filter(|_| intent.kv_offload.is_some() && kv_offload::offloads(role)) {
        Some(flag) => Err(PlanError::FlagAgainstOurs {
            flag,
            ours: "--kv-offload",
            why: "both choose the KV connector",
        }),
        None => Ok(()),
    }
}

fn check_events(intent: &ServingIntent, role: WorkerRole, args: &[String]) -> Result<(), PlanError> {
    let announces =
        intent.router.mode == RouterMode::Kv && intent.router.kv_events && role != WorkerRole::Decode;
    let off = "--no-enable-prefix-caching";
    let is_off = has(args, off) || value(args, "--enable-prefix-caching").as_deref() == Some("false");
    if announces && is_off {
        let why = "the router hears of blocks only where they are kept for reuse";
        return Err(PlanError::FlagAgainstOurs { flag: off, ours: "--router-mode kv", why });
    }
    Ok(())
}

/// Names that the engine does not have. A release that is only stood in for, and an image of the person's own, may know
/// more than the table.
fn check_names(
    intent: &ServingIntent,
    release: &'static Release,
    version: &str,
    args: &[String],
) -> Result<Vec<PlanWarning>, PlanError> {
    let own_image = |image: &String| !image.ends_with(&format!("/vllm-runtime:{version}"));
    let may_know_more = !release.tells_of(version) || intent.placement.image.as_ref().is_some_and(own_image);
    let args: Vec<String> = environment::for_a_worker(args, release).cloned().collect();
    let mut warnings = Vec::new();
    for names::UnknownFlag { flag, nearest, known_elsewhere } in names::unknown(release.version, &args) {
        if !may_know_more {
            let release = release.version;
            return Err(PlanError::UnknownEngineFlag { release, flag, nearest, elsewhere: known_elsewhere });
        }
        warnings.push(PlanWarning::UnknownEngineFlag { release: release.version, flag });
    }
    Ok(warnings)
}

/// Checks the names among a worker's own arguments, as a file's graph has them.
///
/// # Errors
/// Names that the release's engine does not have.
pub fn check_engine_names(release: &'static Release, args: &[String]) -> Result<(), PlanError> {
    match (release.connector_spelling, names::unknown(release.version, args).into_iter().next()) {
        (ConnectorSpelling::KvTransferConfig, _) if has(args, CONNECTOR) => {
            Err(PlanError::ConnectorWentAway { release: release.version })
        }
        (_, Some(names::UnknownFlag { flag, nearest, known_elsewhere: elsewhere })) => {
            Err(PlanError::UnknownEngineFlag { release: release.version, flag, nearest, elsewhere })
        }
        (_, None) => Ok(()),
    }
}

/// What prefill and decode must have in common.
fn check_hand_over(
    intent: &ServingIntent,
    prefill: &WorkerGroup,
    decode: &WorkerGroup,
) -> Result<(), PlanError> {
    let (ours, theirs) = (prefill.parallelism.tensor.max(1), decode.parallelism.tensor.max(1));
    // vLLM asserts it for the pair (`tp_ratio` of its transfer topology).
    if !ours.max(theirs).is_multiple_of(ours.min(theirs)) {
        return Err(PlanError::TensorRatio { prefill: ours, decode: theirs });
    }
    let precision = |group| value(&of_role(intent, group), PRECISION).unwrap_or_else(|| "nothing".into());
    let (prefill, decode) = (precision(prefill), precision(decode));
    if prefill != decode {
        return Err(PlanError::RolesDiffer { flag: PRECISION, prefill, decode });
    }
    Ok(())
}

/// What to know of a shape that can be.
pub(super) fn shape_warnings(intent: &ServingIntent) -> Vec<PlanWarning> {
    let mut warnings = Vec::new();
    let groups = intent.topology.groups();
    // By cache, the router picks where prompts are read: aggregated and prefill workers.
    let routed = groups.iter().find(|(role, _)| *role != WorkerRole::Decode);
    if let Some((role, group)) = routed.filter(|_| intent.router.mode == RouterMode::Kv)
        && group.replicas.saturating_mul(group.parallelism.data) <= 1
    {
        let component = match role {
            WorkerRole::Prefill => "prefill worker",
            WorkerRole::Frontend | WorkerRole::Combined | WorkerRole::Decode => "worker",
        };
        warnings.push(PlanWarning::OneWorker { component });
    }
    let disaggregated = matches!(intent.topology, Topology::Disaggregated { .. });
    let staged = groups.iter().find(|(_, group)| group.parallelism.pipeline > 1);
    if let Some((role, _)) = staged.filter(|_| disaggregated && intent.backend == Backend::Vllm) {
        warnings.push(PlanWarning::StagesHandOver { component: role.component_name() });
    }
    warnings
}
