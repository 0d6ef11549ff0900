//! What goes wrong around an `up` that waits, and what it does: servers that stop, watches and logins that expire, an
//! operator that is down, objects that others take away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::gate::{Gate, Refusal};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{self, V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::plugin::{Plugin, Running};
use kubectl_dynamo_tests::relay::Relay;
use kubectl_dynamo_tests::terminal::Terminal;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, programs};
use serde_json::{Value, json};

use crate::Shared;
use crate::access::{address, script, through, write};
use crate::plugin::UP;

/// The same words for an `up` that waits; no frontend ever answers here.
pub(crate) fn waiting() -> Vec<&'static str> {
    [&UP[..], &["--wait", "--no-smoke-test", "--progress=plain", "--timeout=10m"]].concat()
}

/// Everything that the deployment waits for becomes ready.
pub(crate) async fn all_ready(puppet: &Puppet) -> Outcome {
    puppet.make_ready("frontend").await?;
    puppet.make_ready("worker").await
}

pub(crate) async fn a_server_may_stop_and_start_at_every_stage(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "restarts").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    // Slow enough that a stop meets the requests of the stage that was just said to begin.
    let relay = Relay::slow(address(plane)?, Duration::from_millis(400)).await?;
    let plugin = Plugin::new(through(folder.path(), plane, &relay)?, place.name());
    let puppet = Puppet::of(&place);
    let mut up = plugin.start(&waiting())?;
    for (stage, begins, goes_on) in [
        ("preflight", "  frontend  ×1", "preflight: done"),
        ("fetch", "model fetch: waiting", "to go on: pod"),
        ("deploy", "model fetch: done", "deploy: done"),
        ("ready", "ready: waiting for", ""),
    ] {
        if stage == "deploy" {
            puppet.finish_fetch().await?;
        }
        up.until(begins).await?;
        relay.stop().await;
        up.until("the API server").await.map_err(|error| format!("{stage}: {error}"))?;
        relay.start().await?;
        up.until(goes_on).await.map_err(|error| format!("{stage}: {error}"))?;
    }
    all_ready(&puppet).await?;
    let said = up.end().await?.expect(0)?;
    ensure!(said.err.contains("ready: done"), "{}", said.err);
    place.delete().await
}

/// An `up` through a gate, and that gate.
pub(crate) struct Watched {
    pub(crate) place: CaseNamespace,
    pub(crate) puppet: Puppet,
    pub(crate) gate: Gate,
    pub(crate) plugin: Plugin,
    generation: GraphGeneration,
    // The kubeconfig and, as the user's home, the evidence.
    _folder: tempfile::TempDir,
}

pub(crate) async fn gated(
    shared: &Shared,
    generation: GraphGeneration,
    name: &str,
    user: &Value,
) -> Outcome<Watched> {
    let place = shared.place(generation, name).await?;
    let plane = shared.cluster.control_plane(generation)?;
    let gate = Gate::open(control_plane::client(&plane.kubeconfig()).await?).await?;
    let folder = tempfile::tempdir()?;
    let plugin = Plugin::new(write(folder.path(), &gate.kubeconfig(user))?, place.name());
    Ok(Watched { puppet: Puppet::of(&place), place, gate, plugin, generation, _folder: folder })
}

impl Watched {
    pub(crate) fn graphs(&self) -> Api<DynamicObject> {
        dynamo::graphs(self.place.client(), self.generation, self.place.name())
    }

    /// An `up` that has come to wait for its pods.
    pub(crate) async fn waits(&self) -> Outcome<Running> {
        let mut up = self.plugin.start(&waiting())?;
        up.until("model fetch: waiting").await?;
        self.puppet.finish_fetch().await?;
        up.until("ready: waiting for").await?;
        Ok(up)
    }
}

pub(crate) async fn a_watch_that_expired_begins_anew(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let on = gated(&shared, generation, "expired", &json!({})).await?;
        let up = on.waits().await?;
        on.gate.blind();
        all_ready(&on.puppet).await?;
        ready(&on.graphs()).await?;
        on.gate.expire();
        up.end().await?.expect(0)?;
        on.place.delete().await?;
    }
    Ok(())
}

/// Waits until the operator reports the graph as ready.
async fn ready(graphs: &Api<DynamicObject>) -> Outcome {
    let is_ready = |graph: Option<&DynamicObject>| {
        graph.is_some_and(|graph| graph.data["status"]["state"] == "successful")
    };
    await_condition(graphs.clone(), "tiny", is_ready).await?;
    Ok(())
}

pub(crate) async fn a_login_that_expires_is_asked_for_again(shared: Arc<Shared>) -> Outcome {
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
    let command: PathBuf = script(folder.path(), "login", &format!("cat {}", credential.display()))?;
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "Never",
    }});
    login("first")?;
    let on = gated(&shared, V1Beta1, "login", &user).await?;
    on.gate.take_token("first", None);
    let mut up = on.plugin.start(&waiting())?;
    up.until("model fetch: waiting").await?;
    // What is applied next meets the old login first, and later the watches do.
    login("second")?;
    on.gate.take_token("second", Some("PATCH"));
    on.puppet.finish_fetch().await?;
    up.until("ready: waiting for").await?;
    login("third")?;
    on.gate.take_token("third", None);
    on.gate.close_watches();
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;

    // A command that has nothing new is not asked for ever.
    let mut up = on.plugin.start(&[&waiting()[..], &["--replicas=2"]].concat())?;
    up.until("ready: waiting for").await?;
    on.gate.take_token("fourth", None);
    on.gate.close_watches();
    let said = up.end().await?.expect(4)?;
    ensure!(said.err.contains("KD0104"), "{}", said.err);
    on.place.delete().await
}

pub(crate) async fn an_operator_that_is_down_is_named_and_waited_for(shared: Arc<Shared>) -> Outcome {
    let reads = Refusal {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "conversion webhook for nvidia.com/v1beta1, Kind=DynamoGraphDeployment failed: Post \
                  \"https://dynamo-operator.dynamo-system.svc:443/convert\": connect: connection refused",
    };
    let writes = Refusal {
        method: Some("PATCH"),
        message: "Internal error occurred: failed calling webhook \"mdynamographdeployment.kb.io\": failed to call \
                  webhook: Post \"https://dynamo-operator.dynamo-system.svc:443/mutate\": connect: connection refused",
        ..reads
    };
    for (generation, refusal) in [(V1Alpha1, reads), (V1Beta1, writes)] {
        let on = gated(&shared, generation, "silent", &json!({})).await?;
        on.gate.refuse(Some(refusal));
        let said = on.plugin.run(&waiting()).await?.expect(6)?;
        ensure!(said.err.contains("KD0220") && said.err.contains("does not answer"), "{}", said.err);
        on.gate.refuse(None);
        let mut up = on.waits().await?;
        on.gate.refuse(Some(reads));
        on.gate.expire();
        up.until("the Dynamo operator does not answer").await?;
        let said = on.plugin.run(&["status", "tiny"]).await?.expect(6)?;
        ensure!(said.err.contains("KD0220"), "{}", said.err);
        on.gate.refuse(None);
        all_ready(&on.puppet).await?;
        up.end().await?.expect(0)?;
        on.place.delete().await?;
    }
    Ok(())
}

/// What the API server says without a reason: a leader that changes, a kubelet that does not answer.
pub(crate) async fn a_server_that_fails_for_a_moment_is_waited_for(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "moment", &json!({})).await?;
    let mut up = on.waits().await?;
    on.gate.refuse(Some(Refusal {
        path: "/dynamographdeployments",
        method: Some("GET"),
        code: 500,
        message: "dial tcp 10.0.0.1:2379: connect: connection refused",
    }));
    on.gate.expire();
    up.until("the API server").await?;
    on.gate.refuse(None);
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;
    on.place.delete().await
}

pub(crate) async fn a_graph_that_is_taken_away_ends_it(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "taken", &json!({})).await?;
    let graphs = on.graphs();
    on.plugin.run(&UP).await?.expect(0)?;
    on.puppet.finish_fetch().await?;
    for (is_seen, comes_again, words) in [
        (true, false, "was deleted while"),
        (false, false, "was deleted while"),
        (false, true, "by somebody else"),
    ] {
        let mut up = on.plugin.start(&waiting())?;
        up.until("ready: waiting for").await?;
        if !is_seen {
            on.gate.blind();
        }
        graphs.delete("tiny", &DeleteParams::background()).await?;
        await_condition(graphs.clone(), "tiny", |graph: Option<&DynamicObject>| graph.is_none()).await?;
        if comes_again {
            let plane = shared.cluster.control_plane(V1Beta1)?;
            Plugin::new(plane.kubeconfig(), on.place.name()).run(&UP).await?.expect(0)?;
        }
        if !is_seen {
            on.gate.expire();
        }
        let said = up.end().await?.expect(1)?;
        ensure!(said.err.contains("KD0208") && said.err.contains(words), "{}", said.err);
    }
    on.place.delete().await
}

pub(crate) async fn a_fetch_that_is_taken_away_ends_it(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "taken-fetch", &json!({})).await?;
    let jobs: Api<Job> = Api::namespaced(on.place.client(), on.place.name());
    for is_seen in [true, false] {
        let mut up = on.plugin.start(&waiting())?;
        up.until("to go on: pod").await?;
        if !is_seen {
            on.gate.blind();
        }
        for job in jobs.list(&ListParams::default()).await? {
            jobs.delete(&job.name_any(), &DeleteParams::background()).await?;
            await_condition(jobs.clone(), &job.name_any(), |job: Option<&Job>| job.is_none()).await?;
        }
        if !is_seen {
            on.gate.expire();
        }
        let said = up.end().await?.expect(7)?;
        ensure!(said.err.contains("KD0410") && said.err.contains("it was deleted"), "{}", said.err);
    }
    on.place.delete().await
}

pub(crate) async fn two_ups_at_once_make_one_deployment(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "two").await?;
        let (mut one, mut other) = (plugin.start(&waiting())?, plugin.start(&waiting())?);
        one.until("model fetch: waiting").await?;
        other.until("model fetch: waiting").await?;
        let puppet = Puppet::of(&place);
        puppet.finish_fetch().await?;
        one.until("ready: waiting for").await?;
        all_ready(&puppet).await?;
        one.end().await?.expect(0)?;
        other.end().await?.expect(0)?;
        let jobs: Api<Job> = Api::namespaced(place.client(), place.name());
        ensure!(jobs.list(&ListParams::default()).await?.items.len() == 1, "not one fetch");
        let graphs = dynamo::graphs(place.client(), generation, place.name());
        ensure!(graphs.list(&ListParams::default()).await?.items.len() == 1, "not one graph");
        place.delete().await?;
    }
    Ok(())
}

/// Ages and verdicts are the server's: a clock that is an hour ahead changes neither.
pub(crate) async fn a_clock_that_differs_changes_no_verdict(shared: Arc<Shared>) -> Outcome {
    let on = gated(&shared, V1Beta1, "skew", &json!({})).await?;
    let up = on.waits().await?;
    for component in ["frontend", "worker"] {
        on.puppet.make_wait(component, ("ContainerCreating", ""), 0, Value::Null).await?;
    }
    crate::plugin::wait_until_settled(&on.graphs(), V1Beta1, 2).await?;
    let coming = on.plugin.run(&["status", "tiny"]).await?.expect(3)?;
    on.gate.run_ahead(k8s_openapi::jiff::SignedDuration::from_hours(1));
    let ahead = on.plugin.run(&["status", "tiny"]).await?.expect(3)?;
    let verdict = |out: &str| out.lines().next().unwrap_or_default().to_owned();
    ensure!(verdict(&ahead.out) == verdict(&coming.out), "{}\n{}", ahead.out, coming.out);
    ensure!(ahead.out.contains("  0s"), "an age is not told: {}", ahead.out);
    all_ready(&on.puppet).await?;
    up.end().await?.expect(0)?;
    for words in [&["list"][..], &["events", "tiny"]] {
        let said = on.plugin.run(words).await?.expect(0)?;
        let negative = said.out.split_whitespace().any(|word| {
            word.strip_prefix('-')
                .is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
        });
        ensure!(!negative, "an age is negative: {}", said.out);
    }
    on.place.delete().await
}

/// Two seconds a call: what is waited for is on the screen, and it moves.
pub(crate) async fn a_slow_server_does_not_freeze_the_screen(shared: Arc<Shared>) -> Outcome {
    let place = shared.place(V1Beta1, "frozen").await?;
    let plane = shared.cluster.control_plane(V1Beta1)?;
    let folder = tempfile::tempdir()?;
    let relay = Relay::slow(address(plane)?, Duration::from_secs(2)).await?;
    let kubeconfig = through(folder.path(), plane, &relay)?;
    let line = format!(
        "{} --kubeconfig {} -n {} {} --dry-run=server",
        programs::kubectl_dynamo().display(),
        kubeconfig.display(),
        place.name(),
        UP.join(" ")
    );
    let home = folder.path().to_owned();
    let screen = tokio::task::spawn_blocking(move || -> Result<String, String> {
        let home = home.to_str().unwrap_or("/");
        let terminal = Terminal::start(&line, Path::new("/"), &[("HOME", home), ("TERM", "xterm")])
            .map_err(|error| error.to_string())?;
        Ok(terminal.end()?.1)
    });
    let screen = screen.await??;
    let waiting = screen.split("preflight").filter(|frame| frame.contains("waits for")).count();
    let frames: BTreeSet<char> = screen.chars().filter(|letter| ('⠁'..='⣿').contains(letter)).collect();
    ensure!(waiting > 10 && frames.len() > 3, "{waiting} times drawn with {frames:?}: {screen}");
    ensure!(screen.contains("server dry run"), "{screen}");
    place.delete().await
}
