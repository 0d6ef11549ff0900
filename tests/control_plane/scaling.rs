//! Other numbers of replicas: written into the graph, or told to a scaling adapter.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// What a graph says of a component.
fn component<'a>(graph: &'a DynamicObject, name: &str) -> &'a Value {
    let spec = &graph.data["spec"];
    let listed = spec["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    listed.unwrap_or(&spec["services"][name])
}

pub(crate) async fn scale_moves_replicas_alone_and_up_keeps_them(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "scale").await?;
        let disagg = [&UP[..], &["--mode=disagg"]].concat();
        plugin.run(&disagg).await?.expect(0)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        wait_until_settled(&graphs, generation, 3).await?;
        let before = graphs.get("tiny").await?;
        plugin.run(&["scale", "tiny", "--replicas=2", "--decode-replicas=3", "--detach"]).await?.expect(0)?;
        let after = graphs.get("tiny").await?;
        let replicas =
            ["frontend", "prefill", "decode"].map(|name| component(&after, name)["replicas"].clone());
        ensure!(replicas == [json!(1), json!(2), json!(3)], "{replicas:?}");
        for name in ["prefill", "decode"] {
            let without = |graph: &DynamicObject| {
                let mut one = component(graph, name).clone();
                one["replicas"] = Value::Null;
                one["annotations"] = Value::Null;
                one
            };
            ensure!(without(&before) == without(&after), "more than replicas changed");
        }
        let said = plugin.run(&["up", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);

        let said = plugin.run(&["scale", "tiny", "--replicas=1", "--dry-run=server"]).await?.expect(0)?;
        ensure!(said.out.contains("decode    3 -> 1 replicas"), "{}", said.out);
        let said = plugin.run(&["scale", "tiny"]).await?.expect(2)?;
        ensure!(said.err.contains("KD0001"), "{}", said.err);
        plugin.run(&["scale", "absent", "--replicas=1"]).await?.expect(1)?;
        place.delete().await?;
    }
    let (place, plugin) = shared.user(V1Beta1, "roles").await?;
    plugin.run(&UP).await?.expect(0)?;
    let said = plugin.run(&["scale", "tiny", "--prefill-replicas=2"]).await?.expect(2)?;
    ensure!(said.err.contains("KD0601") && said.err.contains("worker"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn replicas_of_a_scaling_adapter_are_scaled_through_it(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "adapter").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        let on = match generation {
            V1Alpha1 => json!({"services": {"worker": {"scalingAdapter": {"enabled": true}}}}),
            V1Beta1 => json!({"components": [{"name": "worker", "scalingAdapter": {}}]}),
        };
        let change = json!({
            "apiVersion": format!("nvidia.com/{}", generation.version()),
            "kind": "DynamoGraphDeployment", "spec": on,
        });
        graphs.patch("tiny", &PatchParams::apply("platform-team"), &Patch::Apply(change)).await?;
        let kind =
            GroupVersionKind::gvk("nvidia.com", generation.version(), "DynamoGraphDeploymentScalingAdapter");
        let adapters: Api<DynamicObject> =
            Api::namespaced_with(place.client(), place.name(), &ApiResource::from_gvk(&kind));
        await_condition(adapters.clone(), "tiny-worker", |adapter: Option<&DynamicObject>| adapter.is_some())
            .await?;

        let said = plugin.run(&["scale", "tiny", "--replicas=3", "--detach"]).await?.expect(0)?;
        ensure!(said.err.contains("worker 1 -> 3 replicas, through its scaling adapter"), "{}", said.err);
        let adapter = adapters.get("tiny-worker").await?;
        ensure!(adapter.data["spec"]["replicas"] == 3, "{}", adapter.data["spec"]);
        let is_three = |graph: Option<&DynamicObject>| {
            graph.is_some_and(|graph| component(graph, "worker")["replicas"] == 3)
        };
        await_condition(graphs.clone(), "tiny", is_three).await?;

        // The number is the adapter's: a change of something else leaves it, and another number is not applied.
        let said = plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
        ensure!(
            said.err.contains("worker keeps 3 replicas, which its scaling adapter decides"),
            "{}",
            said.err
        );
        ensure!(component(&graphs.get("tiny").await?, "worker")["replicas"] == 3, "up moved the replicas");
        plugin
            .run(&["scale", "tiny", "--replicas=2", "--frontend-replicas=2", "--detach"])
            .await?
            .expect(0)?;
        let graph = graphs.get("tiny").await?;
        let replicas = ["frontend", "worker"].map(|name| component(&graph, name)["replicas"].clone());
        ensure!(replicas == [json!(2), json!(2)], "{replicas:?}");
        place.delete().await?;
    }
    Ok(())
}
