//! What a user sees: the plugin brings a model from a hub to an answered chat, through real pods.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::hub::Host;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::plugin::{Plugin, Said};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;

/// The words of `up` that every case needs: what engine, what image, which class has volumes here.
pub(crate) fn up<'a>(shared: &'a Shared, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
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
    words.extend_from_slice(more);
    words
}

pub(crate) async fn up_downloads_the_model_and_ends_with_an_answer(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("up").await?;
    let volume = place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let said = explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    ensure!(said.err.contains("smoke test: done"), "{}", said.err);

    let files = std::fs::read_dir(&shared.model_folder)?.collect::<Result<Vec<_>, _>>()?;
    for file in &files {
        let fetched = volume.join(crate::MODEL).join(file.file_name());
        ensure!(std::fs::read(&fetched)? == std::fs::read(file.path())?, "{} differs", fetched.display());
    }
    let from_storage =
        shared.hub.requests().iter().any(|request| request.host == Host::Cdn && request.status < 300);
    ensure!(from_storage, "no weights came from the storage host: {:?}", shared.hub.requests());
    ensure!(fetch_jobs(&place).await? == 1, "not one fetch job");
    let looks = fetchers_of_pods(&place).await?;
    ensure!(!looks.is_empty(), "no pod has a fetcher");
    // The receipt is enough for them.
    ensure!(
        looks.iter().all(|look| look["event"] == "complete" && look["bytes_fetched"] == 0),
        "a pod fetched again: {looks:?}"
    );
    place.delete().await
}

pub(crate) async fn the_same_up_again_changes_nothing(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("again").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;

    let plane = shared.cluster.control_plane(shared.generation())?;
    let versions = place.versions(shared.generation()).await?;
    let position = plane.audit().position()?;
    let counted = ["--as=counted-again", "--as-group=system:masters"];
    let said = plugin.run(&up(&shared, &counted)).await?.expect(0)?;
    ensure!(said.err.contains("unchanged") && said.err.contains("smoke test: done"), "{}", said.err);
    let asked = plane.audit().requests_for(position, "counted-again")?;
    ensure!(asked.len() <= 25, "{} requests: {asked:?}", asked.len());
    for request in plane.audit().requests_since(position, place.name())? {
        let changes =
            matches!(request.verb.as_str(), "create" | "update" | "patch" | "delete") && !request.dry_run;
        let known = versions.get(&(request.resource.clone(), request.name.clone()));
        let moved = request.resource_version.is_none() || known != request.resource_version.as_ref();
        // The port-forward of the smoke test is a `create` too, and changes no object.
        ensure!(!changes || request.resource == "pods" || !moved, "{request:?} moved from {known:?}");
    }
    ensure!(versions == place.versions(shared.generation()).await?, "a resource version moved");
    place.delete().await
}

pub(crate) async fn killed_at_any_step_the_same_command_goes_on(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("killed").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    for step in ["preflight: done", "objects: done", "model fetch: waiting", "deploy: done", "ready: waiting"]
    {
        let (running, seen) = plugin.run_until(&up(&shared, &["--progress=plain"]), step).await?;
        let mut running = running.ok_or_else(|| format!("it ended before {step:?}:\n{}", seen.join("\n")))?;
        running.kill().await?;
    }
    let said = explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    ensure!(said.err.contains("smoke test: done"), "{}", said.err);
    ensure!(fetch_jobs(&place).await? == 1, "not one fetch job");
    place.delete().await
}

pub(crate) async fn the_init_container_downloads_where_no_job_may(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("once").await?;
    let volume = place.volume("model-cache", "late").await?;
    let plugin = shared.plugin(&place)?;
    let words = up(&shared, &["--storage-class=late", "--access-mode=ReadWriteOnce"]);
    let words: Vec<&str> = words.into_iter().filter(|word| *word != "--storage-class=manual").collect();
    explained(plugin.run(&words).await?.expect(0), &place).await?;
    ensure!(fetch_jobs(&place).await? == 0, "a fetch job ran on a claim that binds late");
    ensure!(volume.join(crate::MODEL).join("model.safetensors").is_file(), "no model on the volume");
    place.delete().await
}

pub(crate) async fn a_disaggregated_graph_with_kv_routing_answers(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("disagg").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let words = up(&shared, &["--mode=disagg", "--router-mode=kv", "--name=pair"]);
    explained(plugin.run(&words).await?.expect(0), &place).await?;
    let frontend = dynamo::frontend(&place.client(), place.name(), "pair-frontend").await?;
    let answer = dynamo::chat(&frontend, crate::MODEL, "hello").await?;
    ensure!(answer["usage"]["completion_tokens"] == 8, "{answer}");
    // From 1.0 on a change of its workers would leave it without answers, so nobody makes it by mistake.
    if shared.generation() == GraphGeneration::V1Beta1 {
        let change = plugin.run(&["up", "pair", "--env=A=b"]).await?.expect(2)?;
        for fact in ["KD0002", "prefill and decode restart", "the last start took", "add -y"] {
            ensure!(change.err.contains(fact), "{fact} is not in {}", change.err);
        }
    }
    place.delete().await
}

pub(crate) async fn the_kv_router_finds_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("routed").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let words =
        up(&shared, &["--router-mode=kv", "--replicas=2", "--name=routed", "--", "--block-size", "16"]);
    explained(plugin.run(&words).await?.expect(0), &place).await?;
    let frontend = dynamo::frontend(&place.client(), place.name(), "routed-frontend").await?;
    let cached =
        |answer: &Value| answer.pointer("/usage/prompt_tokens_details/cached_tokens").and_then(Value::as_u64);
    // Workers tell the router of their blocks a moment later, which a busy machine makes longer. Taking turns would never
    // send the same prompt to the same one of two workers twice in a row.
    let mut answers = Vec::new();
    for beginning in ["one", "two", "three", "four", "five"] {
        let prompt =
            format!("{beginning} beginning of a prompt that fills some blocks of sixteen tokens each");
        let first = dynamo::chat(&frontend, crate::MODEL, &prompt).await?;
        let second = dynamo::chat(&frontend, crate::MODEL, &prompt).await?;
        ensure!(cached(&first) == Some(0), "{first}");
        if cached(&second) >= Some(64) {
            return place.delete().await;
        }
        answers.push(second);
    }
    Err(format!("no prompt was found in a cache: {answers:#?}").into())
}

pub(crate) async fn port_forward_carries_a_streamed_chat_until_down(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("forward").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    explained(plugin.run(&up(&shared, &["--name=tiny"])).await?.expect(0), &place).await?;

    let mut forward = plugin.command(&["port-forward", "tiny"]).spawn()?;
    let url = forwarded(&mut forward).await?;
    ensure!(streamed_words(&url).await? == 8, "not eight words");
    forward.kill().await?;

    let said = plugin.run(&["status", "tiny"]).await?.expect(0)?;
    ensure!(said.out.starts_with("✔ UP"), "{}", said.out);
    let said = plugin.run(&["list"]).await?.expect(0)?;
    ensure!(
        said.out.lines().any(|line| line.starts_with("tiny ") && line.contains(" ready ")),
        "{}",
        said.out
    );
    let said = plugin.run(&["logs", "tiny", "-c", "fetch"]).await?.expect(0)?;
    ensure!(!said.out.is_empty(), "the fetch said nothing");

    let said = plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    ensure!(
        said.out.contains("pvc/model-cache") || said.err.contains("pvc/model-cache"),
        "{}{}",
        said.out,
        said.err
    );
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| graph.is_none()).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(place.client(), place.name());
    ensure!(claims.get_opt("model-cache").await?.is_some(), "the cache went with the graph");
    place.delete().await
}

pub(crate) async fn a_gated_model_needs_its_token(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("gated").await?;
    place.volume("model-cache", "manual").await?;
    let said = up_with_token(&shared, &place, "hf_wrong").await?.expect(4)?;
    ensure!(said.err.contains("KD0410"), "{}", said.err);
    // The Job's template is the same, so it is the failed Job itself that must be tried again.
    let said = up_with_token(&shared, &place, crate::TOKEN).await?.expect(0);
    let said = explained(said, &place).await?;
    ensure!(said.err.contains("tried again"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn a_token_is_in_its_secret_alone(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("token").await?;
    place.volume("model-cache", "manual").await?;
    explained(up_with_token(&shared, &place, crate::TOKEN).await?.expect(0), &place).await?;
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
    let all = ListParams::default();
    for objects in [
        serde_json::to_string(&graphs.list(&all).await?.items)?,
        serde_json::to_string(&jobs.list(&all).await?.items)?,
        serde_json::to_string(&pods.list(&all).await?.items)?,
        place.describe().await?,
    ] {
        ensure!(!objects.contains(crate::TOKEN), "the token is in an object or a log");
    }
    place.delete().await
}

/// `up` of the gated model with this token on standard input, which may stand in nothing that `up` says.
async fn up_with_token(shared: &Shared, place: &CaseNamespace, token: &str) -> Outcome<Said> {
    let mut words = up(shared, &["--hf-token-stdin"]);
    words[1] = crate::GATED_MODEL;
    let said = shared.plugin(place)?.run_with_input(&words, &format!("{token}\n")).await?;
    ensure!(!format!("{}{}", said.out, said.err).contains(token), "the token is in the output");
    Ok(said)
}

/// How many fetch jobs there are.
async fn fetch_jobs(place: &CaseNamespace) -> Outcome<usize> {
    let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
    Ok(jobs.list(&ListParams::default()).await?.items.len())
}

/// The last event of each init container that fetches.
async fn fetchers_of_pods(place: &CaseNamespace) -> Outcome<Vec<Value>> {
    let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
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

/// The result, or its error with what the pods were doing.
pub(crate) async fn explained<T>(result: Outcome<T>, place: &CaseNamespace) -> Outcome<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(format!("{error}\n{}", place.describe().await?).into()),
    }
}

/// The address that a running `port-forward` says it listens on.
pub(crate) async fn forwarded(forward: &mut tokio::process::Child) -> Outcome<String> {
    let out = forward.stdout.take().ok_or("a child without an output")?;
    let err = forward.stderr.take().ok_or("a child without an error stream")?;
    let (mut out, mut err) = (BufReader::new(out).lines(), BufReader::new(err).lines());
    loop {
        let line = tokio::select! {
            line = out.next_line() => line?,
            line = err.next_line() => line?,
        };
        let line = line.ok_or("port-forward ended")?;
        if let Some(place) = line.find("127.0.0.1:") {
            let address: String = line[place..]
                .chars()
                .take_while(|letter| !letter.is_whitespace() && *letter != '/')
                .collect();
            tokio::spawn(async move { while let Ok(Some(_)) = err.next_line().await {} });
            return Ok(format!("http://{address}"));
        }
    }
}

/// How many words a streamed chat of eight tokens brings, each in an event of its own.
pub(crate) async fn streamed_words(url: &str) -> Outcome<usize> {
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
    /// The plugin for the user whose requests are audited, in the case's namespace.
    pub(crate) fn plugin(&self, place: &CaseNamespace) -> Outcome<Plugin> {
        Ok(Plugin::new(self.cluster.control_plane(self.generation())?.kubeconfig(), place.name()))
    }
}
