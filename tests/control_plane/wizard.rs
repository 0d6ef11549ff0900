//! The wizard of `up` with a real API server, and a check that `kubectl apply` of a rendered file sends the
//! same as `up`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::ListParams;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::terminal::TestTerminal;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::UP;

/// Flags of the cases that the wizard does not ask for.
const FLAGS: &str = "--backend mocker --storage-class manual --fetcher-image registry.test/fetcher:1";

/// Runs `up` in a terminal, presses keys once each text is on the screen, and returns the exit code and the screen.
async fn run_wizard(
    plugin: &Plugin,
    flags: &str,
    answers: &[(&'static str, &'static str)],
) -> Outcome<(Option<i32>, String)> {
    let line = plugin.shell_line(&format!("up {FLAGS} {flags}"));
    let folder = tempfile::tempdir()?;
    let (home, answers) = (folder.path().to_owned(), answers.to_vec());
    let session = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let variables = [("HOME", home.to_str().unwrap_or("/")), ("TERM", "xterm"), ("PAGER", "cat")];
        let mut terminal =
            TestTerminal::start(&line, &home, &variables).map_err(|error| error.to_string())?;
        for (question, keys) in answers {
            terminal.wait_for(question)?;
            terminal.type_keys(keys)?;
        }
        terminal.finish()
    });
    let (status, screen) = session.await??;
    Ok((status.code(), screen))
}

/// Runs the wizard of `up` until it succeeds, and returns the screen.
async fn answer_wizard(plugin: &Plugin, answers: &[(&'static str, &'static str)]) -> Outcome<String> {
    let (code, screen) = run_wizard(plugin, "--detach", answers).await?;
    ensure!(code == Some(0), "{screen}");
    Ok(screen)
}

/// Returns the last command after a label such as `again`.
fn printed_command<'a>(screen: &'a str, label: &str) -> Option<&'a str> {
    // A line of progress that is drawn again may precede it.
    let start = format!("  {label} ");
    screen.lines().rev().find_map(|line| {
        let (_, command) = line.rsplit_once(&start)?;
        command.trim().strip_prefix("kubectl dynamo ")
    })
}

pub(crate) async fn wizard_deploys_the_reviewed_request(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "asked").await?;
    let screen = answer_wizard(
        &plugin,
        &[
            ("Model of the Hugging Face Hub", "acme/tiny\r"),
            ("Enter a hub token now", "n"),
            ("Mode: agg", "\u{1b}[B\r"),
            ("Tensor parallelism of prefill", "0\r"),
            ("invalid answer: --prefill-tp must be at least 1", "1\r"),
            ("Pipeline parallelism of prefill", "\r"),
            ("Tensor parallelism of decode", "\r"),
            ("Pipeline parallelism of decode", "\r"),
            ("Expert parallelism", "\r"),
            ("KV-aware routing", "y"),
            ("Router temperature", "\r"),
            ("Offload KV cache", "n"),
            ("PVC that holds models", "\r"),
            ("Size of the PVC", "1Gi\r"),
            ("Replicas of prefill", "2\r"),
            ("Replicas of decode", "\r"),
            ("More engine flags", "\r"),
            ("Name of the deployment [tiny]", "asked\r"),
            ("What now: deploy", "rev\r"),
            ("# deployment \"asked\" will be created", ""),
            ("What now: deploy", "\r"),
        ],
    )
    .await?;
    let graph = dynamo::graphs(namespace.client(), V1Beta1, namespace.name()).get("asked").await?;
    let prefill = graph.data["spec"]["components"].as_array().and_then(|all| all.get(1)).cloned();
    ensure!(prefill.is_some_and(|one| one["replicas"] == 2 && one["type"] == "prefill"), "{:#}", graph.data);

    // The printed command describes the same request.
    let again = printed_command(&screen, "again").ok_or("a command")?;
    let args: Vec<&str> = again.split(' ').collect();
    let output = plugin.run(&[&args[..], &["--detach"]].concat()).await?.expect(0)?;
    ensure!(output.err.contains("unchanged: nothing was written"), "{again}: {}", output.err);
    namespace.delete().await
}

/// Flags that answer most questions.
const ANSWERED: &str = "--mode agg --tp 1 --pp 1 --replicas 1 --router-mode round-robin --cache-size 1Gi \
                        --enable-expert-parallel=false";

/// Only a run that applied the deployment is repeated with `again`, and an error is the last thing on the screen.
pub(crate) async fn wizard_prints_the_command_for_what_it_did(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "done").await?;
    let answers: &[_] = &[
        ("Model of the Hugging Face Hub", "acme/tiny\r"),
        ("Offload KV cache", "n"),
        ("More engine flags", "\r"),
        ("Name of the deployment", "done\r"),
        ("What now: deploy", "\r"),
    ];
    let (code, screen) =
        run_wizard(&plugin, &format!("{ANSWERED} --hf-token-secret absent"), &answers[..4]).await?;
    ensure!(code != Some(0) && printed_command(&screen, "retry").is_some(), "{screen}");
    ensure!(printed_command(&screen, "again").is_none(), "{screen}");
    let position = |text: &str| screen.rfind(text);
    ensure!(position("error [") > position("  retry"), "{screen}");

    let token = ("Enter a hub token now", "n");
    let quit: &[_] = &[answers[0], token, answers[1], answers[2], answers[3], ("What now: deploy", "quit\r")];
    let deploy: &[_] = &[answers[0], token, answers[1], answers[2], answers[3], answers[4]];
    for (flags, answers) in [("", quit), ("--dry-run=client", deploy)] {
        let (code, screen) = run_wizard(&plugin, &format!("{ANSWERED} {flags}"), answers).await?;
        ensure!(code == Some(0) && printed_command(&screen, "deploy").is_some(), "{flags}: {screen}");
        ensure!(printed_command(&screen, "again").is_none(), "{flags}: {screen}");
    }
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    ensure!(graphs.list(&ListParams::default()).await?.items.is_empty(), "a deployment exists");
    namespace.delete().await
}

/// A taken name is reported at its question, with what it is taken by and a free one.
pub(crate) async fn wizard_proposes_a_free_name(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "taken-name").await?;
    plugin.run(&UP).await?.expect(0)?;
    answer_wizard(
        &plugin,
        &[
            ("Model of the Hugging Face Hub", "acme/tiny\r"),
            ("Enter a hub token now", "n"),
            ("Mode: agg", "disagg\r"),
            ("Tensor parallelism of prefill", "\r"),
            ("Pipeline parallelism of prefill", "\r"),
            ("Tensor parallelism of decode", "\r"),
            ("Pipeline parallelism of decode", "\r"),
            ("Expert parallelism", "\r"),
            ("KV-aware routing", "\r"),
            ("Offload KV cache", "\r"),
            ("Replicas of prefill", "\r"),
            ("Replicas of decode", "\r"),
            ("More engine flags", "\r"),
            ("Name of the deployment (\"tiny\" is taken by acme/tiny, agg) [tiny-2]", "tiny\r"),
            ("\"tiny\" is taken by a deployment of acme/tiny, agg with other", "\r"),
            ("What now: deploy", "deploy\r"),
        ],
    )
    .await?;
    dynamo::graphs(namespace.client(), V1Beta1, namespace.name()).get("tiny-2").await?;
    namespace.delete().await
}

pub(crate) async fn down_deletes_only_after_yes(shared: Arc<Shared>) -> Outcome {
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "yes").await?;
    plugin.run(&UP).await?.expect(0)?;
    let down = |before: &'static str, after: &'static str| {
        let line = plugin.shell_line("down tiny");
        tokio::task::spawn_blocking(move || -> Result<_, String> {
            let terminal = TestTerminal::start(&line, &std::env::temp_dir(), &[("TERM", "xterm")]);
            let mut terminal = terminal.map_err(|error| error.to_string())?;
            terminal.type_keys(before)?;
            terminal.wait_for("Delete tiny? [y/N]")?;
            terminal.type_keys(after)?;
            terminal.finish()
        })
    };
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    // Input typed before the question is not an answer, nor are the characters of a following command.
    for (before, after) in [("", "\r"), ("", "n"), ("y\r", "\r"), ("", "kubectl dynamo status tiny\r")] {
        let (status, screen) = down(before, after).await??;
        ensure!(status.success() && screen.contains("nothing was deleted"), "{after:?}: {screen}");
        let graph = graphs.get("tiny").await?;
        ensure!(graph.metadata.deletion_timestamp.is_none(), "{after:?}: it is deleted: {screen}");
    }
    let (status, screen) = down("", "\u{1b}").await??;
    ensure!(status.code() == Some(130) && screen.contains("aborted; nothing was changed"), "{screen}");
    let (status, screen) = down("", "y").await??;
    ensure!(status.success() && screen.contains("dynamographdeployment/tiny deleted"), "{screen}");
    namespace.delete().await
}

pub(crate) async fn kubectl_apply_sends_the_same_objects_as_up(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "sent").await?;
        let audit = shared.cluster.control_plane(generation)?.audit_log();
        let sent = |position: u64| -> Outcome<BTreeMap<String, Value>> {
            let requests = audit.requests_since(position, namespace.name())?;
            let dry = requests.into_iter().filter(|request| request.dry_run && request.verb == "patch");
            Ok(dry
                .map(|request| (format!("{}/{}", request.resource, request.name), request.object))
                .collect())
        };
        let intent_flags =
            ["--mode=disagg", "--router-mode=kv", "--prefill-replicas=2", "--label=team=search"];
        let position = audit.position()?;
        plugin.run(&[&UP[..], &intent_flags, &["--dry-run=server"]].concat()).await?.expect(0)?;
        let plugin_objects = sent(position)?;
        ensure!(
            plugin_objects.len() == 3 && plugin_objects.values().all(Value::is_object),
            "{plugin_objects:#?}"
        );

        let args: Vec<&str> = UP.into_iter().filter(|arg| *arg != "--detach").skip(1).collect();
        let file = plugin.run(&[&["render"], &args[..], &intent_flags].concat()).await?.expect(0)?.out;
        let position = audit.position()?;
        let apply =
            ["apply", "--server-side", "--field-manager=kubectl-dynamo", "--dry-run=server", "-f", "-"];
        plugin.run_kubectl(&apply, &file).await?.expect(0)?;
        let kubectl_objects = sent(position)?;
        for (name, object) in &plugin_objects {
            ensure!(
                kubectl_objects.get(name) == Some(object),
                "{name}: {object:#}\n{:#?}",
                kubectl_objects.get(name)
            );
        }
        ensure!(kubectl_objects.len() == plugin_objects.len(), "{kubectl_objects:#?}");
        // As users type it.
        plugin.run_kubectl(&["apply", "--dry-run=server", "-f", "-"], &file).await?.expect(0)?;
        ensure!(namespace.resource_versions(generation).await?.is_empty(), "a dry run created objects");
        namespace.delete().await?;
    }
    Ok(())
}
