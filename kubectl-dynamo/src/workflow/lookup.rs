//! Finds a deployment, its frontend, and its fetch Jobs, for every verb that works on an existing deployment.
//! It must not change anything on the cluster.

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use crate::context::Context;
use crate::workflow::cache_jobs::{mounted_pvcs, pod_of_job};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform, PortForwardTarget};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::plan::FetchStep;
use kubectl_dynamo_core::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL, job_condition};
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, MANAGED_BY_LABEL, MODEL_ANNOTATION, MODEL_LABEL, fetch_job_deployments,
};

/// The port of a frontend, from the operator's constant.
const FRONTEND_PORT: u16 = 8000;

/// Returns the port-forward target: any ready frontend pod of a deployment.
pub(crate) fn frontend_target(name: &str) -> PortForwardTarget {
    PortForwardTarget {
        labels: format!("{GRAPH_LABEL}={name},{COMPONENT_TYPE_LABEL}=frontend"),
        pod: None,
        name: name.into(),
        port: FRONTEND_PORT,
    }
}

/// An existing deployment and its cluster.
pub(crate) struct ClusterDeployment {
    pub cluster: Cluster,
    pub platform: Platform,
    pub graph: Value,
}

/// The result of a lookup; the deployment may not exist.
pub(crate) struct DeploymentLookup {
    pub cluster: Cluster,
    pub platform: Platform,
    pub graph: Option<Value>,
}

/// Looks up a deployment in the namespace that kubectl's flags select.
pub(crate) async fn find_deployment(name: &str, context: &Context) -> Result<DeploymentLookup> {
    context.kube.refuse_all_namespaces()?;
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let graph = cluster.get(Kind::Graph(platform.graph_api), name).await?;
    Ok(DeploymentLookup { cluster, platform, graph })
}

/// Returns a deployment in the namespace that kubectl's flags select.
///
/// # Errors
/// A deployment that does not exist.
pub(crate) async fn get_deployment(name: &str, context: &Context) -> Result<ClusterDeployment> {
    let DeploymentLookup { cluster, platform, graph } = find_deployment(name, context).await?;
    match graph {
        Some(graph) => Ok(ClusterDeployment { cluster, platform, graph }),
        None => Err(not_found(&cluster, &platform, name).into()),
    }
}

/// Returns the error for a deployment that does not exist.
pub(crate) fn not_found(cluster: &Cluster, platform: &Platform, name: &str) -> ClusterError {
    ClusterError::NotFound {
        kind: Kind::Graph(platform.graph_api),
        name: name.into(),
        namespace: cluster.namespace.clone(),
    }
}

/// Lists the fetch Jobs for which a deployment waits.
pub(crate) async fn fetch_jobs(
    cluster: &Cluster,
    name: &str,
) -> std::result::Result<Vec<ObservedObject<Job>>, ClusterError> {
    let mut jobs = cluster.list_objects(&fetch_job_selector()).await?;
    jobs.retain(|job: &ObservedObject<Job>| fetch_job_deployments(job.document()).contains(&name));
    Ok(jobs)
}

/// Returns the label selector of all fetch Jobs. A selector cannot name one deployment, because several can share
/// a Job.
pub(crate) fn fetch_job_selector() -> String {
    format!("{MODEL_LABEL},{MANAGED_BY_LABEL}={FIELD_MANAGER}")
}

/// Returns the name of a complete Job that fetched this revision of a model to the PVC.
pub(crate) async fn complete_fetch_job(cluster: &Cluster, fetch: &FetchStep, pvc: &str) -> Option<String> {
    let model = format!("{}@{}", fetch.repository, fetch.revision);
    let mounts_pvc = |job: &Job| pod_of_job(job).is_some_and(|pod| mounted_pvcs(pod).any(|name| name == pvc));
    let jobs = cluster.list_objects::<Job>(&fetch_job_selector()).await.ok()?;
    let complete = jobs.iter().find(|job| {
        job.annotation(MODEL_ANNOTATION) == Some(&model)
            && job_condition(job, "Complete").is_some()
            && mounts_pvc(job)
    });
    complete.map(|job| job.name().to_owned())
}
