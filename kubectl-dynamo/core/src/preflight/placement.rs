//! Estimates on which nodes pods can run and whether all starting pods get their GPUs.
//!
//! Pods are placed like a bin-packing scheduler does: the largest first, each on the node with the least
//! sufficient space. The estimate ignores affinities and the policies of other schedulers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ComponentRequests, Node, PodUsage, Taint};

/// Why a node cannot run pods of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeExclusion {
    NotReady,
    Cordoned,
    /// The pod does not tolerate the taint with this key.
    Taint(String),
    /// The node does not have this label (`KEY=VALUE`).
    Label(String),
}

impl std::fmt::Display for NodeExclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => f.write_str("not ready"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Taint(key) => write!(f, "taint {key}"),
            Self::Label(label) => write!(f, "missing label {label}"),
        }
    }
}

/// Returns why a node cannot run pods of the component, or `None` if it can. Reasons that require a change by
/// the user take precedence over temporary ones.
pub(super) fn node_exclusion(node: &Node, pod: &ComponentRequests) -> Option<NodeExclusion> {
    let is_missing_label = |(key, value): &(&String, &String)| node.labels.get(*key) != Some(*value);
    if let Some((key, value)) = pod.node_selector.iter().find(is_missing_label) {
        return Some(NodeExclusion::Label(format!("{key}={value}")));
    }
    // Kubernetes' own taints repeat what `ready` and `cordoned` express.
    let is_untolerated = |taint: &&Taint| {
        taint.effect != "PreferNoSchedule"
            && !taint.key.starts_with("node.kubernetes.io/")
            && !pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = node.taints.iter().find(is_untolerated) {
        return Some(NodeExclusion::Taint(taint.key.clone()));
    }
    if node.cordoned {
        return Some(NodeExclusion::Cordoned);
    }
    (!node.ready).then_some(NodeExclusion::NotReady)
}

fn tolerates(toleration: &Value, taint: &Taint) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    let effect = text("effect").is_empty() || text("effect") == taint.effect;
    let key = text("key") == taint.key || (text("key").is_empty() && text("operator") == "Exists");
    let value = text("operator") == "Exists" || text("value") == taint.value;
    effect && key && value
}

/// Returns the number of free GPUs per node. Only pods for which `is_counted` returns true use GPUs.
pub(super) fn free_gpus<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    pods: &[PodUsage],
    is_counted: impl Fn(&PodUsage) -> bool,
) -> BTreeMap<&'a str, u64> {
    let gpus_in_use = |node: &Node| -> u64 {
        pods.iter().filter(|pod| pod.node == node.name && is_counted(pod)).map(|pod| pod.gpus).sum()
    };
    nodes.map(|node| (node.name.as_str(), node.gpus.saturating_sub(gpus_in_use(node)))).collect()
}

/// Returns the number of pods that do not fit when all pods are placed on the free GPUs.
pub(super) fn count_unplaced_pods(
    components: &[ComponentRequests],
    nodes: &[Node],
    free_gpus: &BTreeMap<&str, u64>,
) -> u64 {
    let mut free_gpus = free_gpus.clone();
    let mut pods: Vec<&ComponentRequests> = components.iter().filter(|one| one.gpus > 0).collect();
    pods.sort_by_key(|one| std::cmp::Reverse(one.gpus));
    let mut waiting = 0;
    for component in pods {
        let eligible_nodes: Vec<&Node> =
            nodes.iter().filter(|node| node_exclusion(node, component).is_none()).collect();
        // Pods of one component are identical, so they are placed per node instead of one by one.
        let mut unplaced = component.pods;
        while unplaced > 0 {
            let sufficient_gpus = |node: &&&Node| {
                free_gpus.get(node.name.as_str()).copied().filter(|gpus| *gpus >= component.gpus)
            };
            let Some(best) = eligible_nodes
                .iter()
                .filter(|node| sufficient_gpus(node).is_some())
                .min_by_key(|node| sufficient_gpus(node))
            else {
                break;
            };
            let Some(gpus) = free_gpus.get_mut(best.name.as_str()) else { break };
            let placed = unplaced.min(*gpus / component.gpus);
            *gpus -= placed * component.gpus;
            unplaced -= placed;
        }
        waiting += unplaced;
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, gpus: u64) -> Node {
        Node { name: name.into(), gpus, ready: true, ..Node::default() }
    }

    fn pods(pods: u64, gpus: u64) -> ComponentRequests {
        ComponentRequests { pods, gpus, ..ComponentRequests::default() }
    }

    #[test]
    fn toleration_matches_taint_like_kubernetes() {
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        let gpu = taint("nvidia.com/gpu", "present", "NoSchedule");
        for (toleration, tolerated) in [
            (json!({ "operator": "Exists" }), true),
            (json!({ "key": "nvidia.com/gpu", "operator": "Exists" }), true),
            (json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule" }), true),
            (json!({ "key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute" }), false),
            (json!({ "key": "nvidia.com/gpu", "operator": "Equal", "value": "present" }), true),
            (json!({ "key": "nvidia.com/gpu", "value": "other" }), false),
            (json!({ "key": "other", "operator": "Exists" }), false),
        ] {
            assert_eq!(tolerates(&toleration, &gpu), tolerated, "{toleration}");
        }
        let mut tainted = node("a", 8);
        tainted.taints = vec![taint("soft", "", "PreferNoSchedule")];
        assert_eq!(node_exclusion(&tainted, &pods(1, 1)), None);
        tainted.taints.push(taint("maintenance", "", "NoSchedule"));
        assert_eq!(node_exclusion(&tainted, &pods(1, 1)), Some(NodeExclusion::Taint("maintenance".into())));
    }

    #[test]
    fn excludes_unlabeled_cordoned_and_unready_nodes() {
        let component = ComponentRequests {
            node_selector: [("pool".to_owned(), "a".to_owned())].into(),
            ..ComponentRequests::default()
        };
        assert_eq!(node_exclusion(&node("a", 8), &component), Some(NodeExclusion::Label("pool=a".into())));
        let mut matching_node = node("a", 8);
        matching_node.labels.insert("pool".into(), "a".into());
        assert_eq!(node_exclusion(&matching_node, &component), None);
        matching_node.cordoned = true;
        assert_eq!(node_exclusion(&matching_node, &component), Some(NodeExclusion::Cordoned));
        let down = Node { ready: false, ..node("b", 8) };
        assert_eq!(node_exclusion(&down, &pods(1, 1)), Some(NodeExclusion::NotReady));
    }

    #[test]
    fn places_largest_pods_first() {
        let nodes = [node("a", 8), node("b", 4)];
        let free_gpus = free_gpus(nodes.iter(), &[], |_| true);
        for (components, waiting) in [
            (vec![pods(2, 2), pods(1, 8)], 0),
            (vec![pods(3, 4)], 0),
            (vec![pods(4, 4)], 1),
            (vec![pods(1, 16)], 1),
            (vec![pods(1, 8), pods(2, 4)], 1),
            (vec![pods(1000, 1)], 988),
        ] {
            assert_eq!(count_unplaced_pods(&components, &nodes, &free_gpus), waiting, "{components:?}");
        }
    }

    #[test]
    fn gpus_of_running_pods_are_not_free() {
        let nodes = [node("a", 8)];
        let pod_usage = |gpus, graph: Option<&str>| PodUsage {
            node: "a".into(),
            gpus,
            graph: graph.map(Into::into),
            ..PodUsage::default()
        };
        let pods = [pod_usage(4, None), pod_usage(2, Some("g"))];
        assert_eq!(free_gpus(nodes.iter(), &pods, |_| true)["a"], 2);
        assert_eq!(free_gpus(nodes.iter(), &pods, |pod| pod.graph.is_some())["a"], 6);
    }
}
