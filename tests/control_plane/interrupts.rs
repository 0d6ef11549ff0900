//! Interrupting `up` with Ctrl-C, and problems that end it before anything is applied.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kubectl_dynamo_tests::cuttable_proxy::CuttableProxy;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, processes};
use rustix::process::Signal;
use serde_json::json;

use crate::Shared;
use crate::access::{kubeconfig_through_proxy, server_address};
use crate::cache::PULL;
use crate::faults::{set_all_ready, waiting_up_args};
use crate::plugin::UP;

pub(crate) async fn interrupted_up_reports_state_and_how_to_continue(shared: Arc<Shared>) -> Outcome {
    for (generation, signal) in
        [(V1Alpha1, Signal::INT), (V1Beta1, Signal::INT), (V1Beta1, Signal::HUP), (V1Beta1, Signal::TERM)]
    {
        let (namespace, plugin) =
            shared.user_in_namespace(generation, &format!("leaving-{}", signal.as_raw())).await?;
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        let output = interrupt_up_at(&plugin, "model fetch: waiting", signal).await?;
        ensure!(output.contains("deployment \"tiny\" is not created yet"), "{output}");
        ensure!(graphs.get_opt("tiny").await?.is_none(), "the graph was created before its model is there");
        let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "the fetch Job was deleted");
        let status = plugin.run(&["status", "tiny"]).await?.expect(3)?;
        ensure!(status.out.contains("model fetch job/fetch-tiny-main"), "{}", status.out);

        plugin.run(&UP).await?.expect(0)?;
        let output = interrupt_up_at(&plugin, "ready: waiting", signal).await?;
        ensure!(output.contains("the rollout of deployment \"tiny\" continues"), "{output}");
        ensure!(output.contains(&format!("kubectl dynamo status tiny -n {}", namespace.name())), "{output}");
        ensure!(graphs.get_opt("tiny").await?.is_some(), "the graph was deleted by the interrupt");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn interrupt_before_apply_does_not_report_progress(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "leaving-early").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let rerun_hint = "resume with: kubectl dynamo --kubeconfig";
    // The timeout expires while the model is fetched.
    let early = Plugin::new(plane.audited_kubeconfig(), namespace.name());
    let short: Vec<&str> = waiting_up_args()
        .iter()
        .map(|arg| if arg.starts_with("--timeout") { "--timeout=4s" } else { *arg })
        .collect();
    let output = early.run(&short).await?.expect(3)?;
    ensure!(output.err.contains("KD0207") && output.err.contains(rerun_hint), "{}", output.err);
    ensure!(!output.err.contains("the rollout of deployment"), "{}", output.err);
    // Interrupted before a change of an existing deployment was sent.
    early.run(&UP).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let before = graphs.get("tiny").await?.metadata.generation;
    let proxy = CuttableProxy::with_request_delay(server_address(plane)?, Duration::from_millis(400)).await?;
    let slow = Plugin::new(kubeconfig_through_proxy(folder.path(), plane, &proxy)?, namespace.name());
    let change = ["up", "tiny", "--env=A=b", "--progress=plain"];
    let mut up = slow.start(&change)?;
    up.wait_for_line("preflight: waiting").await?;
    up.send_signal(Signal::INT)?;
    let output = up.finish().await?.expect(130)?.err;
    ensure!(output.contains(rerun_hint) && !output.contains("the rollout of deployment"), "{output}");
    ensure!(graphs.get("tiny").await?.metadata.generation == before, "the change was made");
    namespace.delete().await
}

pub(crate) async fn pull_and_logs_handle_sigint_sighup_sigterm(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "signals").await?;
    plugin.run(&UP).await?.expect(0)?;
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        let mut pull = plugin.start(&[&PULL[..], &["--progress=plain"]].concat())?;
        pull.wait_for_line("model fetch: waiting").await?;
        pull.send_signal(signal)?;
        let output = pull.finish().await?.expect(130)?;
        ensure!(output.err.contains("the download of acme/tiny continues"), "{}", output.err);
        // Its requests show that it waits.
        let mut logs = plugin.start(&["logs", "tiny", "-f", "-v", "8"])?;
        logs.wait_for_line("watch=true").await?;
        logs.send_signal(signal)?;
        logs.finish().await?.expect(130)?;
    }

    namespace.delete().await
}

/// A watch prints on the thread that waits for signals. If nothing reads its output, the thread is blocked.
pub(crate) async fn signals_end_a_watch_whose_stdout_is_blocked(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "blocked").await?;
    plugin.run(&UP).await?.expect(0)?;
    for signal in [Signal::INT, Signal::HUP, Signal::TERM] {
        let (reader, stdout) = processes::full_pipe()?;
        let mut watch = plugin.command(&["list", "-w"]).stdout(Stdio::from(stdout)).spawn()?;
        let id = watch.id().ok_or("the watch has exited")?;
        tokio::task::spawn_blocking(move || processes::wait_until_stdout_is_blocked(id)).await??;
        let process = processes::open_process(id)?.ok_or("the watch has exited")?;
        process.signal(signal)?;
        let status = tokio::time::timeout(Duration::from_secs(20), watch.wait()).await??;
        ensure!(status.code() == Some(130), "{signal:?}: {status}");
        drop(reader);
    }
    namespace.delete().await
}

/// Returns the output of `up` when it receives a signal at a line with `text`.
async fn interrupt_up_at(plugin: &Plugin, text: &str, signal: Signal) -> Outcome<String> {
    let mut up = plugin.start(&waiting_up_args())?;
    up.wait_for_line(text).await?;
    up.send_signal(signal)?;
    Ok(up.finish().await?.expect(130)?.err)
}

/// Killed at every line that `up` prints: the same command resumes, and nothing is created twice.
pub(crate) async fn rerun_after_sigkill_resumes_at_every_stage(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "killed").await?;
        let kubelet = FakeKubelet::new(&namespace);
        for line in [
            "preflight: waiting",
            "preflight: done",
            "objects: waiting",
            "objects: done",
            "model fetch: waiting",
        ] {
            let mut up = plugin.start(&waiting_up_args())?;
            up.wait_for_line(line).await?;
            up.send_signal(Signal::KILL)?;
            up.finish().await?;
        }
        kubelet.finish_fetch().await?;
        for line in ["model fetch: done", "deploy: waiting", "deploy: done", "ready: waiting"] {
            let mut up = plugin.start(&waiting_up_args())?;
            // If the graph exists, `up` does not wait for the fetch.
            if up.wait_for_line(line).await.is_ok() {
                up.send_signal(Signal::KILL)?;
            }
            up.finish().await?;
        }
        let up = plugin.start(&waiting_up_args())?;
        set_all_ready(&kubelet).await?;
        up.finish().await?.expect(0)?;
        let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "expected one fetch Job");

        // As if it was killed after a graph was applied and before its revision was stored: the next change
        // stores both.
        let revisions: Api<ControllerRevision> = Api::namespaced(namespace.client(), namespace.name());
        revisions.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        plugin.run(&[&UP[..], &["--replicas=2"]].concat()).await?.expect(0)?;
        let revision_count = revisions.list(&ListParams::default()).await?.items.len();
        ensure!(revision_count == 2, "{revision_count} revisions are stored");
        namespace.delete().await?;
    }
    Ok(())
}

pub(crate) async fn missing_dependencies_are_reported_before_apply(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "missing").await?;
    let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
    let empty =
        serde_json::from_value(json!({ "metadata": { "name": "empty" }, "stringData": { "OTHER": "x" } }))?;
    secrets.create(&PostParams::default(), &empty).await?;
    for (more, code, facts) in [
        (&["--hf-token-secret=absent"][..], "KD0412", "Secret \"absent\" not found"),
        (
            &["--hf-token-secret=empty"],
            "KD0412",
            "Secret \"empty\" in namespace \"missing\" does not have key \"HF_TOKEN\"",
        ),
        (&["--cache=absent"], "KD0411", "PVC \"absent\" not found"),
    ] {
        // `--storage-class` is only valid for a new PVC.
        let args: Vec<&str> =
            UP.iter().chain(more).copied().filter(|arg| *arg != "--storage-class=manual").collect();
        let output = plugin.run(&args).await?.expect(7)?;
        ensure!(output.err.contains(code) && output.err.contains(facts), "{more:?}: {}", output.err);
    }
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "something was applied");
    namespace.delete().await
}

pub(crate) async fn token_secret_is_updated_only_after_validation(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "token").await?;
    let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
    let long = format!("--name={}", "n".repeat(60));
    let args = [&UP[..], &["--hf-token-stdin", &long]].concat();
    plugin.run_with_input(&args, "hf_refused\n").await?.expect(2)?;
    ensure!(secrets.get_opt("hf-token-secret").await?.is_none(), "a rejected up stored the token");

    let helm_secret = serde_json::from_value(json!({
        "metadata": { "name": "hf-token-secret", "labels": { "app.kubernetes.io/managed-by": "Helm" } },
        "stringData": { "HF_TOKEN": "hf_old", "OTHER": "kept" },
    }))?;
    secrets.create(&PostParams::default(), &helm_secret).await?;
    let args = [&UP[..], &["--hf-token-stdin"]].concat();
    plugin.run_with_input(&args, "hf_new\n").await?.expect(0)?;
    let secret = secrets.get("hf-token-secret").await?;
    let data = secret.data.unwrap_or_default();
    let value = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
    ensure!(value("HF_TOKEN").as_deref() == Some("hf_new"), "the token was not replaced");
    ensure!(value("OTHER").as_deref() == Some("kept"), "another key was removed");
    let labels = secret.metadata.labels.unwrap_or_default();
    ensure!(labels.get("app.kubernetes.io/managed-by").map(String::as_str) == Some("Helm"), "{labels:?}");
    namespace.delete().await
}

pub(crate) async fn port_in_use_is_reported(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "port").await?;
    plugin.run(&UP).await?.expect(0)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let output = plugin.run(&["port-forward", "tiny", &format!("{port}:8000")]).await?.expect(1)?;
    ensure!(output.err.contains("KD0803") && output.err.contains(&port.to_string()), "{}", output.err);
    namespace.delete().await
}

pub(crate) async fn kubectl_global_flags_are_honored(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "flags").await?;
    plugin.run(&["list", "--request-timeout=30s"]).await?.expect(0)?;
    plugin.run(&["list", "--insecure-skip-tls-verify"]).await?.expect(0)?;
    plugin.run(&["list", "--tls-server-name=kubernetes.default.svc"]).await?.expect(0)?;
    plugin.run(&["list", "--tls-server-name=another.example"]).await?.expect(4)?;
    plugin.run(&["list", "--server=https://127.0.0.1:1"]).await?.expect(4)?;
    for flags in [&["--as=no-such-user"][..], &["--as=no-such-user", "--as-group=guests", "--as-uid=7"]] {
        let output = plugin.run(&[&["list"][..], flags].concat()).await?.expect(4)?;
        ensure!(output.err.contains("KD0105") && output.err.contains("no-such-user"), "{}", output.err);
    }
    let output = plugin.run(&["list", "-v", "8"]).await?.expect(0)?;
    ensure!(
        output.err.contains("GET") && !output.err.to_lowercase().contains("authorization"),
        "{}",
        output.err
    );
    namespace.delete().await
}
