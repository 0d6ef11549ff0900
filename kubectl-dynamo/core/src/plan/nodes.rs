//! Checks whether the operators can start a multi-node worker. The operators divide the GPUs of a replica by
//! the number of nodes, and they add vLLM's multi-node flags based on the parallel sizes and the GPUs of a
//! pod. This module must reject every split that they cannot express.

use super::PlanError;
use crate::intent::{Backend, Parallelism, ServingIntent, WorkerGroup, WorkerRole};
use crate::release::{Executor, Release};

/// Rejects worker groups that the operators cannot start.
///
/// # Errors
/// Multi-node mocker workers, unequal shares, splits without a launch mode, and arguments that a shell would
/// change.
pub(super) fn check(intent: &ServingIntent, release: &Release) -> Result<(), PlanError> {
    intent
        .topology
        .groups()
        .into_iter()
        .try_for_each(|(role, group)| check_group(intent, release, role, group))
}

fn check_group(
    intent: &ServingIntent,
    release: &Release,
    role: WorkerRole,
    group: &WorkerGroup,
) -> Result<(), PlanError> {
    let (component, nodes) = (role.component_name(), group.nodes);
    if nodes <= 1 {
        return Ok(());
    }
    if intent.backend == Backend::Mocker {
        return Err(PlanError::MultiNodeUnsupportedByMocker { component, nodes });
    }
    if let Some(reason) = unsupported_split_reason(group.parallelism, nodes) {
        return Err(PlanError::UnsupportedNodeCount { component, nodes, reason });
    }
    let args = intent.engine_args.iter().chain(&group.engine_args).map(String::as_str);
    let mut args = args.chain(intent.parsers.names().map(|(_, name)| name));
    match (release.executor, args.find(|arg| needs_quotes(arg))) {
        (Executor::Ray, Some(arg)) => {
            Err(PlanError::UnquotedArgument { release: release.version, arg: arg.into() })
        }
        (Executor::Ray | Executor::Processes, _) => Ok(()),
    }
}

/// Why the GPUs of a replica cannot be split across this number of nodes, if they cannot. The operator splits
/// either one model copy across all nodes, or places complete copies (data parallel) on each node, but not
/// both.
fn unsupported_split_reason(parallelism: Parallelism, nodes: u32) -> Option<String> {
    let gpus = parallelism.gpus();
    if !gpus.is_multiple_of(nodes) || gpus < nodes {
        return Some(format!("its {gpus} GPUs cannot be divided by {nodes}"));
    }
    let (copy, per_node) = (gpus / parallelism.data.max(1), gpus / nodes);
    if copy > per_node && parallelism.data > 1 {
        return Some(format!(
            "a model copy uses {copy} GPUs, but a node has {per_node}; with data parallelism each node needs complete copies"
        ));
    }
    (copy <= per_node && !per_node.is_multiple_of(copy)).then(|| {
        format!("the {per_node} GPUs per node are not a multiple of the {copy} GPUs of a model copy")
    })
}

/// Whether a POSIX shell would change the argument.
fn needs_quotes(arg: &str) -> bool {
    let is_plain_char = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    arg.is_empty() || !arg.chars().all(is_plain_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_one_replica_or_each_has_complete_replicas() {
        let new_parallelism = |tensor, pipeline, data| Parallelism { tensor, pipeline, data, expert: false };
        for (parallelism, nodes, is_supported) in [
            (new_parallelism(8, 2, 1), 2, true),
            (new_parallelism(16, 1, 1), 2, true),
            (new_parallelism(1, 1, 16), 2, true),
            (new_parallelism(4, 1, 4), 2, true),
            (new_parallelism(8, 1, 1), 3, false),
            (new_parallelism(1, 1, 1), 2, false),
            (new_parallelism(8, 2, 2), 4, false),
            (new_parallelism(3, 1, 4), 6, false),
        ] {
            assert_eq!(
                unsupported_split_reason(parallelism, nodes).is_none(),
                is_supported,
                "{parallelism:?} on {nodes}"
            );
        }
    }

    #[test]
    fn json_and_blanks_need_quotes() {
        for arg in ["{\"a\":1}", "a b", "$HOME", "a;b", "*", ""] {
            assert!(needs_quotes(arg), "{arg}");
        }
        for arg in ["--max-model-len", "8192", "--dtype=bfloat16", "0.90", "org/name"] {
            assert!(!needs_quotes(arg), "{arg}");
        }
    }
}
