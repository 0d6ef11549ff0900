//! Codes that a real API server, its controllers and the operator's part provoke: `up` ends in each, `diagnose` agrees
//! where there is a graph, and `explain` knows more.

use std::sync::Arc;

use futures::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{all_ready, gated, waiting};

/// What keeps pods from starting, as their kubelet tells it, and the code it becomes.
pub(crate) async fn what_pods_wait_for_is_told_by_its_code(shared: Arc<Shared>) -> Outcome {
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
    try_join_all(rows.into_iter().map(async |(row, wait, restarts, last, code)| {
        let on = gated(&shared, V1Beta1, &format!("code-{row}"), &json!({})).await?;
        let up = on.waits().await?;
        on.puppet.make_wait("worker", wait, restarts, last).await?;
        let said = up.end().await?;
        ensure!(said.code != Some(0) && said.err.contains(&format!("error [{code}]")), "{row}: {}", said.err);
        ensure!(said.err.contains("evidence: "), "{row}: nothing is kept: {}", said.err);
        let said = on.plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
        ensure!(said.out.contains(code) && said.out.contains("fix "), "{row}: {}", said.out);
        on.plugin.run(&["explain", code]).await?.expect(0)?;
        on.place.delete().await
    }))
    .await?;
    Ok(())
}

/// What the operator refuses after it was stored, of graphs that other programs made.
pub(crate) async fn what_the_operator_cannot_make_is_told_by_its_code(shared: Arc<Shared>) -> Outcome {
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
        let (place, plugin) = shared.user(generation, &format!("op-{row}")).await?;
        let mut graph = match generation {
            V1Beta1 => dynamo::aggregated("tiny", "model-cache", "tiny"),
            V1Alpha1 => dynamo::aggregated_v1alpha1("tiny", "model-cache", "tiny"),
        };
        change(&mut graph);
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        dynamo::apply(&graphs, &graph).await?;
        let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let said = plugin.run(&["status", &name, "--wait", "--timeout=90s"]).await?;
        ensure!(said.out.contains(code), "{row}: {}\n{}", said.out, said.err);
        place.delete().await
    }))
    .await?;
    Ok(())
}

/// A node that is not heard of any more, as the controller that watches nodes sees it.
pub(crate) async fn a_lost_node_is_told_from_a_pod_that_starts(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "lost", &json!({})).await?;
    let up = on.waits().await?;
    let nodes: Api<Node> = Api::all(on.place.client());
    // Never ready for anybody else's pods, and it sends no heartbeat.
    let node = json!({"metadata": {"name": "lost-node"}, "spec": {"unschedulable": true}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    let ready = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
    }]}});
    nodes.patch_status("lost-node", &PatchParams::default(), &Patch::Merge(ready)).await?;
    let worker = on.puppet.pod_of("worker").await?;
    for pod in [&worker, &on.puppet.pod_of("frontend").await?] {
        on.puppet.bind(pod, "lost-node").await?;
    }
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;
    let pods: Api<Pod> = Api::namespaced(on.place.client(), on.place.name());
    let is_unready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|one| one.type_ == "Ready" && one.status == "False")
    };
    await_condition(pods, &worker, is_unready).await?;
    let said = on.plugin.run(&["status", "tiny", "--wait", "--timeout=5s"]).await?.expect(3)?;
    for fact in ["KD0316", "node lost-node does not answer", "kubectl describe node lost-node"] {
        ensure!(said.out.contains(fact), "{fact} is not in {}", said.out);
    }
    nodes.delete("lost-node", &DeleteParams::default()).await?;
    on.place.delete().await
}

/// A fetch Job has no condition for pods that it may not make.
pub(crate) async fn a_job_that_may_make_no_pod_is_told_by_its_code(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "no-pods").await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(place.client(), place.name());
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota)?).await?;
    let counted = |quota: Option<&ResourceQuota>| {
        quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.hard.is_some()))
    };
    await_condition(quotas, "none", counted).await?;
    let words = [&waiting()[..], &["--ignore-preflight=all"]].concat();
    let said = plugin.run(&words).await?.expect(5)?;
    for fact in [
        "KD0310",
        "quota none has no room for pods=1",
        "kubectl describe quota none -n no-pods",
        "evidence: ",
    ] {
        ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
    }
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    ensure!(!jobs.list(&ListParams::default()).await?.items.is_empty(), "the Job was deleted");
    place.delete().await
}
