//! Simulates a kubelet without a node: writes pod status, so that the controllers and the test operator
//! continue. The reports are modeled after those of the node tier and the recordings.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use super::case_namespace::CaseNamespace;
use crate::Outcome;

/// Labels of a graph's pods and of a Job's pods.
const COMPONENT_LABEL: &str = "nvidia.com/dynamo-component";
const JOB_LABEL: &str = "batch.kubernetes.io/job-name";

/// Writes the status of pods in one namespace.
pub struct FakeKubelet {
    pods: Api<Pod>,
}

impl FakeKubelet {
    pub fn new(namespace: &CaseNamespace) -> Self {
        Self { pods: Api::namespaced(namespace.client(), namespace.name()) }
    }

    /// Waits for a pod of the component that has not terminated, and returns its name.
    pub async fn pod_of_component(&self, component: &str) -> Outcome<String> {
        self.wait_for_pod(&format!("{COMPONENT_LABEL}={component}")).await
    }

    /// Waits for a pod of a fetch Job and returns its name.
    pub async fn pod_of_job(&self) -> Outcome<String> {
        self.wait_for_pod(JOB_LABEL).await
    }

    async fn wait_for_pod(&self, labels: &str) -> Outcome<String> {
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
        Err(format!("no pod with labels {labels}").into())
    }

    /// Reports that the model's fetch succeeded.
    pub async fn finish_fetch(&self) -> Outcome {
        let pod = self.pod_of_job().await?;
        self.report(&pod, json!({"phase": "Succeeded"})).await
    }

    /// Reports that the model's fetch failed with this exit code and termination message.
    pub async fn fail_fetch(&self, exit_code: u8, message: &str) -> Outcome {
        let pod = self.pod_of_job().await?;
        let terminated =
            json!({"terminated": {"exitCode": exit_code, "reason": "Error", "message": message}});
        let status = container("model-fetch", terminated, 0);
        self.report(&pod, json!({"phase": "Failed", "containerStatuses": [status]})).await
    }

    /// Reports that the component's pod is ready.
    pub async fn set_ready(&self, component: &str) -> Outcome {
        self.set_running(component, "True").await
    }

    /// Reports that the component's containers run, but that its readiness probe has not succeeded.
    pub async fn set_starting(&self, component: &str) -> Outcome {
        self.set_running(component, "False").await
    }

    async fn set_running(&self, component: &str, ready: &str) -> Outcome {
        let pod = self.pod_of_component(component).await?;
        let conditions = [
            condition("PodScheduled", "True"),
            condition("Ready", ready),
            condition("ContainersReady", ready),
        ];
        let mut main = container("main", json!({"running": {}}), 0);
        main["ready"] = (ready == "True").into();
        let status = json!({"phase": "Running", "conditions": conditions, "containerStatuses": [main]});
        self.report(&pod, status).await
    }

    /// Reports that the component's container waits, after this many restarts with the last state `last`.
    pub async fn set_waiting(
        &self,
        component: &str,
        waiting: (&str, &str),
        restarts: u64,
        last: Value,
    ) -> Outcome {
        let pod = self.pod_of_component(component).await?;
        let state = json!({"waiting": {"reason": waiting.0, "message": waiting.1}});
        let mut status = container("main", state, restarts);
        status["lastState"] = last;
        self.report(
            &pod,
            json!({
                "phase": "Pending",
                "conditions": [condition("PodScheduled", "True")],
                "containerStatuses": [status],
            }),
        )
        .await
    }

    /// Binds the pod to a node, as the scheduler does.
    pub async fn bind(&self, pod: &str, node: &str) -> Outcome {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let parameters = PostParams::default();
        self.pods.create_subresource::<Value, Value>("binding", pod, &parameters, &binding).await?;
        Ok(())
    }

    /// Writes this status of a pod. An unscheduled pod is bound to a node that does not exist first.
    pub async fn report(&self, pod: &str, status: Value) -> Outcome {
        let spec = self.pods.get(pod).await?.spec.unwrap_or_default();
        if spec.node_name.is_none() {
            self.bind(pod, pod).await?;
        }
        let patch = Patch::Merge(json!({"status": status}));
        self.pods.patch_status(pod, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Blocks the deletion of all current pods, or completes the deletion of those being deleted, as a
    /// kubelet does when their containers have exited.
    pub async fn block_deletion(&self, blocked: bool) -> Outcome {
        for pod in self.pods.list(&ListParams::default()).await? {
            if !blocked && pod.metadata.deletion_timestamp.is_some() {
                self.pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
            }
            let finalizers = if blocked { json!(["tests.kubectl-dynamo.dev/hold"]) } else { Value::Null };
            let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
            self.pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }
}

fn condition(kind: &str, status: &str) -> Value {
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"type": kind, "status": status, "lastTransitionTime": now})
}

fn container(name: &str, state: Value, restarts: u64) -> Value {
    json!({
        "name": name, "state": state, "restartCount": restarts, "ready": state["running"].is_object(),
        "image": "registry.test/image:1", "imageID": "",
    })
}
