//! What `status`, `diagnose`, and `list` report about deployments that are neither ready nor starting: deleted, fetching,
//! rejected by the operator, or without one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::Shared;
use crate::down::block_graph_deletion;
use crate::faults::{set_all_ready, through_api_proxy, waiting_up_args};
use crate::plugin::UP;

pub(crate) async fn deleted_deployment_is_not_found_while_its_model_is_cached(
    shared: Arc<Shared>,
) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let fixture = through_api_proxy(&shared, generation, "after-down", &json!({})).await?;
        let up = fixture.start_waiting_up().await?;
        set_all_ready(&fixture.kubelet).await?;
        up.finish().await?.expect(0)?;
        fixture.plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
        await_condition(fixture.graphs(), "tiny", |graph: Option<&DynamicObject>| graph.is_none()).await?;
        for args in [&["status", "tiny"][..], &["diagnose", "tiny"], &["status", "tiny", "--wait"]] {
            let output = fixture.plugin.run(args).await?.expect(1)?;
            for fact in ["error [KD0106]", "model \"acme/tiny@main\" is still on PVC \"model-cache\""] {
                ensure!(output.err.contains(fact), "{args:?}: {fact} is not in {}", output.err);
            }
        }
        // The next `up` shows that nothing is fetched.
        let mut up = fixture.plugin.start(&waiting_up_args())?;
        up.wait_for_line("fetched by job/fetch-tiny").await?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn fix_for_a_fetch_names_the_deployment_and_the_fetcher_image(
    shared: Arc<Shared>,
) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "fetch-fix").await?;
    let mut up = plugin.start(&waiting_up_args())?;
    up.wait_for_line("model fetch: waiting").await?;
    let kubelet = FakeKubelet::new(&namespace);
    let pod = kubelet.pod_of_job().await?;
    let output = plugin.run(&["list"]).await?.expect(0)?;
    ensure!(output.out.contains("fetching model") && output.out.contains("acme/tiny"), "{}", output.out);
    let message = "failed to resolve reference \"r.test/f:9\": r.test/f:9: not found";
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": message}});
    kubelet
        .report(
            &pod,
            json!({
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{
                    "name": "model-fetch", "state": waiting, "restartCount": 0, "ready": false,
                    "image": "r.test/f:9", "imageID": "",
                }],
            }),
        )
        .await?;
    let fix = "kubectl dynamo up acme/tiny@main -n fetch-fix --name tiny --fetcher-image REGISTRY/NAME:TAG";
    for verb in ["status", "diagnose"] {
        let output = plugin.run(&[verb, "tiny"]).await?.expect(1)?;
        ensure!(output.out.contains("KD0503") && output.out.contains(fix), "{}", output.out);
    }
    let output = plugin.run(&["list"]).await?.expect(0)?;
    ensure!(output.out.contains("fetch failed"), "{}", output.out);
    let output = plugin.run(&["status"]).await?.expect(1)?;
    ensure!(output.out.starts_with("✗ 1 of 1 deployments failed: tiny\n"), "{}", output.out);
    let output = up.finish().await?;
    ensure!(output.code != Some(0) && output.err.contains(fix), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn stopped_operator_is_the_cause_of_a_waiting_deployment(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "no-operator", &json!({})).await?;
    let plugin = &fixture.plugin;
    plugin.run(&UP).await?.expect(0)?;
    plugin.run(&["status", "tiny"]).await?.expect(3)?;
    // The graph has no pods yet: pods without a node would have a cause of their own.
    let no_pods = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []});
    fixture.proxy.inject_object("/pods?", no_pods);
    // The operator of these tests does not run in the cluster.
    for (replicas, exit, mark) in [(0, 1, "✗"), (1, 3, "…")] {
        let operator = json!({
            "metadata": {"name": "operator", "namespace": "dynamo-system", "labels": {
                "app.kubernetes.io/name": "dynamo-operator", "control-plane": "controller-manager",
            }},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "manager", "image": "r.test/kubernetes-operator:1.5.0"},
            ]}}},
            "status": {"readyReplicas": 0},
        });
        let list =
            json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {}, "items": [operator]});
        fixture.proxy.inject_object("controller-manager", list);
        for verb in ["status", "diagnose"] {
            let output = plugin.run(&[verb, "tiny"]).await?.expect(exit)?;
            ensure!(output.out.starts_with(mark) && output.out.contains("KD0230"), "{}", output.out);
            ensure!(output.out.contains("dynamo-system/operator"), "{}", output.out);
        }
    }
    // Nothing would happen after the change.
    for change in [
        &["rollout", "restart", "tiny"][..],
        &["scale", "tiny", "--replicas=2"],
        &["up", "tiny", "--env=A=b"],
    ] {
        let output = plugin.run(&[change, &["--detach"]].concat()).await?;
        ensure!(output.err.contains("KD0230"), "{change:?}: {}", output.err);
    }
    fixture.namespace.delete().await
}

pub(crate) async fn degraded_is_one_word_on_the_screen_and_in_json(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "degraded").await?;
    plugin.run(&[&UP[..], &["--replicas=2"]].concat()).await?.expect(0)?;
    let kubelet = FakeKubelet::new(&namespace);
    kubelet.finish_fetch().await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let workers = watcher::Config::default().labels("nvidia.com/dynamo-component=worker");
    let mut names = BTreeSet::new();
    let mut stream = std::pin::pin!(watcher(pods.clone(), workers).applied_objects());
    while let Some(pod) = stream.try_next().await? {
        names.insert(pod.name_any());
        if names.len() == 2 {
            break;
        }
    }
    set_all_ready(&kubelet).await?;
    let mut waiting = Vec::new();
    for name in &names {
        let phase = pods.get(name).await?.status.and_then(|status| status.phase);
        waiting.extend(phase.is_none_or(|phase| phase != "Running").then_some(name));
    }
    ensure!(waiting.len() == 1, "{waiting:?} of {names:?}");
    let failing = json!({"phase": "Pending", "containerStatuses": [{
        "name": "main", "image": "r.test/x:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
    }]});
    kubelet.report(waiting[0], failing).await?;
    let output = plugin.run(&["status", "tiny"]).await?.expect(1)?;
    ensure!(
        output.out.starts_with("! DEGRADED  deployment \"tiny\" serves with 1 of 2 worker"),
        "{}",
        output.out
    );
    for verb in ["status", "diagnose"] {
        let output = plugin.run(&[verb, "tiny", "-o", "json"]).await?.expect(1)?;
        let document: Value = serde_json::from_str(&output.out)?;
        ensure!(document["verdict"] == "DEGRADED", "{verb}: {document:#}");
    }
    namespace.delete().await
}

pub(crate) async fn operator_failure_is_down_in_every_verb(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "rejected").await?;
        let mut graph = match generation {
            V1Beta1 => dynamo::aggregated_graph("tiny", "model-cache", "tiny"),
            V1Alpha1 => dynamo::aggregated_graph_v1alpha1("tiny", "model-cache", "tiny"),
        };
        match generation {
            V1Beta1 => graph["spec"]["components"][1]["multinode"] = json!({"nodeCount": 2}),
            V1Alpha1 => graph["spec"]["services"]["Worker"]["multinode"] = json!({"nodeCount": 2}),
        }
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        dynamo::apply(&graphs, &graph).await?;
        let has_failed = |graph: Option<&DynamicObject>| {
            graph.is_some_and(|graph| graph.data["status"]["state"] == "failed")
        };
        await_condition(graphs, "tiny", has_failed).await?;
        for (args, exit) in [
            (&["status", "tiny"][..], 1),
            (&["diagnose", "tiny"], 1),
            (&["rollout", "status", "tiny", "--watch=false"], 6),
        ] {
            let output = plugin.run(args).await?.expect(exit)?;
            ensure!(output.out.contains("neither Grove nor LeaderWorkerSet"), "{args:?}: {}", output.out);
        }
        let output = plugin.run(&["status", "tiny"]).await?.expect(1)?;
        ensure!(output.out.starts_with("✗ DOWN") && output.out.contains("KD0212"), "{}", output.out);
        let output = plugin.run(&["list"]).await?.expect(0)?;
        ensure!(output.out.contains("failed"), "{}", output.out);
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn deployment_that_is_being_deleted_is_not_coming_up(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let fixture = through_api_proxy(&shared, generation, "held-back", &json!({})).await?;
        let plugin = &fixture.plugin;
        plugin.run(&UP).await?.expect(0)?;
        block_graph_deletion(&fixture.graphs(), true).await?;
        plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
        let output = plugin.run(&["status", "tiny"]).await?.expect(1)?;
        ensure!(output.out.starts_with("✗ DELETING  deployment \"tiny\" is being deleted"), "{}", output.out);
        ensure!(output.out.contains("tests.kubectl-dynamo.dev/hold"), "{}", output.out);
        let output = plugin.run(&["diagnose", "tiny"]).await?.expect(1)?;
        ensure!(output.out.contains("is being deleted"), "{}", output.out);
        let output = plugin.run(&["list"]).await?.expect(0)?;
        ensure!(output.out.contains("deleting") && !output.out.contains("starting"), "{}", output.out);
        block_graph_deletion(&fixture.graphs(), false).await?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn every_request_names_the_plugin_and_its_platform(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "agent").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let position = plane.audit_log().position()?;
    plugin.run(&UP).await?.expect(0)?;
    let waiting = plugin.start(&["status", "tiny", "--wait"])?;
    let requests = loop {
        let requests = plane.audit_log().requests_since(position, namespace.name())?;
        if requests.iter().any(|request| request.verb == "watch") {
            break requests;
        }
        // The audit log sends no event.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    waiting.send_signal(Signal::INT)?;
    waiting.finish().await?.expect(130)?;
    ensure!(requests.len() > 10, "{requests:?}");
    for request in requests {
        let agent = request.user_agent.as_str();
        let platform = agent.strip_prefix(concat!("kubectl-dynamo/", env!("CARGO_PKG_VERSION"), " "));
        ensure!(matches!(platform, Some("(linux/amd64)" | "(linux/arm64)")), "{request:?}");
    }
    namespace.delete().await
}
