//! Derives the state of a deployment and what it waits for from observed Kubernetes objects.
//!
//! It must not read a clock or send requests, so that tests can replay recorded watches.

mod deployment_objects;
mod fetch_result;
mod object_change;
mod outdated_deployment;
mod pod_fields;
mod pods;
mod problem;
mod reducer;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::graph::GraphView;
use crate::object::{ConditionView, ObjectFields, ObjectView, ObservedObject};
use crate::resources::SPEC_HASH_ANNOTATION;
pub use deployment_objects::DeploymentObjects;
pub use fetch_result::{FetchSummary, FetchTermination, fetch_termination};
pub use object_change::{HasDocument, ObjectChange};
pub use pod_fields::{container_statuses, is_running, mounted_pvcs, pod_condition, pod_is_ready, pod_phase};
pub(crate) use pod_fields::{count, last_termination, main_containers};
pub use pods::{
    ComponentStatus, FailedRun, PodState, PodStatus, components, failed_runs, pod_status, restart_counts,
};
pub use problem::{Problem, fetch_problem, job_problem, pod_problem};
pub use reducer::{DeploymentReducer, MalformedObject, ObservedKind};
pub use workload::Workload;

/// The label with the graph's name on every pod, set by all supported operators with and without Grove.
pub const GRAPH_LABEL: &str = "nvidia.com/dynamo-graph-deployment-name";
/// The label with a pod's component name, in its original case.
pub const COMPONENT_LABEL: &str = "nvidia.com/dynamo-component";
/// The label with a pod's component type, such as frontend or worker.
pub const COMPONENT_TYPE_LABEL: &str = "nvidia.com/dynamo-component-type";

/// The label with the Job's name, which Kubernetes sets on the pods of a Job.
pub const JOB_LABEL: &str = "batch.kubernetes.io/job-name";

/// The observed objects of one deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    pub graph: Option<Value>,
    /// DynamoComponentDeployments. Empty with Grove.
    pub components: Vec<Value>,
    pub pods: Vec<ObservedObject<Pod>>,
    /// Deployments of the components and the like. Empty without permission to read them.
    pub workloads: Vec<Workload>,
    /// [`restart_counts`] of the pods that existed before the observed change. Problems of these pods are
    /// ignored until their containers restart, because they are not caused by the change.
    pub restart_counts_before: BTreeMap<String, u64>,
}

impl Observation {
    /// Returns the pod with a name.
    pub(crate) fn pod(&self, name: &str) -> Option<&ObservedObject<Pod>> {
        self.pods.iter().find(|pod| pod.name() == name)
    }
}

/// The state of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub enum DeploymentState {
    /// The graph does not exist.
    NotFound,
    /// The deployment is progressing. The text names what it waits for.
    Progressing { waits_for: String },
    /// The graph is being deleted. The text names what its deletion waits for.
    Terminating { waits_for: String },
    /// A problem blocks the deployment. It may be transient, so callers that wait allow a grace period.
    Blocked { problem: Problem },
    /// The operator reports the current spec as ready. This does not prove that the deployment serves
    /// requests.
    Ready,
}

/// Returns whether the graph is being deleted. Deletion can take long, and such a graph must not be updated.
pub fn is_terminating(graph: &Value) -> bool {
    ObjectView::new(graph).is_terminating()
}

/// Describes what the deletion of a graph waits for.
fn deletion_text(graph: &Value) -> String {
    let finalizers: Vec<&str> = ObjectView::new(graph).texts("/metadata/finalizers").collect();
    match finalizers.as_slice() {
        [] => "its deletion to complete".into(),
        [one] => format!("finalizer {one} to be removed"),
        several => format!("finalizers {} to be removed", several.join(", ")),
    }
}

/// Derives the deployment's state from the observed objects.
pub fn deployment_state(observation: &Observation) -> DeploymentState {
    let Some(graph) = &observation.graph else { return DeploymentState::NotFound };
    if is_terminating(graph) {
        return DeploymentState::Terminating { waits_for: deletion_text(graph) };
    }
    if is_reported_ready(graph, &observation.components) {
        let outdated = outdated_deployment::outdated_deployment(GraphView::new(graph), observation);
        return outdated.map_or(DeploymentState::Ready, |problem| DeploymentState::Blocked { problem });
    }
    let components = components(graph, &observation.pods);
    if let Some(problem) = worst_problem(&components, &observation.restart_counts_before) {
        return DeploymentState::Blocked { problem };
    }
    let uid = ObjectView::new(graph).uid();
    let deployments = observation.components.iter().map(ObjectView::new);
    let problem = deployments.filter(|one| one.is_owned_by(uid)).find_map(problem::component_problem);
    if let Some(problem) =
        problem.or_else(|| observation.workloads.iter().find_map(problem::workload_problem))
    {
        return DeploymentState::Blocked { problem };
    }
    if GraphView::new(graph).state() == Some("failed") {
        let ready = ObjectView::new(graph).condition("Ready");
        let message = ready.and_then(ConditionView::message).unwrap_or("no reason given").to_owned();
        return DeploymentState::Blocked { problem: Problem::Operator { message } };
    }
    DeploymentState::Progressing { waits_for: progress_text(graph, &components) }
}

/// Returns whether the `Ready` condition belongs to the current spec. After a change, the status of the
/// previous spec remains for a moment.
fn is_reported_ready(graph: &Value, component_deployments: &[Value]) -> bool {
    let view = GraphView::new(graph);
    let Some(ready) = view.condition("Ready").filter(|ready| ready.is_true()) else { return false };
    if pending_restart(graph).is_some() {
        return false;
    }
    match view.observed_generation() {
        Some(observed) => {
            let generation = Some(observed);
            view.generation() == generation && ready.observed_generation() == generation
        }
        None => alpha_components_are_current(view, component_deployments),
    }
}

/// Returns what a requested restart waits for, or `None` if no restart is pending. `Ready` is not reliable
/// during a restart: it is briefly true before the first component and between components.
fn pending_restart(graph: &Value) -> Option<String> {
    let graph = GraphView::new(graph);
    let requested_id = graph.requested_restart()?;
    let restart = graph.restart_status();
    if restart.observed_id != Some(requested_id) {
        return Some("the Dynamo operator to start the restart".into());
    }
    match (restart.phase, restart.in_progress.as_slice()) {
        (Some("Completed" | "Superseded"), _) => None,
        (_, []) => Some("the restart to complete".into()),
        (_, names) => Some(format!("{} to restart", names.join(", "))),
    }
}

/// Returns whether all component deployments are up to date and available. 0.9.1 does not write a generation
/// into the status, so each component deployment must belong to this graph, have the hash of the current
/// spec, have been observed by its controller, and be available.
fn alpha_components_are_current(graph: GraphView<'_>, component_deployments: &[Value]) -> bool {
    graph.has_services()
        && graph.components().iter().all(|component| {
            let hash = component.service_annotation(SPEC_HASH_ANNOTATION);
            component_deployments.iter().map(ObjectView::new).any(|deployment| {
                let deployed_hash =
                    deployment.map("/spec/annotations").and_then(|all| all.get(SPEC_HASH_ANNOTATION));
                is_component(deployment, graph, component.name)
                    && (hash.is_none() || deployed_hash == hash)
                    && deployment.observed_generation() == deployment.generation()
                    && deployment.condition_is_true("Available")
            })
        })
}

/// Returns whether a component deployment is the one of this service. Its name ends with a hash, so a name alone does
/// not distinguish `worker` from `worker-2`.
fn is_component(deployment: ObjectView<'_>, graph: GraphView<'_>, service: &str) -> bool {
    deployment.is_owned_by(graph.uid()) && deployment.text("/spec/serviceName") == Some(service)
}

/// Returns whether `owner` owns `object`. It compares UIDs, because a deleted owner may have had the same
/// name.
pub fn is_owned(object: &Value, owner: &Value) -> bool {
    ObjectView::new(object).is_owned_by(ObjectView::new(owner).uid())
}

/// Returns the pods of this Job, oldest first. Pods of a deleted Job with the same name are excluded.
pub fn pods_of_job<'a>(
    job: &Job,
    pods: impl IntoIterator<Item = &'a ObservedObject<Pod>>,
) -> Vec<&'a ObservedObject<Pod>> {
    let mut own: Vec<&ObservedObject<Pod>> =
        pods.into_iter().filter(|pod| pod.is_owned_by(job.uid())).collect();
    own.sort_by(|one, other| one.metadata.creation_timestamp.cmp(&other.metadata.creation_timestamp));
    own
}

/// Returns the condition of a Job if it is true: `Complete` or `Failed`.
pub fn job_condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Returns the most severe problem: permanent problems precede transient ones. Superseded pods and pods that
/// did not restart since the change are ignored.
fn worst_problem(
    components: &[ComponentStatus],
    restart_counts_before: &BTreeMap<String, u64>,
) -> Option<Problem> {
    let counts = |pod: &PodStatus, problem: &Problem| {
        !problem.is_restart_scoped() || !pod.predates_change(restart_counts_before)
    };
    let problems = || {
        let pods = components.iter().flat_map(|one| &one.pods).filter(|pod| !pod.superseded);
        pods.filter_map(|pod| pod.problem.clone().filter(|problem| counts(pod, problem)))
    };
    problems().find(|problem| !problem.is_transient()).or_else(|| problems().next())
}

/// Describes in one line what the deployment waits for: components that are not ready, otherwise the
/// operator.
fn progress_text(graph: &Value, components: &[ComponentStatus]) -> String {
    if GraphView::new(graph).state().is_none() {
        return "the Dynamo operator to reconcile it".into();
    }
    // Pods of the previous template still serve, but they do not make the spec ready.
    let current_ready = |component: &ComponentStatus| {
        component.pods.iter().filter(|pod| pod.ready && !pod.superseded).count() as u64
    };
    let missing: Vec<String> = components
        .iter()
        .map(|component| (component, current_ready(component)))
        .filter(|(component, ready)| *ready < component.desired)
        .map(|(component, ready)| {
            let first = component.pods.iter().find(|pod| !pod.ready && !pod.superseded);
            let status_text = first.map_or_else(|| "no pod yet".to_owned(), |pod| pod.status_text.clone());
            format!("{} {ready}/{} ({status_text})", component.name, component.desired)
        })
        .collect();
    match missing.as_slice() {
        [] => pending_restart(graph)
            .unwrap_or_else(|| "the Dynamo operator to report this spec as ready".into()),
        missing => missing.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn v1beta1_observation(generation: u64, observed: u64, ready: &str) -> Observation {
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
    fn ready_condition_of_older_generation_is_ignored() {
        assert_eq!(deployment_state(&v1beta1_observation(2, 2, "True")), DeploymentState::Ready);
        assert!(matches!(
            deployment_state(&v1beta1_observation(3, 2, "True")),
            DeploymentState::Progressing { .. }
        ));
        assert!(matches!(
            deployment_state(&v1beta1_observation(2, 2, "False")),
            DeploymentState::Progressing { .. }
        ));
    }

    #[test]
    fn a_deleted_graph_is_terminating_and_names_its_finalizers() {
        let mut observation = v1beta1_observation(2, 2, "True");
        let graph = observation.graph.as_mut().expect("a graph");
        graph["metadata"]["deletionTimestamp"] = "2026-11-29T12:00:00Z".into();
        graph["metadata"]["finalizers"] = json!(["nvidia.com/finalizer"]);
        let waits_for = "finalizer nvidia.com/finalizer to be removed".to_owned();
        assert_eq!(deployment_state(&observation), DeploymentState::Terminating { waits_for });
    }

    #[test]
    fn restart_completes_after_all_components() {
        let mut observation = v1beta1_observation(2, 2, "True");
        let graph = observation.graph.as_mut().expect("a graph");
        graph["spec"]["restart"] = json!({ "id": "r2" });
        graph["status"]["restart"] = json!({ "observedID": "r1", "phase": "Completed" });
        let waits_for = |observation: &Observation| match deployment_state(observation) {
            DeploymentState::Progressing { waits_for } => waits_for,
            other => format!("{other:?}"),
        };
        assert!(waits_for(&observation).contains("start the restart"), "{}", waits_for(&observation));
        let restart = json!({ "observedID": "r2", "phase": "Restarting", "inProgress": ["decode"] });
        observation.graph.as_mut().expect("a graph")["status"]["restart"] = restart;
        assert_eq!(waits_for(&observation), "decode to restart");
        observation.graph.as_mut().expect("a graph")["status"]["restart"]["phase"] = "Completed".into();
        assert_eq!(deployment_state(&observation), DeploymentState::Ready);
    }

    fn v1alpha1_observation(owner: &str, hash: &str, observed: u64, available: &str) -> Observation {
        Observation {
            graph: Some(json!({
                "metadata": { "name": "agg", "uid": "new", "generation": 2 },
                "spec": { "services": { "Worker": { "annotations": { SPEC_HASH_ANNOTATION: "current" } } } },
                "status": { "state": "successful", "conditions": [{ "type": "Ready", "status": "True" }] },
            })),
            components: vec![json!({
                "metadata": { "name": "agg-worker", "generation": 4, "ownerReferences": [{ "uid": owner }] },
                "spec": { "serviceName": "Worker", "annotations": { SPEC_HASH_ANNOTATION: hash } },
                "status": { "observedGeneration": observed, "conditions": [{ "type": "Available", "status": available }] },
            })],
            ..Observation::default()
        }
    }

    #[test]
    fn v1alpha1_is_ready_only_with_current_spec_hash() {
        assert_eq!(
            deployment_state(&v1alpha1_observation("new", "current", 4, "True")),
            DeploymentState::Ready
        );
        for other in [
            v1alpha1_observation("old", "current", 4, "True"),
            v1alpha1_observation("new", "outdated", 4, "True"),
            v1alpha1_observation("new", "current", 3, "True"),
            v1alpha1_observation("new", "current", 4, "False"),
        ] {
            assert!(matches!(deployment_state(&other), DeploymentState::Progressing { .. }));
        }
        let mut other_service = v1alpha1_observation("new", "current", 4, "True");
        other_service.components[0]["metadata"]["name"] = "agg-worker-2".into();
        other_service.components[0]["spec"]["serviceName"] = "Worker-2".into();
        assert!(matches!(deployment_state(&other_service), DeploymentState::Progressing { .. }));
    }
}
