//! GPUs: whether nodes offer them, whether the pods of a plan can be placed on them at all, and whether they can now.
//! What cannot ever be is refused; what a pod's end or a new node brings is waited for, and said.

use super::demand::{ComponentDemand, demand};
use super::placement::{LeftOut, free, left_out, unplaced};
use super::{ClusterFacts, Fact, Node, Outcome, PodUse, Problem, Subject};
use crate::error::Exit;
use crate::intent::{Topology, WorkerRole};

/// Names shown before the rest is counted.
const SHOWN: usize = 3;

/// The cluster's GPUs, where nothing is to be placed on them.
pub(super) fn gpus(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    if !subject.resources.is_empty() {
        return None;
    }
    let nodes = match &facts.nodes {
        Fact::Known(nodes) => gpu_nodes(nodes),
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    if nodes.is_empty() {
        return Some(Outcome::Warning(no_gpus()));
    }
    let all: u64 = nodes.iter().map(|node| node.gpus).sum();
    let on = names(&nodes);
    Some(match &facts.pods {
        Fact::Known(pods) => {
            let free: u64 = free(nodes.into_iter(), pods, |_| true).values().sum();
            Outcome::Passed(format!("{free} of {all} GPUs free on {on}"))
        }
        _ => Outcome::Passed(format!("{all} GPUs on {on}")),
    })
}

/// Whether the pods that will start find GPUs.
pub(super) fn gpu_placement(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let components = wanting(subject);
    if components.is_empty() {
        return None;
    }
    let nodes = match &facts.nodes {
        Fact::Known(nodes) => nodes,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    if let Some(problem) = never(nodes, facts, &components) {
        return Some(unless_nodes_come(facts, problem));
    }
    let Fact::Known(pods) = &facts.pods else {
        return Some(Outcome::Skipped(match &facts.pods {
            Fact::Hidden(why) => format!("what is free is not known: {why}"),
            _ => "what is free was not asked".into(),
        }));
    };
    let usable = usable(nodes, &components);
    let free = free(usable.iter().copied(), pods, |_| true);
    let total: u64 = free.values().sum();
    let needed: u64 = components.iter().map(ComponentDemand::all_gpus).sum();
    let on = names(&usable);
    Some(match unplaced(&components, nodes, &free) {
        0 => Outcome::Passed(format!("{needed} GPUs needed, {total} free on {on}")),
        waiting => Outcome::Waits(Problem::new(
            "KD0303",
            Exit::DoesNotFit,
            format!("{needed} GPUs are needed and {total} free on {on}: {} for some", pods_wait(waiting)),
            "they start by themselves when GPUs come free; see who holds them: kubectl get pods -A -o wide",
        )),
    })
}

/// Whether prefill and decode can hand KV cache over without the host's TCP.
pub(super) fn rdma(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let topology = &subject.plan?.intent.topology;
    let components = wanting(subject);
    if components.is_empty() || !matches!(topology, Topology::Disaggregated { .. }) {
        return None;
    }
    let usable = usable(facts.nodes.known()?, &components);
    let without: Vec<&Node> = usable.iter().copied().filter(|node| !node.rdma).collect();
    if usable.is_empty() {
        return None;
    }
    Some(if without.is_empty() {
        Outcome::Passed(format!("RDMA devices on {}", names(&usable)))
    } else {
        Outcome::Warning(Problem::new(
            "KD0814",
            Exit::DoesNotFit,
            format!("no RDMA device on {}: KV cache moves over TCP there", names(&without)),
            format!(
                "compare with one GPU pool, or let {} and {} share nodes; see: kubectl describe nodes",
                WorkerRole::Prefill,
                WorkerRole::Decode
            ),
        ))
    })
}

/// What the plan's screen says of GPUs: needed, free and where, and which nodes are left out and why.
pub fn gpu_line(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<String> {
    let components = wanting(subject);
    let first = components.first()?;
    let nodes = facts.nodes.known()?;
    let needed: u64 = components.iter().map(ComponentDemand::all_gpus).sum();
    let usable = usable(nodes, &components);
    let mut line = match facts.pods.known() {
        Some(pods) if !usable.is_empty() => {
            let free: u64 = free(usable.iter().copied(), pods, |_| true).values().sum();
            format!("{needed} needed, {free} free on {}", names(&usable))
        }
        _ => format!("{needed} needed"),
    };
    let out: Vec<String> = gpu_nodes(nodes)
        .into_iter()
        .filter_map(|node| Some(format!("{} left out: {}", node.name, left_out(node, first)?)))
        .collect();
    if !out.is_empty() {
        line.push_str(" · ");
        line.push_str(&shortened(&out));
    }
    Some(line)
}

/// The components with GPUs that start any pod.
pub(super) fn wanting(subject: &Subject<'_>) -> Vec<ComponentDemand> {
    demand(subject).into_iter().filter(|one| one.all_gpus() > 0).collect()
}

fn gpu_nodes(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().filter(|node| node.gpus > 0).collect()
}

/// The GPU nodes that take pods of any of the components.
pub(super) fn usable<'a>(nodes: &'a [Node], components: &[ComponentDemand]) -> Vec<&'a Node> {
    let takes = |node: &&Node| components.iter().any(|one| left_out(node, one).is_none());
    gpu_nodes(nodes).into_iter().filter(takes).collect()
}

/// Why these pods could not all run here even if everything else ended.
fn never(nodes: &[Node], facts: &ClusterFacts, components: &[ComponentDemand]) -> Option<Problem> {
    let (pods, namespace) = (facts.pods.known(), &facts.namespace);
    let with_gpus = gpu_nodes(nodes);
    if with_gpus.is_empty() {
        return Some(no_gpus());
    }
    if let Some(problem) = components.iter().find_map(|one| no_node(&with_gpus, one)) {
        return Some(problem);
    }
    // Nodes that are down for now come back.
    let back: Vec<Node> =
        nodes.iter().map(|node| Node { ready: true, cordoned: false, ..node.clone() }).collect();
    let own = |pod: &PodUse| {
        let of_graph = |graph: &String| components.iter().any(|one| one.graph == *graph);
        pod.namespace == *namespace && pod.graph.as_ref().is_some_and(of_graph)
    };
    let none = Vec::new();
    let most = free(back.iter().filter(|node| node.gpus > 0), pods.unwrap_or(&none), own);
    let waiting = unplaced(components, &back, &most);
    let needed: u64 = components.iter().map(ComponentDemand::all_gpus).sum();
    (waiting > 0).then(|| {
        let all: u64 = usable(&back, components).iter().map(|node| node.gpus).sum();
        let held: u64 = pods.into_iter().flatten().filter(|pod| own(pod)).map(|pod| pod.gpus).sum();
        let text = match held {
            0 => format!("{needed} GPUs are needed and the nodes that fit have {all}: {} for ever", pods_wait(waiting)),
            held => format!(
                "the change needs {needed} GPUs on top of the {held} it holds, and the nodes that fit have {all}: {} for ever",
                pods_wait(waiting)
            ),
        };
        Problem::new("KD0303", Exit::DoesNotFit, text, "ask for fewer: --replicas or --tp; see what fits: kubectl dynamo fit MODEL")
    })
}

/// Why no node takes a pod of the component, whatever is free.
fn no_node(with_gpus: &[&Node], component: &ComponentDemand) -> Option<Problem> {
    let (name, gpus) = (&component.name, component.gpus);
    let reasons: Vec<(&Node, LeftOut)> =
        with_gpus.iter().filter_map(|node| Some((*node, left_out(node, component)?))).collect();
    let of = |wanted: fn(&LeftOut) -> bool| reasons.iter().find(|(_, why)| wanted(why));
    // What passes by itself keeps nothing from beginning.
    let passes = |why: &LeftOut| matches!(why, LeftOut::NotReady | LeftOut::Cordoned);
    let takes: Vec<&Node> = with_gpus
        .iter()
        .copied()
        .filter(|node| left_out(node, component).is_none_or(|why| passes(&why)))
        .collect();
    if takes.is_empty() {
        return Some(match of(|why| matches!(why, LeftOut::Taint(_))) {
            Some((node, LeftOut::Taint(key))) => Problem::new(
                "KD0305",
                Exit::DoesNotFit,
                format!(
                    "no GPU node takes {name}: {} has the taint {key}, which is not tolerated",
                    node.name
                ),
                format!("tolerate it: add --toleration {key}"),
            ),
            _ => Problem::new(
                "KD0306",
                Exit::DoesNotFit,
                format!("no GPU node takes {name}: none has the labels {}", labels(component)),
                "compare --node-selector with: kubectl get nodes --show-labels",
            ),
        });
    }
    let most = takes.iter().map(|node| node.gpus).max().unwrap_or(0);
    (most < gpus).then(|| {
        Problem::new(
            "KD0307",
            Exit::DoesNotFit,
            format!("a pod of {name} asks for {gpus} GPUs, and no node that fits has more than {most}"),
            format!(
                "split a worker over nodes: --nodes {}, or ask for fewer: --tp {most}",
                (gpus * component.nodes).div_ceil(most.max(1))
            ),
        )
    })
}

fn labels(component: &ComponentDemand) -> String {
    let labels: Vec<String> =
        component.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(", ")
}

fn no_gpus() -> Problem {
    Problem::new(
        "KD0308",
        Exit::DoesNotFit,
        "no node offers GPUs (nvidia.com/gpu)",
        "see whether NVIDIA's device plugin runs: kubectl get pods -A | grep nvidia-device-plugin; or try without GPUs: --backend mocker",
    )
}

/// A cluster that grows by itself may bring what it lacks; one of which nobody can tell might.
fn unless_nodes_come(facts: &ClusterFacts, problem: Problem) -> Outcome {
    let grows = facts.platform.known().and_then(Option::as_ref).is_some_and(|platform| platform.karpenter);
    match &facts.autoscaler {
        _ if grows => waits(problem, "; an autoscaler may bring a node"),
        Fact::Known(true) => waits(problem, "; an autoscaler may bring a node"),
        Fact::Known(false) => Outcome::Failed(problem),
        Fact::Hidden(_) | Fact::Unasked => {
            waits(problem, "; whether an autoscaler brings a node cannot be seen")
        }
    }
}

fn waits(problem: Problem, why: &str) -> Outcome {
    Outcome::Waits(Problem { text: format!("{}{why}", problem.text), ..problem })
}

fn pods_wait(count: u64) -> String {
    if count == 1 { "1 pod waits".into() } else { format!("{count} pods wait") }
}

fn shortened(all: &[String]) -> String {
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..SHOWN].join(", ")),
    }
}

/// `gpu-01..03` for names that differ in their last number alone.
fn names(nodes: &[&Node]) -> String {
    let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    names.sort_unstable();
    if names.len() > 2
        && let (Some(first), Some(last)) = (numbered(names[0]), names.last().and_then(|name| numbered(name)))
        && first.0 == last.0
        && first.1.len() == last.1.len()
        && usize::try_from(number(last.1).saturating_sub(number(first.1)))
            .is_ok_and(|span| span + 1 == names.len())
    {
        return format!("{}..{}", names[0], last.1);
    }
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    shortened(&names)
}

fn numbered(name: &str) -> Option<(&str, &str)> {
    let at = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    (at < name.len()).then(|| name.split_at(at))
}

fn number(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
