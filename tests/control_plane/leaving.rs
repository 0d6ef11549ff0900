//! Leaving `up` by Ctrl-C, and what stands in its way before anything is applied.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::relay::Relay;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use rustix::process::Signal;
use serde_json::json;

use crate::Shared;
use crate::access::{address, through};
use crate::cache::PULL;
use crate::faults::{all_ready, waiting};
use crate::plugin::UP;

pub(crate) async fn whoever_leaves_finds_what_is_there_and_how_to_go_on(shared: Arc<Shared>) -> Outcome {
    for (generation, signal) in
        [(V1Alpha1, Signal::INT), (V1Beta1, Signal::INT), (V1Beta1, Signal::HUP), (V1Beta1, Signal::TERM)]
    {
        let (place, plugin) = shared.user(generation, &format!("leaving-{}", signal.as_raw())).await?;
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        let said = left(&plugin, "model fetch: waiting", signal).await?;
        ensure!(said.contains("tiny is not created yet"), "{said}");
        ensure!(graphs.get_opt("tiny").await?.is_none(), "the graph was created before its model is there");
        let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the download did not stay");
        let status = plugin.run(&["status", "tiny"]).await?.expect(3)?;
        ensure!(status.out.contains("model fetch job/fetch-tiny-main"), "{}", status.out);

        plugin.run(&UP).await?.expect(0)?;
        let said = left(&plugin, "ready: waiting", signal).await?;
        ensure!(said.contains("tiny goes on coming up"), "{said}");
        ensure!(said.contains(&format!("kubectl dynamo status tiny -n {}", place.name())), "{said}");
        ensure!(graphs.get_opt("tiny").await?.is_some(), "the graph went with the watching");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn what_was_not_applied_is_not_said_to_go_on(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "leaving-early").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let again = "this continues it: kubectl dynamo --kubeconfig";
    // The time is over while the model is fetched.
    let early = Plugin::new(plane.kubeconfig(), place.name());
    let short: Vec<&str> = waiting()
        .iter()
        .map(|word| if word.starts_with("--timeout") { "--timeout=4s" } else { *word })
        .collect();
    let said = early.run(&short).await?.expect(3)?;
    ensure!(said.err.contains("KD0207") && said.err.contains(again), "{}", said.err);
    ensure!(!said.err.contains("goes on coming up"), "{}", said.err);
    // Somebody leaves before a change of what is there was sent.
    early.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let before = graphs.get("tiny").await?.metadata.generation;
    let relay = Relay::slow(address(plane)?, Duration::from_millis(400)).await?;
    let slow = Plugin::new(through(folder.path(), plane, &relay)?, place.name());
    let change = ["up", "tiny", "--env=A=b", "--progress=plain"];
    let mut up = slow.start(&change)?;
    up.until("preflight: waiting").await?;
    up.send(Signal::INT)?;
    let said = up.end().await?.expect(130)?.err;
    ensure!(said.contains(again) && !said.contains("goes on coming up"), "{said}");
    ensure!(graphs.get("tiny").await?.metadata.generation == before, "the change was made");
    place.delete().await
}

pub(crate) async fn whoever_leaves_a_download_or_a_log_may_use_any_signal(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "signals").await?;
    plugin.run(&UP).await?.expect(0)?;
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        let mut pull = plugin.start(&[&PULL[..], &["--progress=plain"]].concat())?;
        pull.until("model fetch: waiting").await?;
        pull.send(signal)?;
        let said = pull.end().await?.expect(130)?;
        ensure!(said.err.contains("the download of acme/tiny goes on"), "{}", said.err);
        // Its requests tell that it has begun to wait.
        let mut logs = plugin.start(&["logs", "tiny", "-f", "-v", "8"])?;
        logs.until("watch=true").await?;
        logs.send(signal)?;
        logs.end().await?.expect(130)?;
    }

    place.delete().await
}

/// What `up` says from its start to its end, when a signal meets it at a line with `text`.
async fn left(plugin: &Plugin, text: &str, signal: Signal) -> Outcome<String> {
    let mut up = plugin.start(&waiting())?;
    up.until(text).await?;
    up.send(signal)?;
    Ok(up.end().await?.expect(130)?.err)
}

/// At every line that `up` says, and with no last word: the same command goes on, and nothing is made twice.
pub(crate) async fn killed_at_any_line_the_same_command_goes_on(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "killed").await?;
        let puppet = Puppet::of(&place);
        for line in [
            "preflight: waiting",
            "preflight: done",
            "objects: waiting",
            "objects: done",
            "model fetch: waiting",
        ] {
            let mut up = plugin.start(&waiting())?;
            up.until(line).await?;
            up.send(Signal::KILL)?;
            up.end().await?;
        }
        puppet.finish_fetch().await?;
        for line in ["model fetch: done", "deploy: waiting", "deploy: done", "ready: waiting"] {
            let mut up = plugin.start(&waiting())?;
            // Once the graph is there, the fetch is not waited for.
            if up.until(line).await.is_ok() {
                up.send(Signal::KILL)?;
            }
            up.end().await?;
        }
        let up = plugin.start(&waiting())?;
        all_ready(&puppet).await?;
        up.end().await?.expect(0)?;
        let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "not one fetch");

        // As if it was killed after a graph was applied and before that was kept: the next change keeps both.
        let revisions: Api<ControllerRevision> = Api::namespaced(place.client(), place.name());
        revisions.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        plugin.run(&[&UP[..], &["--replicas=2"]].concat()).await?.expect(0)?;
        let kept = revisions.list(&ListParams::default()).await?.items.len();
        ensure!(kept == 2, "{kept} revisions are kept");
        place.delete().await?;
    }
    Ok(())
}

pub(crate) async fn what_is_missing_is_named_before_anything_is_applied(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "missing").await?;
    let secrets: Api<Secret> = Api::namespaced(place.client(), place.name());
    let empty =
        serde_json::from_value(json!({ "metadata": { "name": "empty" }, "stringData": { "OTHER": "x" } }))?;
    secrets.create(&PostParams::default(), &empty).await?;
    for (more, code, facts) in [
        (&["--hf-token-secret=absent"][..], "KD0412", "secret absent does not exist"),
        (&["--hf-token-secret=empty"], "KD0412", "secret empty in namespace missing has no key HF_TOKEN"),
        (&["--cache=absent"], "KD0411", "claim absent does not exist"),
    ] {
        // `--storage-class` belongs to a claim that is made.
        let words: Vec<&str> =
            UP.iter().chain(more).copied().filter(|word| *word != "--storage-class=manual").collect();
        let said = plugin.run(&words).await?.expect(7)?;
        ensure!(said.err.contains(code) && said.err.contains(facts), "{more:?}: {}", said.err);
    }
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was applied");
    place.delete().await
}

pub(crate) async fn a_token_replaces_the_one_before_and_only_when_all_else_is_accepted(
    shared: Arc<Shared>,
) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "token").await?;
    let secrets: Api<Secret> = Api::namespaced(place.client(), place.name());
    let long = format!("--name={}", "n".repeat(60));
    let words = [&UP[..], &["--hf-token-stdin", &long]].concat();
    plugin.run_with_input(&words, "hf_refused\n").await?.expect(2)?;
    ensure!(secrets.get_opt("hf-token-secret").await?.is_none(), "the token was kept of a refused up");

    let foreign = serde_json::from_value(json!({
        "metadata": { "name": "hf-token-secret", "labels": { "app.kubernetes.io/managed-by": "Helm" } },
        "stringData": { "HF_TOKEN": "hf_old", "OTHER": "kept" },
    }))?;
    secrets.create(&PostParams::default(), &foreign).await?;
    let words = [&UP[..], &["--hf-token-stdin"]].concat();
    plugin.run_with_input(&words, "hf_new\n").await?.expect(0)?;
    let secret = secrets.get("hf-token-secret").await?;
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
    ensure!(value("HF_TOKEN").as_deref() == Some("hf_new"), "the token was not replaced");
    ensure!(value("OTHER").as_deref() == Some("kept"), "another key went");
    let labels = secret.metadata.labels.unwrap_or_default();
    ensure!(labels.get("app.kubernetes.io/managed-by").map(String::as_str) == Some("Helm"), "{labels:?}");
    place.delete().await
}

pub(crate) async fn a_port_in_use_is_named(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "port").await?;
    plugin.run(&UP).await?.expect(0)?;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = taken.local_addr()?.port();
    let said = plugin.run(&["port-forward", "tiny", &format!("{port}:8000")]).await?.expect(1)?;
    ensure!(said.err.contains("KD0803") && said.err.contains(&port.to_string()), "{}", said.err);
    place.delete().await
}

pub(crate) async fn kubectls_own_flags_mean_what_they_mean_there(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "flags").await?;
    plugin.run(&["list", "--request-timeout=30s"]).await?.expect(0)?;
    plugin.run(&["list", "--insecure-skip-tls-verify"]).await?.expect(0)?;
    plugin.run(&["list", "--tls-server-name=kubernetes.default.svc"]).await?.expect(0)?;
    plugin.run(&["list", "--tls-server-name=another.example"]).await?.expect(4)?;
    plugin.run(&["list", "--server=https://127.0.0.1:1"]).await?.expect(4)?;
    for flags in [&["--as=nobody"][..], &["--as=nobody", "--as-group=guests", "--as-uid=7"]] {
        let said = plugin.run(&[&["list"][..], flags].concat()).await?.expect(4)?;
        ensure!(said.err.contains("KD0105") && said.err.contains("nobody"), "{}", said.err);
    }
    let said = plugin.run(&["list", "-v", "8"]).await?.expect(0)?;
    ensure!(said.err.contains("GET") && !said.err.to_lowercase().contains("authorization"), "{}", said.err);
    place.delete().await
}
