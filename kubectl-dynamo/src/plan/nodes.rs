//! Workers that span nodes: which shapes the operators can start. They split by nodes what one replica needs and
//! add vLLM's own words for it themselves, from the parallel sizes and the GPUs of a pod.

use super::PlanError;
use crate::intent::{Backend, Parallelism, ServingIntent, WorkerGroup, WorkerRole};
use crate::release::{Executor, Release};

/// Refuses what no operator can start, for every group of the wish.
///
/// # Errors
/// A mocker on several nodes, unequal shares, shares that no launch mode fits, arguments that a shell would eat.
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
        return Err(PlanError::NodesOfMocker { component, nodes });
    }
    if let Some(reason) = misfit(group.parallelism, nodes) {
        return Err(PlanError::Nodes { component, nodes, reason });
    }
    let mut args = intent.engine_args.iter().chain(&group.engine_args);
    match (release.executor, args.find(|arg| needs_quotes(arg))) {
        (Executor::Ray, Some(arg)) => {
            Err(PlanError::UnquotedArgument { release: release.version, arg: arg.clone() })
        }
        (Executor::Ray | Executor::Processes, _) => Ok(()),
    }
}

/// Why this many nodes cannot share a replica's GPUs. The operator either spreads one copy of the model over all
/// nodes, or whole copies (data parallel) over each; it has no words for both at once.
fn misfit(parallelism: Parallelism, nodes: u32) -> Option<String> {
    let gpus = parallelism.gpus();
    if !gpus.is_multiple_of(nodes) || gpus < nodes {
        return Some(format!("its {gpus} GPUs are not divisible by {nodes}"));
    }
    let (copy, per_node) = (gpus / parallelism.data.max(1), gpus / nodes);
    if copy > per_node && parallelism.data > 1 {
        return Some(format!(
            "a copy of the model takes {copy} GPUs and a node gives {per_node}; with data parallel each node must hold whole copies"
        ));
    }
    (copy <= per_node && !per_node.is_multiple_of(copy))
        .then(|| format!("{per_node} GPUs of a node do not hold a whole number of copies of {copy} GPUs"))
}

/// Whether a POSIX shell would read the argument as anything but itself.
fn needs_quotes(arg: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    arg.is_empty() || !arg.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_over_all_nodes_or_whole_copies_on_each() {
        let shape = |tensor, pipeline, data| Parallelism { tensor, pipeline, data, expert: false };
        for (parallelism, nodes, fits) in [
            (shape(8, 2, 1), 2, true),
            (shape(16, 1, 1), 2, true),
            (shape(1, 1, 16), 2, true),
            (shape(4, 1, 4), 2, true),
            (shape(8, 1, 1), 3, false),
            (shape(1, 1, 1), 2, false),
            (shape(8, 2, 2), 4, false),
            (shape(3, 1, 4), 6, false),
        ] {
            assert_eq!(misfit(parallelism, nodes).is_none(), fits, "{parallelism:?} on {nodes}");
        }
    }

    #[test]
    fn a_shell_would_change_json_and_blanks() {
        for arg in ["{\"a\":1}", "a b", "$HOME", "a;b", "*", ""] {
            assert!(needs_quotes(arg), "{arg}");
        }
        for arg in ["--max-model-len", "8192", "--dtype=bfloat16", "0.90", "org/name"] {
            assert!(!needs_quotes(arg), "{arg}");
        }
    }
}
