//! What `check` and the first stage of `up` find on real API servers. Nodes are objects without a kubelet.
//! Each has a taint of its case, so that no pod of another case is scheduled there.

use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::through_api_proxy;
use crate::plugin::UP;

/// Returns arguments of `up` for a worker with GPUs on the nodes of a case.
fn gpu_args<'a>(verb: &'a str, placement: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    let mut args =
        vec![verb, "acme/tiny", "--storage-class=manual", "--fetcher-image=registry.test/fetcher:1"];
    args.extend(placement.iter().map(String::as_str));
    args.extend_from_slice(more);
    args
}

fn placement_flags(case: &str) -> [String; 2] {
    [format!("--node-selector=case={case}"), format!("--toleration=case={case}:NoSchedule")]
}

/// Creates a node of a case with this many GPUs.
pub(crate) async fn create_node(namespace: &CaseNamespace, case: &str, name: &str, gpus: u32) -> Outcome {
    let nodes: Api<Node> = Api::all(namespace.client());
    let node = json!({
        "metadata": { "name": name, "labels": { "case": case } },
        "spec": { "taints": [{ "key": "case", "value": case, "effect": "NoSchedule" }] },
    });
    let node = serde_json::from_value(node)?;
    // A first attempt of the case that failed has left its node.
    if let Err(kube::Error::Api(_)) = nodes.create(&PostParams::default(), &node).await {
        nodes.delete(name, &DeleteParams::default()).await?;
        nodes.create(&PostParams::default(), &node).await?;
    }
    let amounts =
        json!({ "nvidia.com/gpu": gpus.to_string(), "cpu": "64", "memory": "512Gi", "pods": "100" });
    let status = json!({ "status": {
        "capacity": amounts, "allocatable": amounts,
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

pub(crate) async fn delete_node_and_namespace(namespace: CaseNamespace, name: &str) -> Outcome {
    let nodes: Api<Node> = Api::all(namespace.client());
    nodes.delete(name, &DeleteParams::default()).await?;
    namespace.delete().await
}

fn findings(output: &PluginOutput) -> Outcome<Vec<Value>> {
    let document: Value = serde_json::from_str(&output.out)?;
    ensure!(document["kind"] == "Check" && document["apiVersion"].is_string(), "{document}");
    Ok(document["findings"].as_array().cloned().unwrap_or_default())
}

fn finding(output: &PluginOutput, name: &str) -> Outcome<Value> {
    let found = findings(output)?.into_iter().find(|one| one["name"] == name);
    found.ok_or_else(|| format!("no {name} in {}", output.out).into())
}

pub(crate) async fn check_prints_text_json_and_junit(shared: Arc<Shared>) -> Outcome {
    for (generation, stored) in [(V1Alpha1, "v1alpha1"), (V1Beta1, "v1beta1")] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "check").await?;
        let output = plugin.run(&["check"]).await?.expect(0)?;
        for line in
            ["access\n", "platform\n", "✔ permissions", "✔ crds", &format!("stored as {stored}"), "✔ ready"]
        {
            ensure!(output.out.contains(line), "{line} is not in\n{}", output.out);
        }
        let output =
            plugin.run(&["check", "acme/tiny", "--backend=mocker", "--storage-class=manual", "-o", "json"]);
        let output = output.await?.expect(0)?;
        for name in ["permissions", "crds", "operator", "quota", "storage-class", "access-mode"] {
            let found = finding(&output, name)?;
            ensure!(found["outcome"] == "passed", "{found}");
        }
        let output = plugin.run(&["check", "-o", "junit"]).await?.expect(0)?;
        for part in [
            "<testsuites ",
            "<testsuite name=\"platform\"",
            "<testcase classname=\"kubectl-dynamo.check.access\" name=\"permissions\"/>",
        ] {
            ensure!(output.out.contains(part), "{part} is not in\n{}", output.out);
        }
        let output = plugin.run(&["check", "nothing-here"]).await?.expect(2)?;
        ensure!(output.err.contains("KD0401"), "{}", output.err);
        namespace.delete().await?;
    }
    let bare = Plugin::new(shared.cluster.control_plane(None)?.audited_kubeconfig(), "default");
    let output = bare.run(&["check", "acme/tiny", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&output, "crds")?["code"] == "KD0203", "{}", output.out);
    Ok(())
}

pub(crate) async fn unschedulable_workers_are_rejected(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "never").await?;
    create_node(&namespace, "never", "never-1", 4).await?;
    let placed = placement_flags("never");
    let untolerated = [placed[0].clone(), "--toleration=other".into()];
    let elsewhere = ["--node-selector=case=nowhere".to_owned(), placed[1].clone()];
    for (placed, more, code, fact) in [
        (&placed, &["--tp=8"][..], "KD0307", "no matching node has more than 4"),
        (&placed, &["--tp=4", "--replicas=2"], "KD0303", "8 GPUs needed, but the matching nodes have 4"),
        (&untolerated, &["--tp=2"], "KD0305", "\"never-1\" has the untolerated taint \"case\""),
        (&elsewhere, &["--tp=2"], "KD0306", "case=nowhere"),
        (&placed, &["--tp=8", "--nodes=2"], "KD0212", "neither Grove nor LeaderWorkerSet"),
    ] {
        let exit = if code == "KD0212" { 6 } else { 5 };
        let output = plugin.run(&gpu_args("up", placed, more)).await?.expect(exit)?;
        ensure!(
            output.err.contains(&format!("error [{code}]")) && output.err.contains(fact),
            "{}",
            output.err
        );
        let output =
            plugin.run(&[gpu_args("check", placed, more), vec!["-o", "json"]].concat()).await?.expect(1)?;
        ensure!(findings(&output)?.iter().any(|one| one["code"] == code), "{}", output.out);
    }
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "something was applied");

    let ignore_gpu_check = gpu_args("up", &placed, &["--tp=8", "--ignore-preflight=KD0307", "--detach"]);
    let output = plugin.run(&ignore_gpu_check).await?.expect(0)?;
    ensure!(output.err.contains("warning [KD0307]") && output.err.contains("1 warning"), "{}", output.err);
    delete_node_and_namespace(namespace, "never-1").await
}

pub(crate) async fn gpus_used_by_other_pods_are_a_warning(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "held").await?;
    create_node(&namespace, "held", "held-1", 4).await?;
    let placed = placement_flags("held");
    let output = plugin
        .run(&[gpu_args("check", &placed, &["--tp=2"]), vec!["-o", "json"]].concat())
        .await?
        .expect(0)?;
    let found = finding(&output, "gpu-placement")?;
    ensure!(found["text"] == "2 GPUs needed, 4 free on held-1", "{found}");
    let output = plugin.run(&gpu_args("check", &placed, &["--mode=disagg", "--output=json"])).await?;
    let found = finding(&output, "rdma")?;
    ensure!(found["code"] == "KD0814" && found["outcome"] == "warning", "{found}");

    // Without a kubelet, a pod with a node name holds the GPUs that it requests.
    let pods: Api<Pod> = Api::namespaced(namespace.client(), "default");
    let gpu_pod = json!({ "metadata": { "name": "holds-gpus" }, "spec": {
        "nodeName": "held-1",
        "containers": [{ "name": "main", "image": "registry.test/x:1", "resources": { "limits": { "nvidia.com/gpu": "3" } } }],
    } });
    pods.create(&PostParams::default(), &serde_json::from_value(gpu_pod)?).await?;
    let output = plugin
        .run(&[gpu_args("check", &placed, &["--tp=2"]), vec!["-o", "json"]].concat())
        .await?
        .expect(3)?;
    ensure!(finding(&output, "gpu-placement")?["code"] == "KD0303", "{}", output.out);
    let output = plugin.run(&gpu_args("up", &placed, &["--tp=2", "--detach"])).await?.expect(0)?;
    ensure!(output.err.contains("GPUs      2 needed, 1 free on held-1"), "{}", output.err);
    ensure!(output.err.contains("warning [KD0303]") && output.err.contains("1 pod waits"), "{}", output.err);
    pods.delete("holds-gpus", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
        .await?;
    delete_node_and_namespace(namespace, "held-1").await
}

pub(crate) async fn rolling_update_surge_needs_a_free_gpu(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "surge").await?;
    namespace.create_volume("model-cache", "manual").await?;
    create_node(&namespace, "surge", "surge-1", 1).await?;
    let placed = placement_flags("surge");
    plugin.run(&gpu_args("up", &placed, &["--tp=1", "--detach"])).await?.expect(0)?;
    wait_until_worker_is_scheduled(&namespace).await?;

    let output = plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(5)?;
    ensure!(
        output.err.contains("error [KD0303]") && output.err.contains("in addition to the 1 in use"),
        "{}",
        output.err
    );
    let output = plugin.run(&["check", "tiny", "--env=A=b", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&output, "gpu-placement")?["code"] == "KD0303", "{}", output.out);
    let output = plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(5)?;
    ensure!(output.err.contains("error [KD0303]"), "{}", output.err);
    plugin
        .run(&["scale", "tiny", "--replicas=2", "--detach", "--ignore-preflight=KD0303"])
        .await?
        .expect(0)?;
    let restart = ["rollout", "restart", "tiny", "--detach"];
    let output = plugin.run(&restart).await?.expect(5)?;
    ensure!(output.err.contains("error [KD0303]"), "{}", output.err);
    let output = plugin.run(&[&restart[..], &["--ignore-preflight=KD0303"]].concat()).await?.expect(0)?;
    ensure!(output.err.contains("warning [KD0303]"), "{}", output.err);
    // A change that starts no pod needs no capacity.
    plugin.run(&["up", "tiny", "--detach"]).await?.expect(0)?;
    delete_node_and_namespace(namespace, "surge-1").await
}

pub(crate) async fn fit_uses_the_gpus_of_the_cluster(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "fit-auto", &json!({})).await?;
    let folder = tempfile::tempdir()?;
    kubectl_dynamo_tests::model::write_model_with_weights(folder.path(), 1 << 20)?;
    let model = folder.path().to_str().ok_or("a UTF-8 path")?;
    let node = |name: &str, memory: &str, gpus: &str| {
        json!({
            "metadata": { "name": name, "labels": { "nvidia.com/gpu.memory": memory } },
            "status": {
                "allocatable": { "nvidia.com/gpu": gpus },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        })
    };
    let list =
        |nodes: Value| json!({ "apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": nodes });
    let fit = ["fit", model, "--gpu", "auto", "-o", "json"];
    fixture.proxy.inject_object("/nodes", list(json!([node("a", "81559", "8"), node("b", "81559", "8")])));
    let output = fixture.plugin.run(&fit).await?.expect(0)?;
    let document: Value = serde_json::from_str(&output.out)?;
    ensure!(document["hardware"] == "h100-80g:8x2", "{document:#}");
    fixture.proxy.inject_object("/nodes", list(json!([node("a", "81559", "8"), node("b", "23034", "4")])));
    let output = fixture.plugin.run(&fit).await?.expect(2)?;
    ensure!(
        output.err.contains("KD0005") && output.err.contains("l4-24g:4x1, h100-80g:8x1"),
        "{}",
        output.err
    );
    // `recommend` reads the same GPUs, before it installs the predictor.
    let recommend = ["recommend", model, "--gpu", "auto"];
    let output = fixture.plugin.run(&recommend).await?.expect(2)?;
    ensure!(
        output.err.contains("KD0005") && output.err.contains("select one with --gpu l4-24g:4x1"),
        "{}",
        output.err
    );
    fixture.proxy.inject_object("/nodes", list(json!([node("a", "24564", "1")])));
    let output = fixture.plugin.run(&recommend).await?.expect(2)?;
    ensure!(output.err.contains("KD0940"), "{}", output.err);
    fixture.proxy.inject_object("/nodes", list(json!([])));
    let output = fixture.plugin.run(&recommend).await?.expect(5)?;
    ensure!(output.err.contains("KD0308") && output.err.contains("--gpu h100-80g:8"), "{}", output.err);
    let output = fixture.plugin.run(&fit).await?.expect(5)?;
    ensure!(output.err.contains("KD0308") && output.err.contains("--gpu h100-80g:8"), "{}", output.err);
    fixture.namespace.delete().await
}

/// Waits until the scheduler has bound the worker's pod to a node.
async fn wait_until_worker_is_scheduled(namespace: &CaseNamespace) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let workers = watcher::Config::default().labels("nvidia.com/dynamo-component=worker");
    let mut pod_stream = std::pin::pin!(watcher(pods, workers).applied_objects());
    while let Some(pod) = pod_stream.try_next().await? {
        if pod.spec.is_some_and(|spec| spec.node_name.is_some()) {
            return Ok(());
        }
    }
    Err("the watch ended".into())
}

pub(crate) async fn exceeded_quota_and_limit_range_are_rejected(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "room").await?;
    create_node(&namespace, "room", "room-1", 8).await?;
    let args = placement_flags("room");
    let args = gpu_args("up", &args, &["--tp=2", "--detach"]);
    let quotas: Api<ResourceQuota> = Api::namespaced(namespace.client(), namespace.name());
    let ranges: Api<LimitRange> = Api::namespaced(namespace.client(), namespace.name());
    let quota = |hard: Value| json!({ "metadata": { "name": "own" }, "spec": { "hard": hard } });
    for (hard, code, fact) in [
        (
            json!({ "requests.nvidia.com/gpu": "1" }),
            "KD0310",
            "requests.nvidia.com/gpu: 0 of 1 used, 2 more needed",
        ),
        (json!({ "limits.memory": "1Ti" }), "KD0314", "requires limits.memory"),
    ] {
        quotas.create(&PostParams::default(), &serde_json::from_value(quota(hard))?).await?;
        let output = plugin.run(&args).await?.expect(5)?;
        ensure!(
            output.err.contains(&format!("error [{code}]")) && output.err.contains(fact),
            "{}",
            output.err
        );
        quotas.delete("own", &DeleteParams::default()).await?;
    }
    let range = json!({ "metadata": { "name": "own" }, "spec": { "limits": [{ "type": "Container", "max": { "memory": "4Gi" } }] } });
    ranges.create(&PostParams::default(), &serde_json::from_value(range)?).await?;
    let output = plugin.run(&args).await?.expect(5)?;
    ensure!(
        output.err.contains("error [KD0312]") && output.err.contains("allows 4Gi of memory per container"),
        "{}",
        output.err
    );
    ranges.delete("own", &DeleteParams::default()).await?;
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "something was applied");
    plugin.run(&args).await?.expect(0)?;
    delete_node_and_namespace(namespace, "room-1").await
}

pub(crate) async fn missing_storage_class_is_rejected(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "classes").await?;
    let args = |class: &'static str| ["up", "acme/tiny", "--backend=mocker", class, "--detach"];
    let output = plugin.run(&args("--storage-class=fasst")).await?.expect(7)?;
    ensure!(output.err.contains("error [KD0438]") && output.err.contains("manual"), "{}", output.err);
    let output = plugin.run(&args("--wait")).await?.expect(7)?;
    ensure!(
        output.err.contains("error [KD0439]") && output.err.contains("--storage-class: "),
        "{}",
        output.err
    );
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "something was applied");
    // A volume that was created manually needs no storage class.
    namespace.create_volume("model-cache", "by-hand").await?;
    plugin.run(&args("--storage-class=by-hand")).await?.expect(0)?;
    namespace.delete().await
}

pub(crate) async fn missing_dependencies_are_findings(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "absent").await?;
    let mocked = ["check", "acme/tiny", "--backend=mocker", "-o", "json"];
    for (flag, name, code) in
        [("--cache=absent", "pvc", "KD0411"), ("--hf-token-secret=absent", "token-secret", "KD0412")]
    {
        let output = plugin.run(&[&mocked[..], &[flag]].concat()).await?.expect(1)?;
        ensure!(finding(&output, name)?["code"] == code, "{}", output.out);
        ensure!(
            finding(&output, "crds")?["outcome"] == "passed",
            "the other checks did not run: {}",
            output.out
        );
    }
    let missing_namespace =
        Plugin::new(shared.cluster.control_plane(V1Beta1)?.audited_kubeconfig(), "no-such-namespace");
    let output = missing_namespace.run(&["check", "-o", "json"]).await?.expect(1)?;
    ensure!(finding(&output, "namespace")?["code"] == "KD0107", "{}", output.out);
    namespace.delete().await
}

pub(crate) async fn missing_permissions_skip_checks(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "fewer").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let plugin = Plugin::new(
        plane.write_user_kubeconfig(shared.cluster.authority(), "fewer-rights")?,
        namespace.name(),
    );
    let role = |verbs: &[&str]| {
        json!({ "metadata": { "name": "fewer" }, "rules": [
            { "apiGroups": ["", "nvidia.com", "batch"], "resources": ["*"], "verbs": verbs },
        ] })
    };
    let roles: Api<ClusterRole> = Api::all(namespace.client());
    roles.create(&PostParams::default(), &serde_json::from_value(role(&["get", "list", "watch"]))?).await?;
    let bindings: Api<RoleBinding> = Api::namespaced(namespace.client(), namespace.name());
    let binding = json!({
        "metadata": { "name": "fewer" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fewer" },
        "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "fewer-rights" }],
    });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;

    // For a user who may only read, all missing permissions are reported at once, and nothing is written.
    let output = plugin.run(&["check"]).await?.expect(1)?;
    for fact in [
        "✗ permissions",
        "create dynamographdeployments.nvidia.com, patch dynamographdeployments.nvidia.com",
        "create jobs.batch",
        "skipped, missing permission to list nodes",
        "skipped, missing permission to list storageclasses.storage.k8s.io",
    ] {
        ensure!(output.out.contains(fact), "{fact} is not in\n{}", output.out);
    }
    let output = plugin.run(&UP).await?.expect(4)?;
    ensure!(
        output.err.contains("error [KD0105]") && output.err.contains("patch jobs.batch"),
        "{}",
        output.err
    );

    // For a user with permissions only in the namespace, checks without access are skipped and do not block.
    roles.patch("fewer", &PatchParams::default(), &Patch::Merge(role(&["*"]))).await?;
    let output = plugin.run(&["check"]).await?.expect(0)?;
    ensure!(
        output.out.contains("✔ permissions") && output.out.contains("! watch            KD0115"),
        "{}",
        output.out
    );
    let output = plugin.run(&UP).await?.expect(0)?;
    ensure!(output.err.contains("warning [KD0115]") && output.err.contains(" skipped"), "{}", output.err);
    roles.delete("fewer", &DeleteParams::default()).await?;
    namespace.delete().await
}
