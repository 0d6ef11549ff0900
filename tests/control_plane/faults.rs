//! Failures while `up` waits: stopped servers, expired watches and credentials, an unavailable operator, and
//! objects that other clients delete.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::api_proxy::{ApiProxy, InjectedError};
use kubectl_dynamo_tests::cuttable_proxy::CuttableProxy;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::plugin::{Plugin, RunningPlugin};
use kubectl_dynamo_tests::terminal::TestTerminal;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, programs};
use serde_json::{Value, json};

use crate::Shared;
use crate::access::{kubeconfig_through_proxy, server_address, write_kubeconfig, write_script};
use crate::plugin::UP;

/// Returns the same arguments for an `up` that waits; in these cases no frontend ever answers.
pub(crate) fn waiting_up_args() -> Vec<&'static str> {
    [&UP[..], &["--wait", "--no-smoke-test", "--progress=plain", "--timeout=10m"]].concat()
}

/// Makes everything ready that the deployment waits for.
pub(crate) async fn set_all_ready(kubelet: &FakeKubelet) -> Outcome {
    kubelet.set_ready("frontend").await?;
    kubelet.set_ready("worker").await
}

pub(crate) async fn up_survives_api_server_restart_at_every_stage(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "restarts").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    // Slow enough that a stop affects the requests of the stage that was just reported.
    let proxy = CuttableProxy::with_request_delay(server_address(plane)?, Duration::from_millis(400)).await?;
    let plugin = Plugin::new(kubeconfig_through_proxy(folder.path(), plane, &proxy)?, namespace.name());
    let kubelet = FakeKubelet::new(&namespace);
    let mut up = plugin.start(&waiting_up_args())?;
    for (stage, start_line, resume_line) in [
        ("preflight", "  frontend  ×1", "preflight: done"),
        ("fetch", "model fetch: waiting", "to recover: pod"),
        ("deploy", "model fetch: done", "deploy: done"),
        ("ready", "ready: waiting for", ""),
    ] {
        if stage == "deploy" {
            kubelet.finish_fetch().await?;
        }
        up.wait_for_line(start_line).await?;
        proxy.stop().await;
        up.wait_for_line("the API server").await.map_err(|error| format!("{stage}: {error}"))?;
        proxy.start().await?;
        up.wait_for_line(resume_line).await.map_err(|error| format!("{stage}: {error}"))?;
    }
    set_all_ready(&kubelet).await?;
    let output = up.finish().await?.expect(0)?;
    ensure!(output.err.contains("ready: done"), "{}", output.err);
    namespace.delete().await
}

/// An `up` through a gate, and that gate.
pub(crate) struct ProxiedNamespace {
    pub(crate) namespace: CaseNamespace,
    pub(crate) kubelet: FakeKubelet,
    pub(crate) proxy: ApiProxy,
    pub(crate) plugin: Plugin,
    generation: GraphGeneration,
    // Contains the kubeconfig and, as the user's home, the evidence.
    _folder: tempfile::TempDir,
}

pub(crate) async fn through_api_proxy(
    shared: &Shared,
    generation: GraphGeneration,
    name: &str,
    user: &Value,
) -> Outcome<ProxiedNamespace> {
    let namespace = shared.namespace(generation, name).await?;
    let plane = shared.cluster.control_plane(generation)?;
    let proxy =
        ApiProxy::start(control_plane::client_from_kubeconfig(&plane.audited_kubeconfig()).await?).await?;
    let folder = tempfile::tempdir()?;
    let plugin = Plugin::new(write_kubeconfig(folder.path(), &proxy.kubeconfig(user))?, namespace.name());
    Ok(ProxiedNamespace {
        kubelet: FakeKubelet::new(&namespace),
        namespace,
        proxy,
        plugin,
        generation,
        _folder: folder,
    })
}

impl ProxiedNamespace {
    pub(crate) fn graphs(&self) -> Api<DynamicObject> {
        dynamo::graphs(self.namespace.client(), self.generation, self.namespace.name())
    }

    /// Starts an `up` and returns it when it waits for its pods.
    pub(crate) async fn start_waiting_up(&self) -> Outcome<RunningPlugin> {
        let mut up = self.plugin.start(&waiting_up_args())?;
        up.wait_for_line("model fetch: waiting").await?;
        self.kubelet.finish_fetch().await?;
        up.wait_for_line("ready: waiting for").await?;
        Ok(up)
    }
}

pub(crate) async fn expired_watch_is_restarted(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let fixture = through_api_proxy(&shared, generation, "expired", &json!({})).await?;
        let up = fixture.start_waiting_up().await?;
        fixture.proxy.suppress_watch_events();
        set_all_ready(&fixture.kubelet).await?;
        wait_until_reported_ready(&fixture.graphs()).await?;
        fixture.proxy.expire_watches();
        up.finish().await?.expect(0)?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

/// Waits until the operator reports the graph as ready.
async fn wait_until_reported_ready(graphs: &Api<DynamicObject>) -> Outcome {
    let is_ready = |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["state"] == "successful")
    };
    await_condition(graphs.clone(), "tiny", is_ready).await?;
    Ok(())
}

pub(crate) async fn expired_credentials_are_renewed(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let credential = folder.path().join("credential.json");
    let login = |token: &str| -> Outcome {
        let credential = folder.path().join("credential.json");
        let answer = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token},
        });
        Ok(std::fs::write(credential, answer.to_string())?)
    };
    let command: PathBuf = write_script(folder.path(), "login", &format!("cat {}", credential.display()))?;
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never",
    }});
    login("first")?;
    let fixture = through_api_proxy(&shared, V1Beta1, "login", &user).await?;
    fixture.proxy.accept_only_token("first", None);
    let mut up = fixture.plugin.start(&waiting_up_args())?;
    up.wait_for_line("model fetch: waiting").await?;
    // The next apply uses the old credentials first, and the watches do later.
    login("second")?;
    fixture.proxy.accept_only_token("second", Some("PATCH"));
    fixture.kubelet.finish_fetch().await?;
    up.wait_for_line("ready: waiting for").await?;
    login("third")?;
    fixture.proxy.accept_only_token("third", None);
    fixture.proxy.close_watches();
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;

    // A credential plugin that returns nothing new is not run forever.
    let mut up = fixture.plugin.start(&[&waiting_up_args()[..], &["--replicas=2"]].concat())?;
    up.wait_for_line("ready: waiting for").await?;
    fixture.proxy.accept_only_token("fourth", None);
    fixture.proxy.close_watches();
    let output = up.finish().await?.expect(4)?;
    ensure!(output.err.contains("KD0104"), "{}", output.err);
    fixture.namespace.delete().await
}

pub(crate) async fn unavailable_operator_is_reported_and_waited_for(shared: Arc<Shared>) -> Outcome {
    let reads = InjectedError {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "conversion webhook for nvidia.com/v1beta1, Kind=DynamoGraphDeployment failed: Post \
                  \"https://dynamo-operator.dynamo-system.svc:443/convert\": connect: connection refused",
    };
    let writes = InjectedError {
        method: Some("PATCH"),
        message: "Internal error occurred: failed calling webhook \"mdynamographdeployment.kb.io\": failed to call \
                  webhook: Post \"https://dynamo-operator.dynamo-system.svc:443/mutate\": connect: connection refused",
        ..reads
    };
    for (generation, refusal) in [(V1Alpha1, reads), (V1Beta1, writes)] {
        let fixture = through_api_proxy(&shared, generation, "silent", &json!({})).await?;
        fixture.proxy.inject_error(Some(refusal));
        let output = fixture.plugin.run(&waiting_up_args()).await?.expect(6)?;
        ensure!(output.err.contains("KD0220") && output.err.contains("does not respond"), "{}", output.err);
        fixture.proxy.inject_error(None);
        let mut up = fixture.start_waiting_up().await?;
        fixture.proxy.inject_error(Some(reads));
        fixture.proxy.expire_watches();
        up.wait_for_line("the webhook of the Dynamo operator does not respond").await?;
        let output = fixture.plugin.run(&["status", "tiny"]).await?.expect(6)?;
        ensure!(output.err.contains("KD0220"), "{}", output.err);
        fixture.proxy.inject_error(None);
        set_all_ready(&fixture.kubelet).await?;
        up.finish().await?.expect(0)?;
        fixture.namespace.delete().await?;
    }
    Ok(())
}

/// Errors without a reason: a leader election, or a kubelet that does not respond.
pub(crate) async fn transient_server_error_is_retried(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "moment", &json!({})).await?;
    let mut up = fixture.start_waiting_up().await?;
    fixture.proxy.inject_error(Some(InjectedError {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "dial tcp 10.0.0.1:2379: connect: connection refused",
    }));
    fixture.proxy.expire_watches();
    up.wait_for_line("the API server").await?;
    fixture.proxy.inject_error(None);
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;
    fixture.namespace.delete().await
}

pub(crate) async fn up_fails_if_the_graph_is_deleted(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "taken", &json!({})).await?;
    let graphs = fixture.graphs();
    fixture.plugin.run(&UP).await?.expect(0)?;
    fixture.kubelet.finish_fetch().await?;
    for (watch_is_live, is_recreated, message) in [
        (true, false, "was deleted while"),
        (false, false, "was deleted while"),
        (false, true, "was deleted and recreated"),
    ] {
        let mut up = fixture.plugin.start(&waiting_up_args())?;
        up.wait_for_line("ready: waiting for").await?;
        if !watch_is_live {
            fixture.proxy.suppress_watch_events();
        }
        graphs.delete("tiny", &DeleteParams::background()).await?;
        await_condition(graphs.clone(), "tiny", |graph: Option<&DynamicObject>| graph.is_none()).await?;
        if is_recreated {
            let plane = shared.cluster.control_plane(V1Beta1)?;
            Plugin::new(plane.audited_kubeconfig(), fixture.namespace.name()).run(&UP).await?.expect(0)?;
        }
        if !watch_is_live {
            fixture.proxy.expire_watches();
        }
        let output = up.finish().await?.expect(1)?;
        ensure!(output.err.contains("KD0208") && output.err.contains(message), "{}", output.err);
    }
    fixture.namespace.delete().await
}

pub(crate) async fn up_fails_if_the_fetch_job_is_deleted(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "taken-fetch", &json!({})).await?;
    let jobs: Api<Job> = Api::namespaced(fixture.namespace.client(), fixture.namespace.name());
    for watch_is_live in [true, false] {
        let mut up = fixture.plugin.start(&waiting_up_args())?;
        up.wait_for_line("to recover: pod").await?;
        if !watch_is_live {
            fixture.proxy.suppress_watch_events();
        }
        for job in jobs.list(&ListParams::default()).await? {
            jobs.delete(&job.name_any(), &DeleteParams::background()).await?;
            await_condition(jobs.clone(), &job.name_any(), |job: Option<&Job>| job.is_none()).await?;
        }
        if !watch_is_live {
            fixture.proxy.expire_watches();
        }
        let output = up.finish().await?.expect(7)?;
        ensure!(output.err.contains("KD0410") && output.err.contains("it was deleted"), "{}", output.err);
    }
    fixture.namespace.delete().await
}

pub(crate) async fn concurrent_ups_create_one_deployment(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "two").await?;
        let (mut one, mut other) = (plugin.start(&waiting_up_args())?, plugin.start(&waiting_up_args())?);
        one.wait_for_line("model fetch: waiting").await?;
        other.wait_for_line("model fetch: waiting").await?;
        let kubelet = FakeKubelet::new(&namespace);
        kubelet.finish_fetch().await?;
        one.wait_for_line("ready: waiting for").await?;
        set_all_ready(&kubelet).await?;
        one.finish().await?.expect(0)?;
        other.finish().await?.expect(0)?;
        let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "expected one fetch Job");
        let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
        ensure!(graphs.list(&ListParams::default()).await?.items.len() == 1, "expected one graph");
        namespace.delete().await?;
    }
    Ok(())
}

/// Ages and verdicts use the server's clock: a difference of one hour changes neither.
pub(crate) async fn clock_skew_does_not_change_status(shared: Arc<Shared>) -> Outcome {
    let fixture = through_api_proxy(&shared, V1Beta1, "skew", &json!({})).await?;
    let up = fixture.start_waiting_up().await?;
    for component in ["frontend", "worker"] {
        fixture.kubelet.set_waiting(component, ("ContainerCreating", ""), 0, Value::Null).await?;
    }
    crate::plugin::wait_until_settled(&fixture.graphs(), V1Beta1, 2).await?;
    let without_skew = fixture.plugin.run(&["status", "tiny"]).await?.expect(3)?;
    fixture.proxy.set_clock_skew(k8s_openapi::jiff::SignedDuration::from_hours(1));
    let with_skew = fixture.plugin.run(&["status", "tiny"]).await?.expect(3)?;
    let first_line = |out: &str| out.lines().next().unwrap_or_default().to_owned();
    ensure!(
        first_line(&with_skew.out) == first_line(&without_skew.out),
        "{}\n{}",
        with_skew.out,
        without_skew.out
    );
    ensure!(with_skew.out.contains("  0s"), "no age is printed: {}", with_skew.out);
    set_all_ready(&fixture.kubelet).await?;
    up.finish().await?.expect(0)?;
    for args in [&["list"][..], &["events", "tiny"]] {
        let output = fixture.plugin.run(args).await?.expect(0)?;
        let negative = output.out.split_whitespace().any(|token| {
            token
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
        });
        ensure!(!negative, "an age is negative: {}", output.out);
    }
    fixture.namespace.delete().await
}

/// With two seconds per request, the screen shows what is waited for, and it is updated.
pub(crate) async fn slow_api_server_does_not_freeze_progress_display(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(V1Beta1, "frozen").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let proxy = CuttableProxy::with_request_delay(server_address(plane)?, Duration::from_secs(2)).await?;
    let kubeconfig = kubeconfig_through_proxy(folder.path(), plane, &proxy)?;
    let line = format!(
        "{} --kubeconfig {} -n {} {} --dry-run=server",
        programs::kubectl_dynamo().display(),
        kubeconfig.display(),
        namespace.name(),
        UP.join(" ")
    );
    let home = folder.path().to_owned();
    let screen = tokio::task::spawn_blocking(move || -> Result<String, String> {
        let home = home.to_str().unwrap_or("/");
        let terminal = TestTerminal::start(&line, Path::new("/"), &[("HOME", home), ("TERM", "xterm")])
            .map_err(|error| error.to_string())?;
        Ok(terminal.finish()?.1)
    });
    let screen = screen.await??;
    // The spinner turns while a request is waited for.
    let waiting = screen.split("preflight").filter(|drawn| drawn.contains("waits for"));
    let spinners: BTreeSet<char> =
        waiting.flat_map(str::chars).filter(|letter| ('⠁'..='⣿').contains(letter)).collect();
    ensure!(spinners.len() > 3, "drawn with {spinners:?}: {screen}");
    ensure!(screen.contains("server dry run"), "{screen}");
    namespace.delete().await
}
