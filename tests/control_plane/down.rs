//! What `down` deletes, leaves and waits for, on both versions of the objects.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::gate::Refusal;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{all_ready, gated, waiting};
use crate::plugin::UP;

const DOWN: [&str; 4] = ["down", "tiny", "-y", "--progress=plain"];

pub(crate) async fn what_stays_is_listed(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "stays").await?;
        plugin.run_with_input(&[&UP[..], &["--hf-token-stdin"]].concat(), "hf_token\n").await?.expect(0)?;
        let said = plugin.run(&DOWN).await?.expect(0)?;
        for fact in
            ["dynamographdeployment/tiny deleted", "pvc/model-cache stays", "secret/hf-token-secret stays"]
        {
            ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
        }
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(place.client(), place.name());
        let secrets: Api<Secret> = Api::namespaced(place.client(), place.name());
        ensure!(claims.get_opt("model-cache").await?.is_some(), "the claim went");
        ensure!(secrets.get_opt("hf-token-secret").await?.is_some(), "the Secret went");
        place.delete().await?;
    }
    // What the older shape lets a graph make goes with it, and that is said.
    let (place, plugin) = shared.user(V1Alpha1, "goes").await?;
    let graphs = dynamo::graphs(place.client(), V1Alpha1, place.name());
    let mut graph = dynamo::aggregated_v1alpha1("tiny", "model-cache", "tiny");
    graph["spec"]["pvcs"] = json!([{
        "name": "own", "create": true, "size": "1Gi", "storageClass": "manual", "volumeAccessMode": "ReadWriteMany",
    }]);
    dynamo::apply(&graphs, &graph).await?;
    let said = plugin.run(&DOWN).await?.expect(0)?;
    ensure!(said.err.contains("pvc/own goes with tiny"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn a_cache_that_something_mounts_is_kept(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "mounted").await?;
        plugin.run(&UP).await?.expect(0)?;
        let pod = json!({
            "containers": [{"name": "shell", "image": "registry.test/shell:1"}],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "model-cache"}}],
        });
        let deployments: Api<Deployment> = Api::namespaced(place.client(), place.name());
        let deployment = json!({
            "metadata": {"name": "notebook"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "notebook"}},
                "template": {"metadata": {"labels": {"app": "notebook"}}, "spec": pod},
            },
        });
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
        let shell = serde_json::from_value(json!({"metadata": {"name": "shell"}, "spec": pod}))?;
        pods.create(&PostParams::default(), &shell).await?;
        for what in ["--delete-cache=pvc", "--delete-cache=model"] {
            let said = plugin.run(&[&DOWN[..], &[what]].concat()).await?.expect(7)?;
            for fact in ["KD0414", "deployment/notebook", "pod/shell"] {
                ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
            }
        }
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        ensure!(graphs.get("tiny").await?.metadata.deletion_timestamp.is_none(), "the graph went");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn its_children_are_waited_for(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "children").await?;
        plugin.run(&UP).await?.expect(0)?;
        let puppet = Puppet::of(&place);
        let worker = puppet.pod_of("worker").await?;
        puppet.hold(true).await?;
        let mut down = plugin.start(&[&DOWN[..], &["--wait"]].concat())?;
        down.until(&worker).await?;
        puppet.hold(false).await?;
        down.end().await?.expect(0)?;
        let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
        let of_graph = ListParams::default().labels("nvidia.com/dynamo-graph-deployment-name=tiny");
        ensure!(pods.list(&of_graph).await?.items.is_empty(), "it ended before its pods");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_graph_that_nobody_lets_go_holds_nobody_up(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let on = gated(&shared, generation, "not-let-go", &json!({})).await?;
        on.plugin.run(&UP).await?.expect(0)?;
        hold_graph(&on.graphs(), true).await?;
        let said = on.plugin.run(&DOWN).await?.expect(0)?;
        ensure!(
            said.err.contains("KD0221") && said.err.contains("tests.kubectl-dynamo.dev/hold"),
            "{}",
            said.err
        );
        on.gate.refuse(Some(Refusal {
            path: "/dynamographdeployments",
            method: Some("PATCH"),
            code: 500,
            message: "Internal error occurred: failed calling webhook \"mdynamographdeployment.kb.io\": no endpoints",
        }));
        let said = on.plugin.run(&DOWN).await?.expect(0)?;
        for fact in ["KD0220", "does not answer", "when the operator runs again"] {
            ensure!(said.err.contains(fact), "{fact} is not in {}", said.err);
        }
        hold_graph(&on.graphs(), false).await?;
        on.place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn an_up_waits_for_what_down_left(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let on = gated(&shared, generation, "before", &json!({})).await?;
        let up = on.waits().await?;
        all_ready(&on.puppet).await?;
        up.end().await?.expect(0)?;
        hold_graph(&on.graphs(), true).await?;
        on.puppet.hold(true).await?;
        on.plugin.run(&DOWN).await?.expect(0)?;
        let mut up = on.plugin.start(&waiting())?;
        up.until("deploy: waiting for the tiny before it to be deleted").await?;
        hold_graph(&on.graphs(), false).await?;
        // The model stays on its claim, and its Job with it.
        up.until("model fetch: done").await?;
        up.until("deploy: waiting for what is left of the tiny before it to end").await?;
        on.puppet.hold(false).await?;
        up.until("deploy: done").await?;
        up.until("ready: waiting for").await?;
        all_ready(&on.puppet).await?;
        up.end().await?.expect(0)?;
        on.place.delete().await?;
    }
    Ok(())
}

/// Adds a finalizer of nobody's to the graph, or takes it away.
async fn hold_graph(graphs: &Api<DynamicObject>, held: bool) -> Outcome {
    // The operator's own comes first: on 0.9.1 it replaces whatever was there.
    let adopted = |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()))
    };
    await_condition(graphs.clone(), "tiny", adopted).await?;
    let mut finalizers = graphs.get("tiny").await?.metadata.finalizers.unwrap_or_default();
    finalizers.retain(|one| one != "tests.kubectl-dynamo.dev/hold");
    if held {
        finalizers.push("tests.kubectl-dynamo.dev/hold".into());
    }
    let patch: Patch<Value> = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    graphs.patch("tiny", &PatchParams::default(), &patch).await?;
    Ok(())
}
