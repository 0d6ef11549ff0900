//! A Kubernetes namespace for one case, so that cases can run in parallel, and its content for the message of
//! a failed case.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount,
};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::TestCluster;
use super::control_plane::ControlPlane;
use super::definitions::GraphGeneration;
use crate::{Outcome, dynamo};

/// The namespace of one case. Call `delete` when the case has passed. A namespace that remains helps to debug
/// a failed case.
#[derive(Clone)]
pub struct CaseNamespace {
    name: String,
    client: Client,
    volumes: PathBuf,
}

impl CaseNamespace {
    /// Creates the namespace `name`, or `name-2` for the second attempt of a case whose first attempt left one.
    pub async fn create(cluster: &TestCluster, plane: &ControlPlane, name: &str) -> Outcome<Self> {
        let client = plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = |name: &str| serde_json::from_value(json!({"metadata": {"name": name}}));
        let second = format!("{name}-2");
        let name = match namespaces.create(&PostParams::default(), &object(name)?).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                namespaces.create(&PostParams::default(), &object(&second)?).await?;
                &second
            }
            result => result.map(|_| name)?,
        };
        // A controller creates the service account, and pods cannot be created before it exists.
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

    /// Makes the namespace enforce a Pod Security Standard.
    pub async fn enforce_pod_security(&self, level: &str) -> Outcome {
        let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": level } } });
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.patch(&self.name, &PatchParams::default(), &Patch::Merge(labels)).await?;
        Ok(())
    }

    /// Creates a volume on the node for the PVC `claim` of this namespace with the storage class `class`;
    /// returns the folder of its files. There is no provisioner: a PVC with this name is bound to this
    /// volume.
    pub async fn create_volume(&self, pvc: &str, class: &str) -> Outcome<PathBuf> {
        let folder = self.volumes.join(format!("{}-{pvc}", self.name));
        std::fs::create_dir_all(&folder)?;
        // fsGroup has no effect on hostPath volumes.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777))?;
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        let volume = serde_json::from_value(json!({
            "metadata": {"name": format!("{}-{pvc}", self.name)},
            "spec": {
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "capacity": {"storage": "1Ti"},
                "storageClassName": class,
                "hostPath": {"path": folder},
                "claimRef": {"namespace": self.name, "name": pvc},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        }))?;
        volumes.create(&PostParams::default(), &volume).await?;
        Ok(folder)
    }

    /// Creates the PVC `claim` and its volume.
    pub async fn create_pvc(&self, pvc: &str) -> Outcome<PathBuf> {
        let folder = self.create_volume(pvc, "manual").await?;
        let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), &self.name);
        let object = serde_json::from_value(json!({
            "metadata": {"name": pvc},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "storageClassName": "manual",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }))?;
        pvcs.create(&PostParams::default(), &object).await?;
        Ok(folder)
    }

    /// Returns the resource version of each object that the plugin creates, by resource and name.
    pub async fn resource_versions(
        &self,
        generation: GraphGeneration,
    ) -> Outcome<BTreeMap<(String, String), String>> {
        let mut versions = BTreeMap::new();
        let mut record = |resource: &str, name: String, version: Option<String>| {
            versions.insert((resource.to_owned(), name), version.unwrap_or_default());
        };
        let all = ListParams::default();
        let jobs: Api<Job> = Api::namespaced(self.client(), &self.name);
        for job in jobs.list(&all).await? {
            record("jobs", job.name_any(), job.resource_version());
        }
        let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), &self.name);
        for pvc in pvcs.list(&all).await? {
            record("persistentvolumeclaims", pvc.name_any(), pvc.resource_version());
        }
        for graph in dynamo::graphs(self.client(), generation, &self.name).list(&all).await? {
            record("dynamographdeployments", graph.name_any(), graph.resource_version());
        }
        Ok(versions)
    }

    /// Returns the pods of this namespace, their logs, and the events, for the message of a failed case.
    pub async fn describe(&self) -> Outcome<String> {
        let mut text = String::new();
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.name);
        for pod in pods.list(&ListParams::default()).await? {
            let name = pod.name_any();
            let status = serde_json::to_value(&pod.status)?;
            writeln!(text, "pod {name}: {} {}", status["phase"], status["containerStatuses"])?;
            for container in container_names(&pod) {
                let parameters = LogParams {
                    container: Some(container.clone()),
                    tail_lines: Some(30),
                    ..LogParams::default()
                };
                let log = pods.logs(&name, &parameters).await.unwrap_or_else(|error| error.to_string());
                writeln!(text, "log of {name}/{container}:\n{log}")?;
            }
        }
        let events: Api<Event> = Api::namespaced(self.client(), &self.name);
        for event in events.list(&ListParams::default()).await? {
            let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            writeln!(text, "event {} {reason}: {message}", event.involved_object.name.unwrap_or_default())?;
        }
        Ok(text)
    }

    /// Starts to delete the namespace, so that its pods free their resources; does not wait.
    pub async fn delete(self) -> Outcome {
        let namespaces: Api<Namespace> = Api::all(self.client());
        namespaces.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

fn container_names(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let first = spec.init_containers.as_deref().unwrap_or_default();
    first.iter().chain(&spec.containers).map(|container| container.name.clone()).collect()
}
