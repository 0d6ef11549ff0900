//! Waits for a graph: until the operator reports exactly the applied spec as ready, then until the frontend
//! answers a test completion.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use crate::report::{Event, Report, Stage};
use crate::smoke_test::{self, CompletionResult};
use crate::workflow::failed_runs::{FailedRunLogs, RunFailure};
use crate::workflow::grace_period::GracePeriod;
use crate::workflow::pod_progress::PodProgress;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::rollout_error::RolloutError;
use crate::workflow::watched_objects::WatchedObjects;
use crate::workflow::{lookup, summary};
use kubectl_dynamo_cluster::{Cluster, Kind, WatchEvent, WatchTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::readiness::{
    self, DeploymentReducer, DeploymentState, GRAPH_LABEL, ObservedKind, Problem, components,
};
use kubectl_dynamo_core::resources::GraphApi;

/// The graph to wait for.
#[derive(Debug, Clone)]
pub(crate) struct RolloutTarget {
    pub name: String,
    pub graph_api: GraphApi,
    /// Model name that clients use; `None` if only the frontend knows it.
    pub served_model_name: Option<String>,
}

impl RolloutTarget {
    /// Creates the target for a deployment that will be applied.
    pub(crate) fn from_deployment(deployment: &ResolvedDeployment) -> Self {
        Self {
            name: deployment.name.clone(),
            graph_api: deployment.graph_api,
            served_model_name: deployment.plan.as_ref().map(|plan| plan.served_model_name.clone()),
        }
    }

    /// Creates the target for an existing or previous graph.
    pub(crate) fn from_graph(graph: &Value, graph_api: GraphApi) -> Self {
        Self {
            name: GraphView::new(graph).name().to_owned(),
            graph_api,
            served_model_name: summary::stored_intent(graph).map(|intent| intent.served_model_name),
        }
    }
}

/// Returns [`readiness::restart_counts`] of the pods before a change; empty without the permission to list
/// pods.
pub(crate) async fn restart_counts(cluster: &Cluster, name: &str) -> BTreeMap<String, u64> {
    let pods = cluster.list_objects::<Pod>(&format!("{GRAPH_LABEL}={name}")).await;
    readiness::restart_counts(&pods.unwrap_or_default())
}

/// Waits until the operator reports the applied spec as ready.
pub(crate) async fn wait_until_ready(
    cluster: &Cluster,
    target: &RolloutTarget,
    uid: &str,
    restarts_before: BTreeMap<String, u64>,
    report: &Report,
) -> Result<()> {
    let name = &target.name;
    let selector = || format!("{GRAPH_LABEL}={name}");
    let api = target.graph_api;
    let deployments = || WatchTarget::by_labels(Kind::Deployment, selector());
    let mut targets = vec![
        WatchTarget::by_name(Kind::Graph(api), name),
        WatchTarget::by_labels(Kind::ComponentDeployment(api), selector()),
        WatchTarget::by_labels(Kind::Pod, selector()),
    ];
    // The operator of v1alpha1 can report a component as ready without having updated its Deployment.
    let must_watch_deployments = api == GraphApi::V1Alpha1;
    targets.extend(must_watch_deployments.then(deployments));
    let kinds: Vec<Kind> = targets.iter().map(|target| target.kind).collect();
    let mut events = cluster.watch(&targets);
    let mut objects = DeploymentReducer::for_deployment(name, restarts_before);
    let mut grace_period = GracePeriod::default();
    let mut pod_progress = PodProgress::new(cluster);
    let mut failed_run_logs = FailedRunLogs::new(cluster);
    let mut extra_watches_started = false;
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                WatchEvent { kind: Kind::Event, change: Ok(change) } => pod_progress.record_events(change)?,
                event => {
                    let is_failure = event.change.is_err();
                    record_event(event, &mut objects, report)?;
                    // What the deployment waited for before must not replace the report about the API server.
                    if is_failure {
                        continue;
                    }
                }
            },
            () = pod_progress.next_update() => {}
            problem = grace_period.wait_until_expired() => return Err(problem.into()),
            Some(failure) = failed_run_logs.next_failure(objects.observation()) => match failure {
                RunFailure::Permanent(cause) => return Err(cause),
                RunFailure::Retryable => continue,
            },
        }
        check_identity(&objects, name, uid)?;
        // Until all lists have arrived, a ready deployment looks like a waiting one.
        if !kinds.iter().filter_map(|kind| kind.observed()).all(|kind| objects.is_settled(kind)) {
            continue;
        }
        let (state, observation) = (objects.state(), objects.observation());
        if !extra_watches_started
            && matches!(state, DeploymentState::Progressing { .. } | DeploymentState::Blocked { .. })
        {
            // More watches are only worthwhile for a rollout that takes a while.
            let pod_events = WatchTarget {
                fields: "involvedObject.kind=Pod".into(),
                ..WatchTarget::by_labels(Kind::Event, "")
            };
            let deployments = (!must_watch_deployments).then(deployments);
            events.extend(cluster.watch(&Vec::from_iter(deployments.into_iter().chain([pod_events]))));
            extra_watches_started = true;
        }
        pod_progress.follow_logs(&observation.pods);
        failed_run_logs.request(observation);
        if let Some(graph) = &observation.graph {
            let pods = pod_progress.lines(name, &components(graph, &observation.pods));
            report.event(&Event::Pods { stage: Stage::Ready, pods });
        }
        match state {
            DeploymentState::Ready => {
                report.done(Stage::Ready, format!("deployment \"{name}\" is reported ready"));
                return Ok(());
            }
            // The first list has not arrived yet.
            DeploymentState::NotFound => {}
            DeploymentState::Progressing { waits_for } | DeploymentState::Terminating { waits_for } => {
                grace_period.update(None);
                report.waiting(Stage::Ready, waits_for);
            }
            DeploymentState::Blocked { problem } => {
                report.waiting(Stage::Ready, format!("deployment \"{name}\" to recover: {problem}"));
                grace_period.update(Some(problem).filter(|problem| !is_transient(problem)));
            }
        }
    }
}

/// Returns whether a problem can resolve without the user at any time: a new node, or a retried fetch or container. The
/// operator only has a grace period.
fn is_transient(problem: &Problem) -> bool {
    problem.is_transient() && !problem.depends_on_operator()
}

/// Records a change of the deployment's objects, or reports that a watch reconnects.
fn record_event(event: WatchEvent, objects: &mut DeploymentReducer, report: &Report) -> Result<()> {
    let WatchEvent { kind, change } = event;
    match change {
        Ok(change) => objects.record_change(kind, change)?,
        Err(error) => {
            objects.record_failure(kind);
            // Pods are optional: without the permission the screen shows less. Component deployments are required for
            // v1alpha1, because only they tell which spec a status belongs to.
            let is_required = matches!(kind, Kind::Graph(_) | Kind::ComponentDeployment(GraphApi::V1Alpha1));
            match error.is_retryable() {
                true => report.waiting(Stage::Ready, format!("the API server: {kind}: {error}")),
                false if is_required => return Err(error.into()),
                false => {}
            }
        }
    }
    Ok(())
}

/// Checks that the watched graph is the applied one, by its UID. The watch lists graphs after the apply, so a graph
/// that is not in the list was deleted.
fn check_identity(objects: &DeploymentReducer, name: &str, uid: &str) -> Result<()> {
    match &objects.observation().graph {
        None if !objects.is_listed(ObservedKind::Graph) => Ok(()),
        Some(graph) if !readiness::is_terminating(graph) => match ObjectView::new(graph).uid() == uid {
            true => Ok(()),
            false => Err(RolloutError::Replaced { name: name.into() }.into()),
        },
        _ => Err(RolloutError::Deleted { name: name.into() }.into()),
    }
}

/// Requests a test completion from the deployment, through a temporary port-forward.
pub(crate) async fn smoke_test(
    cluster: &Cluster,
    target: &RolloutTarget,
    report: &Report,
) -> Result<CompletionResult> {
    let name = &target.name;
    let tunnel = cluster.port_forward(lookup::frontend_target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let base_url = format!("http://{}/v1", tunnel.local_address);
    let not_serving =
        |cause| RolloutError::NotServing { name: name.clone(), namespace: cluster.namespace.clone(), cause };
    // For a manifest, only the frontend knows the model name.
    let model = target.served_model_name.as_deref();
    report.waiting(Stage::SmokeTest, format!("a completion of {}", model.unwrap_or("the served model")));
    let completion = smoke_test::smoke_test(&base_url, model, smoke_test::SMOKE_TEST_TIMEOUT)
        .await
        .map_err(not_serving)?;
    report.done(Stage::SmokeTest, completion.statistics());
    Ok(completion)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::ProgressMode;
    use kubectl_dynamo_core::readiness::ObjectChange;

    #[test]
    fn deleted_graph_without_finalizer_is_reported_deleted() {
        let graph = json!({ "metadata": { "name": "tiny", "uid": "1" } });
        let report = Report::new(ProgressMode::None);
        let mut objects = DeploymentReducer::for_deployment("tiny", BTreeMap::new());
        let mut record = |change| {
            let event = WatchEvent { kind: Kind::Graph(GraphApi::V1Beta1), change: Ok(change) };
            record_event(event, &mut objects, &report).expect("the change is stored");
            check_identity(&objects, "tiny", "1").map_err(|error| error.to_string())
        };
        assert_eq!(record(ObjectChange::Listed(vec![graph.clone()])), Ok(()));
        let deleted = "deployment \"tiny\" was deleted while waiting for it to become ready";
        assert_eq!(record(ObjectChange::Deleted(graph)), Err(deleted.to_owned()));
        assert_eq!(record(ObjectChange::Listed(Vec::new())), Err(deleted.to_owned()));
        let new = json!({ "metadata": { "name": "tiny", "uid": "2" } });
        let error = record(ObjectChange::Applied(new)).expect_err("the UID differs");
        assert!(error.contains("recreated"), "{error}");
    }
}
