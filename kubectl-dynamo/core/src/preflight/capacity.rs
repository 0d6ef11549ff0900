//! Checks of GPU capacity: whether nodes have GPUs, and whether the pods of a plan can be placed on them.
//!
//! Pods that can never be placed fail the check. Pods that need GPUs of other pods or new nodes are pending.

use super::placement::{NodeExclusion, count_unplaced_pods, free_gpus, node_exclusion};
use super::requests::{ComponentRequests, component_requests};
use super::{CheckProblem, CheckResult, ClusterFacts, Fact, Node, Platform, PodUsage, PreflightInput};
use crate::code::MessageCode;
use crate::command::{SuggestedCommand, UNKNOWN_MODEL};
use crate::intent::{Topology, WorkerRole};

/// Maximum number of names in a message. Further names are only counted.
const MAX_NAMES: usize = 3;

/// Checks that the cluster has GPUs, if no objects will be applied.
pub(super) fn gpus(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    if !input.resources.is_empty() {
        return None;
    }
    let nodes = match &facts.nodes {
        Fact::Known(nodes) => gpu_nodes(nodes),
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    if nodes.is_empty() {
        return Some(CheckResult::Warning(no_gpus_problem()));
    }
    let all: u64 = nodes.iter().map(|node| node.gpus).sum();
    let node_list = node_names(&nodes);
    Some(match &facts.pods {
        Fact::Known(pods) => {
            let free_gpus: u64 = free_gpus(nodes.into_iter(), pods, |_| true).values().sum();
            CheckResult::Passed(format!("{free_gpus} of {all} GPUs free on {node_list}"))
        }
        _ => CheckResult::Passed(format!("{all} GPUs on {node_list}")),
    })
}

/// Checks that the starting pods can be placed on free GPUs.
pub(super) fn gpu_placement(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let components = gpu_components(input);
    if components.is_empty() {
        return None;
    }
    let nodes = match &facts.nodes {
        Fact::Known(nodes) => nodes,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    if let Some(problem) = unplaceable_problem(nodes, facts, input, &components) {
        return Some(pending_if_autoscaled(facts, problem));
    }
    let Fact::Known(pods) = &facts.pods else {
        return Some(CheckResult::Skipped(match &facts.pods {
            Fact::Unavailable(reason) => format!("free GPUs are unknown: {reason}"),
            _ => "free GPUs are unknown".into(),
        }));
    };
    let usable_nodes = usable_nodes(nodes, &components);
    let free_gpus = free_gpus(usable_nodes.iter().copied(), pods, |_| true);
    let total: u64 = free_gpus.values().sum();
    let needed: u64 = components.iter().map(ComponentRequests::total_gpus).fold(0, u64::saturating_add);
    let node_list = node_names(&usable_nodes);
    Some(match count_unplaced_pods(&components, nodes, &free_gpus) {
        0 => CheckResult::Passed(format!("{needed} GPUs needed, {total} free on {node_list}")),
        waiting => CheckResult::Pending(CheckProblem::new(
            MessageCode::NotEnoughGpus,
            format!(
                "{needed} GPUs needed, {total} free on {node_list}: {} for free GPUs",
                waiting_pods_text(waiting)
            ),
            get_all_pods()
                .flag("-o")
                .flag("wide")
                .after("pods start when GPUs become free; find the pods that use them with "),
        )),
    })
}

/// Checks that prefill and decode can transfer KV cache over RDMA instead of TCP.
pub(super) fn rdma(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let topology = &input.plan?.intent.topology;
    let components = gpu_components(input);
    if components.is_empty() || !matches!(topology, Topology::Disaggregated { .. }) {
        return None;
    }
    let usable_nodes = usable_nodes(facts.nodes.known()?, &components);
    let nodes_without_rdma: Vec<&Node> = usable_nodes.iter().copied().filter(|node| !node.rdma).collect();
    if usable_nodes.is_empty() {
        return None;
    }
    Some(if nodes_without_rdma.is_empty() {
        CheckResult::Passed(format!("RDMA devices on {}", node_names(&usable_nodes)))
    } else {
        CheckResult::Warning(CheckProblem::new(
            MessageCode::RdmaNotAvailable,
            format!("no RDMA device on {}: KV transfer uses TCP there", node_names(&nodes_without_rdma)),
            SuggestedCommand::kubectl("describe nodes").cluster_scoped().after(format!(
                "use nodes with RDMA devices, or run {} and {} on the same nodes; inspect them with ",
                WorkerRole::Prefill,
                WorkerRole::Decode
            )),
        ))
    })
}

/// Returns the GPU line of the plan's screen: needed and free GPUs, and the excluded nodes with the reason.
pub fn gpu_line(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<String> {
    let components = gpu_components(input);
    let first = components.first()?;
    let nodes = facts.nodes.known()?;
    let needed: u64 = components.iter().map(ComponentRequests::total_gpus).fold(0, u64::saturating_add);
    let usable_nodes = usable_nodes(nodes, &components);
    let mut line = match facts.pods.known() {
        Some(pods) if !usable_nodes.is_empty() => {
            let free_gpus: u64 = free_gpus(usable_nodes.iter().copied(), pods, |_| true).values().sum();
            format!("{needed} needed, {free_gpus} free on {}", node_names(&usable_nodes))
        }
        _ => format!("{needed} needed"),
    };
    let excluded: Vec<String> = gpu_nodes(nodes)
        .into_iter()
        .filter_map(|node| Some(format!("{} excluded: {}", node.name, node_exclusion(node, first)?)))
        .collect();
    if !excluded.is_empty() {
        line.push_str(" · ");
        line.push_str(&abbreviate(&excluded));
    }
    Some(line)
}

/// Returns the components that start pods with GPUs.
pub(super) fn gpu_components(input: &PreflightInput<'_>) -> Vec<ComponentRequests> {
    component_requests(input).into_iter().filter(|one| one.total_gpus() > 0).collect()
}

fn gpu_nodes(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().filter(|node| node.gpus > 0).collect()
}

/// Returns the GPU nodes that can run pods of at least one component.
pub(super) fn usable_nodes<'a>(nodes: &'a [Node], components: &[ComponentRequests]) -> Vec<&'a Node> {
    let accepts_pods = |node: &&Node| components.iter().any(|one| node_exclusion(node, one).is_none());
    gpu_nodes(nodes).into_iter().filter(accepts_pods).collect()
}

/// Returns why these pods could not all run even if no other pod used GPUs.
fn unplaceable_problem(
    nodes: &[Node],
    facts: &ClusterFacts,
    input: &PreflightInput<'_>,
    components: &[ComponentRequests],
) -> Option<CheckProblem> {
    let (pods, namespace) = (facts.pods.known(), &facts.namespace);
    let with_gpus = gpu_nodes(nodes);
    if with_gpus.is_empty() {
        return Some(no_gpus_problem());
    }
    let platform = facts.platform.known().and_then(Option::as_ref);
    let multinode = match input.starting_pods {
        None if platform.is_some_and(Platform::can_span_nodes) => MultinodeAdvice::Possible,
        _ => MultinodeAdvice::Refused,
    };
    if let Some(problem) = components.iter().find_map(|one| unschedulable_problem(&with_gpus, one, multinode))
    {
        return Some(problem);
    }
    // Nodes that are not ready or cordoned may recover.
    let recovered_nodes: Vec<Node> =
        nodes.iter().map(|node| Node { ready: true, cordoned: false, ..node.clone() }).collect();
    let is_own_pod = |pod: &PodUsage| {
        let is_same_graph = |graph: &String| components.iter().any(|one| one.graph == *graph);
        pod.namespace == *namespace && pod.graph.as_ref().is_some_and(is_same_graph)
    };
    let no_pods = Vec::new();
    let available_gpus =
        free_gpus(recovered_nodes.iter().filter(|node| node.gpus > 0), pods.unwrap_or(&no_pods), is_own_pod);
    let waiting = count_unplaced_pods(components, &recovered_nodes, &available_gpus);
    let needed: u64 = components.iter().map(ComponentRequests::total_gpus).fold(0, u64::saturating_add);
    (waiting > 0).then(|| {
        let all: u64 = usable_nodes(&recovered_nodes, components).iter().map(|node| node.gpus).sum();
        let own_gpus: u64 = pods.into_iter().flatten().filter(|pod| is_own_pod(pod)).map(|pod| pod.gpus).sum();
        let text = match own_gpus {
            0 => format!("{needed} GPUs needed, but the matching nodes have {all}: {} indefinitely", waiting_pods_text(waiting)),
            own_gpus => format!(
                "the change needs {needed} GPUs in addition to the {own_gpus} in use, but the matching nodes have {all}: {} indefinitely",
                waiting_pods_text(waiting)
            ),
        };
        let model = input.plan.map(|plan| plan.intent.model.to_string()).unwrap_or_default();
        let list_sizes = SuggestedCommand::plugin("fit").operand(&model, UNKNOWN_MODEL);
        let hint = list_sizes.after("request fewer GPUs with --replicas or --tp; list what fits with ");
        CheckProblem::new(MessageCode::NotEnoughGpus, text, hint)
    })
}

/// Returns why no node can run a pod of the component, independent of free GPUs.
fn unschedulable_problem(
    with_gpus: &[&Node],
    component: &ComponentRequests,
    multinode: MultinodeAdvice,
) -> Option<CheckProblem> {
    let (name, gpus) = (&component.name, component.gpus);
    let reasons: Vec<(&Node, NodeExclusion)> =
        with_gpus.iter().filter_map(|node| Some((*node, node_exclusion(node, component)?))).collect();
    let find_reason =
        |is_match: fn(&NodeExclusion) -> bool| reasons.iter().find(|(_, reason)| is_match(reason));
    // Temporary reasons do not prevent the start of `up`.
    let is_transient =
        |reason: &NodeExclusion| matches!(reason, NodeExclusion::NotReady | NodeExclusion::Cordoned);
    let eligible_nodes: Vec<&Node> = with_gpus
        .iter()
        .copied()
        .filter(|node| node_exclusion(node, component).is_none_or(|reason| is_transient(&reason)))
        .collect();
    if eligible_nodes.is_empty() {
        return Some(match find_reason(|reason| matches!(reason, NodeExclusion::Taint(_))) {
            Some((node, NodeExclusion::Taint(key))) => CheckProblem::new(
                MessageCode::UntoleratedTaint,
                format!(
                    "no GPU node can run component \"{name}\": node \"{}\" has the untolerated taint \"{key}\"",
                    node.name
                ),
                format!("tolerate the taint with --toleration {key}"),
            ),
            _ => CheckProblem::new(
                MessageCode::NoMatchingNode,
                format!(
                    "no GPU node can run component \"{name}\": no node has the labels {}",
                    labels(component)
                ),
                SuggestedCommand::kubectl("get nodes")
                    .flag("--show-labels")
                    .cluster_scoped()
                    .after("compare --node-selector with the node labels: "),
            ),
        });
    }
    let max_gpus = eligible_nodes.iter().map(|node| node.gpus).max().unwrap_or(0);
    (max_gpus < gpus).then(|| {
        CheckProblem::new(
            MessageCode::TooManyGpusPerPod,
            format!("a pod of component \"{name}\" requests {gpus} GPUs, but no matching node has more than {max_gpus}"),
            oversized_worker_hint(component, max_gpus, multinode),
        )
    })
}

/// Whether workers that span several nodes are possible: not without an orchestrator, and not for an existing
/// deployment on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MultinodeAdvice {
    Possible,
    Refused,
}

/// Returns the flags that make the workers of a component fit.
fn oversized_worker_hint(component: &ComponentRequests, max_gpus: u64, multinode: MultinodeAdvice) -> String {
    let prefix = match component.name.as_str() {
        "prefill" => "prefill-",
        "decode" => "decode-",
        _ => "",
    };
    let fewer_gpus = format!("--{prefix}tp {max_gpus}");
    let nodes = (component.gpus * component.nodes).div_ceil(max_gpus.max(1));
    match multinode {
        MultinodeAdvice::Possible => {
            format!(
                "use several nodes per worker with --{prefix}nodes {nodes}, or fewer GPUs with {fewer_gpus}"
            )
        }
        MultinodeAdvice::Refused => format!("use fewer GPUs per worker with {fewer_gpus}"),
    }
}

fn labels(component: &ComponentRequests) -> String {
    let labels: Vec<String> =
        component.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(", ")
}

fn get_all_pods() -> SuggestedCommand {
    SuggestedCommand::kubectl("get pods").flag("-A")
}

fn no_gpus_problem() -> CheckProblem {
    CheckProblem::new(
        MessageCode::NoGpuNode,
        "no node has GPUs (nvidia.com/gpu)",
        get_all_pods()
            .after("check that the NVIDIA device plugin runs with ")
            .text(" | grep nvidia-device-plugin, or run without GPUs with --backend mocker"),
    )
}

/// Returns a pending result if an autoscaler may add the missing nodes or its presence is unknown, otherwise
/// a failure.
fn pending_if_autoscaled(facts: &ClusterFacts, problem: CheckProblem) -> CheckResult {
    let has_karpenter =
        facts.platform.known().and_then(Option::as_ref).is_some_and(|platform| platform.karpenter);
    match &facts.autoscaler {
        _ if has_karpenter => pending(problem, "; an autoscaler may add a node"),
        Fact::Known(true) => pending(problem, "; an autoscaler may add a node"),
        Fact::Known(false) => CheckResult::Failed(problem),
        Fact::Unavailable(_) | Fact::NotQueried => {
            pending(problem, "; it is unknown whether an autoscaler may add a node")
        }
    }
}

fn pending(problem: CheckProblem, reason: &str) -> CheckResult {
    CheckResult::Pending(CheckProblem { text: format!("{}{reason}", problem.text), ..problem })
}

fn waiting_pods_text(count: u64) -> String {
    if count == 1 { "1 pod waits".into() } else { format!("{count} pods wait") }
}

fn abbreviate(all: &[String]) -> String {
    match all.len().checked_sub(MAX_NAMES) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..MAX_NAMES].join(", ")),
    }
}

/// Joins node names, such as `gpu-01..03` for names that differ only in their last number.
fn node_names(nodes: &[&Node]) -> String {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    if names.len() > 2
        && let (Some(first), Some(last)) =
            (split_trailing_number(names[0]), names.last().and_then(|name| split_trailing_number(name)))
        && first.0 == last.0
        && first.1.len() == last.1.len()
        && usize::try_from(parse_number(last.1).saturating_sub(parse_number(first.1)))
            .is_ok_and(|span| span + 1 == names.len())
    {
        return format!("{}..{}", names[0], last.1);
    }
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    abbreviate(&names)
}

fn split_trailing_number(name: &str) -> Option<(&str, &str)> {
    let at = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    (at < name.len()).then(|| name.split_at(at))
}

fn parse_number(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
