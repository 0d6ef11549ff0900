//! What `check` and the first stage of `up` find on real API servers. Nodes are objects without a kubelet; each bears a
//! taint of its case, so that no pod of another case is ever put there.

use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::{Plugin, Said};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::UP;

/// `up` of a worker with GPUs on the nodes of a case.
fn with_gpus<'a>(verb: &'a str, placement: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    let mut words =
        vec![verb, "acme/tiny", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];
    words.extend(placement.iter().map(String::as_str));
    words.extend_from_slice(more);
    words
}

fn placement(case: &str) -> [String; 2] {
    [format!("--node-selector=case={case}"), format!("--toleration=case={case}:NoSchedule")]
}

/// A node of a case with so many GPUs.
pub(crate) async fn node(place: &CaseNamespace, case: &str, name: &str, gpus: u32) -> Outcome {
    let nodes: Api<Node> = Api::all(place.client());
    let node = json!({
        "metadata": { "name": name, "labels": { "case": case } },
        "spec": { "taints": [{ "key": "case", "value": case, "effect": "NoSchedule" }] },
    });
    nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    let amounts =
        json!({ "nvidia.com/gpu": gpus.to_string(), "cpu": "64", "memory": "512Gi", "pods": "100" });
    let status = json!({ "status": {
        "capacity": amounts, "allocatable": amounts,
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

pub(crate) async fn without_node(place: CaseNamespace, name: &str) -> Outcome {
    let nodes: Api<Node> = Api::all(place.client());
    nodes.delete(name, &DeleteParams::default()).await?;
    place.delete().await
}

fn findings(said: &Said) -> Outcome<Vec<Value>> {
    let document: Value = serde_json::from_str(&said.out)?;
    ensure!(document["kind"] == "Check" && document["apiVersion"].is_string(), "{document}");
    Ok(document["findings"].as_array().cloned().unwrap_or_default())
}

fn finding(said: &Said, name: &str) -> Outcome<Value> {
    let found = findings(said)?.into_iter().find(|one| one["name"] == name);
    found.ok_or_else(|| format!("no {name} in {}", said.out).into())
}

pub(crate) async fn a_check_tells_what_it_found_in_three_formats(shared: Arc<Shared>) -> Outcome {
    for (generation, stored) in [(V1Alpha1, "v1alpha1"), (V1Beta1, "v1beta1")] {
        let (place, plugin) = shared.user(generation, "check").await?;
        let said = plugin.run(&["check"]).await?.expect(0)?;
        for line in
            ["access\n", "platform\n", "✔ rights", "✔ definitions", &format!("stored as {stored}"), "✔ ready"]
        {
            ensure!(said.out.contains(line), "{line} is not in\n{}", said.out);
        }
        let said =
            plugin.run(&["check", "acme/tiny", "--backend=mocker", "--storage-class=manual", "-o", "json"]);
        let said = said.await?.expect(0)?;
        for name in ["rights", "definitions", "operator", "quota", "storage-class", "access-mode"] {
            let found = finding(&said, name)?;
            ensure!(found["outcome"] == "passed", "{found}");
        }
        let said = plugin.run(&["check", "-o", "junit"]).await?.expect(0)?;
        for part in [
            "<testsuites ",
            "<testsuite name=\"platform\"",
            "<testcase classname=\"kubectl-dynamo.check.access\" name=\"rights\"/>",
        ] {
            ensure!(said.out.contains(part), "{part} is not in\n{}", said.out);
        }
        let said = plugin.run(&["check", "nothing-here"]).await?.expect(2)?;
        ensure!(said.err.contains("KD0401"), "{}", said.err);
        place.delete().await?;
    }
    let bare = Plugin::new(shared.cluster.control_plane(None)?.kubeconfig(), "default");
    let said = bare.run(&["check", "acme/tiny", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&said, "definitions")?["code"] == "KD0203", "{}", said.out);
    Ok(())
}

pub(crate) async fn what_can_never_be_placed_is_refused(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "never").await?;
    node(&place, "never", "never-1", 4).await?;
    let placed = placement("never");
    let untolerated = [placed[0].clone(), "--toleration=other".into()];
    let elsewhere = ["--node-selector=case=nowhere".to_owned(), placed[1].clone()];
    for (placed, more, code, fact) in [
        (&placed, &["--tp=8"][..], "KD0307", "no node that fits has more than 4"),
        (&placed, &["--tp=4", "--replicas=2"], "KD0303", "8 GPUs are needed and the nodes that fit have 4"),
        (&untolerated, &["--tp=2"], "KD0305", "never-1 has the taint case"),
        (&elsewhere, &["--tp=2"], "KD0306", "case=nowhere"),
        (&placed, &["--tp=8", "--nodes=2"], "KD0212", "neither Grove nor LeaderWorkerSet"),
    ] {
        let exit = if code == "KD0212" { 6 } else { 5 };
        let said = plugin.run(&with_gpus("up", placed, more)).await?.expect(exit)?;
        ensure!(said.err.contains(&format!("error [{code}]")) && said.err.contains(fact), "{}", said.err);
        let said =
            plugin.run(&[with_gpus("check", placed, more), vec!["-o", "json"]].concat()).await?.expect(1)?;
        ensure!(findings(&said)?.iter().any(|one| one["code"] == code), "{}", said.out);
    }
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was applied");

    let anyway = with_gpus("up", &placed, &["--tp=8", "--ignore-preflight=KD0307", "--detach"]);
    let said = plugin.run(&anyway).await?.expect(0)?;
    ensure!(said.err.contains("warning [KD0307]") && said.err.contains("1 warning"), "{}", said.err);
    without_node(place, "never-1").await
}

pub(crate) async fn gpus_that_others_hold_are_waited_for(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "held").await?;
    node(&place, "held", "held-1", 4).await?;
    let placed = placement("held");
    let said = plugin
        .run(&[with_gpus("check", &placed, &["--tp=2"]), vec!["-o", "json"]].concat())
        .await?
        .expect(0)?;
    let found = finding(&said, "gpu-placement")?;
    ensure!(found["text"] == "2 GPUs needed, 4 free on held-1", "{found}");
    let said = plugin.run(&with_gpus("check", &placed, &["--mode=disagg", "--output=json"])).await?;
    let found = finding(&said, "rdma")?;
    ensure!(found["code"] == "KD0814" && found["outcome"] == "warning", "{found}");

    // Where no kubelet is, a pod that names its node holds what it asks for.
    let pods: Api<Pod> = Api::namespaced(place.client(), "default");
    let holder = json!({ "metadata": { "name": "holds-gpus" }, "spec": {
        "nodeName": "held-1",
        "containers": [{ "name": "main", "image": "registry.test/x:1", "resources": { "limits": { "nvidia.com/gpu": "3" } } }],
    } });
    pods.create(&PostParams::default(), &serde_json::from_value(holder)?).await?;
    let said = plugin
        .run(&[with_gpus("check", &placed, &["--tp=2"]), vec!["-o", "json"]].concat())
        .await?
        .expect(3)?;
    ensure!(finding(&said, "gpu-placement")?["code"] == "KD0303", "{}", said.out);
    let said = plugin.run(&with_gpus("up", &placed, &["--tp=2", "--detach"])).await?.expect(0)?;
    ensure!(said.err.contains("GPUs      2 needed, 1 free on held-1"), "{}", said.err);
    ensure!(said.err.contains("warning [KD0303]") && said.err.contains("1 pod waits"), "{}", said.err);
    pods.delete("holds-gpus", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await?;
    without_node(place, "held-1").await
}

pub(crate) async fn the_pod_on_top_of_a_rolling_update_needs_a_gpu(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "surge").await?;
    place.volume("model-cache", "manual").await?;
    node(&place, "surge", "surge-1", 1).await?;
    let placed = placement("surge");
    plugin.run(&with_gpus("up", &placed, &["--tp=1", "--detach"])).await?.expect(0)?;
    worker_with_a_node(&place).await?;

    let said = plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(5)?;
    ensure!(
        said.err.contains("error [KD0303]") && said.err.contains("on top of the 1 it holds"),
        "{}",
        said.err
    );
    let said = plugin.run(&["check", "tiny", "--env=A=b", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&said, "gpu-placement")?["code"] == "KD0303", "{}", said.out);
    let said = plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(5)?;
    ensure!(said.err.contains("error [KD0303]"), "{}", said.err);
    plugin
        .run(&["scale", "tiny", "--replicas=2", "--detach", "--ignore-preflight=KD0303"])
        .await?
        .expect(0)?;
    // What brings no pod needs no room.
    plugin.run(&["up", "tiny", "--detach"]).await?.expect(0)?;
    without_node(place, "surge-1").await
}

/// Waits until the scheduler has put the worker's pod on a node.
async fn worker_with_a_node(place: &CaseNamespace) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
    let workers = watcher::Config::default().labels("nvidia.com/dynamo-component=worker");
    let mut seen = std::pin::pin!(watcher(pods, workers).applied_objects());
    while let Some(pod) = seen.try_next().await? {
        if pod.spec.is_some_and(|spec| spec.node_name.is_some()) {
            return Ok(());
        }
    }
    Err("the watch ended".into())
}

pub(crate) async fn a_namespace_without_room_is_refused(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "room").await?;
    node(&place, "room", "room-1", 8).await?;
    let words = placement("room");
    let words = with_gpus("up", &words, &["--tp=2", "--detach"]);
    let quotas: Api<ResourceQuota> = Api::namespaced(place.client(), place.name());
    let ranges: Api<LimitRange> = Api::namespaced(place.client(), place.name());
    let quota = |hard: Value| json!({ "metadata": { "name": "own" }, "spec": { "hard": hard } });
    for (hard, code, fact) in [
        (
            json!({ "requests.nvidia.com/gpu": "1" }),
            "KD0310",
            "requests.nvidia.com/gpu 0 of 1 is used, and 2 more is needed",
        ),
        (json!({ "limits.memory": "1Ti" }), "KD0314", "counts limits.memory"),
    ] {
        quotas.create(&PostParams::default(), &serde_json::from_value(quota(hard))?).await?;
        let said = plugin.run(&words).await?.expect(5)?;
        ensure!(said.err.contains(&format!("error [{code}]")) && said.err.contains(fact), "{}", said.err);
        quotas.delete("own", &DeleteParams::default()).await?;
    }
    let range = json!({ "metadata": { "name": "own" }, "spec": { "limits": [{ "type": "Container", "max": { "memory": "4Gi" } }] } });
    ranges.create(&PostParams::default(), &serde_json::from_value(range)?).await?;
    let said = plugin.run(&words).await?.expect(5)?;
    ensure!(
        said.err.contains("error [KD0312]") && said.err.contains("allows a container 4Gi of memory"),
        "{}",
        said.err
    );
    ranges.delete("own", &DeleteParams::default()).await?;
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was applied");
    plugin.run(&words).await?.expect(0)?;
    without_node(place, "room-1").await
}

pub(crate) async fn a_storage_class_that_is_not_there_is_refused(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "classes").await?;
    let words = |class: &'static str| ["up", "acme/tiny", "--backend=mocker", class, "--detach"];
    let said = plugin.run(&words("--storage-class=fasst")).await?.expect(7)?;
    ensure!(said.err.contains("error [KD0438]") && said.err.contains("manual"), "{}", said.err);
    let said = plugin.run(&words("--wait")).await?.expect(7)?;
    ensure!(said.err.contains("error [KD0439]") && said.err.contains("--storage-class: "), "{}", said.err);
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was applied");
    // A volume that somebody made by hand needs no class.
    place.volume("model-cache", "by-hand").await?;
    plugin.run(&words("--storage-class=by-hand")).await?.expect(0)?;
    place.delete().await
}

pub(crate) async fn what_is_missing_for_a_plan_is_a_finding(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "absent").await?;
    let mocked = ["check", "acme/tiny", "--backend=mocker", "-o", "json"];
    for (flag, name, code) in
        [("--cache=absent", "claim", "KD0411"), ("--hf-token-secret=absent", "token-secret", "KD0412")]
    {
        let said = plugin.run(&[&mocked[..], &[flag]].concat()).await?.expect(1)?;
        ensure!(finding(&said, name)?["code"] == code, "{}", said.out);
        ensure!(
            finding(&said, "definitions")?["outcome"] == "passed",
            "the rest is not looked at: {}",
            said.out
        );
    }
    let gone = Plugin::new(shared.cluster.control_plane(V1Beta1)?.kubeconfig(), "no-such-namespace");
    let said = gone.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&said, "namespace")?["code"] == "KD0107", "{}", said.out);
    place.delete().await
}

pub(crate) async fn fewer_rights_leave_checks_out(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "fewer").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let plugin = Plugin::new(plane.kubeconfig_of(shared.cluster.authority(), "fewer-rights")?, place.name());
    let role = |verbs: &[&str]| {
        json!({ "metadata": { "name": "fewer" }, "rules": [
            { "apiGroups": ["", "nvidia.com", "batch"], "resources": ["*"], "verbs": verbs },
        ] })
    };
    let roles: Api<ClusterRole> = Api::all(place.client());
    roles.create(&PostParams::default(), &serde_json::from_value(role(&["get", "list", "watch"]))?).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(place.client(), place.name());
    let binding = json!({
        "metadata": { "name": "fewer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fewer" },
        "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "fewer-rights" }],
    });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;

    // Who may only look: every right that is missing is named at once, and nothing is written.
    let said = plugin.run(&["check"]).await?.expect(1)?;
    for fact in [
        "✗ rights",
        "create dynamographdeployments.nvidia.com, patch dynamographdeployments.nvidia.com",
        "create jobs.batch",
        "skipped, no right to list nodes",
        "skipped, no right to list storageclasses.storage.k8s.io",
    ] {
        ensure!(said.out.contains(fact), "{fact} is not in\n{}", said.out);
    }
    let said = plugin.run(&UP).await?.expect(4)?;
    ensure!(said.err.contains("error [KD0105]") && said.err.contains("patch jobs.batch"), "{}", said.err);

    // Who may work in the namespace alone: what may not be seen is left out and stops nothing.
    roles.patch("fewer", &PatchParams::default(), &Patch::Merge(role(&["*"]))).await?;
    let said = plugin.run(&["check"]).await?.expect(0)?;
    ensure!(said.out.contains("✔ rights") && said.out.contains("! rights-to-watch  KD0115"), "{}", said.out);
    let said = plugin.run(&UP).await?.expect(0)?;
    ensure!(said.err.contains("warning [KD0115]") && said.err.contains(" skipped"), "{}", said.err);
    roles.delete("fewer", &DeleteParams::default()).await?;
    place.delete().await
}
