//! The objects of one deployment or of one Job, from the changes that watches report. Every command that waits
//! for a deployment or follows it passes its watches to a [`DeploymentReducer`], and so do the tests with
//! recorded watches.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::object_change::ObjectChange;
use super::{DeploymentState, GRAPH_LABEL, JOB_LABEL, Observation, deployment_state};
use crate::object::{ObjectView, ObservedObject};
use crate::resources::fetch_job_deployments;

/// The kinds of objects that a reducer stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObservedKind {
    Graph,
    ComponentDeployment,
    Deployment,
    Pod,
    Job,
    Event,
}

/// An object that does not have the fields of its kind.
#[derive(Debug, thiserror::Error)]
#[error("unexpected content: {error}")]
pub struct MalformedObject {
    pub name: String,
    pub error: serde_json::Error,
}

/// The owner of the objects that a reducer stores.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ReducerScope {
    Deployment(String),
    Job(String),
}

/// What is known from the watch of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchState {
    /// It failed before it reported all objects.
    Failed,
    /// All objects and each change of them.
    Current,
    /// All objects until the watch failed. Since then, changes may be missing.
    Interrupted,
}

/// The objects of one deployment or of one Job.
#[derive(Debug, Clone)]
pub struct DeploymentReducer {
    scope: ReducerScope,
    observation: Observation,
    jobs: Vec<ObservedObject<Job>>,
    events: Vec<ObservedObject<Event>>,
    /// No entry while a watch has neither reported all objects nor failed.
    watches: BTreeMap<ObservedKind, WatchState>,
}

impl DeploymentReducer {
    /// Creates a reducer for the objects of a deployment and its fetch Jobs.
    /// `restart_counts_before` is as in [`Observation`].
    pub fn for_deployment(name: &str, restart_counts_before: BTreeMap<String, u64>) -> Self {
        let observation = Observation { restart_counts_before, ..Observation::default() };
        Self { observation, ..Self::new(ReducerScope::Deployment(name.to_owned())) }
    }

    /// Creates a reducer for a Job and its pods.
    pub fn for_job(name: &str) -> Self {
        Self::new(ReducerScope::Job(name.to_owned()))
    }

    fn new(scope: ReducerScope) -> Self {
        let (observation, watches) = Default::default();
        Self { scope, observation, jobs: Vec::new(), events: Vec::new(), watches }
    }

    /// Records a change of the objects of a kind. Objects of other deployments and Jobs are ignored; events are not
    /// filtered. Returns whether the state of the deployment can have changed: an event may explain a state, and never
    /// changes it.
    ///
    /// # Errors
    /// An object that does not have the fields of its kind. The objects remain as before.
    pub fn apply(
        &mut self,
        kind: ObservedKind,
        change: ObjectChange<Value>,
    ) -> Result<bool, MalformedObject> {
        let is_list = change.is_list();
        let change = change.filter(|object| self.scope.includes(kind, object));
        let observation = &mut self.observation;
        let has_changed = match kind {
            ObservedKind::Graph => {
                let mut graphs = Vec::from_iter(observation.graph.take());
                let has_changed = change.apply_to(&mut graphs);
                observation.graph = graphs.pop();
                has_changed
            }
            ObservedKind::ComponentDeployment => change.apply_to(&mut observation.components),
            ObservedKind::Deployment => {
                let to_workload = |document| Ok(parse::<Deployment>(document)?.into());
                change.try_map(to_workload)?.apply_to(&mut observation.workloads)
            }
            ObservedKind::Pod => change.try_map(parse)?.apply_to(&mut observation.pods),
            ObservedKind::Job => change.try_map(parse)?.apply_to(&mut self.jobs),
            ObservedKind::Event => {
                change.try_map(parse)?.apply_to(&mut self.events);
                false
            }
        };
        if is_list {
            self.watches.insert(kind, WatchState::Current);
        }
        Ok(has_changed)
    }

    /// Records that the watch of a kind has failed. It may reconnect.
    pub fn watch_failed(&mut self, kind: ObservedKind) {
        let state = match self.watches.get(&kind) {
            Some(WatchState::Current | WatchState::Interrupted) => WatchState::Interrupted,
            Some(WatchState::Failed) | None => WatchState::Failed,
        };
        self.watches.insert(kind, state);
    }

    /// Returns whether the watch of a kind has reported all objects or has failed.
    pub fn is_settled(&self, kind: ObservedKind) -> bool {
        self.watches.contains_key(&kind)
    }

    /// Returns whether all objects of a kind were reported once.
    pub fn is_listed(&self, kind: ObservedKind) -> bool {
        matches!(self.watches.get(&kind), Some(WatchState::Current | WatchState::Interrupted))
    }

    /// Returns whether all objects of a kind were reported, and the watch has not failed since then.
    pub fn is_current(&self, kind: ObservedKind) -> bool {
        self.watches.get(&kind) == Some(&WatchState::Current)
    }

    /// Returns the graph and the objects below it. With a Job, these are its pods.
    pub fn observation(&self) -> &Observation {
        &self.observation
    }

    /// Derives the state of the deployment.
    pub fn state(&self) -> DeploymentState {
        deployment_state(&self.observation)
    }

    /// Returns the fetch Jobs of the deployment, or the Job.
    pub fn jobs(&self) -> &[ObservedObject<Job>] {
        &self.jobs
    }

    /// Returns the events.
    pub fn events(&self) -> &[ObservedObject<Event>] {
        &self.events
    }
}

impl ReducerScope {
    /// Returns whether an object belongs to the deployment or to the Job.
    fn includes(&self, kind: ObservedKind, object: &Value) -> bool {
        let view = ObjectView::new(object);
        match (kind, self) {
            (ObservedKind::Event, _) => true,
            (ObservedKind::Graph, Self::Deployment(name)) | (ObservedKind::Job, Self::Job(name)) => {
                view.name() == name
            }
            (ObservedKind::Graph, Self::Job(_)) => false,
            (ObservedKind::Job, Self::Deployment(name)) => {
                fetch_job_deployments(object).contains(&name.as_str())
            }
            (_, Self::Deployment(name)) => view.label(GRAPH_LABEL) == Some(name),
            (_, Self::Job(name)) => view.label(JOB_LABEL) == Some(name),
        }
    }
}

fn parse<T: DeserializeOwned>(document: Value) -> Result<ObservedObject<T>, MalformedObject> {
    let name = ObjectView::new(&document).name().to_owned();
    ObservedObject::parse(document).map_err(|error| MalformedObject { name, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectFields;
    use crate::resources::NAME_LABEL;
    use serde_json::json;

    fn object(name: &str, uid: &str, labels: Value) -> Value {
        json!({ "metadata": { "namespace": "serving", "name": name, "uid": uid, "labels": labels } })
    }

    fn graph(uid: &str, ready: &str) -> Value {
        let mut graph = object("tiny", uid, json!({}));
        graph["metadata"]["generation"] = 1.into();
        graph["spec"] = json!({ "components": [] });
        graph["status"] = json!({
            "state": "successful",
            "observedGeneration": 1,
            "conditions": [{ "type": "Ready", "status": ready, "observedGeneration": 1 }],
        });
        graph
    }

    fn reducer() -> DeploymentReducer {
        DeploymentReducer::for_deployment("tiny", BTreeMap::new())
    }

    fn apply(reducer: &mut DeploymentReducer, kind: ObservedKind, change: ObjectChange<Value>) -> bool {
        reducer.apply(kind, change).expect("the object has the fields of its kind")
    }

    fn apply_graph(reducer: &mut DeploymentReducer, change: ObjectChange<Value>) -> DeploymentState {
        assert!(apply(reducer, ObservedKind::Graph, change));
        reducer.state()
    }

    #[test]
    fn the_state_follows_the_graph() {
        let mut reducer = reducer();
        assert_eq!(reducer.state(), DeploymentState::NotFound);
        let waiting = apply_graph(&mut reducer, ObjectChange::Listed(vec![graph("1", "False")]));
        assert!(matches!(waiting, DeploymentState::Progressing { .. }), "{waiting:?}");
        let ready = apply_graph(&mut reducer, ObjectChange::Applied(graph("1", "True")));
        assert_eq!(ready, DeploymentState::Ready);
        let deleted = apply_graph(&mut reducer, ObjectChange::Deleted(graph("1", "True")));
        assert_eq!(deleted, DeploymentState::NotFound);
        // The graph was created again while the watch was interrupted.
        let new = apply_graph(&mut reducer, ObjectChange::Listed(vec![graph("2", "True")]));
        assert_eq!(new, DeploymentState::Ready);
        assert_eq!(apply_graph(&mut reducer, ObjectChange::Listed(Vec::new())), DeploymentState::NotFound);
    }

    #[test]
    fn a_stale_deletion_does_not_remove_the_new_graph() {
        let mut reducer = reducer();
        apply_graph(&mut reducer, ObjectChange::Applied(graph("1", "True")));
        apply_graph(&mut reducer, ObjectChange::Applied(graph("2", "False")));
        assert!(!apply(&mut reducer, ObservedKind::Graph, ObjectChange::Deleted(graph("1", "True"))));
        assert!(matches!(reducer.state(), DeploymentState::Progressing { .. }));
    }

    #[test]
    fn objects_of_another_deployment_are_ignored() {
        let mut reducer = reducer();
        let other = object("tiny-two", "2", json!({}));
        assert!(!apply(&mut reducer, ObservedKind::Graph, ObjectChange::Applied(other)));
        for (name, deployment, belongs) in [("a", "tiny", true), ("b", "tiny-two", false)] {
            let labels = json!({ GRAPH_LABEL: deployment, NAME_LABEL: deployment });
            for kind in [
                ObservedKind::ComponentDeployment,
                ObservedKind::Deployment,
                ObservedKind::Pod,
                ObservedKind::Job,
            ] {
                let change = ObjectChange::Applied(object(name, name, labels.clone()));
                assert_eq!(apply(&mut reducer, kind, change), belongs, "{kind:?} {name}");
            }
        }
        let Observation { graph, components, pods, workloads, .. } = reducer.observation();
        assert_eq!((graph, components.len(), pods.len(), workloads.len()), (&None, 1, 1, 1));
        assert_eq!(reducer.jobs().len(), 1);
    }

    #[test]
    fn a_job_has_its_own_pods() {
        let mut reducer = DeploymentReducer::for_job("fetch-tiny");
        for (name, job) in [("a", "fetch-tiny"), ("b", "fetch-other")] {
            let pod = object(name, name, json!({ JOB_LABEL: job }));
            apply(&mut reducer, ObservedKind::Pod, ObjectChange::Applied(pod));
            apply(&mut reducer, ObservedKind::Job, ObjectChange::Applied(object(job, job, json!({}))));
        }
        let pods: Vec<&str> = reducer.observation().pods.iter().map(|pod| pod.name()).collect();
        let jobs: Vec<&str> = reducer.jobs().iter().map(|job| job.name()).collect();
        assert_eq!((pods, jobs), (vec!["a"], vec!["fetch-tiny"]));
    }

    #[test]
    fn events_do_not_change_the_state() {
        let mut reducer = reducer();
        let mut apply_event = |change| apply(&mut reducer, ObservedKind::Event, change);
        let mut event = object("tiny.1", "1", json!({}));
        event["involvedObject"] = json!({ "kind": "Pod", "name": "tiny-a" });
        assert!(!apply_event(ObjectChange::Applied(event.clone())));
        assert!(!apply_event(ObjectChange::Applied(object("tiny.2", "2", json!({})))));
        assert!(!apply_event(ObjectChange::Deleted(event)));
        let names: Vec<&str> = reducer.events().iter().map(|event| event.name()).collect();
        assert_eq!(names, ["tiny.2"]);
    }

    #[test]
    fn a_kind_is_current_from_its_list_until_its_watch_fails() {
        let states = |reducer: &DeploymentReducer, kind| {
            (reducer.is_settled(kind), reducer.is_listed(kind), reducer.is_current(kind))
        };
        let kind = ObservedKind::Graph;
        let mut reducer = reducer();
        apply_graph(&mut reducer, ObjectChange::Applied(graph("1", "True")));
        assert_eq!(states(&reducer, kind), (false, false, false));
        reducer.watch_failed(kind);
        assert_eq!(states(&reducer, kind), (true, false, false));
        apply_graph(&mut reducer, ObjectChange::Listed(Vec::new()));
        assert_eq!(states(&reducer, kind), (true, true, true));
        reducer.watch_failed(kind);
        assert_eq!(states(&reducer, kind), (true, true, false));
        // Changes may be missing before this one.
        apply_graph(&mut reducer, ObjectChange::Applied(graph("1", "True")));
        assert_eq!(states(&reducer, kind), (true, true, false));
        apply_graph(&mut reducer, ObjectChange::Listed(Vec::new()));
        assert_eq!(states(&reducer, kind), (true, true, true));
        assert_eq!(states(&reducer, ObservedKind::Pod), (false, false, false));
    }

    #[test]
    fn a_malformed_object_is_named_and_changes_nothing() {
        let mut reducer = reducer();
        let mut pod = object("a", "1", json!({ GRAPH_LABEL: "tiny" }));
        apply(&mut reducer, ObservedKind::Pod, ObjectChange::Applied(pod.clone()));
        pod["spec"] = json!({ "containers": "none" });
        let error = reducer.apply(ObservedKind::Pod, ObjectChange::Listed(vec![pod])).expect_err("malformed");
        assert_eq!(error.name, "a");
        assert_eq!(reducer.observation().pods.len(), 1);
        assert!(!reducer.is_listed(ObservedKind::Pod));
    }
}
