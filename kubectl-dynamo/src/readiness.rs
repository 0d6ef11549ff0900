//! Where a deployment stands and what it waits for, worked out from objects as they were seen.
//! It has no clock and no socket, so recorded watches can be replayed into it.

mod fetched;
mod pods;
mod trouble;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::resources::SPEC_HASH_ANNOTATION;
pub use fetched::{Fetched, LastWords, last_words};
pub use pods::{ComponentStanding, PodStanding, attempts, components, pod_is_ready, pod_standing};
pub use trouble::{Trouble, fetch_trouble, job_trouble, pod_trouble};

/// The label that every pod of a graph carries, on both paths of both operators.
pub const GRAPH_LABEL: &str = "nvidia.com/dynamo-graph-deployment-name";
/// The label that names a pod's component, in the case it was written in.
pub const COMPONENT_LABEL: &str = "nvidia.com/dynamo-component";
/// The label that tells frontends from workers.
pub const COMPONENT_TYPE_LABEL: &str = "nvidia.com/dynamo-component-type";

/// Kubernetes puts a Job's name on its pods as this label.
pub const JOB_LABEL: &str = "batch.kubernetes.io/job-name";

/// What was seen of one deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    pub graph: Option<Value>,
    /// DynamoComponentDeployments; none with Grove.
    pub components: Vec<Value>,
    pub pods: Vec<Value>,
    /// Deployments of the components; none with Grove, or where they may not be seen.
    pub workloads: Vec<Value>,
    /// [`attempts`] of the pods that were there before the change that is watched: what kept them from starting
    /// then says nothing about it, until they try again.
    pub attempts_before: BTreeMap<String, u64>,
}

/// Where a deployment stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// It is not there.
    Absent,
    /// Something is still to come.
    Waiting { waits_for: String },
    /// Something that may not heal; a caller that can wait gives it a little time.
    Troubled { trouble: Trouble },
    /// The operator reports this very spec as ready. Whether it answers is another question.
    Reported,
}

/// Whether a graph is being deleted: it may still be there for long, and is none to build on.
pub fn is_going(graph: &Value) -> bool {
    graph["metadata"]["deletionTimestamp"].is_string()
}

/// Where the deployment stands by everything that was seen.
pub fn standing(seen: &Observation) -> Standing {
    let Some(graph) = &seen.graph else { return Standing::Absent };
    if is_going(graph) {
        return Standing::Waiting { waits_for: "its deletion to end".into() };
    }
    if is_reported_ready(graph, &seen.components) {
        return Standing::Reported;
    }
    let standings = components(graph, &seen.pods);
    if let Some(trouble) = worst_trouble(&standings, &seen.attempts_before) {
        return Standing::Troubled { trouble };
    }
    let owned = |object: &&Value| is_owned(object, graph);
    let refused = seen.components.iter().filter(owned).find_map(trouble::component_trouble);
    if let Some(trouble) = refused.or_else(|| seen.workloads.iter().find_map(trouble::workload_trouble)) {
        return Standing::Troubled { trouble };
    }
    let ready = condition(graph, "Ready");
    if graph["status"]["state"] == "failed" {
        let message = ready["message"].as_str().unwrap_or("no reason given").to_owned();
        return Standing::Troubled { trouble: Trouble::Operator { message } };
    }
    Standing::Waiting { waits_for: waits_for(graph, &standings) }
}

/// Whether `Ready` is said of this very spec: a status of an earlier one stays for a moment after each change.
fn is_reported_ready(graph: &Value, component_deployments: &[Value]) -> bool {
    let ready = condition(graph, "Ready");
    if ready["status"] != "True" || restarting(graph).is_some() {
        return false;
    }
    let generation = &graph["metadata"]["generation"];
    let observed = &graph["status"]["observedGeneration"];
    if observed.is_number() {
        return observed == generation && ready["observedGeneration"] == *generation;
    }
    alpha_components_are_current(graph, component_deployments)
}

/// What a restart that was asked for still does. `Ready` flashes between its components, and stands for a moment before
/// the first.
fn restarting(graph: &Value) -> Option<String> {
    let asked = graph["spec"]["restart"]["id"].as_str()?;
    let restart = &graph["status"]["restart"];
    if restart["observedID"] != asked {
        return Some("the Dynamo operator to take the restart up".into());
    }
    let names = restart["inProgress"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.collect();
    match (restart["phase"].as_str(), names.as_slice()) {
        (Some("Completed" | "Superseded"), _) => None,
        (_, []) => Some("the restart to end".into()),
        (_, names) => Some(format!("{} to restart", names.join(", "))),
    }
}

/// 0.9.1 writes no generation into its status. There each component's deployment must belong to this graph,
/// carry the hash of this spec, have been seen by its controller, and be available.
fn alpha_components_are_current(graph: &Value, component_deployments: &[Value]) -> bool {
    let Some(services) = graph["spec"]["services"].as_object() else { return false };
    services.iter().all(|(name, service)| {
        let hash = &service["annotations"][SPEC_HASH_ANNOTATION];
        component_deployments.iter().any(|deployment| {
            is_component(deployment, graph, name)
                && (hash.is_null() || deployment["spec"]["annotations"][SPEC_HASH_ANNOTATION] == *hash)
                && deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
                && holds(deployment, "Available")
        })
    })
}

fn is_component(deployment: &Value, graph: &Value, name: &str) -> bool {
    let owned = is_owned(deployment, graph);
    let graph_name = graph["metadata"]["name"].as_str().unwrap_or_default();
    let child_name = format!("{graph_name}-{}", name.to_lowercase());
    let own_name = deployment["metadata"]["name"].as_str().unwrap_or_default();
    owned && (own_name == child_name || own_name.starts_with(&format!("{child_name}-")))
}

/// Whether one object belongs to another: one of the same name may have been there before.
pub fn is_owned(object: &Value, owner: &Value) -> bool {
    object["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|owners| owners.iter().any(|one| one["uid"] == owner["metadata"]["uid"]))
}

/// The pods of this very Job, oldest first: those of one of the same name that was deleted linger.
pub fn pods_of_job<'a>(job: &Value, pods: impl IntoIterator<Item = &'a Value>) -> Vec<&'a Value> {
    let mut own: Vec<&Value> = pods.into_iter().filter(|pod| is_owned(pod, job)).collect();
    own.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
    own
}

/// The condition of a type, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    object["status"]["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind))
        .unwrap_or(&Value::Null)
}

/// Whether the condition of a type holds.
pub fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind)["status"] == "True"
}

/// The trouble that most needs a person: what cannot heal comes first. Pods of an earlier template do not count,
/// nor those that have not tried anew since the change.
fn worst_trouble(standings: &[ComponentStanding], before: &BTreeMap<String, u64>) -> Option<Trouble> {
    let retried =
        |pod: &PodStanding, trouble: &Trouble| !trouble.is_of_an_attempt() || !pod.is_as_before(before);
    let troubles = || {
        let pods = standings.iter().flat_map(|one| &one.pods).filter(|pod| !pod.superseded);
        pods.filter_map(|pod| pod.trouble.clone().filter(|trouble| retried(pod, trouble)))
    };
    troubles().find(|trouble| !trouble.may_heal()).or_else(|| troubles().next())
}

/// One line on what is still to come, from the components first and the operator's words otherwise.
fn waits_for(graph: &Value, standings: &[ComponentStanding]) -> String {
    if graph["status"]["state"].is_null() {
        return "the Dynamo operator to take it up".into();
    }
    let missing: Vec<String> = standings
        .iter()
        .filter(|component| component.ready < component.wanted)
        .map(|component| {
            let first = component.pods.iter().find(|pod| !pod.ready);
            let doing = first.map_or_else(|| "no pod yet".to_owned(), |pod| pod.doing.clone());
            format!("{} {}/{} ({doing})", component.name, component.ready, component.wanted)
        })
        .collect();
    match missing.as_slice() {
        [] => restarting(graph).unwrap_or_else(|| "the operator to report this spec as ready".into()),
        missing => missing.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn beta(generation: u64, observed: u64, ready: &str) -> Observation {
        Observation {
            graph: Some(json!({
                "metadata": { "name": "agg", "uid": "1", "generation": generation },
                "spec": { "components": [] },
                "status": {
                    "state": "successful",
                    "observedGeneration": observed,
                    "conditions": [{ "type": "Ready", "status": ready, "observedGeneration": observed }],
                },
            })),
            ..Observation::default()
        }
    }

    #[test]
    fn ready_of_an_earlier_spec_is_not_ready() {
        assert_eq!(standing(&beta(2, 2, "True")), Standing::Reported);
        assert!(matches!(standing(&beta(3, 2, "True")), Standing::Waiting { .. }));
        assert!(matches!(standing(&beta(2, 2, "False")), Standing::Waiting { .. }));
    }

    #[test]
    fn a_restart_is_over_when_every_component_had_its_turn() {
        let mut seen = beta(2, 2, "True");
        let graph = seen.graph.as_mut().expect("it is there");
        graph["spec"]["restart"] = json!({ "id": "r2" });
        graph["status"]["restart"] = json!({ "observedID": "r1", "phase": "Completed" });
        let waits_for = |seen: &Observation| match standing(seen) {
            Standing::Waiting { waits_for } => waits_for,
            other => format!("{other:?}"),
        };
        assert!(waits_for(&seen).contains("take the restart up"), "{}", waits_for(&seen));
        let restart = json!({ "observedID": "r2", "phase": "Restarting", "inProgress": ["decode"] });
        seen.graph.as_mut().expect("it is there")["status"]["restart"] = restart;
        assert_eq!(waits_for(&seen), "decode to restart");
        seen.graph.as_mut().expect("it is there")["status"]["restart"]["phase"] = "Completed".into();
        assert_eq!(standing(&seen), Standing::Reported);
    }

    fn alpha(owner: &str, hash: &str, observed: u64, available: &str) -> Observation {
        Observation {
            graph: Some(json!({
                "metadata": { "name": "agg", "uid": "new", "generation": 2 },
                "spec": { "services": { "Worker": { "annotations": { SPEC_HASH_ANNOTATION: "right" } } } },
                "status": { "state": "successful", "conditions": [{ "type": "Ready", "status": "True" }] },
            })),
            components: vec![json!({
                "metadata": { "name": "agg-worker", "generation": 4, "ownerReferences": [{ "uid": owner }] },
                "spec": { "annotations": { SPEC_HASH_ANNOTATION: hash } },
                "status": { "observedGeneration": observed, "conditions": [{ "type": "Available", "status": available }] },
            })],
            ..Observation::default()
        }
    }

    #[test]
    fn without_a_generation_the_components_must_carry_this_spec() {
        assert_eq!(standing(&alpha("new", "right", 4, "True")), Standing::Reported);
        for other in [
            alpha("old", "right", 4, "True"),
            alpha("new", "wrong", 4, "True"),
            alpha("new", "right", 3, "True"),
            alpha("new", "right", 4, "False"),
        ] {
            assert!(matches!(standing(&other), Standing::Waiting { .. }));
        }
    }
}
