//! Adopts deployments of other authors without changing what runs, and rejects objects that cannot be
//! adopted.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// Returns a graph as the starter kit writes it: workers started by a shell, with other names.
fn starter_kit_graph() -> Value {
    let worker = |role: Option<&str>, replicas: u32, command_line: &str| {
        let mut service = json!({
            "componentType": "worker", "replicas": replicas, "envFromSecret": "hf-token-secret",
            "resources": {"limits": {"gpu": "2"}}, "sharedMemory": {"size": "20Gi"},
            "volumeMounts": [{"name": "dynamo-model-cache", "mountPoint": "/opt/models"}],
            "extraPodSpec": {
                "nodeSelector": {"pool": "gpu"},
                "mainContainer": {
                    "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1",
                    "command": ["/bin/sh", "-c"], "args": [command_line],
                },
            },
        });
        if let Some(role) = role {
            service["subComponentType"] = role.into();
        }
        service
    };
    let command_line = |tp: u32, extra_args: &str| {
        format!(
            "python3 -m dynamo.vllm --model /opt/models/Qwen/Qwen3-0.6B --served-model-name Qwen/Qwen3-0.6B \
             --tensor-parallel-size {tp} {extra_args} --gpu-memory-utilization 0.90 --block-size 128"
        )
    };
    let prefill = command_line(2, "--is-prefill-worker --connector nixl");
    let decode = command_line(2, "--is-decode-worker --connector nixl");
    json!({
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
        "metadata": {"name": "kit"},
        "spec": {
            "backendFramework": "vllm", "envs": [{"name": "DYN_LOG", "value": "info"}],
            "pvcs": [{"name": "dynamo-model-cache", "create": false, "size": "0"}],
            "services": {
                "Frontend": {
                    "componentType": "frontend", "replicas": 1,
                    "envs": [{"name": "DYN_ROUTER_MODE", "value": "kv"}],
                    "volumeMounts": [{"name": "dynamo-model-cache", "mountPoint": "/opt/models"}],
                    "extraPodSpec": {"mainContainer": {"image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1"}},
                },
                "VllmPrefillWorker": worker(Some("prefill"), 2, &prefill),
                "VllmDecodeWorker": worker(Some("decode"), 1, &decode),
            },
        },
    })
}

/// Returns the generations of the graph's Deployments; a change that restarts pods increments one.
async fn deployment_generations(namespace: &CaseNamespace) -> Outcome<Vec<(Option<String>, Option<i64>)>> {
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    let all = deployments.list(&ListParams::default()).await?.items.into_iter();
    Ok(all.map(|one| (one.metadata.name, one.metadata.generation)).collect())
}

fn replicas_of(graph: &Value, name: &str) -> Value {
    let spec = &graph["spec"];
    let listed = spec["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    listed.unwrap_or(&spec["services"][name])["replicas"].clone()
}

pub(crate) async fn adopt_imports_foreign_graph_without_restarting_pods(shared: Arc<Shared>) -> Outcome {
    let mut external_graph = dynamo::aggregated_graph("hand", "models", "acme/tiny");
    external_graph["spec"]["backendFramework"] = "vllm".into();
    let cases: [(GraphGeneration, Value, &str, &[&str], &str); 2] = [
        (
            V1Beta1,
            external_graph,
            "worker",
            &["acme/tiny", "mocker", "pvc/models", "manager   author"],
            "--replicas=2",
        ),
        (
            V1Alpha1,
            starter_kit_graph(),
            "VllmDecodeWorker",
            &[
                "Qwen/Qwen3-0.6B",
                "disagg, kv router",
                "TP2",
                "0.9.1",
                "secret/hf-token-secret",
                "--block-size 128",
            ],
            "--decode-replicas=2",
        ),
    ];
    for (generation, graph, worker, facts, change) in cases {
        let (namespace, plugin) = shared.user_in_namespace(generation, "adopt").await?;
        let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let pvc = if generation == V1Alpha1 { "dynamo-model-cache" } else { "models" };
        namespace.create_pvc(pvc).await?;
        let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
        let token = json!({"metadata": {"name": "hf-token-secret"}, "stringData": {"HF_TOKEN": "hf_x"}});
        secrets.create(&PostParams::default(), &serde_json::from_value(token)?).await?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        dynamo::apply(&graphs, &graph).await?;
        wait_until_operator_settled(&graphs, generation, &name).await?;
        let before = serde_json::to_value(graphs.get(&name).await?)?;
        let pods = deployment_generations(&namespace).await?;

        let output = plugin.run(&["up", &name, change, "--detach"]).await?.expect(2)?;
        ensure!(
            output.err.contains("KD0211") && output.err.contains("kubectl dynamo adopt"),
            "{}",
            output.err
        );
        let output = plugin.run(&["adopt", &name, "--dry-run"]).await?.expect(0)?;
        for fact in facts {
            ensure!(output.out.contains(fact), "{fact} is not in {}", output.out);
        }
        ensure!(!output.out.contains("manager   manager"), "the operator is not a tool: {}", output.out);
        plugin.run(&["adopt", &name]).await?.expect(2)?;
        let untouched = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(
            untouched["metadata"]["annotations"] == before["metadata"]["annotations"],
            "the annotations changed"
        );

        let adopted = plugin.run(&["adopt", &name, "-y"]).await?.expect(0)?;
        let advice =
            adopted.err.lines().find_map(|line| line.trim().strip_prefix("change    kubectl dynamo "));
        let advice: Vec<&str> = advice.ok_or("no advice")?.split_whitespace().collect();
        plugin.run(&[&advice[..], &["--dry-run=client"]].concat()).await?.expect(0)?;
        let after = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(
            after["spec"] == before["spec"],
            "the spec changed:\n{:#}\n{:#}",
            before["spec"],
            after["spec"]
        );
        ensure!(
            after["metadata"]["generation"] == before["metadata"]["generation"],
            "the generation changed"
        );
        ensure!(deployment_generations(&namespace).await? == pods, "a Deployment changed");
        let output = plugin.run(&["adopt", &name, "-y"]).await?.expect(0)?;
        ensure!(output.err.contains("unchanged"), "{}", output.err);

        let output = plugin.run(&["up", &name, "--detach"]).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        // This cluster has no node, so also none with a GPU.
        let ignore_gpu_check = "--ignore-preflight=KD0308";
        plugin.run(&["up", &name, change, ignore_gpu_check, "--detach"]).await?.expect(0)?;
        let changed = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(replicas_of(&changed, worker) == 2, "{:#}", changed["spec"]);
        ensure!(
            spec_without_replicas(&changed, worker) == spec_without_replicas(&after, worker),
            "more than the replicas changed"
        );
        let output = plugin.run(&["up", &name, "--tp=4", "--backend=vllm", "--detach"]).await?.expect(2)?;
        ensure!(output.err.contains("KD0248"), "{}", output.err);
        plugin.run(&["rollout", "undo", &name, "--detach"]).await?.expect(0)?;
        let undone = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(
            spec_without_replicas(&undone, worker) == spec_without_replicas(&after, worker)
                && replicas_of(&undone, worker) == 1,
            "{undone:#}"
        );
        namespace.delete().await?;
    }
    Ok(())
}

/// The author applies the old file again, as kubectl does: the change of the adopted graph is lost, and the next
/// `up` must not report that the graph is as requested.
pub(crate) async fn reapplied_manifest_conflicts_with_adopted_graph(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "reapplied").await?;
    namespace.create_pvc("models").await?;
    let mut graph = dynamo::aggregated_graph("hand", "models", "acme/tiny");
    graph["spec"]["backendFramework"] = "vllm".into();
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    dynamo::apply(&graphs, &graph).await?;
    wait_until_operator_settled(&graphs, V1Beta1, "hand").await?;
    plugin.run(&["adopt", "hand", "-y"]).await?.expect(0)?;
    let change = ["up", "hand", "--replicas=2", "--ignore-preflight=KD0308", "--detach"];
    plugin.run(&change).await?.expect(0)?;
    let output = plugin.run(&change).await?.expect(0)?;
    ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);

    let old = json!({"spec": {"components": graph["spec"]["components"]}});
    let author =
        PatchParams { field_manager: Some("kubectl-client-side-apply".into()), ..Default::default() };
    graphs.patch("hand", &author, &Patch::Merge(old)).await?;
    for args in
        [&change[..], &["up", "hand", "--detach"], &["diff", "hand"], &["diff", "hand", "--replicas=2"]]
    {
        let output = plugin.run(args).await?;
        for fact in ["KD0205", "kubectl-client-side-apply", ".spec.components[name=\"worker\"].replicas"] {
            ensure!(
                output.code.is_some_and(|code| code > 0) && output.err.contains(fact),
                "{args:?}: {fact} is not in {}",
                output.err
            );
        }
    }
    plugin.run(&[&change[..], &["--force-conflicts"]].concat()).await?.expect(0)?;
    let graph = serde_json::to_value(graphs.get("hand").await?)?;
    ensure!(replicas_of(&graph, "worker") == 2, "{:#}", graph["spec"]);
    namespace.delete().await
}

/// Returns the spec without the fields that change with a worker's replicas.
fn spec_without_replicas(graph: &Value, worker: &str) -> Value {
    let mut spec = graph["spec"].clone();
    match spec["components"].as_array_mut() {
        Some(all) => {
            for one in all.iter_mut().filter(|one| one["name"] == worker) {
                one["replicas"] = Value::Null;
            }
        }
        None => {
            spec["services"][worker]["replicas"] = Value::Null;
            // The annotations of v1alpha1, which do not reach pods.
            for (_, service) in spec["services"].as_object_mut().into_iter().flatten() {
                service["annotations"] = Value::Null;
            }
        }
    }
    spec
}

/// Waits until the operator has created a Deployment for each component and no longer writes.
async fn wait_until_operator_settled(
    graphs: &Api<kube::api::DynamicObject>,
    generation: GraphGeneration,
    name: &str,
) -> Outcome {
    let field = if generation == V1Alpha1 { "services" } else { "components" };
    let is_settled = move |graph: Option<&kube::api::DynamicObject>| {
        graph.is_some_and(|graph| {
            let parts = |value: &Value| {
                value.as_object().map(serde_json::Map::len).or_else(|| value.as_array().map(Vec::len))
            };
            parts(&graph.data["status"][field]) == parts(&graph.data["spec"][field])
                && graph.data["status"]["conditions"][0]["reason"] == "some_resources_are_not_ready"
        })
    };
    kube::runtime::wait::await_condition(graphs.clone(), name, is_settled).await?;
    Ok(())
}

pub(crate) async fn adopt_rejects_unsupported_graph(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "strange").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let mut graph = dynamo::aggregated_graph("other", "models", "tiny");
    let main = &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0];
    main["command"] = json!(["python3", "-m", "dynamo.sglang"]);
    dynamo::apply(&graphs, &graph).await?;
    let output = plugin.run(&["adopt", "other", "-y"]).await?.expect(1)?;
    ensure!(output.err.contains("KD0246") && output.err.contains("sglang"), "{}", output.err);
    plugin.run(&["adopt", "absent", "-y"]).await?.expect(1)?;
    namespace.delete().await
}

pub(crate) async fn schema_violations_are_reported_with_suggestions(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "schema").await?;
        plugin.run(&UP).await?.expect(0)?;
        wait_until_settled(&dynamo::graphs(namespace.client(), generation, namespace.name()), generation, 2)
            .await?;
        let version = format!("nvidia.com/{}", generation.version());
        let mut graph = match generation {
            V1Alpha1 => dynamo::aggregated_graph_v1alpha1("mine", "models", "tiny"),
            V1Beta1 => dynamo::aggregated_graph("mine", "models", "tiny"),
        };
        namespace.create_pvc("models").await?;
        let (worker, path) = match generation {
            V1Alpha1 => (&mut graph["spec"]["services"]["Worker"], "spec.services.Worker"),
            V1Beta1 => (&mut graph["spec"]["components"][1], "spec.components[worker]"),
        };
        worker["replica"] = 2.into();
        worker["replicas"] = "1".into();
        let output =
            plugin.run_with_input(&["up", "-f", "-", "--detach"], &graph.to_string()).await?.expect(1)?;
        for fact in [
            "KD0245".to_owned(),
            format!("{path}.replica: unknown field (did you mean \"replicas\"?)"),
            format!("{path}.replicas: expected an integer, found a string"),
            format!("--api-version={version}"),
        ] {
            ensure!(output.err.contains(&fact), "{fact} is not in {}", output.err);
        }
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        ensure!(graphs.get_opt("mine").await?.is_none(), "an object was written");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn conflict_names_the_other_field_manager_in_every_verb(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "verbs").await?;
    plugin.run(&UP).await?.expect(0)?;
    plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let change = json!({
        "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "spec": {"components": [{"name": "worker", "replicas": 3}]},
    });
    graphs.patch("tiny", &PatchParams::apply("autoscaler").force(), &Patch::Apply(change)).await?;
    for args in [&["scale", "tiny", "--replicas=4"][..], &["rollout", "undo", "tiny"], &["diff", "tiny"]] {
        let output = plugin.run(args).await?;
        for fact in
            ["KD0205", "autoscaler", ".spec.components[name=\"worker\"].replicas", "--force-conflicts"]
        {
            ensure!(
                output.code != Some(0) && output.err.contains(fact),
                "{args:?}: {fact} is not in {}",
                output.err
            );
        }
    }
    plugin.run(&["scale", "tiny", "--replicas=4", "--force-conflicts", "--detach"]).await?.expect(0)?;
    let graph = serde_json::to_value(graphs.get("tiny").await?)?;
    ensure!(replicas_of(&graph, "worker") == 4, "{:#}", graph["spec"]);
    namespace.delete().await
}
