//! The test operator fails or waits in the same cases as the real operators, with their messages.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::operator::OperatorFault;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::faults::{set_all_ready, through_api_proxy, waiting_up_args};
use crate::plugin::UP;

pub(crate) async fn multinode_without_orchestrator_fails(shared: Arc<Shared>) -> Outcome {
    let nodes = json!({"nodeCount": 2});
    for (generation, reason, message) in [
        (V1Beta1, "no_multinode_orchestrator_available", "no multinode orchestrator available"),
        (
            V1Alpha1,
            "failed_to_reconcile_the_resources",
            "failed to reconcile Dynamo components deployments: no multinode orchestrator available",
        ),
    ] {
        let namespace = shared.namespace(generation, "multinode").await?;
        let mut graph = valid_graph(generation);
        match generation {
            V1Alpha1 => graph["spec"]["services"]["Worker"]["multinode"] = nodes.clone(),
            V1Beta1 => graph["spec"]["components"][1]["multinode"] = nodes.clone(),
        }
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        let status = wait_for_status(&graphs, &graph, "failed").await?;
        let condition = &status["conditions"][0];
        ensure!(condition["reason"] == reason && condition["message"] == message, "{status}");
        ensure!(status["observedGeneration"].is_null(), "a failed graph has an observedGeneration: {status}");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn v1alpha1_graph_fails_until_its_pvc_exists(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Alpha1, "claim").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Alpha1, namespace.name());
    let mut graph = valid_graph(V1Alpha1);
    graph["spec"]["pvcs"] = json!([{"name": "model-cache", "create": false}]);
    let status = wait_for_status(&graphs, &graph, "failed").await?;
    let message = "failed to reconcile top-level PVCs: PersistentVolumeClaim \"model-cache\" not found";
    ensure!(status["conditions"][0]["message"] == message, "{status}");
    let adopted = graphs.get("agg").await?;
    ensure!(
        adopted.metadata.generation == Some(2),
        "the operator's write did not increment the generation to 2"
    );
    ensure!(adopted.data["spec"]["pvcs"][0]["size"] == "0", "{}", adopted.data["spec"]["pvcs"]);

    namespace.create_pvc("model-cache").await?;
    let status = wait_for_status(&graphs, &Value::Null, "pending").await?;
    ensure!(status["conditions"][0]["reason"] == "some_resources_are_not_ready", "{status}");
    namespace.delete().await
}

/// Right after the operator became ready, its webhook can refuse one review.
pub(crate) async fn webhook_that_refuses_once_is_called_again(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "refuses-once").await?;
        shared.operator(generation)?.start_fault(OperatorFault::RefusesNextReview, namespace.name());
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        let refused = dynamo::apply(&graphs, &valid_graph(generation)).await;
        ensure!(
            refused.is_err_and(|error| error.to_string().contains("failed calling webhook")),
            "not refused"
        );
        shared.operator(generation)?.start_fault(OperatorFault::RefusesNextReview, namespace.name());
        let output = plugin.run(&UP).await?.expect(0)?;
        ensure!(!output.err.contains("KD0220"), "{}", output.err);
        namespace.delete().await?;
    }
    Ok(())
}

/// 0.9.1 can report a changed component as available and leave its Deployment as it was: the old pods are not the
/// requested ones.
pub(crate) async fn outdated_deployment_is_not_reported_as_ready(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Alpha1, "outdated", &json!({})).await?;
    let (plugin, namespace) = (&fixture.plugin, &fixture.namespace);
    let up = fixture.start_waiting_up().await?;
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;
    let operator = shared.operator(V1Alpha1)?;
    operator.start_fault(OperatorFault::LeavesDeployments, namespace.name());
    let change = [&waiting_up_args()[..], &["--env=ADDED=1", "-y"]].concat();
    let mut up = plugin.start(&change)?;
    up.wait_for_line("does not have the requested env ADDED").await?;
    for verb in ["status", "diagnose"] {
        let output = plugin.run(&[verb, "tiny"]).await?.expect(3)?;
        ensure!(output.out.contains("KD0224") && output.out.contains("env ADDED"), "{}", output.out);
    }
    let output = up.finish().await?.expect(1)?;
    let fix = format!("kubectl dynamo rollout restart tiny -n {}", namespace.name());
    ensure!(output.err.contains("error [KD0224]") && output.err.contains(&fix), "{}", output.err);
    ensure!(!output.err.contains("ready: done"), "{}", output.err);

    // The next change, here a restart, updates the Deployment. It starts with the frontend.
    operator.end_fault(OperatorFault::LeavesDeployments, namespace.name());
    plugin.run(&["rollout", "restart", "tiny", "--detach", "-y"]).await?.expect(0)?;
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    let has_variable = |deployment: Option<&Deployment>| {
        deployment.is_some_and(|one| serde_json::to_string(one).is_ok_and(|text| text.contains("ADDED")))
    };
    await_condition(deployments, "tiny-frontend", has_variable).await?;
    fixture.namespace.delete().await
}

/// 0.9.1 sorts variables: another order updates the component and leaves the Deployment, which is correct.
pub(crate) async fn reordered_variables_replace_no_pods_on_0_9_1(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Alpha1, "reordered", &json!({})).await?;
    let (plugin, namespace) = (&fixture.plugin, &fixture.namespace);
    namespace.create_pvc("model-cache").await?;
    let args =
        ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual", "--env=B=1", "--env=A=2"];
    let rendered = plugin.run(&[&args[..], &["-o=json"]].concat()).await?.expect(0)?.out;
    let list: Value = serde_json::from_str(&rendered)?;
    let graph = list["items"].as_array().and_then(|items| items.last()).ok_or("no graph")?.clone();
    let mut reordered = graph.clone();
    let variables = reordered
        .pointer_mut("/spec/services/worker/envs")
        .and_then(Value::as_array_mut)
        .ok_or_else(|| format!("no variables in {graph:#}"))?;
    variables.reverse();
    let file = ["up", "-f", "-", "--no-smoke-test", "--progress=plain", "--timeout=10m"];
    plugin.run_with_input(&[&file[..], &["--detach"]].concat(), &graph.to_string()).await?.expect(0)?;
    set_all_ready(&fixture.kubelet).await?;
    plugin.run_with_input(&file, &graph.to_string()).await?.expect(0)?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let names = async || -> Outcome<Vec<String>> {
        Ok(pods.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
    };
    let before = names().await?;
    let output = plugin.run_with_input(&file, &reordered.to_string()).await?.expect(0)?;
    for fact in ["tiny changes without restarting pods", "ready: done"] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    ensure!(before == names().await?, "the pods changed");
    fixture.namespace.delete().await
}

/// 1.5 hashes variables in their order: another order replaces every worker.
pub(crate) async fn reordered_variables_replace_the_workers_on_1_5(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "hash-order").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let graph = |names: [&str; 2]| {
        let mut graph = valid_graph(V1Beta1);
        let main = &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0];
        main["env"] = json!(names.map(|name| json!({"name": name, "value": "1"})));
        graph
    };
    let status = wait_for_status(&graphs, &graph(["A", "B"]), "pending").await?;
    ensure!(status["rollingUpdate"].is_null(), "{status}");
    dynamo::apply(&graphs, &graph(["B", "A"])).await?;
    let is_rolling = |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["rollingUpdate"].is_object())
    };
    await_condition(graphs, "agg", is_rolling).await?;
    namespace.delete().await
}

/// After a restart of the API server, an operator can take 24 s to act again. Until then its last report remains.
pub(crate) async fn operator_that_acts_late_is_waited_for(shared: Arc<Shared>) -> Outcome {
    let wait = Duration::from_secs(24);
    let failed = through_api_proxy(&shared, V1Alpha1, "late", &json!({})).await?;
    let new = through_api_proxy(&shared, V1Beta1, "late", &json!({})).await?;
    failed.plugin.run(&UP).await?.expect(0)?;
    // Without a problem of a pod, the operator's report is the only one.
    for component in ["frontend", "worker"] {
        failed.kubelet.set_waiting(component, ("ContainerCreating", ""), 0, Value::Null).await?;
    }
    crate::plugin::wait_until_settled(&failed.graphs(), V1Alpha1, 2).await?;
    for (generation, fixture) in [(V1Alpha1, &failed), (V1Beta1, &new)] {
        shared.operator(generation)?.start_fault(OperatorFault::Idle, fixture.namespace.name());
    }
    let message = "failed to reconcile top-level PVCs: PersistentVolumeClaim \"model-cache\" not found";
    let status = json!({"status": {"state": "failed", "conditions": [{
        "type": "Ready", "status": "False", "reason": "failed_to_reconcile_the_resources", "message": message,
        "lastTransitionTime": "2026-11-29T12:00:00Z",
    }]}});
    failed.graphs().patch_status("tiny", &PatchParams::default(), &Patch::Merge(status)).await?;
    let mut up_failed = failed.plugin.start(&waiting_up_args())?;
    up_failed.wait_for_line("to recover: the Dynamo operator reports a failure").await?;
    let mut up_new = new.plugin.start(&waiting_up_args())?;
    up_new.wait_for_line("model fetch: waiting").await?;
    new.kubelet.finish_fetch().await?;
    up_new.wait_for_line("ready: waiting for the Dynamo operator to reconcile it").await?;
    tokio::time::sleep(wait).await;
    for (generation, fixture) in [(V1Alpha1, &failed), (V1Beta1, &new)] {
        shared.operator(generation)?.end_fault(OperatorFault::Idle, fixture.namespace.name());
        set_all_ready(&fixture.kubelet).await?;
    }
    up_failed.finish().await?.expect(0)?;
    up_new.finish().await?.expect(0)?;
    failed.namespace.delete().await?;
    new.namespace.delete().await
}

pub(crate) async fn name_limits_match_the_real_operators(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Alpha1, "names").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Alpha1, namespace.name());
    let status = wait_for_status(&graphs, &graph_with_name_length(V1Alpha1, 42), "failed").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("failed to reconcile K8s discovery resources: "), "{message}");
    ensure!(message.contains("must be no more than 63 "), "{message}");
    wait_for_status(&graphs, &graph_with_name_length(V1Alpha1, 41), "pending").await?;
    namespace.delete().await?;

    // 1.5 accepts any name, and a component whose Service name is too long never becomes ready. The
    // namespace's name is short: the graph's label includes it, and that is a different limit.
    let namespace = shared.namespace(V1Beta1, "n").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let graph = graph_with_name_length(V1Beta1, 58);
    let status = wait_for_status(&graphs, &graph, "pending").await?;
    let message = status["conditions"][0]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("spec not yet processed: generation=1, observedGeneration=0"), "{message}");
    let kind = GroupVersionKind::gvk("nvidia.com", "v1beta1", "DynamoComponentDeployment");
    let components: Api<DynamicObject> =
        Api::namespaced_with(namespace.client(), namespace.name(), &ApiResource::from_gvk(&kind));
    let child = format!("{}-frontend", graph["metadata"]["name"].as_str().unwrap_or_default());
    let failed_component = await_condition(components, &child, |component: Option<&DynamicObject>| {
        component.is_some_and(|component| {
            available_condition(component)["reason"] == "Reconciling"
                && available_condition(component)["status"] == "False"
        })
    });
    let failed_component = failed_component.await?.ok_or("no component")?;
    let message = available_condition(&failed_component)["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("Failed to reconcile DynamoComponentDeployment: "), "{message}");
    ensure!(message.contains("must be no more than 63 characters"), "{message}");
    namespace.delete().await
}

fn available_condition(component: &DynamicObject) -> &Value {
    static NONE: Value = Value::Null;
    let conditions = component.data["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    conditions.iter().find(|condition| condition["type"] == "Available").unwrap_or(&NONE)
}

fn valid_graph(generation: GraphGeneration) -> Value {
    match generation {
        V1Alpha1 => dynamo::aggregated_graph_v1alpha1("agg", "model-cache", "tiny"),
        V1Beta1 => dynamo::aggregated_graph("agg", "model-cache", "tiny"),
    }
}

/// Returns a graph whose name has this many characters.
fn graph_with_name_length(generation: GraphGeneration, letters: usize) -> Value {
    let mut graph = valid_graph(generation);
    graph["metadata"]["name"] = json!("n".repeat(letters));
    graph
}

/// Applies the graph, unless it is null, and returns its status once it has this state.
async fn wait_for_status(graphs: &Api<DynamicObject>, graph: &Value, state: &'static str) -> Outcome<Value> {
    if !graph.is_null() {
        dynamo::apply(graphs, graph).await?;
    }
    let name = graph["metadata"]["name"].as_str().unwrap_or("agg");
    let has_state = move |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["state"] == state)
    };
    let graph = await_condition(graphs.clone(), name, has_state).await?.ok_or("the graph was deleted")?;
    Ok(graph.data["status"].clone())
}
