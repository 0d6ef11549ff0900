//! A Kubernetes namespace of one case, so that cases run side by side; and what was in it when a case fails.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount,
};
use kube::api::{Api, DeleteParams, ListParams, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::Cluster;
use super::control_plane::ControlPlane;
use super::definitions::GraphGeneration;
use crate::{Outcome, dynamo};

/// One case's namespace. Delete it with `delete` when the case has passed; one that stays tells why a case failed.
#[derive(Clone)]
pub struct CaseNamespace {
    name: String,
    client: Client,
    volumes: PathBuf,
}

impl CaseNamespace {
    /// Makes the namespace `name`.
    pub async fn create(cluster: &Cluster, plane: &ControlPlane, name: &str) -> Outcome<Self> {
        let client = plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces.create(&PostParams::default(), &object).await?;
        // A controller makes it, and no pod may be made before.
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
        await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await?;
        Ok(Self { name: name.to_owned(), client, volumes: cluster.folder().join("volumes") })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Makes a volume on the node for the claim `claim` of this namespace, of the storage class `class`, and answers
    /// the folder where its files are. There is no provisioner: whoever makes the claim is bound to this volume.
    pub async fn volume(&self, claim: &str, class: &str) -> Outcome<PathBuf> {
        let folder = self.volumes.join(format!("{}-{claim}", self.name));
        std::fs::create_dir_all(&folder)?;
        // A pod's fsGroup changes nothing on a volume of the node's own folders.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        let volume = serde_json::from_value(json!({
            "metadata": {"name": format!("{}-{claim}", self.name)},
            "spec": {
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "capacity": {"storage": "1Ti"},
                "storageClassName": class,
                "hostPath": {"path": folder},
                "claimRef": {"namespace": self.name, "name": claim},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        }))?;
        volumes.create(&PostParams::default(), &volume).await?;
        Ok(folder)
    }

    /// Makes the claim `claim` and its volume.
    pub async fn claim(&self, claim: &str) -> Outcome<PathBuf> {
        let folder = self.volume(claim, "manual").await?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), &self.name);
        let object = serde_json::from_value(json!({
            "metadata": {"name": claim},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "manual",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }))?;
        claims.create(&PostParams::default(), &object).await?;
        Ok(folder)
    }

    /// The resource version of each object that the plugin makes, by resource and name.
    pub async fn versions(&self, generation: GraphGeneration) -> Outcome<BTreeMap<(String, String), String>> {
        let mut versions = BTreeMap::new();
        let mut note = |resource: &str, name: String, version: Option<String>| {
            versions.insert((resource.to_owned(), name), version.unwrap_or_default());
        };
        let all = ListParams::default();
        let jobs: Api<Job> = Api::namespaced(self.client(), &self.name);
        for job in jobs.list(&all).await? {
            note("jobs", job.name_any(), job.resource_version());
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), &self.name);
        for claim in claims.list(&all).await? {
            note("persistentvolumeclaims", claim.name_any(), claim.resource_version());
        }
        for graph in dynamo::graphs(self.client(), generation, &self.name).list(&all).await? {
            note("dynamographdeployments", graph.name_any(), graph.resource_version());
        }
        Ok(versions)
    }

    /// What the pods of this namespace are doing and have said, and its events: for the message of a failed case.
    pub async fn describe(&self) -> Outcome<String> {
        let mut said = String::new();
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.name);
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.name_any();
            let status = serde_json::to_value(&pod.status)?;
            writeln!(said, "pod {name}: {} {}", status["phase"], status["containerStatuses"])?;
            for container in containers(&pod) {
                let parameters = LogParams {
                    container: Some(container.clone()),
                    tail_lines: Some(30),
                    ..LogParams::default()
                };
                let log = pods.logs(&name, &parameters).await.unwrap_or_else(|error| error.to_string());
                writeln!(said, "log of {name}/{container}:\n{log}")?;
            }
        }
        let events: Api<Event> = Api::namespaced(self.client(), &self.name);
        for event in events.list(&ListParams::default()).await? {
            let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            writeln!(said, "event {} {reason}: {message}", event.involved_object.name.unwrap_or_default())?;
        }
        Ok(said)
    }

    /// Begins to delete the namespace, so that its pods make room; does not wait.
    pub async fn delete(self) -> Outcome {
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

fn containers(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let first = spec.init_containers.as_deref().unwrap_or_default();
    first.iter().chain(&spec.containers).map(|container| container.name.clone()).collect()
}
