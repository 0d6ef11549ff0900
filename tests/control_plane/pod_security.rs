//! Namespaces that enforce a Pod Security Standard: which of the rendered pods a real API server admits there.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use kubectl_dynamo_core::intent::Placement;
use kubectl_dynamo_core::resources::{
    BenchJob, BenchJobMeasurement, FETCH_CONTAINER, ModelJobAction, PvcNodes, Resource, model_job,
};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// The flags of `up` for a disk tier in a folder of the node.
const DISK_ON_NODE: [&str; 3] =
    ["--backend=vllm", "--kv-offload=cpu=1Gi,disk=2Gi", "--kv-offload-disk-volume=hostPath=/mnt/nvme"];

/// The flags of `up` for a network with its own certificate authority and proxy.
const NETWORK_FLAGS: [&str; 2] =
    ["--ca-bundle=corporate-ca", "--fetcher-env=HTTPS_PROXY=http://proxy.test:3128"];

pub(crate) async fn jobs_are_admitted_in_a_restricted_namespace(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "restricted").await?;
    namespace.enforce_pod_security("restricted").await?;
    let bare = json!({ "containers": [{ "name": "main", "image": "registry.test/x:1" }] });
    let denial = admission_denial(&namespace, &bare).await?.ok_or("the namespace is not restricted")?;
    ensure!(denial.contains("violates PodSecurity \"restricted"), "{denial}");
    for flags in [&[][..], &NETWORK_FLAGS] {
        let fetch = rendered(&plugin, flags).await?;
        let fetch = fetch.iter().find(|one| one["kind"] == "Job").ok_or("no fetch Job")?;
        ensure_admitted(&namespace, fetch).await?;
    }
    let intent = kubectl_dynamo_tests::intents::default_intent();
    for action in [ModelJobAction::Check, ModelJobAction::Verify, ModelJobAction::Remove] {
        let job = model_job(&intent, action, namespace.name()).ok_or("the model is not on a PVC")?;
        ensure_admitted(&namespace, &job.object).await?;
    }
    ensure_admitted(&namespace, &bench_job(namespace.name()).object).await?;

    // The real Job controller creates a pod of the fetch Job.
    plugin.run(&[&UP[..], &NETWORK_FLAGS].concat()).await?.expect(0)?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let is_created = async {
        while pods.list(&Default::default()).await?.items.iter().all(|pod| !is_fetch_pod(pod)) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), is_created).await??;
    namespace.delete().await
}

/// The operator creates the pods of a deployment. It does not change the security context of their containers.
pub(crate) async fn deployment_is_admitted_in_a_restricted_namespace_if_it_asks_for_it(
    shared: Arc<Shared>,
) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "restricted-graph").await?;
    namespace.enforce_pod_security("restricted").await?;
    for (flags, is_admitted) in [
        (&NETWORK_FLAGS[..], false),
        (&["--pod-security=baseline"], false),
        (&["--pod-security=restricted"], true),
        (
            &[
                "--pod-security=restricted",
                "--backend=vllm",
                "--mode=disagg",
                "--kv-offload=cpu=1Gi,disk=2Gi",
            ],
            true,
        ),
    ] {
        let pods = component_pods(&plugin, flags).await?;
        ensure!(pods.len() > 1, "{flags:?}: {pods:?}");
        for (component, pod) in pods {
            let denial = admission_denial(&namespace, &pod).await?;
            ensure!(denial.is_none() == is_admitted, "{flags:?} {component}: {denial:?}");
            let names_main = |denial: &String| denial.contains("container \"main\" must set securityContext");
            ensure!(denial.as_ref().is_none_or(names_main), "{denial:?}");
        }
    }
    // KD0311 recognizes this text.
    let volume = "restricted volume types (volume \"kv-offload\" uses restricted volume type \"hostPath\")";
    for (component, pod) in component_pods(&plugin, &DISK_ON_NODE).await? {
        let denial = admission_denial(&namespace, &pod).await?.ok_or("the pod was admitted")?;
        ensure!(denial.contains(volume) == (component == "worker"), "{component}: {denial}");
    }
    namespace.delete().await
}

/// The fields of a standard disappear with it, in both versions of the graph.
pub(crate) async fn standard_of_a_live_deployment_can_be_changed(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "pod-security-level").await?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        plugin.run(&UP).await?.expect(0)?;
        wait_until_settled(&graphs, generation, 2).await?;
        let before = graphs.get("tiny").await?.data;
        // The init containers always have some of the fields.
        let fetches = before["spec"].to_string().matches("initContainers").count();
        for (level, counts) in [("restricted", [fetches + 2, fetches + 2]), ("baseline", [fetches, 0])] {
            let args = ["up", "tiny", "--detach", "--pod-security", level];
            plugin.run(&args).await?.expect(0)?;
            let spec = graphs.get("tiny").await?.data["spec"].to_string();
            let found = ["\"runAsNonRoot\"", "\"RuntimeDefault\""].map(|field| spec.matches(field).count());
            ensure!(found == counts, "{level}: {found:?} {spec}");
            let again = plugin.run(&args).await?.expect(0)?;
            ensure!(again.err.contains("unchanged"), "{}", again.err);
        }
        let after = graphs.get("tiny").await?.data;
        ensure!(after["spec"] == before["spec"], "{:#}\n{:#}", before["spec"], after["spec"]);
        namespace.delete().await?;
    }
    Ok(())
}

/// A `hostPath` volume is the only field of a rendered pod that `baseline` denies.
pub(crate) async fn only_a_disk_tier_on_the_node_is_denied_in_a_baseline_namespace(
    shared: Arc<Shared>,
) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "baseline").await?;
    namespace.enforce_pod_security("baseline").await?;
    let disk_tier = ["--backend=vllm", "--kv-offload=cpu=1Gi,disk=2Gi"];
    for (flags, denied) in [
        (&NETWORK_FLAGS[..], &[][..]),
        (&["--backend=vllm", "--mode=disagg"], &[]),
        (&disk_tier[..], &[]),
        (&DISK_ON_NODE, &["worker"]),
    ] {
        let objects = rendered(&plugin, flags).await?;
        let graph = objects.last().ok_or("no graph")?;
        let mut denials = Vec::new();
        for component in graph["spec"]["components"].as_array().ok_or("no components")? {
            if let Some(denial) = admission_denial(&namespace, &component["podTemplate"]["spec"]).await? {
                ensure!(
                    denial.contains("violates PodSecurity \"baseline:latest\": hostPath volumes"),
                    "{denial}"
                );
                denials.push(component["name"].as_str().unwrap_or_default());
            }
        }
        ensure!(denials == denied, "{flags:?}: {denials:?}");
    }
    namespace.delete().await
}

/// Returns the objects that `up` applies, with these flags. They can replace the backend.
async fn rendered(plugin: &Plugin, flags: &[&str]) -> Outcome<Vec<Value>> {
    let is_backend = |arg: &str| arg.starts_with("--backend=");
    let mut args: Vec<&str> = UP.into_iter().filter(|arg| *arg != "--detach").skip(1).collect();
    args.retain(|arg| !is_backend(arg) || !flags.iter().any(|flag| is_backend(flag)));
    let output = plugin.run(&[&["render"][..], &args, flags, &["-o=json"]].concat()).await?.expect(0)?;
    let list: Value = serde_json::from_str(&output.out)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Returns the name and the pod of each component of the graph that `up` applies.
async fn component_pods(plugin: &Plugin, flags: &[&str]) -> Outcome<Vec<(String, Value)>> {
    let objects = rendered(plugin, flags).await?;
    let components = objects.last().and_then(|graph| graph["spec"]["components"].as_array());
    let components = components.ok_or("the last object is not a graph")?.iter();
    let pod = |component: &Value| {
        (component["name"].as_str().unwrap_or_default().to_owned(), component["podTemplate"]["spec"].clone())
    };
    Ok(components.map(pod).collect())
}

fn bench_job(namespace: &str) -> Resource {
    let measurements =
        vec![BenchJobMeasurement { folder: "/results/a".into(), arguments: vec!["profile".into()] }];
    BenchJob {
        run: "tiny-1",
        namespace,
        deployment: "tiny",
        image: "registry.test/aiperf:1".into(),
        placement: &Placement::default(),
        model_pvc: "model-cache",
        model_pvc_nodes: PvcNodes::Any,
        tokenizer: "/models/acme/tiny",
        results_pvc: Some("results"),
        has_trace: true,
        workers: 1,
        millicpu: None,
        deadline_seconds: 60,
        measurements,
    }
    .render()
}

async fn ensure_admitted(namespace: &CaseNamespace, job: &Value) -> Outcome {
    let denial = admission_denial(namespace, &job["spec"]["template"]["spec"]).await?;
    ensure!(denial.is_none(), "{}: {denial:?}", job["metadata"]["name"]);
    Ok(())
}

/// Sends a pod as a server-side dry run, and returns why Pod Security denies it.
async fn admission_denial(namespace: &CaseNamespace, spec: &Value) -> Outcome<Option<String>> {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let pod = json!({ "metadata": { "name": "dry-run" }, "spec": spec });
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match pods.create(&parameters, &serde_json::from_value(pod)?).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

fn is_fetch_pod(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.into_iter().any(|container| container.name == FETCH_CONTAINER)
}
