//! Which nodes a pod may run on, and whether all pods that will start find their GPUs: each takes the node that it fills
//! best, the largest first, as a scheduler that packs would. An estimate: affinities and other schedulers are not known.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ComponentDemand, Node, PodUse, Taint};

/// Why a node takes no pod of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeftOut {
    NotReady,
    Cordoned,
    /// Key of a taint that the pod does not tolerate.
    Taint(String),
    /// A label that the node lacks.
    Label(String),
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => f.write_str("not ready"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Taint(key) => write!(f, "taint {key}"),
            Self::Label(label) => write!(f, "no label {label}"),
        }
    }
}

/// Why a node takes no pod of the component, if it takes none. What somebody has to change comes first.
pub(super) fn left_out(node: &Node, pod: &ComponentDemand) -> Option<LeftOut> {
    let lacks = |(key, value): &(&String, &String)| node.labels.get(*key) != Some(*value);
    if let Some((key, value)) = pod.node_selector.iter().find(lacks) {
        return Some(LeftOut::Label(format!("{key}={value}")));
    }
    // Kubernetes' own taints say what `ready` and `cordoned` say in plainer words.
    let repels = |taint: &&Taint| {
        taint.effect != "PreferNoSchedule"
            && !taint.key.starts_with("node.kubernetes.io/")
            && !pod.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = node.taints.iter().find(repels) {
        return Some(LeftOut::Taint(taint.key.clone()));
    }
    if node.cordoned {
        return Some(LeftOut::Cordoned);
    }
    (!node.ready).then_some(LeftOut::NotReady)
}

fn tolerates(toleration: &Value, taint: &Taint) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    let effect = text("effect").is_empty() || text("effect") == taint.effect;
    let key = text("key") == taint.key || (text("key").is_empty() && text("operator") == "Exists");
    let value = text("operator") == "Exists" || text("value") == taint.value;
    effect && key && value
}

/// GPUs of each node that no pod holds; those that `counts` leaves out hold none.
pub(super) fn free<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    pods: &[PodUse],
    counts: impl Fn(&PodUse) -> bool,
) -> BTreeMap<&'a str, u64> {
    let held = |node: &Node| -> u64 {
        pods.iter().filter(|pod| pod.node == node.name && counts(pod)).map(|pod| pod.gpus).sum()
    };
    nodes.map(|node| (node.name.as_str(), node.gpus.saturating_sub(held(node)))).collect()
}

/// How many pods find no GPUs when all are placed on what is free.
pub(super) fn unplaced(components: &[ComponentDemand], nodes: &[Node], free: &BTreeMap<&str, u64>) -> u64 {
    let mut free = free.clone();
    let mut pods: Vec<&ComponentDemand> = components.iter().filter(|one| one.gpus > 0).collect();
    pods.sort_by_key(|one| std::cmp::Reverse(one.gpus));
    let mut waiting = 0;
    for component in pods {
        let takes: Vec<&Node> = nodes.iter().filter(|node| left_out(node, component).is_none()).collect();
        // Pods of one component are alike, so they are placed a node at a time and not one by one.
        let mut left = component.pods;
        while left > 0 {
            let room =
                |node: &&&Node| free.get(node.name.as_str()).copied().filter(|gpus| *gpus >= component.gpus);
            let Some(best) = takes.iter().filter(|node| room(node).is_some()).min_by_key(|node| room(node))
            else {
                break;
            };
            let Some(gpus) = free.get_mut(best.name.as_str()) else { break };
            let here = left.min(*gpus / component.gpus);
            *gpus -= here * component.gpus;
            left -= here;
        }
        waiting += left;
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

    fn pods(pods: u64, gpus: u64) -> ComponentDemand {
        ComponentDemand { pods, gpus, ..ComponentDemand::default() }
    }

    #[test]
    fn a_toleration_means_what_it_means_to_kubernetes() {
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
        assert_eq!(left_out(&tainted, &pods(1, 1)), None);
        tainted.taints.push(taint("maintenance", "", "NoSchedule"));
        assert_eq!(left_out(&tainted, &pods(1, 1)), Some(LeftOut::Taint("maintenance".into())));
    }

    #[test]
    fn a_node_without_the_label_or_out_of_order_takes_nothing() {
        let wants = ComponentDemand {
            node_selector: [("pool".to_owned(), "a".to_owned())].into(),
            ..ComponentDemand::default()
        };
        assert_eq!(left_out(&node("a", 8), &wants), Some(LeftOut::Label("pool=a".into())));
        let mut fits = node("a", 8);
        fits.labels.insert("pool".into(), "a".into());
        assert_eq!(left_out(&fits, &wants), None);
        fits.cordoned = true;
        assert_eq!(left_out(&fits, &wants), Some(LeftOut::Cordoned));
        let down = Node { ready: false, ..node("b", 8) };
        assert_eq!(left_out(&down, &pods(1, 1)), Some(LeftOut::NotReady));
    }

    #[test]
    fn pods_are_packed_the_largest_first() {
        let nodes = [node("a", 8), node("b", 4)];
        let none = free(nodes.iter(), &[], |_| true);
        for (wanted, waiting) in [
            (vec![pods(2, 2), pods(1, 8)], 0),
            (vec![pods(3, 4)], 0),
            (vec![pods(4, 4)], 1),
            (vec![pods(1, 16)], 1),
            (vec![pods(1, 8), pods(2, 4)], 1),
            (vec![pods(1000, 1)], 988),
        ] {
            assert_eq!(unplaced(&wanted, &nodes, &none), waiting, "{wanted:?}");
        }
    }

    #[test]
    fn what_pods_hold_is_not_free() {
        let nodes = [node("a", 8)];
        let holds = |gpus, graph: Option<&str>| PodUse {
            node: "a".into(),
            gpus,
            graph: graph.map(Into::into),
            ..PodUse::default()
        };
        let used = [holds(4, None), holds(2, Some("g"))];
        assert_eq!(free(nodes.iter(), &used, |_| true)["a"], 2);
        assert_eq!(free(nodes.iter(), &used, |pod| pod.graph.is_some())["a"], 6);
    }
}
