//! Deployments that somebody else wrote, taken over without changing what runs; and objects that do not fit.

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

/// A graph as the starter kit writes it: workers behind a shell, with its own names.
fn of_the_kit() -> Value {
    let worker = |role: Option<&str>, replicas: u32, line: &str| {
        let mut service = json!({
            "componentType": "worker", "replicas": replicas, "envFromSecret": "hf-token-secret",
            "resources": {"limits": {"gpu": "2"}}, "sharedMemory": {"size": "20Gi"},
            "volumeMounts": [{"name": "dynamo-model-cache", "mountPoint": "/opt/models"}],
            "extraPodSpec": {
                "nodeSelector": {"pool": "gpu"},
                "mainContainer": {
                    "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1",
                    "command": ["/bin/sh", "-c"], "args": [line],
                },
            },
        });
        if let Some(role) = role {
            service["subComponentType"] = role.into();
        }
        service
    };
    let line = |tp: u32, more: &str| {
        format!(
            "python3 -m dynamo.vllm --model /opt/models/Qwen/Qwen3-0.6B --served-model-name Qwen/Qwen3-0.6B \
             --tensor-parallel-size {tp} {more} --gpu-memory-utilization 0.90 --block-size 128"
        )
    };
    let prefill = line(2, "--is-prefill-worker --connector nixl");
    let decode = line(2, "--is-decode-worker --connector nixl");
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

/// The generations of the graph's Deployments: what would start pods anew moves one.
async fn workloads(place: &CaseNamespace) -> Outcome<Vec<(Option<String>, Option<i64>)>> {
    let deployments: Api<Deployment> = Api::namespaced(place.client(), place.name());
    let all = deployments.list(&ListParams::default()).await?.items.into_iter();
    Ok(all.map(|one| (one.metadata.name, one.metadata.generation)).collect())
}

fn replicas(graph: &Value, name: &str) -> Value {
    let spec = &graph["spec"];
    let listed = spec["components"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    listed.unwrap_or(&spec["services"][name])["replicas"].clone()
}

pub(crate) async fn a_hand_made_graph_is_taken_over_and_no_pod_moves(shared: Arc<Shared>) -> Outcome {
    let mut hand_made = dynamo::aggregated("hand", "models", "acme/tiny");
    hand_made["spec"]["backendFramework"] = "vllm".into();
    let cases: [(GraphGeneration, Value, &str, &[&str], &str); 2] = [
        (
            V1Beta1,
            hand_made,
            "worker",
            &["acme/tiny", "mocker", "pvc/models", "held by   author"],
            "--replicas=2",
        ),
        (
            V1Alpha1,
            of_the_kit(),
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
        let (place, plugin) = shared.user(generation, "adopt").await?;
        let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let claim = if generation == V1Alpha1 { "dynamo-model-cache" } else { "models" };
        place.claim(claim).await?;
        let secrets: Api<Secret> = Api::namespaced(place.client(), place.name());
        let token = json!({"metadata": {"name": "hf-token-secret"}, "stringData": {"HF_TOKEN": "hf_x"}});
        secrets.create(&PostParams::default(), &serde_json::from_value(token)?).await?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        dynamo::apply(&graphs, &graph).await?;
        settled(&graphs, generation, &name).await?;
        let before = serde_json::to_value(graphs.get(&name).await?)?;
        let pods = workloads(&place).await?;

        let said = plugin.run(&["up", &name, change, "--detach"]).await?.expect(2)?;
        ensure!(said.err.contains("KD0211") && said.err.contains("kubectl dynamo adopt"), "{}", said.err);
        let said = plugin.run(&["adopt", &name, "--dry-run"]).await?.expect(0)?;
        for fact in facts {
            ensure!(said.out.contains(fact), "{fact} is not in {}", said.out);
        }
        plugin.run(&["adopt", &name]).await?.expect(2)?;
        let untouched = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(untouched["metadata"]["annotations"] == before["metadata"]["annotations"], "it was written");

        plugin.run(&["adopt", &name, "-y"]).await?.expect(0)?;
        let after = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(
            after["spec"] == before["spec"],
            "the spec changed:\n{:#}\n{:#}",
            before["spec"],
            after["spec"]
        );
        ensure!(after["metadata"]["generation"] == before["metadata"]["generation"], "the generation moved");
        ensure!(workloads(&place).await? == pods, "a Deployment changed");
        let said = plugin.run(&["adopt", &name, "-y"]).await?.expect(0)?;
        ensure!(said.err.contains("unchanged"), "{}", said.err);

        let said = plugin.run(&["up", &name, "--detach"]).await?.expect(0)?;
        ensure!(said.err.contains("unchanged: nothing was written"), "{}", said.err);
        // There is no node here at all, so also none with a GPU.
        let anyway = "--ignore-preflight=KD0308";
        plugin.run(&["up", &name, change, anyway, "--detach"]).await?.expect(0)?;
        let changed = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(replicas(&changed, worker) == 2, "{:#}", changed["spec"]);
        ensure!(without(&changed, worker) == without(&after, worker), "more than the replicas changed");
        let said = plugin.run(&["up", &name, "--tp=4", "--backend=vllm", "--detach"]).await?.expect(2)?;
        ensure!(said.err.contains("KD0248"), "{}", said.err);
        plugin.run(&["rollout", "undo", &name, "--detach"]).await?.expect(0)?;
        let back = serde_json::to_value(graphs.get(&name).await?)?;
        ensure!(
            without(&back, worker) == without(&after, worker) && replicas(&back, worker) == 1,
            "{back:#}"
        );
        place.delete().await?;
    }
    Ok(())
}

/// The spec without what a change of a worker's replicas moves.
fn without(graph: &Value, worker: &str) -> Value {
    let mut spec = graph["spec"].clone();
    match spec["components"].as_array_mut() {
        Some(all) => {
            for one in all.iter_mut().filter(|one| one["name"] == worker) {
                one["replicas"] = Value::Null;
            }
        }
        None => {
            spec["services"][worker]["replicas"] = Value::Null;
            // The marks of the older shape, which reach no pod.
            for (_, service) in spec["services"].as_object_mut().into_iter().flatten() {
                service["annotations"] = Value::Null;
            }
        }
    }
    spec
}

/// Waits until the operator has made a Deployment of each component and writes no more.
async fn settled(graphs: &Api<kube::api::DynamicObject>, generation: GraphGeneration, name: &str) -> Outcome {
    let field = if generation == V1Alpha1 { "services" } else { "components" };
    let counted = move |graph: Option<&kube::api::DynamicObject>| {
        graph.is_some_and(|graph| {
            let parts = |value: &Value| {
                value.as_object().map(serde_json::Map::len).or_else(|| value.as_array().map(Vec::len))
            };
            parts(&graph.data["status"][field]) == parts(&graph.data["spec"][field])
                && graph.data["status"]["conditions"][0]["reason"] == "some_resources_are_not_ready"
        })
    };
    kube::runtime::wait::await_condition(graphs.clone(), name, counted).await?;
    Ok(())
}

pub(crate) async fn a_strange_graph_is_left_alone(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "strange").await?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let mut graph = dynamo::aggregated("other", "models", "tiny");
    let main = &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0];
    main["command"] = json!(["python3", "-m", "dynamo.sglang"]);
    dynamo::apply(&graphs, &graph).await?;
    let said = plugin.run(&["adopt", "other", "-y"]).await?.expect(1)?;
    ensure!(said.err.contains("KD0246") && said.err.contains("sglang"), "{}", said.err);
    plugin.run(&["adopt", "absent", "-y"]).await?.expect(1)?;
    place.delete().await
}

pub(crate) async fn what_does_not_fit_the_schema_is_named_with_a_suggestion(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "schema").await?;
        plugin.run(&UP).await?.expect(0)?;
        wait_until_settled(&dynamo::graphs(place.client(), generation, place.name()), generation, 2).await?;
        let version = format!("nvidia.com/{}", generation.version());
        let mut graph = match generation {
            V1Alpha1 => dynamo::aggregated_v1alpha1("mine", "models", "tiny"),
            V1Beta1 => dynamo::aggregated("mine", "models", "tiny"),
        };
        place.claim("models").await?;
        let (worker, path) = match generation {
            V1Alpha1 => (&mut graph["spec"]["services"]["Worker"], "spec.services.Worker"),
            V1Beta1 => (&mut graph["spec"]["components"][1], "spec.components[worker]"),
        };
        worker["replica"] = 2.into();
        worker["replicas"] = "1".into();
        let said =
            plugin.run_with_input(&["up", "-f", "-", "--detach"], &graph.to_string()).await?.expect(1)?;
        for fact in [
            "KD0245".to_owned(),
            format!("{path}.replica is no field there is (did you mean `replicas`?)"),
            format!("{path}.replicas is a string and not a whole number"),
            format!("--api-version={version}"),
        ] {
            ensure!(said.err.contains(&fact), "{fact} is not in {}", said.err);
        }
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        ensure!(graphs.get_opt("mine").await?.is_none(), "it was written");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn conflicts_name_the_other_manager_in_every_verb(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "verbs").await?;
    plugin.run(&UP).await?.expect(0)?;
    plugin.run(&["scale", "tiny", "--replicas=2", "--detach"]).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let change = json!({
        "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "spec": {"components": [{"name": "worker", "replicas": 3}]},
    });
    graphs.patch("tiny", &PatchParams::apply("autoscaler").force(), &Patch::Apply(change)).await?;
    for words in [&["scale", "tiny", "--replicas=4"][..], &["rollout", "undo", "tiny"], &["diff", "tiny"]] {
        let said = plugin.run(words).await?;
        for fact in
            ["KD0205", "autoscaler", ".spec.components[name=\"worker\"].replicas", "--force-conflicts"]
        {
            ensure!(
                said.code != Some(0) && said.err.contains(fact),
                "{words:?}: {fact} is not in {}",
                said.err
            );
        }
    }
    plugin.run(&["scale", "tiny", "--replicas=4", "--force-conflicts", "--detach"]).await?.expect(0)?;
    let graph = serde_json::to_value(graphs.get("tiny").await?)?;
    ensure!(replicas(&graph, "worker") == 4, "{:#}", graph["spec"]);
    place.delete().await
}
