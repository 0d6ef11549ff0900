//! What `down` deletes, keeps, and waits for, in both API versions.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::api_proxy::InjectedError;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{set_all_ready, through_api_proxy, waiting_up_args};
use crate::plugin::UP;

const DOWN: [&str; 4] = ["down", "tiny", "-y", "--progress=plain"];

pub(crate) async fn down_lists_retained_objects(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "stays").await?;
        plugin.run_with_input(&[&UP[..], &["--hf-token-stdin"]].concat(), "hf_token\n").await?.expect(0)?;
        let output = plugin.run(&DOWN).await?.expect(0)?;
        for fact in [
            "dynamographdeployment/tiny deleted",
            "pvc/model-cache and its models are retained",
            "secret/hf-token-secret is retained",
        ] {
            ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
        }
        let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client(), namespace.name());
        let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(pvcs.get_opt("model-cache").await?.is_some(), "the PVC was deleted");
        ensure!(secrets.get_opt("hf-token-secret").await?.is_some(), "the Secret was deleted");
        namespace.delete().await?;
    }
    // In v1alpha1 a PVC that the graph created is deleted with it, and `down` prints this.
    let (namespace, plugin) = shared.user_in_namespace(V1Alpha1, "goes").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Alpha1, namespace.name());
    let mut graph = dynamo::aggregated_graph_v1alpha1("tiny", "model-cache", "tiny");
    graph["spec"]["pvcs"] = json!([{
        "name": "own", "create": true, "size": "1Gi", "storageClass": "manual", "volumeAccessMode": "ReadWriteMany",
    }]);
    dynamo::apply(&graphs, &graph).await?;
    let output = plugin.run(&DOWN).await?.expect(0)?;
    ensure!(
        output.err.contains("pvc/own and its models are deleted with deployment \"tiny\""),
        "{}",
        output.err
    );
    namespace.delete().await
}

pub(crate) async fn down_retains_a_mounted_cache(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "mounted").await?;
        plugin.run(&UP).await?.expect(0)?;
        let pod = json!({
            "containers": [{"name": "shell", "image": "registry.test/shell:1"}],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "model-cache"}}],
        });
        let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
        let deployment = json!({
            "metadata": {"name": "notebook"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "notebook"}},
                "template": {"metadata": {"labels": {"app": "notebook"}}, "spec": pod},
            },
        });
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
        let shell = serde_json::from_value(json!({"metadata": {"name": "shell"}, "spec": pod}))?;
        pods.create(&PostParams::default(), &shell).await?;
        for delete_flag in ["--delete-cache=pvc", "--delete-cache=model"] {
            let output = plugin.run(&[&DOWN[..], &[delete_flag]].concat()).await?.expect(7)?;
            for fact in ["KD0414", "deployment/notebook", "pod/shell"] {
                ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
            }
        }
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        ensure!(graphs.get("tiny").await?.metadata.deletion_timestamp.is_none(), "the graph was deleted");
        namespace.delete().await?;
    }
    Ok(())
}

/// A deployment of another model on the same PVC is not a user of this model, as for `cache rm`.
pub(crate) async fn down_deletes_a_model_while_another_model_of_the_pvc_is_served(
    shared: Arc<Shared>,
) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "other-model").await?;
    plugin.run(&UP).await?.expect(0)?;
    let mut other = UP;
    other[1] = "acme/other";
    plugin.run(&other).await?.expect(0)?;
    let output = plugin.run(&[&DOWN[..], &["--delete-cache=pvc"]].concat()).await?.expect(7)?;
    ensure!(output.err.contains("dynamographdeployment/other"), "{}", output.err);
    let mut down = plugin.start(&[&DOWN[..], &["--delete-cache=model"]].concat())?;
    down.wait_for_line("dynamographdeployment/tiny deleted").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let graph = graphs.get_opt("tiny").await?;
    ensure!(
        graph.is_none_or(|graph| graph.metadata.deletion_timestamp.is_some()),
        "the graph was not deleted"
    );
    ensure!(graphs.get_opt("other").await?.is_some(), "the other graph was deleted");
    drop(down);
    namespace.delete().await
}

/// Deployments that share a cache are all deleted before it is, and it is deleted once.
pub(crate) async fn down_deletes_a_shared_cache_after_all_its_deployments(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "shared-cache").await?;
    plugin.run(&UP).await?.expect(0)?;
    plugin.run(&[&UP[..], &["--name=second"]].concat()).await?.expect(0)?;
    let down = ["down", "tiny", "second", "-y", "--progress=plain", "--delete-cache=pvc"];
    let output = plugin.run(&down).await?.expect(0)?;
    let position =
        |text: &str| output.err.find(text).ok_or_else(|| format!("{text} is not in {}", output.err));
    let second = position("dynamographdeployment/second deleted")?;
    ensure!(position("pvc/model-cache deleted")? > second, "the PVC was deleted first: {}", output.err);
    ensure!(output.err.matches("pvc/model-cache deleted").count() == 1, "{}", output.err);
    namespace.delete().await
}

/// A deployment that serves the model from another PVC does not need the Job that fetches it to this one.
pub(crate) async fn down_ends_a_fetch_that_only_another_pvc_has_in_common(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "other-pvc").await?;
    plugin.run(&[&UP[..], &["--name=second"]].concat()).await?.expect(0)?;
    namespace.create_pvc("elsewhere").await?;
    let up = [
        "up",
        "acme/tiny",
        "--backend=mocker",
        "--cache=elsewhere",
        "--fetcher-image=registry.test/fetcher:1",
        "--progress=plain",
    ];
    let mut up = plugin.start(&up)?;
    up.wait_for_line("waiting for a pod of job/").await?;
    drop(up);
    let output = plugin.run(&DOWN).await?.expect(0)?;
    ensure!(output.err.contains("job/") && output.err.contains(" deleted"), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn down_wait_waits_for_child_pods(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "children").await?;
        plugin.run(&UP).await?.expect(0)?;
        let kubelet = FakeKubelet::new(&namespace);
        let worker = kubelet.pod_of_component("worker").await?;
        kubelet.block_deletion(true).await?;
        let mut down = plugin.start(&[&DOWN[..], &["--wait"]].concat())?;
        down.wait_for_line(&worker).await?;
        kubelet.block_deletion(false).await?;
        down.finish().await?.expect(0)?;
        let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
        let graph_pods = ListParams::default().labels("nvidia.com/dynamo-graph-deployment-name=tiny");
        ensure!(pods.list(&graph_pods).await?.items.is_empty(), "it exited before its pods");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn down_does_not_hang_on_a_stuck_finalizer(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let fixture = through_api_proxy(&shared, generation, "not-let-go", &json!({})).await?;
        fixture.plugin.run(&UP).await?.expect(0)?;
        block_graph_deletion(&fixture.graphs(), true).await?;
        let output = fixture.plugin.run(&DOWN).await?.expect(0)?;
        ensure!(
            output.err.contains("KD0221") && output.err.contains("tests.kubectl-dynamo.dev/hold"),
            "{}",
            output.err
        );
        fixture.proxy.inject_error(Some(InjectedError {
            path: "/dynamographdeployments",
            method: Some("PATCH"),
            code: 500,
            message: "Internal error occurred: failed calling webhook \"mdynamographdeployment.kb.io\": no endpoints",
        }));
        let output = fixture.plugin.run(&DOWN).await?.expect(0)?;
        for fact in ["KD0220", "does not respond", "when the operator runs again"] {
            ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
        }
        block_graph_deletion(&fixture.graphs(), false).await?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn up_waits_for_previous_deployment_to_be_deleted(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let fixture = through_api_proxy(&shared, generation, "before", &json!({})).await?;
        let up = fixture.start_waiting_up().await?;
        set_all_ready(&fixture.kubelet).await?;
        up.finish().await?.expect(0)?;
        block_graph_deletion(&fixture.graphs(), true).await?;
        fixture.kubelet.block_deletion(true).await?;
        fixture.plugin.run(&DOWN).await?.expect(0)?;
        let mut up = fixture.plugin.start(&waiting_up_args())?;
        up.wait_for_line("deploy: waiting for the previous deployment \"tiny\" to be deleted").await?;
        block_graph_deletion(&fixture.graphs(), false).await?;
        // The model and its Job remain.
        up.wait_for_line("model fetch: done").await?;
        up.wait_for_line("deploy: waiting for objects of the previous deployment \"tiny\" to be deleted")
            .await?;
        fixture.kubelet.block_deletion(false).await?;
        up.wait_for_line("deploy: done").await?;
        up.wait_for_line("ready: waiting for").await?;
        set_all_ready(&fixture.kubelet).await?;
        up.finish().await?.expect(0)?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

/// Adds a finalizer of another client to the graph, or removes it.
pub(crate) async fn block_graph_deletion(graphs: &Api<DynamicObject>, blocked: bool) -> Outcome {
    // The operator's own comes first: 0.9.1 replaces all others.
    let has_finalizer = |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()))
    };
    await_condition(graphs.clone(), "tiny", has_finalizer).await?;
    let mut finalizers = graphs.get("tiny").await?.metadata.finalizers.unwrap_or_default();
    finalizers.retain(|one| one != "tests.kubectl-dynamo.dev/hold");
    if blocked {
        finalizers.push("tests.kubectl-dynamo.dev/hold".into());
    }
    let patch: Patch<Value> = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    graphs.patch("tiny", &PatchParams::default(), &patch).await?;
    Ok(())
}
