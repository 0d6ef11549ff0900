//! Reports pod status in a cluster without nodes, as a kubelet would; the controllers act on it. These pods
//! are not bound to a node, so a deleted pod is gone immediately. `fake_kubelet` simulates the kubelet of a
//! node that pods are bound to.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use kubectl_dynamo_core::readiness::JOB_LABEL;
use serde_json::{Value, json};

use crate::Outcome;

/// The reported activity of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodActivity {
    /// Its containers run, but its readiness probe has not succeeded.
    Starting,
    Ready,
    /// Its containers have exited with this code and this termination message.
    Ended(i32, &'static str),
}

/// Waits for `count` pods with these labels and reports their status. Returns their names.
pub async fn report_pods(
    client: Client,
    namespace: &str,
    labels: &str,
    count: usize,
    activity: PodActivity,
) -> Outcome<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let mut names = Vec::new();
    let pod_stream = watcher(pods.clone(), watcher::Config::default().labels(labels)).applied_objects();
    let mut pod_stream = std::pin::pin!(pod_stream);
    while names.len() < count {
        let pod = pod_stream.try_next().await?.ok_or("the watch of pods ended")?;
        if pod.metadata.deletion_timestamp.is_none() && !names.contains(&pod.name_any()) {
            report_status(&pods, &pod, activity).await?;
            names.push(pod.name_any());
        }
    }
    Ok(names)
}

async fn report_status(pods: &Api<Pod>, pod: &Pod, activity: PodActivity) -> Outcome {
    let status = json!({ "status": pod_status(pod, activity) });
    match pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await {
        // The pod was deleted in the meantime.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => Ok(result.map(drop)?),
    }
}

/// Runs every pod of a Job forever: it starts, `listened` waits until its log is requested, and it exits as
/// given.
pub async fn run_jobs<W: Future<Output = ()>>(
    client: Client,
    namespace: &str,
    final_activity: PodActivity,
    log_requested: impl Fn() -> W,
) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let job_pods = watcher::Config::default().labels(JOB_LABEL);
    let mut pod_stream = std::pin::pin!(watcher(pods.clone(), job_pods).applied_objects());
    while let Some(pod) = pod_stream.try_next().await? {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        match phase {
            Some("Pending") => report_status(&pods, &pod, PodActivity::Starting).await?,
            Some("Running") => {
                log_requested().await;
                report_status(&pods, &pod, final_activity).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn pod_status(pod: &Pod, activity: PodActivity) -> Value {
    let now = pod.metadata.creation_timestamp.as_ref().map(|time| json!(time)).unwrap_or_default();
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            let state = match activity {
                PodActivity::Starting | PodActivity::Ready => json!({ "running": { "startedAt": now } }),
                PodActivity::Ended(code, message) => json!({ "terminated": {
                    "exitCode": code, "message": message, "startedAt": now, "finishedAt": now,
                } }),
            };
            json!({
                "name": container.name, "image": container.image, "imageID": "sha256:0", "restartCount": 0,
                "containerID": format!("containerd://{}", pod.name_any()), "ready": activity == PodActivity::Ready,
                "started": true, "state": state,
            })
        })
        .collect();
    let phase = match activity {
        PodActivity::Starting | PodActivity::Ready => "Running",
        PodActivity::Ended(0, _) => "Succeeded",
        PodActivity::Ended(..) => "Failed",
    };
    let ready = if activity == PodActivity::Ready { "True" } else { "False" };
    let condition = |kind: &str| json!({ "type": kind, "status": ready, "lastTransitionTime": now });
    json!({
        "phase": phase, "startTime": now, "containerStatuses": containers,
        "conditions": [condition("Ready"), condition("ContainersReady")],
    })
}
