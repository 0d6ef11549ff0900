//! The inventory of models on PVCs, from API objects only: fetch Jobs and their results, deployments and the
//! results of their init containers, and the workloads that mount a PVC. It must not start a pod to inspect a
//! volume.

mod records;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::Value;

use crate::workflow::cache_jobs::{PvcUsers, references_pvc};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, NamespaceScope, pvc_facts};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::FetchSummary;
use kubectl_dynamo_core::resources::{FIELD_MANAGER, MANAGED_BY_LABEL};
use records::{ModelRecord, current_state, record_from_graph, record_from_job};

/// The state of a model on its PVC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CacheState {
    /// Every byte was verified at this time (RFC 3339).
    Complete {
        at: String,
    },
    Fetching,
    Failed {
        at: String,
        reason: String,
    },
    /// The API objects do not show the state; only the volume contains it.
    Unknown,
}

/// One model on one PVC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CachedModel {
    pub namespace: String,
    pub pvc: String,
    pub repository: String,
    pub revision: String,
    pub state: CacheState,
    pub fetch_summary: Option<FetchSummary>,
    /// The users as `kind/name`, such as `dynamographdeployment/qwen32` or `pod/notebook`.
    pub users: Vec<String>,
    /// The names of the model's existing fetch Jobs.
    pub jobs: Vec<String>,
}

/// A PVC that is used for models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheVolume {
    pub namespace: String,
    pub name: String,
    pub phase: String,
    pub size: String,
    pub access_modes: String,
    pub users: Vec<String>,
}

/// All models and model PVCs that the API objects show.
#[derive(Default)]
pub(super) struct CacheInventory {
    pub volumes: Vec<CacheVolume>,
    pub models: Vec<CachedModel>,
    users: PvcUsers,
    jobs: Vec<ObservedObject<Job>>,
}

/// How missing permissions are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermissionPolicy {
    /// Missing permissions reduce the result.
    BestEffort,
    /// Every permission is required, because an object that cannot be listed could be a user.
    Required,
}

/// Collects the inventory of one namespace or of all namespaces.
///
/// # Errors
/// A missing permission to list PVCs; with [`PermissionPolicy::Required`], any missing permission.
pub(super) async fn gather(
    cluster: &Cluster,
    scope: NamespaceScope,
    permissions: PermissionPolicy,
) -> Result<CacheInventory> {
    let owned_by_us = format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}");
    let graphs = async {
        match cluster.platform().await {
            Ok(platform) => cluster.list_in(scope, Kind::Graph(platform.graph_api), "").await,
            Err(ClusterError::DynamoNotInstalled { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let (pvcs, jobs, graphs, pods, deployments, sets) = futures::join!(
        cluster.list_objects_in::<PersistentVolumeClaim>(scope, ""),
        cluster.list_objects_in(scope, &owned_by_us),
        graphs,
        cluster.list_objects_in(scope, ""),
        cluster.list_objects_in(scope, ""),
        cluster.list_objects_in(scope, ""),
    );
    let users = PvcUsers {
        pods: permissions.tolerate(pods)?,
        deployments: permissions.tolerate(deployments)?,
        stateful_sets: permissions.tolerate(sets)?,
        graphs: permissions.tolerate(graphs)?,
    };
    Ok(CacheInventory::from_objects(&pvcs?, permissions.tolerate(jobs)?, users))
}

impl PermissionPolicy {
    /// Returns the listed objects, or none if they may not be listed and the policy tolerates it. The verb reports
    /// the missing permissions when it ends.
    fn tolerate<T>(self, listed: std::result::Result<Vec<T>, ClusterError>) -> Result<Vec<T>> {
        match listed {
            Err(ClusterError::Forbidden { .. }) if self == Self::BestEffort => Ok(Vec::new()),
            listed => Ok(listed?),
        }
    }
}

impl CacheInventory {
    fn from_objects(
        pvcs: &[ObservedObject<PersistentVolumeClaim>],
        jobs: Vec<ObservedObject<Job>>,
        users: PvcUsers,
    ) -> Self {
        let mut models: BTreeMap<_, CachedModel> = BTreeMap::new();
        let job_records = jobs.iter().filter_map(|job| record_from_job(job, &users.pods));
        let graph_records = users.graphs.iter().filter_map(|graph| record_from_graph(graph, &users.pods));
        for ModelRecord { key, state, fetch_summary, job } in job_records.chain(graph_records) {
            let (namespace, pvc, repository, revision) = key.clone();
            let model = models.entry(key).or_insert_with(|| CachedModel {
                users: users.names_using_model(&namespace, &pvc, &repository, &|_| true),
                namespace,
                pvc,
                repository,
                revision,
                state: CacheState::Unknown,
                fetch_summary: None,
                jobs: Vec::new(),
            });
            model.state = current_state(std::mem::replace(&mut model.state, CacheState::Unknown), state);
            model.fetch_summary = fetch_summary.or(model.fetch_summary.take());
            model.jobs.extend(job);
        }
        let models: Vec<CachedModel> = models.into_values().collect();
        let is_model_volume = |pvc: &&ObservedObject<PersistentVolumeClaim>| {
            let (namespace, name) = (pvc.namespace(), pvc.name());
            let is_in_namespace = |graph: &Value| GraphView::new(graph).namespace() == namespace;
            pvc.label(MANAGED_BY_LABEL) == Some(FIELD_MANAGER)
                || models.iter().any(|one| one.namespace == namespace && one.pvc == name)
                || users.graphs.iter().any(|one| is_in_namespace(one) && references_pvc(one, name))
        };
        let volumes = pvcs.iter().filter(is_model_volume).map(|pvc| cache_volume(pvc, &users)).collect();
        Self { volumes, models, users, jobs }
    }

    /// Lists the users of a model, including workloads that mount its PVC for an unknown purpose.
    pub(super) fn model_users(&self, namespace: &str, pvc: &str, repository: &str) -> Vec<String> {
        self.users.names_using_model(namespace, pvc, repository, &|_| true)
    }

    /// Returns a fetch Job by its name.
    pub(super) fn job(&self, name: &str) -> Option<&Job> {
        self.jobs.iter().find(|job| job.name() == name).map(|job| &**job)
    }
}

fn cache_volume(pvc: &PersistentVolumeClaim, users: &PvcUsers) -> CacheVolume {
    let facts = pvc_facts(pvc);
    let capacity = pvc.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    CacheVolume {
        users: users.names_using(pvc.namespace(), pvc.name(), &|_| true),
        phase: facts.phase,
        size: capacity.map_or(facts.size, |size| size.0.clone()),
        access_modes: facts.access_modes,
        namespace: pvc.namespace().to_owned(),
        name: pvc.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use kubectl_dynamo_core::readiness::JOB_LABEL;
    use kubectl_dynamo_core::resources::MODEL_ANNOTATION;
    use serde_json::json;

    fn typed<T: serde::de::DeserializeOwned>(document: Value) -> ObservedObject<T> {
        ObservedObject::parse(document).expect("the object has the fields of its kind")
    }

    fn pvc(name: &str, labels: Value) -> ObservedObject<PersistentVolumeClaim> {
        typed(json!({
            "metadata": { "namespace": "serving", "name": name, "labels": labels },
            "spec": { "accessModes": ["ReadWriteMany"], "resources": { "requests": { "storage": "1Ti" } } },
            "status": { "phase": "Bound" },
        }))
    }

    fn job(name: &str, model: &str, condition: Option<&str>) -> ObservedObject<Job> {
        let conditions: Vec<Value> = condition
            .map(|kind| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z" }))
            .into_iter()
            .collect();
        typed(json!({
            "metadata": { "namespace": "serving", "name": name, "annotations": { MODEL_ANNOTATION: model } },
            "spec": { "template": { "spec": { "volumes": [
                { "persistentVolumeClaim": { "claimName": "models" } },
            ] } } },
            "status": { "conditions": conditions },
        }))
    }

    fn pod(
        name: &str,
        labels: Value,
        annotations: Value,
        terminated: Option<(u64, &str)>,
    ) -> ObservedObject<Pod> {
        let state = match terminated {
            Some((code, message)) => json!({ "terminated": {
                "exitCode": code, "message": message, "finishedAt": "2026-01-01T00:00:00Z",
            } }),
            None => json!({ "running": {} }),
        };
        typed(json!({
            "metadata": { "namespace": "serving", "name": name, "labels": labels, "annotations": annotations },
            "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "models" } }] },
            "status": {
                "phase": if terminated.is_some() { "Succeeded" } else { "Running" },
                "containerStatuses": [{ "name": kubectl_dynamo_core::resources::FETCH_CONTAINER, "state": state }],
            },
        }))
    }

    #[test]
    fn inventory_is_read_from_jobs_and_termination_messages() {
        let jobs = vec![
            job("fetch-a", "acme/a@main", Some("Complete")),
            job("fetch-b", "acme/b@main", Some("Failed")),
            job("fetch-c", "acme/c@main", None),
        ];
        let complete =
            "complete: /opt/models/acme/a at 0123456789ab, 5 files, 24.00 MiB; 0 B fetched in 0.0 s";
        let users = PvcUsers {
            pods: vec![
                pod("a", json!({ JOB_LABEL: "fetch-a" }), json!({}), Some((0, complete))),
                pod(
                    "b",
                    json!({ JOB_LABEL: "fetch-b" }),
                    json!({}),
                    Some((10, "error: the hub requires a token\n  hint: x")),
                ),
                pod("c", json!({ JOB_LABEL: "fetch-c" }), json!({ MODEL_ANNOTATION: "acme/c@main" }), None),
                pod("notebook", json!({}), json!({}), None),
            ],
            ..PvcUsers::default()
        };
        let pvcs = [
            pvc("models", json!({})),
            pvc("database", json!({})),
            pvc("own", json!({ MANAGED_BY_LABEL: FIELD_MANAGER })),
        ];
        let inventory = CacheInventory::from_objects(&pvcs, jobs, users);
        let names: Vec<&str> = inventory.volumes.iter().map(|volume| volume.name.as_str()).collect();
        assert_eq!(names, ["models", "own"]);
        let [a, b, c] = inventory.models.as_slice() else { panic!("three models") };
        assert_eq!(a.state, CacheState::Complete { at: "2026-01-02T00:00:00Z".into() });
        assert_eq!(
            a.fetch_summary.as_ref().map(|fetch_summary| fetch_summary.size.as_str()),
            Some("24.00 MiB")
        );
        assert_eq!(a.users, ["pod/notebook"]);
        assert!(
            matches!(&b.state, CacheState::Failed { reason, .. } if reason == "the hub requires a token")
        );
        assert_eq!(
            (&c.state, c.users.as_slice()),
            (&CacheState::Fetching, ["pod/c".to_owned(), "pod/notebook".into()].as_slice())
        );
    }

    #[test]
    fn running_fetch_has_precedence_then_latest_result() {
        let complete = |at: &str| CacheState::Complete { at: at.into() };
        let failed = CacheState::Failed { at: "2".into(), reason: String::new() };
        assert_eq!(current_state(complete("1"), failed.clone()), failed);
        assert_eq!(current_state(complete("3"), failed.clone()), complete("3"));
        assert_eq!(current_state(CacheState::Fetching, complete("3")), CacheState::Fetching);
        assert_eq!(current_state(CacheState::Unknown, complete("1")), complete("1"));
    }
}
