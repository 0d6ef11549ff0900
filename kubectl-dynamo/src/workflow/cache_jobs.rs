//! PVCs that hold models: which objects use one, and the Jobs that work on one. Only a pod can access a
//! volume, so every operation on files is a model-fetcher Job, which is deleted when it has finished.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;

use crate::report::{Report, Stage};
use crate::workflow::{summary, wait_job};
use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, ClusterError, ConflictPolicy, Kind};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Exit, Explain, Result};
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::ServingIntent;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
pub(crate) use kubectl_dynamo_core::readiness::mounted_pvcs;
use kubectl_dynamo_core::readiness::{
    FetchTermination, GRAPH_LABEL, JOB_LABEL, fetch_termination, job_condition, pod_phase,
};
pub(crate) use kubectl_dynamo_core::resources::ModelJobAction;
use kubectl_dynamo_core::resources::{self, MODEL_ANNOTATION, Resource};

/// Name of the graph kind in lists of PVC users.
const GRAPH_KIND: &str = "dynamographdeployment";

/// All objects that can use a PVC: pods, Deployments and StatefulSets of any scale, and graphs.
#[derive(Default)]
pub(crate) struct PvcUsers {
    pub pods: Vec<ObservedObject<Pod>>,
    pub deployments: Vec<ObservedObject<Deployment>>,
    pub stateful_sets: Vec<ObservedObject<StatefulSet>>,
    pub graphs: Vec<Value>,
}

/// An object that uses a PVC.
pub(crate) struct PvcUser<'a> {
    /// Name of the graph that the object is or belongs to.
    pub graph: Option<&'a str>,
    /// Name of the Job that the object belongs to.
    pub job: Option<&'a str>,
    /// The model that the object handles, if the plugin created it.
    pub model: Option<&'a str>,
}

impl<'a> PvcUser<'a> {
    fn from_object(object: &'a impl ObjectFields) -> Self {
        Self {
            graph: object.label(GRAPH_LABEL),
            job: object.label(JOB_LABEL),
            model: object.annotation(MODEL_ANNOTATION),
        }
    }
}

impl PvcUsers {
    /// Lists all possible PVC users. All kinds are required: without one of them a PVC could look unused.
    ///
    /// # Errors
    /// Returns an error if a kind cannot be listed.
    pub(crate) async fn collect(cluster: &Cluster, graphs: Vec<Value>) -> Result<Self> {
        let (pods, deployments, sets) = futures::try_join!(
            cluster.list_objects(""),
            cluster.list_objects(""),
            cluster.list_objects(""),
        )?;
        Ok(Self { pods, deployments, stateful_sets: sets, graphs })
    }

    /// Returns the names of the objects in a namespace that use a PVC and pass the filter.
    pub(crate) fn names_using(
        &self,
        namespace: &str,
        pvc: &str,
        is_counted: &dyn Fn(&PvcUser<'_>) -> bool,
    ) -> Vec<String> {
        let is_here = |one: &str| one == namespace;
        let pods = self.pods.iter().filter(|pod| is_here(pod.namespace()) && !is_finished(pod));
        let pods = pods.map(|pod| ("pod", pod.name(), pod.spec.as_ref(), PvcUser::from_object(&**pod)));
        let deployments = self.deployments.iter().filter(|one| is_here(one.namespace())).map(|one| {
            let template = one.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            ("deployment", one.name(), template, PvcUser::from_object(&**one))
        });
        let stateful_sets = self.stateful_sets.iter().filter(|one| is_here(one.namespace())).map(|one| {
            let template = one.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            ("statefulset", one.name(), template, PvcUser::from_object(&**one))
        });
        let mounts_pvc = |pod: &PodSpec| mounted_pvcs(pod).any(|name| name == pvc);
        let workloads = pods.chain(deployments).chain(stateful_sets);
        let workloads = workloads.filter(|(_, _, pod, user)| pod.is_some_and(mounts_pvc) && is_counted(user));
        let graphs = self.graphs.iter().filter(|graph| {
            let view = GraphView::new(graph);
            let (job, model) = (view.label(JOB_LABEL), view.annotation(MODEL_ANNOTATION));
            let user = PvcUser { graph: Some(view.name()), job, model };
            is_here(view.namespace()) && references_pvc(graph, pvc) && is_counted(&user)
        });
        let graphs = graphs.map(|graph| format!("{GRAPH_KIND}/{}", GraphView::new(graph).name()));
        workloads.map(|(kind, name, ..)| format!("{kind}/{name}")).chain(graphs).collect()
    }
}

impl PvcUsers {
    /// Returns the names of the workloads that serve a model of a PVC or mount the PVC for an unknown purpose, and
    /// pass the filter. Managed deployments that serve another model of the PVC are not users, and neither are
    /// Jobs for another model.
    pub(crate) fn names_using_model(
        &self,
        namespace: &str,
        pvc: &str,
        repository: &str,
        is_counted: &dyn Fn(&PvcUser<'_>) -> bool,
    ) -> Vec<String> {
        let serves_other_model = |name: &str| {
            let is_graph = |graph: &&Value| {
                let graph = GraphView::new(graph);
                graph.name() == name && graph.namespace() == namespace
            };
            let intent = self.graphs.iter().find(is_graph).and_then(summary::stored_intent);
            intent.is_some_and(|intent| intent.model.repository() != repository)
        };
        let is_other_model = |model: &str| model.split('@').next() != Some(repository);
        self.names_using(namespace, pvc, &|user: &PvcUser<'_>| {
            !user.graph.is_some_and(serves_other_model)
                && !user.model.is_some_and(is_other_model)
                && is_counted(user)
        })
    }
}

fn is_finished(pod: &Pod) -> bool {
    matches!(pod_phase(pod), Some("Succeeded" | "Failed"))
}

/// Returns the pod spec of a Job.
pub(crate) fn pod_of_job(job: &Job) -> Option<&PodSpec> {
    job.spec.as_ref()?.template.spec.as_ref()
}

/// Returns whether a graph refers to a PVC: in its stored intent, in a volume of a pod template, or in
/// `spec.pvcs` of v1alpha1.
pub(crate) fn references_pvc(graph: &Value, pvc: &str) -> bool {
    let in_intent = summary::stored_intent(graph).is_some_and(|intent| intent.cache.pvc() == pvc);
    let graph = GraphView::new(graph);
    in_intent || graph.listed_pvcs().any(|one| one.name == pvc) || graph.references().pvcs.contains(pvc)
}

/// Runs a Job on the PVC of the intent's model, waits for it, and deletes it. Returns the fetcher's
/// termination message if it could be read.
///
/// # Errors
/// Returns the failure of the Job, unless the termination message already reports it.
pub(crate) async fn run_cache_job(
    cluster: &Cluster,
    intent: &ServingIntent,
    job_kind: ModelJobAction,
    report: &Report,
) -> Result<Option<FetchTermination>> {
    let Some(job) = resources::model_job(intent, job_kind, &cluster.namespace) else { return Ok(None) };
    let name = job.name().to_owned();
    cluster.apply(&recreate_if_finished(cluster, job).await?, ConflictPolicy::Fail).await?;
    let wait_result = wait_job::wait_for_job(cluster, &name, Stage::ModelCache, report).await;
    let termination = job_termination(cluster, &name).await;
    let deleted = cluster.delete(Kind::Job, &name).await;
    let outcome = match (wait_result, termination) {
        (Err(error), None) => Err(error),
        (Err(_), Some(termination)) if termination.exit_code != 0 => Ok(Some(termination)),
        (Err(error), Some(_)) => Err(error),
        (Ok(()), termination) => Ok(termination),
    };
    let (outcome, deletion_error) = combine_with_cleanup(outcome, deleted);
    if let Some(error) = deletion_error {
        report.warn(error.code(), format!("cannot delete job/{name}: {error}"), error.hint());
    }
    outcome
}

/// Combines the result of a Job with the result of its deletion. If both failed, the error of the Job is the result, and
/// the deletion error is returned separately. The next run joins or replaces a Job that was not deleted.
fn combine_with_cleanup(
    outcome: Result<Option<FetchTermination>>,
    deleted: std::result::Result<bool, ClusterError>,
) -> (Result<Option<FetchTermination>>, Option<ClusterError>) {
    let succeeded = matches!(&outcome, Ok(termination) if termination.as_ref().is_none_or(|termination| termination.exit_code == 0));
    match deleted {
        Ok(_) => (outcome, None),
        Err(error) if succeeded => (Err(error.into()), None),
        Err(error) => (outcome, Some(error)),
    }
}

/// Checks the result of a fetcher Job.
///
/// # Errors
/// Returns an error with the exit code and the termination message if the fetcher failed.
pub(crate) fn check_fetcher_result(
    termination: Option<FetchTermination>,
    intent: &ServingIntent,
) -> Result<()> {
    match termination.filter(|last| last.exit_code != 0) {
        None => Ok(()),
        Some(FetchTermination { exit_code, message, .. }) => Err(FetcherJobError {
            model: intent.model.to_string(),
            pvc: intent.cache.pvc().into(),
            exit_code,
            message,
        }
        .into()),
    }
}

/// A failure that model-fetcher reported.
#[derive(Debug, thiserror::Error)]
#[error("model-fetcher failed for model \"{model}\" on PVC \"{pvc}\" (exit code {exit_code}): {message}")]
struct FetcherJobError {
    model: String,
    pvc: String,
    exit_code: u64,
    message: String,
}

impl Explain for FetcherJobError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::ModelCacheJobFailed)
    }

    fn hint(&self) -> Option<Fix> {
        Some("fix the reported problem, then run the same command again".into())
    }

    fn exit(&self) -> Exit {
        if self.exit_code == u64::from(model_fetcher_contract::exit::ACCESS) {
            Exit::Access
        } else {
            Exit::Model
        }
    }
}

/// Handles a Job of the same name that an interrupted command left: a running Job is joined, a finished one
/// is recreated because its result is outdated.
async fn recreate_if_finished(
    cluster: &Cluster,
    resource: Resource,
) -> std::result::Result<Change, ClusterError> {
    let live = cluster.get_object::<Job>(resource.name()).await?;
    let is_finished =
        |job: &Job| ["Complete", "Failed"].iter().any(|kind| job_condition(job, kind).is_some());
    let outcome = match &live {
        None => ApplyResult::Created,
        Some(job) if is_finished(job) => ApplyResult::Recreated,
        Some(_) => ApplyResult::Retained,
    };
    let live = live.map(ObservedObject::into_document);
    Ok(Change { resource, outcome, live, result: None, adapter_owned_replicas: Vec::new() })
}

async fn job_termination(cluster: &Cluster, job: &str) -> Option<FetchTermination> {
    let pods = cluster.list_objects::<Pod>(&format!("{JOB_LABEL}={job}")).await.ok()?;
    pods.iter().rev().find_map(|pod| fetch_termination(pod))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deletion_error_does_not_hide_job_error() {
        #[allow(clippy::result_large_err)]
        let cleanup = || Err(ClusterError::NoKubeconfig);
        let error = || ClusterError::DynamoNotInstalled { server: "https://cluster".into() };
        let (outcome, deletion_error) = combine_with_cleanup(Err(error().into()), cleanup());
        assert_eq!(outcome.err().map(|one| one.to_string()), Some(error().to_string()));
        assert!(deletion_error.is_some());
        let termination = |exit_code| FetchTermination {
            exit_code,
            message: String::new(),
            reason: None,
            finished_at: String::new(),
        };
        let (outcome, deletion_error) = combine_with_cleanup(Ok(Some(termination(7))), cleanup());
        assert_eq!(outcome.ok().flatten().map(|termination| termination.exit_code), Some(7));
        assert!(deletion_error.is_some());
        // If only the cleanup failed, its error is the result.
        assert!(combine_with_cleanup(Ok(Some(termination(0))), cleanup()).0.is_err());
        assert!(combine_with_cleanup(Ok(None), Ok(true)).0.is_ok());
    }

    #[test]
    fn graph_references_pvc_in_both_api_versions() {
        let beta = json!({ "spec": { "components": [{ "podTemplate": { "spec": { "volumes": [
            { "name": "m", "persistentVolumeClaim": { "claimName": "models" } },
        ] } } }] } });
        let alpha = json!({ "spec": { "pvcs": [{ "name": "models" }], "services": {} } });
        for graph in [beta, alpha] {
            assert!(references_pvc(&graph, "models"));
            assert!(!references_pvc(&graph, "others"));
        }
    }

    #[test]
    fn pvc_users_exclude_other_namespaces_and_finished_pods() {
        let pod = |name: &str, namespace: &str, phase: &str| {
            json!({
                "metadata": { "name": name, "namespace": namespace, "labels": { GRAPH_LABEL: "one" } },
                "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "models" } }] },
                "status": { "phase": phase },
            })
        };
        let pod = |name, namespace, phase| ObservedObject::parse(pod(name, namespace, phase)).expect("a pod");
        let pods =
            vec![pod("a", "here", "Running"), pod("b", "there", "Running"), pod("c", "here", "Succeeded")];
        let pvc_users = PvcUsers { pods, ..PvcUsers::default() };
        assert_eq!(pvc_users.names_using("here", "models", &|_| true), ["pod/a"]);
        assert!(pvc_users.names_using("here", "models", &|user| user.graph != Some("one")).is_empty());
        assert!(pvc_users.names_using("here", "others", &|_| true).is_empty());
    }
}
