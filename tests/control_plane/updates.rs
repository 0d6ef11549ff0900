//! What `up` reads from the existing deployment, and graphs from a file.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{UP, wait_until_settled};

/// Returns a value of `up … --plan -o json` and its source.
async fn planned_value(plugin: &Plugin, args: &[&str], field: &str) -> Outcome<(Value, String)> {
    let output = plugin.run(&[args, &["--plan", "-o", "json"]].concat()).await?.expect(0)?;
    let plan: Value = serde_json::from_str(&output.out)?;
    let found = plan["values"].as_array().and_then(|all| all.iter().find(|one| one["field"] == field));
    let found = found.ok_or_else(|| format!("no {field} in {}", output.out))?;
    Ok((found["value"].clone(), found["source"].as_str().unwrap_or_default().into()))
}

pub(crate) async fn update_preserves_earlier_settings(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "change").await?;
        let choices = ["--mode=disagg", "--router-mode=kv", "--label=team=search", "--decode-tp=2"];
        plugin.run(&[&UP[..], &choices, &["--", "--max-model-len", "8192"]].concat()).await?.expect(0)?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        wait_until_settled(&graphs, generation, 3).await?;
        let before = graphs.get("tiny").await?;

        let change = ["up", "tiny", "--decode-replicas=2"];
        ensure!(
            planned_value(&plugin, &change, "decode.replicas").await? == (2.into(), "flag".into()),
            "the flag is not used"
        );
        ensure!(
            planned_value(&plugin, &change, "router.mode").await? == ("kv".into(), "live object".into()),
            "the router's mode is not the live one"
        );
        ensure!(
            graphs.get("tiny").await?.metadata.resource_version == before.metadata.resource_version,
            "--plan wrote"
        );
        plugin.run(&[&change[..], &["--detach"]].concat()).await?.expect(0)?;
        let after = graphs.get("tiny").await?;
        let (mut old_spec, mut new_spec) = (before.data["spec"].clone(), after.data["spec"].clone());
        for spec in [&mut old_spec, &mut new_spec] {
            match spec["components"].as_array_mut() {
                Some(all) => all.iter_mut().for_each(|one| one["replicas"] = Value::Null),
                None => spec["services"]["decode"]["replicas"] = Value::Null,
            }
            // v1alpha1 contains a hash of each service, which changes with its replicas.
            if let Some(annotations) = spec["services"]["decode"]["annotations"].as_object_mut() {
                annotations.remove("kubectl-dynamo.dev/spec-hash");
            }
        }
        ensure!(old_spec == new_spec, "more than the replicas changed:\n{old_spec:#}\n{new_spec:#}");
        ensure!(
            planned_value(&plugin, &["up", "tiny"], "decode.replicas").await?
                == (2.into(), "live object".into()),
            "the next up does not keep the change"
        );
        namespace.delete().await?;
    }
    Ok(())
}

/// The operator hashes variables in their order, so a different order restarts every worker.
pub(crate) async fn order_of_variables_does_not_restart_workers(shared: Arc<Shared>) -> Outcome {
    const HASH: &str = "nvidia.com/current-worker-hash-v2";
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "order").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let unchanged = async |args: &[&str]| -> Outcome {
        let before = graphs.get("tiny").await?.metadata;
        let output = plugin.run(args).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{args:?}: {}", output.err);
        let after = graphs.get("tiny").await?.metadata;
        ensure!(before.generation == after.generation, "{args:?}: the spec changed");
        let hash = |metadata: &kube::core::ObjectMeta| metadata.annotations.as_ref()?.get(HASH).cloned();
        ensure!(hash(&after).is_some() && hash(&before) == hash(&after), "{args:?}: the hash changed");
        plugin.run(&[&["diff"][..], &args[1..args.len() - 1]].concat()).await?.expect(0)?;
        Ok(())
    };
    let up = |variables: &'static [&'static str]| [&UP[..5], variables, &["--detach"]].concat();
    plugin.run(&up(&["--env=ZED=1", "--env=HF_ENDPOINT=http://hub"])).await?.expect(0)?;
    wait_until_settled(&graphs, V1Beta1, 2).await?;
    unchanged(&up(&["--env=ZED=1", "--env=HF_ENDPOINT=http://hub"])).await?;
    unchanged(&up(&["--env=HF_ENDPOINT=http://hub", "--env=ZED=1"])).await?;
    unchanged(&["up", "tiny", "--detach"]).await?;
    plugin.run(&["up", "tiny", "--env=AAA=1", "--detach"]).await?.expect(0)?;
    wait_until_settled(&graphs, V1Beta1, 2).await?;
    unchanged(&["up", "tiny", "--detach"]).await?;
    unchanged(&["up", "tiny", "--env=AAA=1", "--detach"]).await?;
    unchanged(&up(&["--env=ZED=1"])).await?;
    namespace.delete().await
}

/// The webhook refuses other components with a text of its own; the plugin detects it before.
pub(crate) async fn immutable_change_is_refused_before_anything_is_sent(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "immutable").await?;
        plugin.run(&UP).await?.expect(0)?;
        plugin.run(&[&UP[..], &["--name=tiny-2"]].concat()).await?.expect(0)?;
        let audit = shared.cluster.control_plane(generation)?.audit_log();
        let position = audit.position()?;
        let disagg = "--mode=disagg";
        for args in [
            &[&UP[..], &[disagg]].concat()[..],
            &["up", "tiny", disagg, "--plan"],
            &["diff", "tiny", disagg],
            &["check", "tiny", disagg],
        ] {
            let output = plugin.run(args).await?;
            let text = format!("{}{}", output.out, output.err);
            for fact in [
                "KD0249",
                "its components are frontend, worker, and the request needs decode, frontend, prefill",
                &format!("--name tiny-3 -n {}", namespace.name()),
                &format!("kubectl dynamo down tiny -n {}", namespace.name()),
            ] {
                ensure!(
                    output.code.is_some_and(|code| code > 0) && text.contains(fact),
                    "{args:?}: {fact} is not in {text}"
                );
            }
        }
        for request in audit.requests_since(position, namespace.name())? {
            ensure!(!request.is_write(), "{request:?}");
        }
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn config_setting_does_not_change_live_deployment(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "settings").await?;
    plugin.run(&UP).await?.expect(0)?;
    let mut command = plugin.command(&["up", "tiny", "--plan", "-o", "json"]);
    let output = command.env("KUBECTL_DYNAMO_WORKER_REPLICAS", "7").output().await?;
    let plan: Value = serde_json::from_slice(&output.stdout)?;
    let values = plan["values"].as_array().cloned().unwrap_or_default();
    let replicas = values.iter().find(|one| one["field"] == "worker.replicas");
    ensure!(replicas.is_some_and(|one| one["value"] == 1), "{plan:#}");
    let stderr =
        plugin.command(&["up", "tiny", "--detach"]).env("KUBECTL_DYNAMO_WORKER_REPLICAS", "7").output();
    let stderr = String::from_utf8_lossy(&stderr.await?.stderr).into_owned();
    ensure!(stderr.contains("(environment sets 7)"), "the source is not printed: {stderr}");

    // The same for a field and an element of a map that the deployment leaves unset.
    let mut command = plugin.command(&["up", "tiny", "--detach"]);
    command.env("KUBECTL_DYNAMO_PRIORITY_CLASS", "low").env("KUBECTL_DYNAMO_LABELS", "team=a");
    let output = command.output().await?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(stderr.contains("priorityClass stays unset (environment sets low)"), "{stderr}");
    ensure!(stderr.contains("unchanged: nothing was written"), "{stderr}");
    namespace.delete().await
}

pub(crate) async fn another_model_with_the_same_name_is_confirmed(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "same-name").await?;
    plugin.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let before = graphs.get("tiny").await?.metadata.generation;
    let other = [&["up", "other/tiny"], &UP[2..]].concat();
    let output = plugin.run(&other).await?.expect(2)?;
    for fact in ["KD0002", "--yes", "\"tiny\" exists and serves \"acme/tiny\""] {
        ensure!(output.err.contains(fact), "{fact} is not in {}", output.err);
    }
    ensure!(graphs.get("tiny").await?.metadata.generation == before, "it was changed without consent");
    // A change that names the deployment is about this deployment.
    plugin.run(&["up", "tiny", "--set=model=third/tiny", "--detach"]).await?.expect(0)?;
    plugin.run(&[&other[..], &["-y"]].concat()).await?.expect(0)?;
    ensure!(graphs.get("tiny").await?.metadata.generation != before, "it was not changed");
    namespace.delete().await
}

pub(crate) async fn unknown_deployment_name_is_not_treated_as_model(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "bare").await?;
    let output = plugin.run(&["up", "qwen", "--replicas=2"]).await?.expect(2)?;
    ensure!(
        output.err.contains("KD0401") && output.err.contains("up -n bare --model qwen"),
        "{}",
        output.err
    );
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "it wrote");
    namespace.delete().await
}

pub(crate) async fn graph_manifest_is_applied_unchanged(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "file").await?;
    let render = ["render", "acme/tiny", "--backend=mocker", "--storage-class=manual", "--name=mine"];
    let objects = plugin.run(&render).await?.expect(0)?.out;
    let manifest =
        objects.replace("app.kubernetes.io/managed-by: kubectl-dynamo", "app.kubernetes.io/part-of: mine");
    let file = ["up", "-f", "-", "--detach"];
    plugin.run_with_input(&file, &manifest).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let graph = graphs.get("mine").await?;
    let labels = graph.metadata.labels.clone().unwrap_or_default();
    ensure!(labels.get("app.kubernetes.io/part-of").is_some_and(|part| part == "mine"), "{labels:?}");
    for (label, value) in
        [("app.kubernetes.io/managed-by", "kubectl-dynamo"), ("app.kubernetes.io/name", "mine")]
    {
        ensure!(labels.get(label).is_some_and(|found| found == value), "{label}: {labels:?}");
    }
    let output = plugin.run_with_input(&file, &manifest).await?.expect(0)?;
    ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);

    let output = plugin.run_with_input(&["up", "-f", "-", "--replicas=2"], &manifest).await?.expect(2)?;
    ensure!(output.err.contains("KD0007") && output.err.contains("--replicas"), "{}", output.err);
    let older =
        "apiVersion: nvidia.com/v1alpha1\nkind: DynamoGraphDeployment\nmetadata: {name: old}\nspec: {}\n";
    let output = plugin.run_with_input(&file, older).await?.expect(6)?;
    ensure!(output.err.contains("KD0218"), "{}", output.err);
    namespace.delete().await
}

/// Scripts run an unchanged `up` repeatedly. All its requests are counted, including discovery, access
/// reviews, and the operator lookup.
pub(crate) async fn unchanged_up_sends_few_requests(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "few").await?;
        plugin.run(&UP).await?.expect(0)?;
        let audit = shared.cluster.control_plane(generation)?.audit_log();
        let position = audit.position()?;
        let user = "counted";
        let args = [&UP[..], &["--as=counted", "--as-group=system:masters"]].concat();
        let output = plugin.run(&args).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        let requests = audit.requests_for(position, user)?;
        ensure!(requests.iter().any(|request| request.resource == "selfsubjectrulesreviews"), "{requests:?}");
        // A waiting `up` additionally needs three watches of two requests each and the port-forward's
        // requests.
        ensure!(requests.len() <= 14, "{} requests: {requests:?}", requests.len());
        let nodes = requests.iter().find(|request| request.resource == "nodes");
        ensure!(nodes.is_none(), "nodes are listed although no pod starts");
        namespace.delete().await?;
    }
    Ok(())
}
