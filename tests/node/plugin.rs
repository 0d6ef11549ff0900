//! End-to-end: the plugin takes a model from a hub to a chat answer, with real pods.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::hub::HubHost;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::plugin::{Plugin, PluginOutput};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, pod_monitor};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;

/// Arguments of `up` for every case: engine, image, and a storage class with volumes.
pub(crate) fn up_args<'a>(shared: &'a Shared, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "up",
        crate::MODEL,
        "--backend=mocker",
        "--release",
        shared.release(),
        "--storage-class=manual",
        "--timeout=4m",
        "--fetcher-image",
        kubectl_dynamo_tests::images::fetcher::REFERENCE,
        "--env",
        &shared.hub_environment,
    ];
    args.extend_from_slice(more);
    args
}

pub(crate) async fn up_downloads_the_model_and_passes_the_smoke_test(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("up").await?;
    let volume = namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let output = with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    ensure!(output.err.contains("smoke test: done"), "{}", output.err);

    let files = std::fs::read_dir(&shared.model_folder)?.collect::<Result<Vec<_>, _>>()?;
    for file in &files {
        let fetched = volume.join(crate::MODEL).join(file.file_name());
        ensure!(std::fs::read(&fetched)? == std::fs::read(file.path())?, "{} differs", fetched.display());
    }
    let from_storage =
        shared.hub.requests().iter().any(|request| request.host == HubHost::Cdn && request.status < 300);
    ensure!(from_storage, "no weights were fetched from the storage host: {:?}", shared.hub.requests());
    ensure!(fetch_job_count(&namespace).await? == 1, "expected one fetch Job");
    let events = init_container_events(&namespace).await?;
    ensure!(!events.is_empty(), "no pod has a fetch container");
    // The receipt is enough for them.
    ensure!(
        events.iter().all(|event| event["event"] == "complete" && event["bytes_fetched"] == 0),
        "a pod fetched the model again: {events:?}"
    );
    namespace.delete().await
}

pub(crate) async fn second_up_changes_nothing(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("again").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;

    let plane = shared.cluster.control_plane(shared.generation())?;
    let versions = namespace.resource_versions(shared.generation()).await?;
    let position = plane.audit_log().position()?;
    let counted = ["--as=counted-again", "--as-group=system:masters"];
    let output = plugin.run(&up_args(&shared, &counted)).await?.expect(0)?;
    ensure!(output.err.contains("unchanged") && output.err.contains("smoke test: done"), "{}", output.err);
    let requests = plane.audit_log().requests_for(position, "counted-again")?;
    ensure!(requests.len() <= 25, "{} requests: {requests:?}", requests.len());
    for request in plane.audit_log().requests_since(position, namespace.name())? {
        let changes =
            matches!(request.verb.as_str(), "create" | "update" | "patch" | "delete") && !request.dry_run;
        let known = versions.get(&(request.resource.clone(), request.name.clone()));
        let has_changed = request.resource_version.is_none() || known != request.resource_version.as_ref();
        // The port-forward of the smoke test is a `create` too, but it changes no object.
        ensure!(!changes || request.resource == "pods" || !has_changed, "{request:?} changed from {known:?}");
    }
    ensure!(
        versions == namespace.resource_versions(shared.generation()).await?,
        "a resource version changed"
    );
    namespace.delete().await
}

pub(crate) async fn rerun_after_kill_resumes_at_every_step(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("killed").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    for step in ["preflight: done", "objects: done", "model fetch: waiting", "deploy: done", "ready: waiting"]
    {
        let (running, lines) = plugin.run_until(&up_args(&shared, &["--progress=plain"]), step).await?;
        let mut running = running.ok_or_else(|| format!("exited before {step:?}:\n{}", lines.join("\n")))?;
        running.kill().await?;
    }
    let output = with_pod_details(plugin.run(&up_args(&shared, &[])).await?.expect(0), &namespace).await?;
    ensure!(output.err.contains("smoke test: done"), "{}", output.err);
    ensure!(fetch_job_count(&namespace).await? == 1, "expected one fetch Job");
    namespace.delete().await
}

pub(crate) async fn init_container_downloads_for_late_binding_volumes(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("once").await?;
    let volume = namespace.create_volume("model-cache", "late").await?;
    let plugin = shared.plugin(&namespace)?;
    let args = up_args(&shared, &["--storage-class=late", "--access-mode=ReadWriteOnce"]);
    let args: Vec<&str> = args.into_iter().filter(|arg| *arg != "--storage-class=manual").collect();
    with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    ensure!(fetch_job_count(&namespace).await? == 0, "a fetch Job ran on a PVC with late binding");
    ensure!(volume.join(crate::MODEL).join("model.safetensors").is_file(), "no model on the volume");
    namespace.delete().await
}

pub(crate) async fn disaggregated_graph_with_kv_router_answers(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("disagg").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let args = up_args(&shared, &["--mode=disagg", "--router-mode=kv", "--name=pair"]);
    with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    let frontend = dynamo::frontend_url(&namespace.client(), namespace.name(), "pair-frontend").await?;
    let answer = dynamo::chat(&frontend, crate::MODEL, "hello").await?;
    ensure!(answer["usage"]["completion_tokens"] == 8, "{answer}");
    // A change of its workers loses requests, so it needs confirmation.
    if shared.generation() == GraphGeneration::V1Beta1 {
        let change = plugin.run(&["up", "pair", "--env=A=b"]).await?.expect(2)?;
        for fact in ["KD0002", "2 of 199 requests failed", "--yes"] {
            ensure!(change.err.contains(fact), "{fact} is not in {}", change.err);
        }
    }
    namespace.delete().await
}

pub(crate) async fn kv_router_reuses_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("routed").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let args =
        up_args(&shared, &["--router-mode=kv", "--replicas=2", "--name=routed", "--", "--block-size", "16"]);
    with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    if shared.generation() == GraphGeneration::V1Beta1 {
        let output = plugin.run(&["test", "routed"]).await?.expect(0)?;
        for text in
            ["1 frontend lists", "each of 2 registered workers answers", "exact, ", "4 concurrent streams"]
        {
            ensure!(output.out.contains(text), "{text} is not in {}", output.out);
        }
        pod_monitors_must_select_the_pods(&plugin, &namespace).await?;
    }
    let frontend = dynamo::frontend_url(&namespace.client(), namespace.name(), "routed-frontend").await?;
    let cached =
        |answer: &Value| answer.pointer("/usage/prompt_tokens_details/cached_tokens").and_then(Value::as_u64);
    // Workers report their blocks to the router with a delay, which is longer on a busy machine. Round-robin
    // would never send the same prompt to the same one of two workers twice in a row.
    let mut answers = Vec::new();
    for beginning in ["one", "two", "three", "four", "five"] {
        let prompt =
            format!("{beginning} beginning of a prompt that fills some blocks of sixteen tokens each");
        let first = dynamo::chat(&frontend, crate::MODEL, &prompt).await?;
        let second = dynamo::chat(&frontend, crate::MODEL, &prompt).await?;
        ensure!(cached(&first) == Some(0), "{first}");
        if cached(&second) >= Some(64) {
            return namespace.delete().await;
        }
        answers.push(second);
    }
    Err(format!("no cached prompt: {answers:#?}").into())
}

pub(crate) async fn port_forward_carries_a_streamed_chat(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("forward").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    with_pod_details(plugin.run(&up_args(&shared, &["--name=tiny"])).await?.expect(0), &namespace).await?;

    let mut forward = plugin.command(&["port-forward", "tiny"]).spawn()?;
    let url = forwarded_url(&mut forward).await?;
    ensure!(streamed_word_count(&url).await? == 8, "expected eight words");
    forward.kill().await?;

    let output = plugin.run(&["status", "tiny"]).await?.expect(0)?;
    ensure!(output.out.starts_with("✔ UP"), "{}", output.out);
    let output = plugin.run(&["list"]).await?.expect(0)?;
    ensure!(
        output.out.lines().any(|line| line.starts_with("tiny ") && line.contains(" ready ")),
        "{}",
        output.out
    );
    let output = plugin.run(&["logs", "tiny", "-c", "fetch"]).await?.expect(0)?;
    ensure!(!output.out.is_empty(), "the fetch log is empty");

    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    ensure!(
        output.out.contains("pvc/model-cache") || output.err.contains("pvc/model-cache"),
        "{}{}",
        output.out,
        output.err
    );
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| graph.is_none()).await?;
    let pvcs: Api<PersistentVolumeClaim> = Api::namespaced(namespace.client(), namespace.name());
    ensure!(pvcs.get_opt("model-cache").await?.is_some(), "the cache was deleted with the graph");
    namespace.delete().await
}

pub(crate) async fn gated_model_requires_a_token(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("gated").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let output = up_with_token(&shared, &namespace, "hf_wrong").await?.expect(4)?;
    ensure!(output.err.contains("KD0410"), "{}", output.err);
    // The Job's template is the same, so the failed Job itself must be run again.
    let output = up_with_token(&shared, &namespace, crate::TOKEN).await?.expect(0);
    let output = with_pod_details(output, &namespace).await?;
    ensure!(output.err.contains("recreated"), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn token_is_stored_only_in_its_secret(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("token").await?;
    namespace.create_volume("model-cache", "manual").await?;
    with_pod_details(up_with_token(&shared, &namespace, crate::TOKEN).await?.expect(0), &namespace).await?;
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let all = ListParams::default();
    for objects in [
        serde_json::to_string(&graphs.list(&all).await?.items)?,
        serde_json::to_string(&jobs.list(&all).await?.items)?,
        serde_json::to_string(&pods.list(&all).await?.items)?,
        namespace.describe().await?,
    ] {
        ensure!(!objects.contains(crate::TOKEN), "the token is in an object or a log");
    }
    namespace.delete().await
}

/// Runs `up` for the gated model with this token on stdin. The token must not appear in the output.
async fn up_with_token(shared: &Shared, namespace: &CaseNamespace, token: &str) -> Outcome<PluginOutput> {
    let mut args = up_args(shared, &["--hf-token-stdin"]);
    args[1] = crate::GATED_MODEL;
    let output = shared.plugin(namespace)?.run_with_input(&args, &format!("{token}\n")).await?;
    ensure!(!format!("{}{}", output.out, output.err).contains(token), "the token is in the output");
    Ok(output)
}

/// Returns the number of fetch Jobs.
async fn fetch_job_count(namespace: &CaseNamespace) -> Outcome<usize> {
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    Ok(jobs.list(&ListParams::default()).await?.items.len())
}

/// Returns the last event of each init container that fetches.
async fn init_container_events(namespace: &CaseNamespace) -> Outcome<Vec<Value>> {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let parameters = LogParams { container: Some("model-fetch".into()), ..LogParams::default() };
    let mut events = Vec::new();
    for pod in pods.list(&ListParams::default()).await?.items {
        let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        if containers.into_iter().any(|container| container.name == "model-fetch") {
            let log = pods.logs(&pod.name_any(), &parameters).await?;
            events.push(serde_json::from_str(log.lines().last().unwrap_or_default())?);
        }
    }
    Ok(events)
}

/// Returns the result; adds the state of the pods to an error.
pub(crate) async fn with_pod_details<T>(result: Outcome<T>, namespace: &CaseNamespace) -> Outcome<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{error}\n{}", namespace.describe().await?).into()),
    }
}

/// Returns the address on which a running `port-forward` listens.
pub(crate) async fn forwarded_url(forward: &mut tokio::process::Child) -> Outcome<String> {
    let out = forward.stdout.take().ok_or("child does not have stdout")?;
    let err = forward.stderr.take().ok_or("child does not have stderr")?;
    let (mut out, mut err) = (BufReader::new(out).lines(), BufReader::new(err).lines());
    loop {
        let line = tokio::select! {
            line = out.next_line() => line?,
            line = err.next_line() => line?,
        };
        let line = line.ok_or("port-forward exited")?;
        if let Some(position) = line.find("127.0.0.1:") {
            let address: String = line[position..]
                .chars()
                .take_while(|letter| !letter.is_whitespace() && *letter != '/')
                .collect();
            tokio::spawn(async move { while let Ok(Some(_)) = err.next_line().await {} });
            return Ok(format!("http://{address}"));
        }
    }
}

/// Returns the number of words in a streamed chat of eight tokens, one per event.
pub(crate) async fn streamed_word_count(url: &str) -> Outcome<usize> {
    let body = serde_json::json!({
        "model": crate::MODEL,
        "stream": true,
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "hello"}],
    });
    let answer = reqwest::Client::new().post(format!("{url}/v1/chat/completions")).json(&body).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let mut text = String::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
    }
    ensure!(text.trim_end().ends_with("data: [DONE]"), "{text}");
    let events = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let events: Vec<Value> = events.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let words = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    Ok(words.flat_map(str::split_whitespace).count())
}

impl Shared {
    /// Returns the plugin for the audited user in the case's namespace.
    pub(crate) fn plugin(&self, namespace: &CaseNamespace) -> Outcome<Plugin> {
        Ok(Plugin::new(self.cluster.control_plane(self.generation())?.audited_kubeconfig(), namespace.name()))
    }
}

/// Applies a PodMonitor for each role, and makes the label of one of them stale.
async fn pod_monitors_must_select_the_pods(plugin: &Plugin, namespace: &CaseNamespace) -> Outcome {
    let test = ["test", "routed", "--only", "metrics"];
    pod_monitor::install(&namespace.client()).await?;
    let output = plugin.run(&test).await?.expect(0)?;
    ensure!(output.out.contains("no PodMonitor is for Dynamo"), "{}", output.out);
    for (role, port) in [("frontend", "http"), ("worker", "system")] {
        pod_monitor::apply(namespace, role, role, port).await?;
    }
    let output = plugin.run(&test).await?.expect(0)?;
    let passed = "3 metrics ports answer (frontend ";
    let selected = output.out.contains("selected by PodMonitors ");
    ensure!(output.out.contains(passed) && selected, "{}", output.out);
    pod_monitor::apply(namespace, "worker", "backend", "system").await?;
    let output = plugin.run(&test).await?.expect(9)?;
    for text in ["KD0827", "label nvidia.com/dynamo-component-type is \"worker\", expected \"backend\""] {
        ensure!(output.out.contains(text), "{text} is not in {}", output.out);
    }
    pod_monitor::apply(namespace, "worker", "worker", "metrics").await?;
    let output = plugin.run(&test).await?.expect(9)?;
    ensure!(output.out.contains("it scrapes port metrics, and the pod has "), "{}", output.out);
    Ok(())
}
