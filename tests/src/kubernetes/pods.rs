//! Pods of a cluster without nodes: what a kubelet would say of them is said here, and the controllers believe it. They
//! stay on no node, so one that is deleted is gone at once; `puppet` plays the kubelet of a node that pods are bound to.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use kubectl_dynamo::readiness::JOB_LABEL;
use serde_json::{Value, json};

use crate::Outcome;

/// What a pod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Its containers run, and its readiness probe has not answered.
    Starting,
    Ready,
    /// Its containers have ended with this code and these last words.
    Ended(i32, &'static str),
}

/// Waits for `count` pods with these labels and lets them do something. Answers their names.
pub async fn pretend(
    client: Client,
    namespace: &str,
    labels: &str,
    count: usize,
    doing: Doing,
) -> Outcome<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let mut named = Vec::new();
    let seen = watcher(pods.clone(), watcher::Config::default().labels(labels)).applied_objects();
    let mut seen = std::pin::pin!(seen);
    while named.len() < count {
        let pod = seen.try_next().await?.ok_or("the watch of pods ended")?;
        if pod.metadata.deletion_timestamp.is_none() && !named.contains(&pod.name_any()) {
            say(&pods, &pod, doing).await?;
            named.push(pod.name_any());
        }
    }
    Ok(named)
}

async fn say(pods: &Api<Pod>, pod: &Pod, doing: Doing) -> Outcome {
    let status = json!({ "status": status(pod, doing) });
    match pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await {
        // Gone meanwhile: a kubelet would not mind.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        said => Ok(said.map(drop)?),
    }
}

/// Runs every pod of a Job that comes, for ever: it starts, `listened` waits until somebody has asked for its log, and
/// it ends as told.
pub async fn run_jobs<W: Future<Output = ()>>(
    client: Client,
    namespace: &str,
    ends: Doing,
    listened: impl Fn() -> W,
) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let of_jobs = watcher::Config::default().labels(JOB_LABEL);
    let mut seen = std::pin::pin!(watcher(pods.clone(), of_jobs).applied_objects());
    while let Some(pod) = seen.try_next().await? {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        match phase {
            Some("Pending") => say(&pods, &pod, Doing::Starting).await?,
            Some("Running") => {
                listened().await;
                say(&pods, &pod, ends).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn status(pod: &Pod, doing: Doing) -> Value {
    let now = pod.metadata.creation_timestamp.as_ref().map(|time| json!(time)).unwrap_or_default();
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            let state = match doing {
                Doing::Starting | Doing::Ready => json!({ "running": { "startedAt": now } }),
                Doing::Ended(code, message) => json!({ "terminated": {
                    "exitCode": code, "message": message, "startedAt": now, "finishedAt": now,
                } }),
            };
            json!({
                "name": container.name, "image": container.image, "imageID": "sha256:0", "restartCount": 0,
                "containerID": format!("containerd://{}", pod.name_any()), "ready": doing == Doing::Ready,
                "started": true, "state": state,
            })
        })
        .collect();
    let phase = match doing {
        Doing::Starting | Doing::Ready => "Running",
        Doing::Ended(0, _) => "Succeeded",
        Doing::Ended(..) => "Failed",
    };
    let ready = if doing == Doing::Ready { "True" } else { "False" };
    let condition = |kind: &str| json!({ "type": kind, "status": ready, "lastTransitionTime": now });
    json!({
        "phase": phase, "startTime": now, "containerStatuses": containers,
        "conditions": [condition("Ready"), condition("ContainersReady")],
    })
}
