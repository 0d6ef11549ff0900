//! Changes of replica counts: written into the graph, or sent to a scaling adapter.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// Returns a component of a graph.
fn component_of<'a>(graph: &'a DynamicObject, name: &str) -> &'a Value {
    let spec = &graph.data["spec"];
    let listed = spec["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    listed.unwrap_or(&spec["services"][name])
}

pub(crate) async fn scale_changes_only_replicas_and_up_preserves_them(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "scale").await?;
        let disagg = [&UP[..], &["--mode=disagg"]].concat();
        plugin.run(&disagg).await?.expect(0)?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        wait_until_settled(&graphs, generation, 3).await?;
        let before = graphs.get("tiny").await?;
        plugin.run(&["scale", "tiny", "--replicas=2", "--decode-replicas=3", "--detach"]).await?.expect(0)?;
        let after = graphs.get("tiny").await?;
        let replicas =
            ["frontend", "prefill", "decode"].map(|name| component_of(&after, name)["replicas"].clone());
        ensure!(replicas == [json!(1), json!(2), json!(3)], "{replicas:?}");
        for name in ["prefill", "decode"] {
            let without = |graph: &DynamicObject| {
                let mut one = component_of(graph, name).clone();
                one["replicas"] = Value::Null;
                one["annotations"] = Value::Null;
                one
            };
            ensure!(without(&before) == without(&after), "more than replicas changed");
        }
        let output = plugin.run(&["up", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);

        let output = plugin.run(&["scale", "tiny", "--replicas=1", "--dry-run=server"]).await?.expect(0)?;
        ensure!(output.out.contains("decode    3 -> 1 replicas"), "{}", output.out);
        let output = plugin.run(&["scale", "tiny"]).await?.expect(2)?;
        ensure!(output.err.contains("KD0001"), "{}", output.err);
        plugin.run(&["scale", "absent", "--replicas=1"]).await?.expect(1)?;
        namespace.delete().await?;
    }
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "roles").await?;
    plugin.run(&UP).await?.expect(0)?;
    let output = plugin.run(&["scale", "tiny", "--prefill-replicas=2"]).await?.expect(2)?;
    ensure!(output.err.contains("KD0601") && output.err.contains("worker"), "{}", output.err);
    namespace.delete().await
}

/// As for kubectl, only the server mode of a dry run sends the object.
pub(crate) async fn client_dry_run_of_a_change_only_reads(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "client-dry-run").await?;
    plugin.run(&UP).await?.expect(0)?;
    plugin.run(&["scale", "tiny", "--frontend-replicas=2", "--detach"]).await?.expect(0)?;
    let audit = shared.cluster.control_plane(V1Beta1)?.audit_log();
    for (change, mode, patches) in [
        (&["scale", "tiny", "--replicas=3"][..], "client", false),
        (&["rollout", "undo", "tiny"], "client", false),
        (&["scale", "tiny", "--replicas=3"], "server", true),
        (&["rollout", "undo", "tiny"], "server", true),
    ] {
        let position = audit.position()?;
        let output = plugin.run(&[change, &[&format!("--dry-run={mode}")]].concat()).await?.expect(0)?;
        let suffix = if patches { "(server dry run)" } else { "(dry run)" };
        let line = format!("dynamographdeployment/tiny configured {suffix}\n");
        ensure!(output.out.starts_with(&line), "{change:?}: {}", output.out);
        let format = [&format!("--dry-run={mode}"), "-o=jsonpath={.metadata.name}"];
        let output = plugin.run(&[change, &format].concat()).await?.expect(0)?;
        ensure!(output.out == "tiny", "{change:?}: {}", output.out);
        let output = plugin.run(&[change, &["-o=name"]].concat()).await?.expect(2)?;
        ensure!(output.err.contains("-o can only be used with --dry-run"), "{change:?}: {}", output.err);
        let requests = audit.requests_since(position, namespace.name())?;
        let sent = requests.iter().any(|request| request.verb == "patch");
        ensure!(sent == patches, "{change:?} {mode}: {requests:?}");
    }
    namespace.delete().await
}

pub(crate) async fn scale_uses_the_scaling_adapter(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "adapter").await?;
        plugin.run(&UP).await?.expect(0)?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        let adapter_spec = match generation {
            V1Alpha1 => json!({"services": {"worker": {"scalingAdapter": {"enabled": true}}}}),
            V1Beta1 => json!({"components": [{"name": "worker", "scalingAdapter": {}}]}),
        };
        let change = json!({
            "apiVersion": format!("nvidia.com/{}", generation.version()),
            "kind": "DynamoGraphDeployment", "spec": adapter_spec,
        });
        graphs.patch("tiny", &PatchParams::apply("platform-team"), &Patch::Apply(change)).await?;
        let kind =
            GroupVersionKind::gvk("nvidia.com", generation.version(), "DynamoGraphDeploymentScalingAdapter");
        let adapters: Api<DynamicObject> =
            Api::namespaced_with(namespace.client(), namespace.name(), &ApiResource::from_gvk(&kind));
        await_condition(adapters.clone(), "tiny-worker", |adapter: Option<&DynamicObject>| adapter.is_some())
            .await?;

        let output = plugin.run(&["scale", "tiny", "--replicas=3", "--detach"]).await?.expect(0)?;
        ensure!(output.err.contains("worker 1 -> 3 replicas, through its scaling adapter"), "{}", output.err);
        let adapter = adapters.get("tiny-worker").await?;
        ensure!(adapter.data["spec"]["replicas"] == 3, "{}", adapter.data["spec"]);
        let is_three = |graph: Option<&DynamicObject>| {
            graph.is_some_and(|graph| component_of(graph, "worker")["replicas"] == 3)
        };
        await_condition(graphs.clone(), "tiny", is_three).await?;

        // The adapter owns the number: a change of another field keeps it, and a different number is not
        // applied.
        let output = plugin.run(&["up", "tiny", "--env=A=b", "--detach"]).await?.expect(0)?;
        ensure!(output.err.contains("worker stays at 3 replicas, not"), "{}", output.err);
        ensure!(component_of(&graphs.get("tiny").await?, "worker")["replicas"] == 3, "up moved the replicas");
        plugin
            .run(&["scale", "tiny", "--replicas=2", "--frontend-replicas=2", "--detach"])
            .await?
            .expect(0)?;
        let graph = graphs.get("tiny").await?;
        let replicas = ["frontend", "worker"].map(|name| component_of(&graph, name)["replicas"].clone());
        ensure!(replicas == [json!(2), json!(2)], "{replicas:?}");
        namespace.delete().await?;
    }
    Ok(())
}
