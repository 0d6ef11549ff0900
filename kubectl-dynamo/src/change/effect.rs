//! What a change of a graph does to its pods, per component, by the rules that the operators were seen to follow.

use std::fmt;

use serde_json::Value;

use super::component::{Component, graph_components};

/// How an operator renews the workers of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// From 1.0 on: all workers carry one hash of all their specs, so a change of one role renews every role,
    /// each as a whole new set beside the old one.
    AllWorkers,
    /// 0.9.1: a component by itself, as a rolling update of its Deployment.
    EachComponent,
}

/// What happens to the pods of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    None,
    /// Pods come or go; none is replaced.
    Scaled {
        from: u64,
        to: u64,
    },
    /// New pods come first, `on_top` of the old ones, which then go.
    Rolls {
        on_top: u64,
    },
    /// The component is new, or its graph is.
    Starts {
        pods: u64,
    },
}

/// One component of a graph, and what a change does to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentChange {
    pub name: String,
    pub effect: Effect,
    /// GPUs needed beside those that are held now.
    pub gpus_on_top: u64,
}

impl fmt::Display for ComponentChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effect {
            Effect::None => f.write_str("no pod moves")?,
            Effect::Scaled { from, to } => write!(f, "{from} -> {to} replicas, no other pod moves")?,
            Effect::Rolls { on_top: 1 } => f.write_str("rolling, 1 pod on top meanwhile")?,
            Effect::Rolls { on_top } => write!(f, "rolling, {on_top} pods on top meanwhile")?,
            Effect::Starts { pods: 1 } => f.write_str("1 pod starts")?,
            Effect::Starts { pods } => write!(f, "{pods} pods start")?,
        }
        match self.gpus_on_top {
            0 => Ok(()),
            1 => f.write_str(" · 1 GPU more"),
            gpus => write!(f, " · {gpus} GPUs more"),
        }
    }
}

/// What a change does to a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphChange {
    pub components: Vec<ComponentChange>,
    /// Prefill and decode are renewed at once and each at its own pace: between the end of one's old pods and the
    /// readiness of the other's new ones no complete pair answers.
    pub gap: bool,
}

impl GraphChange {
    /// Compares a live graph, if there is one, with what it becomes.
    pub fn between(live: Option<&Value>, becomes: &Value, renewal: Renewal) -> Self {
        let after = graph_components(becomes);
        let Some(live) = live else {
            let components = after.iter().map(Component::start).collect();
            return Self { components, gap: false };
        };
        let before = graph_components(live);
        let all_move = ["env", "envs", "labels", "annotations"]
            .iter()
            .any(|field| live["spec"][field] != becomes["spec"][field]);
        let earlier = |one: &Component| before.iter().find(|other| other.name == one.name);
        let moves = |one: &Component| all_move || earlier(one).is_some_and(|was| was.pods() != one.pods());
        let workers_move = after.iter().any(|one| one.is_worker() && moves(one));
        let change = |one: &Component| match (earlier(one), renewal) {
            (None, _) => one.start(),
            (Some(_), Renewal::AllWorkers) if one.is_worker() && workers_move => one.roll(one.replicas()),
            // A quarter of the pods, rounded up, is what a Deployment may have on top.
            (Some(_), _) if moves(one) => one.roll(one.replicas().div_ceil(4)),
            (Some(was), _) => one.scale(was.replicas()),
        };
        Self {
            components: after.iter().map(change).collect(),
            gap: renewal == Renewal::AllWorkers
                && workers_move
                && after.iter().any(|one| one.role() == "prefill")
                && after.iter().any(|one| one.role() == "decode"),
        }
    }

    /// GPUs needed beside those that are held now, while the change lasts.
    pub fn gpus_on_top(&self) -> u64 {
        self.components.iter().map(|one| one.gpus_on_top).sum()
    }

    /// Whether any pod comes, goes or is replaced.
    pub fn moves_pods(&self) -> bool {
        self.components.iter().any(|one| one.effect != Effect::None)
    }
}

impl Component<'_> {
    fn change(&self, effect: Effect, pods_on_top: u64) -> ComponentChange {
        let gpus_on_top = pods_on_top * self.gpus_per_replica();
        ComponentChange { name: self.name.into(), effect, gpus_on_top }
    }

    fn start(&self) -> ComponentChange {
        self.change(Effect::Starts { pods: self.replicas() }, self.replicas())
    }

    fn roll(&self, on_top: u64) -> ComponentChange {
        self.change(Effect::Rolls { on_top }, on_top)
    }

    fn scale(&self, from: u64) -> ComponentChange {
        let to = self.replicas();
        let effect = if from == to { Effect::None } else { Effect::Scaled { from, to } };
        self.change(effect, to.saturating_sub(from))
    }
}

/// How long the slowest of these pods took from its creation until it was ready.
pub fn last_start_seconds(pods: &[Value]) -> Option<i64> {
    let time = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    let took = |pod: &Value| {
        let ready = crate::readiness::condition(pod, "Ready");
        let ready_at = time(&ready["lastTransitionTime"]).filter(|_| ready["status"] == "True")?;
        Some(ready_at.duration_since(time(&pod["metadata"]["creationTimestamp"])?).as_secs())
    };
    pods.iter().filter_map(took).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A disaggregated graph: two prefill workers of one GPU, one decode worker of two, and a frontend.
    fn graph() -> Value {
        let worker = |name: &str, replicas: u64, gpus: &str| {
            json!({ "name": name, "type": name, "replicas": replicas, "podTemplate": { "spec": { "containers": [
                { "name": "main", "args": ["--a"], "resources": { "limits": { "nvidia.com/gpu": gpus } } },
            ] } } })
        };
        let frontend = json!({ "name": "frontend", "type": "frontend", "replicas": 5 });
        json!({ "spec": { "components": [frontend, worker("prefill", 2, "1"), worker("decode", 1, "2")] } })
    }

    fn said(live: &Value, becomes: &Value, renewal: Renewal) -> Vec<String> {
        let change = GraphChange::between(Some(live), becomes, renewal);
        let mut lines: Vec<String> =
            change.components.iter().map(|one| format!("{}: {one}", one.name)).collect();
        lines.extend(change.gap.then(|| "gap".to_owned()));
        lines
    }

    #[test]
    fn a_change_of_one_role_renews_both_from_1_0_on_and_one_before() {
        let mut becomes = graph();
        becomes["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]["args"] = json!(["--b"]);
        assert_eq!(
            said(&graph(), &becomes, Renewal::AllWorkers),
            [
                "frontend: no pod moves",
                "prefill: rolling, 2 pods on top meanwhile · 2 GPUs more",
                "decode: rolling, 1 pod on top meanwhile · 2 GPUs more",
                "gap",
            ]
        );
        assert_eq!(
            said(&graph(), &becomes, Renewal::EachComponent),
            [
                "frontend: no pod moves",
                "prefill: rolling, 1 pod on top meanwhile · 1 GPU more",
                "decode: no pod moves",
            ]
        );
    }

    #[test]
    fn replicas_and_annotations_replace_no_pod() {
        let mut becomes = graph();
        becomes["metadata"] = json!({ "annotations": { "a": "b" } });
        becomes["spec"]["components"][2]["replicas"] = 3.into();
        assert_eq!(
            said(&graph(), &becomes, Renewal::AllWorkers),
            [
                "frontend: no pod moves",
                "prefill: no pod moves",
                "decode: 1 -> 3 replicas, no other pod moves · 4 GPUs more",
            ]
        );
    }

    #[test]
    fn a_frontends_change_and_a_variable_of_the_whole_graph_roll() {
        let mut becomes = graph();
        becomes["spec"]["components"][0]["podTemplate"] = json!({ "spec": {} });
        let lines = said(&graph(), &becomes, Renewal::AllWorkers);
        assert_eq!(lines[0], "frontend: rolling, 2 pods on top meanwhile");
        assert_eq!(lines[1], "prefill: no pod moves");
        let mut becomes = graph();
        becomes["spec"]["env"] = json!([{ "name": "A", "value": "b" }]);
        let lines = said(&graph(), &becomes, Renewal::AllWorkers);
        assert!(lines.iter().take(3).all(|line| line.contains("rolling")), "{lines:?}");
    }

    #[test]
    fn the_older_shape_is_read_as_well() {
        let service = |gpus: &str, hash: &str| {
            json!({ "spec": { "services": { "worker": {
                "componentType": "worker", "replicas": 1, "annotations": { "hash": hash },
                "resources": { "limits": { "gpu": gpus } }, "multinode": { "nodeCount": 2 },
            } } } })
        };
        let renewal = Renewal::EachComponent;
        assert_eq!(said(&service("4", "a"), &service("4", "b"), renewal), ["worker: no pod moves"]);
        let rolled = said(&service("4", "a"), &service("8", "b"), renewal);
        assert_eq!(rolled, ["worker: rolling, 1 pod on top meanwhile · 16 GPUs more"]);
    }

    #[test]
    fn the_last_start_is_that_of_the_slowest_ready_pod() {
        let pod = |status: &str, ready_at: &str| {
            json!({ "metadata": { "creationTimestamp": "2026-01-01T00:00:00Z" }, "status": { "conditions": [
                { "type": "Ready", "status": status, "lastTransitionTime": ready_at },
            ] } })
        };
        let pods = [
            pod("True", "2026-01-01T00:00:10Z"),
            pod("True", "2026-01-01T00:01:30Z"),
            pod("False", "2026-01-01T00:09:00Z"),
        ];
        assert_eq!(last_start_seconds(&pods), Some(90));
        assert_eq!(last_start_seconds(&pods[2..]), None);
    }
}
