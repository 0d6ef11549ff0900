//! Where the real operators fail or stay waiting, the operator's part does, in their words.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;

pub(crate) async fn several_nodes_without_an_orchestrator_fail(shared: Arc<Shared>) -> Outcome {
    let nodes = json!({"nodeCount": 2});
    for (generation, reason, message) in [
        (V1Beta1, "no_multinode_orchestrator_available", "no multinode orchestrator available"),
        (
            V1Alpha1,
            "failed_to_reconcile_the_resources",
            "failed to reconcile Dynamo components deployments: no multinode orchestrator available",
        ),
    ] {
        let place = shared.place(generation, "multinode").await?;
        let mut graph = good(generation);
        match generation {
            V1Alpha1 => graph["spec"]["services"]["Worker"]["multinode"] = nodes.clone(),
            V1Beta1 => graph["spec"]["components"][1]["multinode"] = nodes.clone(),
        }
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        let status = status_of(&graphs, &graph, "failed").await?;
        let condition = &status["conditions"][0];
        ensure!(condition["reason"] == reason && condition["message"] == message, "{status}");
        ensure!(status["observedGeneration"].is_null(), "a failed graph tells its generation: {status}");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn a_v1alpha1_graph_without_its_claim_fails_until_it_is_there(
    shared: Arc<Shared>,
) -> Outcome {
    let place = shared.place(V1Alpha1, "claim").await?;
    let graphs = dynamo::graphs(place.client(), V1Alpha1, place.name());
    let mut graph = good(V1Alpha1);
    graph["spec"]["pvcs"] = json!([{"name": "model-cache", "create": false}]);
    let status = status_of(&graphs, &graph, "failed").await?;
    let message = "failed to reconcile top-level PVCs: PersistentVolumeClaim \"model-cache\" not found";
    ensure!(status["conditions"][0]["message"] == message, "{status}");
    let adopted = graphs.get("agg").await?;
    ensure!(adopted.metadata.generation == Some(2), "the operator's own write made no generation 2");
    ensure!(adopted.data["spec"]["pvcs"][0]["size"] == "0", "{}", adopted.data["spec"]["pvcs"]);

    place.claim("model-cache").await?;
    let status = status_of(&graphs, &Value::Null, "pending").await?;
    ensure!(status["conditions"][0]["reason"] == "some_resources_are_not_ready", "{status}");
    place.delete().await
}

pub(crate) async fn names_are_too_long_where_the_real_ones_find_them_so(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Alpha1, "names").await?;
    let graphs = dynamo::graphs(place.client(), V1Alpha1, place.name());
    let status = status_of(&graphs, &named(V1Alpha1, 42), "failed").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("failed to reconcile K8s discovery resources: "), "{message}");
    ensure!(message.contains("must be no more than 63 "), "{message}");
    status_of(&graphs, &named(V1Alpha1, 41), "pending").await?;
    place.delete().await?;

    // 1.5 takes any name, and a component whose Service cannot be so long never gets ready.
    // The namespace's name is short: with it the graph's is a label, and that is another limit.
    let place = shared.place(V1Beta1, "n").await?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let graph = named(V1Beta1, 58);
    let status = status_of(&graphs, &graph, "pending").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("spec not yet processed: generation=1, observedGeneration=0"), "{message}");
    let kind = GroupVersionKind::gvk("nvidia.com", "v1beta1", "DynamoComponentDeployment");
    let components: Api<DynamicObject> =
        Api::namespaced_with(place.client(), place.name(), &ApiResource::from_gvk(&kind));
    let child = format!("{}-frontend", graph["metadata"]["name"].as_str().unwrap_or_default());
    let refused = await_condition(components, &child, |component: Option<&DynamicObject>| {
        component.is_some_and(|component| {
            available(component)["reason"] == "Reconciling" && available(component)["status"] == "False"
        })
    });
    let refused = refused.await?.ok_or("no component")?;
    let message = available(&refused)["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("Failed to reconcile DynamoComponentDeployment: "), "{message}");
    ensure!(message.contains("must be no more than 63 characters"), "{message}");
    place.delete().await
}

fn available(component: &DynamicObject) -> &Value {
    static NONE: Value = Value::Null;
    let conditions = component.data["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == "Available").unwrap_or(&NONE)
}

fn good(generation: GraphGeneration) -> Value {
    match generation {
        V1Alpha1 => dynamo::aggregated_v1alpha1("agg", "model-cache", "tiny"),
        V1Beta1 => dynamo::aggregated("agg", "model-cache", "tiny"),
    }
}

/// A graph whose name has this many letters.
fn named(generation: GraphGeneration, letters: usize) -> Value {
    let mut graph = good(generation);
    graph["metadata"]["name"] = json!("n".repeat(letters));
    graph
}

/// Applies the graph, unless it is null, and answers its status once that has this state.
async fn status_of(graphs: &Api<DynamicObject>, graph: &Value, state: &'static str) -> Outcome<Value> {
    if !graph.is_null() {
        dynamo::apply(graphs, graph).await?;
    }
    let name = graph["metadata"]["name"].as_str().unwrap_or("agg");
    let is_there = move |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["state"] == state)
    };
    let graph = await_condition(graphs.clone(), name, is_there).await?.ok_or("the graph is gone")?;
    Ok(graph.data["status"].clone())
}
