//! What a kubelet would report of pods, where there is no node: written into their status, so that the controllers
//! and the operator's part go on from there. Which reports there are is known from the node tier and the recordings.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use super::case_namespace::CaseNamespace;
use crate::Outcome;

/// The label of a graph's pods, and that of a Job's.
const COMPONENT: &str = "nvidia.com/dynamo-component";
const JOB: &str = "batch.kubernetes.io/job-name";

/// Reports of the pods of one namespace.
pub struct Puppet {
    pods: Api<Pod>,
}

impl Puppet {
    pub fn of(place: &CaseNamespace) -> Self {
        Self { pods: Api::namespaced(place.client(), place.name()) }
    }

    /// The name of a pod of the component that has not ended and is not on its way out, once there is one.
    pub async fn pod_of(&self, component: &str) -> Outcome<String> {
        self.pod(&format!("{COMPONENT}={component}")).await
    }

    /// The name of a pod of a fetch Job, once there is one.
    pub async fn pod_of_job(&self) -> Outcome<String> {
        self.pod(JOB).await
    }

    async fn pod(&self, labels: &str) -> Outcome<String> {
        use futures::StreamExt;
        let config = watcher::Config::default().labels(labels);
        let mut pods = Box::pin(watcher(self.pods.clone(), config).applied_objects());
        while let Some(pod) = pods.next().await {
            let pod = pod?;
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed")) {
                return Ok(pod.name_any());
            }
        }
        Err(format!("no pod with {labels}").into())
    }

    /// The model's fetch ends well.
    pub async fn finish_fetch(&self) -> Outcome {
        let pod = self.pod_of_job().await?;
        self.report(&pod, json!({"phase": "Succeeded"})).await
    }

    /// The model's fetch ends with this exit code and these last words.
    pub async fn fail_fetch(&self, exit_code: u8, message: &str) -> Outcome {
        let pod = self.pod_of_job().await?;
        let ended = json!({"terminated": {"exitCode": exit_code, "reason": "Error", "message": message}});
        let status = container("model-fetch", ended, 0);
        self.report(&pod, json!({"phase": "Failed", "containerStatuses": [status]})).await
    }

    /// The component's pod is ready.
    pub async fn make_ready(&self, component: &str) -> Outcome {
        let pod = self.pod_of(component).await?;
        self.report(
            &pod,
            json!({
                "phase": "Running",
                "conditions": [condition("PodScheduled"), condition("Ready"), condition("ContainersReady")],
                "containerStatuses": [container("main", json!({"running": {}}), 0)],
            }),
        )
        .await
    }

    /// The component's container waits, after this many restarts that ended as `last`.
    pub async fn make_wait(
        &self,
        component: &str,
        waiting: (&str, &str),
        restarts: u64,
        last: Value,
    ) -> Outcome {
        let pod = self.pod_of(component).await?;
        let state = json!({"waiting": {"reason": waiting.0, "message": waiting.1}});
        let mut status = container("main", state, restarts);
        status["lastState"] = last;
        self.report(
            &pod,
            json!({
                "phase": "Pending",
                "conditions": [condition("PodScheduled")],
                "containerStatuses": [status],
            }),
        )
        .await
    }

    /// Puts the pod on a node, as the scheduler does.
    pub async fn bind(&self, pod: &str, node: &str) -> Outcome {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let parameters = PostParams::default();
        self.pods.create_subresource::<Value, Value>("binding", pod, &parameters, &binding).await?;
        Ok(())
    }

    /// Writes this status of a pod on a node; one that the scheduler still seeks a node for is put on one that is not.
    pub async fn report(&self, pod: &str, status: Value) -> Outcome {
        let spec = self.pods.get(pod).await?.spec.unwrap_or_default();
        if spec.node_name.is_none() {
            self.bind(pod, pod).await?;
        }
        let patch = Patch::Merge(json!({"status": status}));
        self.pods.patch_status(pod, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Keeps every pod that is there from going, or lets those go that are on their way out, as a kubelet does when
    /// their containers have ended.
    pub async fn hold(&self, held: bool) -> Outcome {
        for pod in self.pods.list(&ListParams::default()).await? {
            if !held && pod.metadata.deletion_timestamp.is_some() {
                self.pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
            }
            let finalizers = if held { json!(["tests.kubectl-dynamo.dev/hold"]) } else { Value::Null };
            let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
            self.pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }
}

fn condition(kind: &str) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"type": kind, "status": "True", "lastTransitionTime": now})
}

fn container(name: &str, state: Value, restarts: u64) -> Value {
    json!({
        "name": name, "state": state, "restartCount": restarts, "ready": state["running"].is_object(),
        "image": "registry.test/image:1", "imageID": "",
    })
}
