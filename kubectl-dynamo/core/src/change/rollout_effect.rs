//! Predicts the effect of a change on the pods of each component: rolling update, scaling, start, or no
//! change.
//!
//! The rules are those observed on the operators of 0.9.1 and of 1.0 and later. They are estimates for
//! display and for the preflight checks and do not affect what is applied.

use std::fmt;

use serde_json::Value;

use crate::graph::{ComponentView, GraphView};
use crate::release::{MEASURED_LOSSES, MeasuredLoss, ReplacedPods};

/// How an operator rolls out a change of the workers of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStrategy {
    /// 1.0 and later: all workers carry one hash of all worker specs. A change of one role therefore replaces
    /// the pods of every worker role, each with a complete new set next to the old one.
    AllWorkers,
    /// 0.9.1: only the changed component is replaced, as a rolling update of its Deployment.
    PerComponent,
}

impl RolloutStrategy {
    /// Returns the fields of a component that determine its pod template. 0.9.1 sorts variables by name, ignores the
    /// labels of a service and requests of GPUs, and then leaves the Deployment as it is.
    fn template_of(self, component: &ComponentView) -> Value {
        let mut fields = component.pod_template_fields();
        if self == Self::PerComponent {
            for pointer in ["/envs", "/extraPodSpec/mainContainer/env"] {
                if let Some(variables) = fields.pointer_mut(pointer).and_then(Value::as_array_mut) {
                    variables.sort_by_key(|variable| variable.get("name").map(Value::to_string));
                }
            }
            for (object, field) in [("", "labels"), ("/resources/requests", "gpu")] {
                if let Some(object) = fields.pointer_mut(object).and_then(Value::as_object_mut) {
                    object.remove(field);
                }
            }
        }
        fields
    }

    /// Returns the measurement with the most lost requests: those that interrupt requests come first.
    fn measured_loss(self, replaced: &[ReplacedPods]) -> Option<&'static MeasuredLoss> {
        let oldest = MEASURED_LOSSES.first()?.operator;
        let is_measured = |loss: &&MeasuredLoss| match self {
            Self::PerComponent => loss.operator == oldest,
            Self::AllWorkers => loss.operator != oldest,
        };
        let found =
            MEASURED_LOSSES.iter().filter(is_measured).filter(|loss| replaced.contains(&loss.replaced));
        found.max_by_key(|loss| (loss.interrupts_requests(), loss.failed * 1000 / loss.requests))
    }
}

/// The effect of a change on the pods of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutEffect {
    None,
    /// Pods are added or removed. None is replaced.
    Scaled {
        from: u64,
        to: u64,
    },
    /// Pods are replaced. Up to `surge` new pods run in addition to the old ones.
    Rolling {
        surge: u64,
    },
    /// The component or the graph is new.
    Starting {
        pods: u64,
    },
}

/// One component of a graph and the effect of a change on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentChange {
    pub name: String,
    pub effect: RolloutEffect,
    /// GPUs needed in addition to those in use now.
    pub extra_gpus: u64,
}

impl fmt::Display for ComponentChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.effect {
            RolloutEffect::None => f.write_str("no pod change")?,
            RolloutEffect::Scaled { from, to } => write!(f, "{from} -> {to} replicas, no pods replaced")?,
            RolloutEffect::Rolling { surge: 1 } => f.write_str("rolling update, surge 1 pod")?,
            RolloutEffect::Rolling { surge } => write!(f, "rolling update, surge {surge} pods")?,
            RolloutEffect::Starting { pods: 1 } => f.write_str("1 pod starts")?,
            RolloutEffect::Starting { pods } => write!(f, "{pods} pods start")?,
        }
        match self.extra_gpus {
            0 => Ok(()),
            1 => f.write_str(" (+1 GPU)"),
            gpus => write!(f, " (+{gpus} GPUs)"),
        }
    }
}

/// The effect of a change on all components of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphChange {
    pub components: Vec<ComponentChange>,
    /// What was measured for the part of the change that lost most requests. Prefill and decode workers, for
    /// example, roll out independently, so that for a moment no complete pair serves. `None` if no pod is
    /// replaced or removed.
    pub loss: Option<&'static MeasuredLoss>,
}

impl GraphChange {
    /// Predicts the effect of replacing the live graph, if it exists, with the desired one.
    pub fn between(live: Option<&Value>, desired: &Value, strategy: RolloutStrategy) -> Self {
        let after = GraphView::new(desired).components();
        let Some(live) = live else {
            let components = after.iter().map(start).collect();
            return Self { components, loss: None };
        };
        let before = GraphView::new(live).components();
        let affects_all_components = GraphView::new(live).shared_fields_differ(GraphView::new(desired));
        let previous_version = |one: &ComponentView| before.iter().find(|other| other.name == one.name);
        let is_changed = |one: &ComponentView| {
            affects_all_components
                || previous_version(one)
                    .is_some_and(|previous| strategy.template_of(previous) != strategy.template_of(one))
        };
        let workers_changed = after.iter().any(|one| one.is_worker() && is_changed(one));
        let change = |one: &ComponentView| match (previous_version(one), strategy) {
            (None, _) => start(one),
            (Some(_), RolloutStrategy::AllWorkers) if one.is_worker() && workers_changed => {
                roll(one, one.replicas())
            }
            (Some(_), _) if is_changed(one) => roll(one, default_surge(one)),
            (Some(previous), _) => scale(one, previous.replicas()),
        };
        let components: Vec<ComponentChange> = after.iter().map(change).collect();
        Self::from_components(&after, components, strategy)
    }

    /// Predicts the effect of a restart: the operator annotates the pod template of one component after another, and
    /// Kubernetes replaces its pods in place.
    pub fn restart(live: &Value, strategy: RolloutStrategy) -> Self {
        let all = GraphView::new(live).components();
        let components = all.iter().map(|one| roll(one, default_surge(one))).collect();
        Self::from_components(&all, components, strategy)
    }

    /// Adds what was measured to the changes of `after`, its components in the same order.
    fn from_components(
        after: &[ComponentView],
        components: Vec<ComponentChange>,
        strategy: RolloutStrategy,
    ) -> Self {
        let has_pair = ["prefill", "decode"].iter().all(|role| after.iter().any(|one| one.role() == *role));
        let replaced = after.iter().zip(&components).filter_map(|(one, changed)| match changed.effect {
            RolloutEffect::Rolling { .. } if one.is_worker() && has_pair => {
                Some(ReplacedPods::DisaggregatedWorkers)
            }
            RolloutEffect::Rolling { .. } if one.is_worker() => Some(ReplacedPods::AggregatedWorkers),
            RolloutEffect::Rolling { .. } => Some(ReplacedPods::Frontend),
            RolloutEffect::Scaled { from, to } if to < from => Some(ReplacedPods::Removed),
            RolloutEffect::Scaled { .. } | RolloutEffect::Starting { .. } | RolloutEffect::None => None,
        });
        let replaced: Vec<ReplacedPods> = replaced.collect();
        Self { components, loss: strategy.measured_loss(&replaced) }
    }

    /// Returns the number of GPUs needed during the change in addition to those in use now.
    pub fn extra_gpus(&self) -> u64 {
        self.components.iter().map(|one| one.extra_gpus).fold(0, u64::saturating_add)
    }

    /// Returns whether any pod is added, removed, or replaced.
    pub fn has_pod_changes(&self) -> bool {
        self.components.iter().any(|one| one.effect != RolloutEffect::None)
    }
}

/// Returns the surge of a Deployment: its default `maxSurge` is 25%, rounded up.
fn default_surge(component: &ComponentView) -> u64 {
    component.replicas().div_ceil(4)
}

fn change_of(component: &ComponentView, effect: RolloutEffect, extra_pods: u64) -> ComponentChange {
    let extra_gpus = extra_pods.saturating_mul(component.gpus_per_replica());
    ComponentChange { name: component.name.into(), effect, extra_gpus }
}

fn start(component: &ComponentView) -> ComponentChange {
    let pods = component.replicas();
    change_of(component, RolloutEffect::Starting { pods }, pods)
}

fn roll(component: &ComponentView, surge: u64) -> ComponentChange {
    change_of(component, RolloutEffect::Rolling { surge }, surge)
}

fn scale(component: &ComponentView, from: u64) -> ComponentChange {
    let to = component.replicas();
    let effect = if from == to { RolloutEffect::None } else { RolloutEffect::Scaled { from, to } };
    change_of(component, effect, to.saturating_sub(from))
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

    fn change_lines(live: &Value, desired: &Value, strategy: RolloutStrategy) -> Vec<String> {
        let change = GraphChange::between(Some(live), desired, strategy);
        let mut lines: Vec<String> =
            change.components.iter().map(|one| format!("{}: {one}", one.name)).collect();
        lines.extend(change.loss.map(ToString::to_string));
        lines
    }

    #[test]
    fn restart_replaces_the_pods_of_every_component_in_place() {
        for strategy in [RolloutStrategy::AllWorkers, RolloutStrategy::PerComponent] {
            let restart = GraphChange::restart(&graph(), strategy);
            let surge: Vec<u64> = restart.components.iter().map(|one| one.extra_gpus).collect();
            // Two prefill workers have a surge of one pod, and frontends do not have GPUs.
            assert_eq!(surge, [0, 1, 2], "{strategy:?}");
            let replaced = |one: &ComponentChange| matches!(one.effect, RolloutEffect::Rolling { .. });
            assert!(restart.components.iter().all(replaced), "{strategy:?}");
            let loss = restart.loss.expect("requests are lost");
            assert_eq!(loss.to_string(), measured(strategy, ReplacedPods::DisaggregatedWorkers));
        }
    }

    #[test]
    fn gpus_of_any_replica_count_are_added() {
        let worker = |name: &str| {
            json!({ "name": name, "type": name, "replicas": i64::MAX, "podTemplate": { "spec": { "containers": [
                { "name": "main", "resources": { "limits": { "nvidia.com/gpu": "4" } } },
            ] } } })
        };
        let desired = json!({ "spec": { "components": [worker("prefill"), worker("decode")] } });
        let change = GraphChange::between(None, &desired, RolloutStrategy::AllWorkers);
        assert_eq!(change.extra_gpus(), u64::MAX);
    }

    fn measured(strategy: RolloutStrategy, replaced: ReplacedPods) -> String {
        strategy.measured_loss(&[replaced]).expect("every kind was measured").to_string()
    }

    #[test]
    fn only_changes_that_lose_requests_interrupt() {
        use ReplacedPods::{AggregatedWorkers, DisaggregatedWorkers, Frontend, Removed};
        for (strategy, replaced, interrupts, text) in [
            (
                RolloutStrategy::AllWorkers,
                &[DisaggregatedWorkers, Frontend][..],
                true,
                "2 of 199 requests failed, within 0.4 s",
            ),
            (RolloutStrategy::AllWorkers, &[AggregatedWorkers], false, "0 of 350 requests failed ("),
            (
                RolloutStrategy::AllWorkers,
                &[AggregatedWorkers, Frontend],
                false,
                "4 of 200 requests failed, within 0.6 s",
            ),
            (
                RolloutStrategy::PerComponent,
                &[DisaggregatedWorkers],
                true,
                "6 of 149 requests failed, within 4.6 s",
            ),
            (
                RolloutStrategy::PerComponent,
                &[AggregatedWorkers, Frontend],
                true,
                "2 of 190 requests failed (",
            ),
            (RolloutStrategy::PerComponent, &[Frontend], false, "0 of 225 requests failed ("),
            (RolloutStrategy::PerComponent, &[Removed], false, "4 of 225 requests failed, within 0.6 s"),
        ] {
            let loss = strategy.measured_loss(replaced).expect("every kind was measured");
            assert_eq!(loss.interrupts_requests(), interrupts, "{strategy:?} {replaced:?}");
            assert!(loss.to_string().starts_with(text), "{loss}");
        }
        assert_eq!(RolloutStrategy::AllWorkers.measured_loss(&[]), None);
    }

    #[test]
    fn worker_change_rolls_all_workers_since_1_0_and_one_component_before() {
        let mut desired = graph();
        desired["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]["args"] = json!(["--b"]);
        assert_eq!(
            change_lines(&graph(), &desired, RolloutStrategy::AllWorkers),
            [
                "frontend: no pod change",
                "prefill: rolling update, surge 2 pods (+2 GPUs)",
                "decode: rolling update, surge 1 pod (+2 GPUs)",
                &measured(RolloutStrategy::AllWorkers, ReplacedPods::DisaggregatedWorkers),
            ]
        );
        assert_eq!(
            change_lines(&graph(), &desired, RolloutStrategy::PerComponent),
            [
                "frontend: no pod change",
                "prefill: rolling update, surge 1 pod (+1 GPU)",
                "decode: no pod change",
                &measured(RolloutStrategy::PerComponent, ReplacedPods::DisaggregatedWorkers),
            ]
        );
    }

    #[test]
    fn replica_and_annotation_changes_replace_no_pods() {
        let mut desired = graph();
        desired["metadata"] = json!({ "annotations": { "a": "b" } });
        desired["spec"]["components"][2]["replicas"] = 3.into();
        assert_eq!(
            change_lines(&graph(), &desired, RolloutStrategy::AllWorkers),
            [
                "frontend: no pod change",
                "prefill: no pod change",
                "decode: 1 -> 3 replicas, no pods replaced (+4 GPUs)",
            ]
        );
    }

    #[test]
    fn frontend_and_graph_env_changes_roll() {
        let mut desired = graph();
        desired["spec"]["components"][0]["podTemplate"] = json!({ "spec": {} });
        let lines = change_lines(&graph(), &desired, RolloutStrategy::AllWorkers);
        assert_eq!(lines[0], "frontend: rolling update, surge 2 pods");
        assert_eq!(lines[1], "prefill: no pod change");
        let mut desired = graph();
        desired["spec"]["env"] = json!([{ "name": "A", "value": "b" }]);
        let lines = change_lines(&graph(), &desired, RolloutStrategy::AllWorkers);
        assert!(lines.iter().take(3).all(|line| line.contains("rolling update")), "{lines:?}");
    }

    #[test]
    fn fields_that_0_9_1_does_not_write_into_pods_replace_no_pods() {
        let graph = |env: Value, more: Value| {
            let mut service = json!({
                "componentType": "worker", "envs": env, "extraPodSpec": { "mainContainer": { "image": "i:1" } },
                "resources": { "limits": { "gpu": "1" }, "requests": { "cpu": "1" } },
            });
            for (field, value) in more.as_object().into_iter().flatten() {
                service[field] = value.clone();
            }
            json!({ "spec": { "services": { "worker": service } } })
        };
        let (one, two) = (json!({ "name": "A", "value": "1" }), json!({ "name": "B", "value": "2" }));
        let live = graph(json!([one, two]), json!({}));
        let requests = json!({ "limits": { "gpu": "1" }, "requests": { "cpu": "1", "gpu": "1" } });
        for desired in [
            graph(json!([two, one]), json!({})),
            graph(json!([one, two]), json!({ "labels": { "a": "b" } })),
            graph(json!([one, two]), json!({ "resources": requests })),
        ] {
            let lines = change_lines(&live, &desired, RolloutStrategy::PerComponent);
            assert_eq!(lines, ["worker: no pod change"], "{desired}");
        }
        let lines = change_lines(&live, &graph(json!([one]), json!({})), RolloutStrategy::PerComponent);
        assert_eq!(lines[0], "worker: rolling update, surge 1 pod (+1 GPU)");
        // 1.5 hashes variables in their order.
        let lines = change_lines(&live, &graph(json!([two, one]), json!({})), RolloutStrategy::AllWorkers);
        assert_eq!(lines[0], "worker: rolling update, surge 1 pod (+1 GPU)");
    }

    #[test]
    fn supports_v1alpha1_graphs() {
        let service = |gpus: &str, hash: &str| {
            json!({ "spec": { "services": { "worker": {
                "componentType": "worker", "replicas": 1, "annotations": { "hash": hash },
                "resources": { "limits": { "gpu": gpus } }, "multinode": { "nodeCount": 2 },
            } } } })
        };
        let strategy = RolloutStrategy::PerComponent;
        assert_eq!(change_lines(&service("4", "a"), &service("4", "b"), strategy), ["worker: no pod change"]);
        let rolled = change_lines(&service("4", "a"), &service("8", "b"), strategy);
        let lost = measured(strategy, ReplacedPods::AggregatedWorkers);
        assert_eq!(rolled, ["worker: rolling update, surge 1 pod (+16 GPUs)", &lost]);
    }
}
