//! The wizard of `up` before a real API server, and that kubectl sends of a rendered file what `up` sends.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::terminal::Terminal;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::UP;

/// The flags of the cases that no question asks for.
const FLAGS: &str =
    "--backend mocker --storage-class manual --fetcher-image registry.test/fetcher:1 --detach";

pub(crate) async fn up_asks_and_deploys_what_was_agreed(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "asked").await?;
    let line = plugin.line(&format!("up {FLAGS}"));
    let folder = tempfile::tempdir()?;
    let home = folder.path().to_owned();
    let answers = tokio::task::spawn_blocking(move || -> Result<_, String> {
        let variables = [("HOME", home.to_str().unwrap_or("/")), ("TERM", "xterm"), ("PAGER", "cat")];
        let mut terminal = Terminal::start(&line, &home, &variables).map_err(|error| error.to_string())?;
        for (question, typed) in [
            ("Model of the Hugging Face Hub", "acme/tiny"),
            ("Enter a hub token now", "no"),
            ("Mode", "disagg"),
            ("Tensor parallelism of prefill", "0"),
            ("not taken: `--prefill-tp` must be at least 1", "\u{8}1"),
            ("Pipeline parallelism of prefill", ""),
            ("Tensor parallelism of decode", ""),
            ("Pipeline parallelism of decode", ""),
            ("Expert parallelism", ""),
            ("KV-aware routing", "yes"),
            ("Router temperature", ""),
            ("Offload KV cache", ""),
            ("Claim that holds models", ""),
            ("Size of the claim", "1Gi"),
            ("Replicas of prefill", "2"),
            ("Replicas of decode", ""),
            ("More engine flags", ""),
            ("Name of the deployment [tiny]", "asked"),
            ("What now: deploy, review, save, quit [deploy]", "review"),
            ("# asked is new", ""),
        ] {
            terminal.wait_for(question)?;
            terminal.type_line(typed)?;
        }
        terminal.end()
    });
    let (status, screen) = answers.await??;
    ensure!(status.success(), "{screen}");
    let graph = dynamo::graphs(place.client(), V1Beta1, place.name()).get("asked").await?;
    let prefill = graph.data["spec"]["components"].as_array().and_then(|all| all.get(1)).cloned();
    ensure!(prefill.is_some_and(|one| one["replicas"] == 2 && one["type"] == "prefill"), "{:#}", graph.data);

    // The printed command is the same wish.
    let again = screen.lines().rev().find_map(|line| line.trim().strip_prefix("again")).ok_or("a command")?;
    let words: Vec<&str> = again.trim().trim_start_matches("kubectl dynamo ").split(' ').collect();
    let said = plugin.run(&[&words[..], &["--detach"]].concat()).await?.expect(0)?;
    ensure!(said.err.contains("unchanged: nothing was written"), "{again}: {}", said.err);
    ensure!(screen.contains("kind: ServingRequest") && screen.contains("name: asked"), "no file in {screen}");
    place.delete().await
}

pub(crate) async fn only_a_yes_deletes(shared: Arc<Shared>) -> Outcome {
    let (place, plugin) = shared.user(V1Beta1, "yes").await?;
    plugin.run(&UP).await?.expect(0)?;
    let down = |before: &'static str, after: &'static str| {
        let line = plugin.line("down tiny");
        tokio::task::spawn_blocking(move || -> Result<_, String> {
            let terminal = Terminal::start(&line, &std::env::temp_dir(), &[("TERM", "xterm")]);
            let mut terminal = terminal.map_err(|error| error.to_string())?;
            terminal.type_keys(before)?;
            terminal.wait_for("Delete tiny? [y/N]")?;
            terminal.type_keys(after)?;
            terminal.end()
        })
    };
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    // What is typed ahead is no answer, nor are the letters of the next command.
    for (before, after) in [("", "\r"), ("", "n\r"), ("y\r", "\r"), ("", "kubectl dynamo status tiny\r")] {
        let (status, screen) = down(before, after).await??;
        ensure!(status.success() && screen.contains("nothing is deleted"), "{after:?}: {screen}");
        let graph = graphs.get("tiny").await?;
        ensure!(graph.metadata.deletion_timestamp.is_none(), "{after:?}: it is deleted: {screen}");
    }
    let (status, screen) = down("", "y\r").await??;
    ensure!(status.success() && screen.contains("dynamographdeployment/tiny deleted"), "{screen}");
    place.delete().await
}

pub(crate) async fn kubectl_sends_what_a_dry_run_sends(shared: Arc<Shared>) -> Outcome {
    for generation in [V1Alpha1, V1Beta1] {
        let (place, plugin) = shared.user(generation, "sent").await?;
        let audit = shared.cluster.control_plane(generation)?.audit();
        let sent = |position: u64| -> Outcome<BTreeMap<String, Value>> {
            let requests = audit.requests_since(position, place.name())?;
            let dry = requests.into_iter().filter(|request| request.dry_run && request.verb == "patch");
            Ok(dry.map(|request| (format!("{}/{}", request.resource, request.name), request.sent)).collect())
        };
        let shape = ["--mode=disagg", "--router-mode=kv", "--prefill-replicas=2", "--label=team=search"];
        let position = audit.position()?;
        plugin.run(&[&UP[..], &shape, &["--dry-run=server"]].concat()).await?.expect(0)?;
        let ours = sent(position)?;
        ensure!(ours.len() == 3 && ours.values().all(Value::is_object), "{ours:#?}");

        let words: Vec<&str> = UP.into_iter().filter(|word| *word != "--detach").skip(1).collect();
        let file = plugin.run(&[&["render"], &words[..], &shape].concat()).await?.expect(0)?.out;
        let position = audit.position()?;
        let apply =
            ["apply", "--server-side", "--field-manager=kubectl-dynamo", "--dry-run=server", "-f", "-"];
        plugin.run_kubectl(&apply, &file).await?.expect(0)?;
        let theirs = sent(position)?;
        for (name, object) in &ours {
            ensure!(theirs.get(name) == Some(object), "{name}: {object:#}\n{:#?}", theirs.get(name));
        }
        ensure!(theirs.len() == ours.len(), "{theirs:#?}");
        // As people type it.
        plugin.run_kubectl(&["apply", "--dry-run=server", "-f", "-"], &file).await?.expect(0)?;
        ensure!(place.versions(generation).await?.is_empty(), "a dry run left objects");
        place.delete().await?;
    }
    Ok(())
}
