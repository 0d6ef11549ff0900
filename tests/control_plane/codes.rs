//! Message codes that a real API server, its controllers, and the test operator trigger. `up` ends with each
//! code, `diagnose` reports the same code if there is a graph, and `explain` describes it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{set_all_ready, through_api_proxy, waiting_up_args};

/// Reasons why pods do not start, as the kubelet reports them, and their codes.
pub(crate) async fn waiting_pod_reports_its_code(shared: Arc<Shared>) -> Outcome {
    let crash = |code: u16, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
    let rows = [
        (
            "absent",
            ("ImagePullBackOff", "failed to resolve reference \"r.test/x:9\": r.test/x:9: not found"),
            0,
            Value::Null,
            "KD0503",
        ),
        ("denied", ("ErrImagePull", "failed to pull: 403 Forbidden"), 0, Value::Null, "KD0504"),
        ("secret", ("CreateContainerConfigError", "secret \"hub\" not found"), 0, Value::Null, "KD0507"),
        (
            "key",
            ("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret codes/hub"),
            0,
            Value::Null,
            "KD0508",
        ),
        ("memory", ("CrashLoopBackOff", "back-off"), 3, crash(137, "OOMKilled"), "KD0530"),
        ("command", ("CrashLoopBackOff", "back-off"), 3, crash(127, "Error"), "KD0534"),
        ("crash", ("CrashLoopBackOff", "back-off"), 3, crash(1, "Error"), "KD0602"),
    ];
    try_join_all(rows.into_iter().map(async |(row, waiting_state, restarts, last, code)| {
        let fixture = through_api_proxy(&shared, V1Beta1, &format!("code-{row}"), &json!({})).await?;
        let up = fixture.start_waiting_up().await?;
        fixture.kubelet.set_waiting("worker", waiting_state, restarts, last).await?;
        let output = up.finish().await?;
        ensure!(
            output.code != Some(0) && output.err.contains(&format!("error [{code}]")),
            "{row}: {}",
            output.err
        );
        ensure!(output.err.contains("evidence: "), "{row}: no evidence was written: {}", output.err);
        let output = fixture.plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
        ensure!(output.out.contains(code) && output.out.contains("fix "), "{row}: {}", output.out);
        fixture.plugin.run(&["explain", code]).await?.expect(0)?;
        fixture.namespace.delete().await
    }))
    .await?;
    Ok(())
}

/// Graphs of other programs that the operator rejects after they were stored.
pub(crate) async fn operator_failure_reports_its_code(shared: Arc<Shared>) -> Outcome {
    type Row = (&'static str, GraphGeneration, fn(&mut Value), &'static str);
    let rows: [Row; 4] = [
        ("long", V1Beta1, |graph| graph["metadata"]["name"] = json!("n".repeat(57)), "KD0213"),
        (
            "nodes",
            V1Beta1,
            |graph| graph["spec"]["components"][1]["multinode"] = json!({"nodeCount": 2}),
            "KD0212",
        ),
        (
            "claim",
            V1Alpha1,
            |graph| graph["spec"]["pvcs"] = json!([{"name": "absent", "create": false}]),
            "KD0432",
        ),
        ("older", V1Alpha1, |graph| graph["metadata"]["name"] = json!("n".repeat(45)), "KD0213"),
    ];
    try_join_all(rows.into_iter().map(async |(row, generation, change, code)| {
        let (namespace, plugin) = shared.user_in_namespace(generation, &format!("op-{row}")).await?;
        let mut graph = match generation {
            V1Beta1 => dynamo::aggregated_graph("tiny", "model-cache", "tiny"),
            V1Alpha1 => dynamo::aggregated_graph_v1alpha1("tiny", "model-cache", "tiny"),
        };
        change(&mut graph);
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        dynamo::apply(&graphs, &graph).await?;
        let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let output = plugin.run(&["status", &name, "--wait", "--timeout=90s"]).await?;
        ensure!(output.out.contains(code), "{row}: {}\n{}", output.out, output.err);
        namespace.delete().await
    }))
    .await?;
    Ok(())
}

/// A node whose heartbeats end, as the node controller reports it.
pub(crate) async fn lost_node_is_distinguished_from_starting_pod(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "lost", &json!({})).await?;
    let up = fixture.start_waiting_up().await?;
    let nodes: Api<Node> = Api::all(fixture.namespace.client());
    // A second attempt needs a node of its own.
    let name = format!("{}-node", fixture.namespace.name());
    // Unschedulable for other pods.
    let node = json!({"metadata": {"name": name}, "spec": {"unschedulable": true}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    send_heartbeat(&nodes, &name).await?;
    let worker = fixture.kubelet.pod_of_component("worker").await?;
    for pod in [&worker, &fixture.kubelet.pod_of_component("frontend").await?] {
        fixture.kubelet.bind(pod, &name).await?;
    }
    set_all_ready(&fixture.kubelet).await?;
    let heartbeats = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if let Err(error) = send_heartbeat(&nodes, &name).await {
                return error;
            }
        }
    };
    tokio::select! {
        output = up.finish() => output?.expect(0)?,
        error = heartbeats => return Err(error),
    };
    let pods: Api<Pod> = Api::namespaced(fixture.namespace.client(), fixture.namespace.name());
    let is_unready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "False")
    };
    await_condition(pods, &worker, is_unready).await?;
    let output = fixture.plugin.run(&["status", "tiny", "--wait", "--timeout=20s"]).await?.expect(3)?;
    let facts =
        ["KD0316", &format!("node \"{name}\" is not responding"), &format!("kubectl describe node {name}")];
    for fact in facts {
        ensure!(output.out.contains(fact), "{fact} is not in {}", output.out);
    }
    nodes.delete(&name, &DeleteParams::default()).await?;
    fixture.namespace.delete().await
}

/// Reports the node as ready at this time, as a kubelet does every few seconds.
async fn send_heartbeat(nodes: &Api<Node>, name: &str) -> Outcome {
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": k8s_openapi::jiff::Timestamp::now(),
    }]}});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// A fetch Job does not have a condition for pods that it is not allowed to create.
pub(crate) async fn quota_blocking_the_fetch_job_reports_its_code(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "no-pods").await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client(), namespace.name());
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let has_status = |quota: Option<&ResourceQuota>| {
        quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.hard.is_some()))
    };
    await_condition(quotas, "none", has_status).await?;
    let args = [&waiting_up_args()[..], &["--ignore-preflight=all"]].concat();
    let output = plugin.run(&args).await?.expect(5)?;
    for fact in [
        "KD0310",
        "quota \"none\" exceeded: requested pods=1",
        "kubectl describe quota none -n no-pods",
        "evidence: ",
    ] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    ensure!(!jobs.list(&ListParams::default()).await?.items.is_empty(), "the Job was deleted");
    namespace.delete().await
}
