//! The screens of `up` on a terminal, from real runs: one that succeeds and one that fails. If `RECORD_TO` is
//! a folder, they are stored there as recordings (asciicast, version 2).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::terminal::TestTerminal;
use kubectl_dynamo_tests::{Outcome, ensure, images, programs};
use serde_json::json;

use crate::Shared;

const SIZE: (u16, u16) = (100, 30);

/// The output of a run in chunks, and its exit code.
struct TerminalRun {
    command: &'static str,
    code: Option<i32>,
    chunks: Vec<(Duration, String)>,
}

pub(crate) async fn successful_and_failed_up_draw_their_stages(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("serving").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let run = run_in_terminal(&shared, "up acme/tiny --backend mocker -n serving").await?;
    let screen = run.screen();
    ensure!(run.code == Some(0), "{screen}");
    for line in [
        "tiny · context tests · namespace serving · Dynamo 1.6.1 (user config, v1beta1) · ",
        "  frontend  ×1",
        "  worker    ×1",
        "  cache     pvc/model-cache",
        "✔ preflight      ",
        "✔ objects        ",
        "model fetch    waits for",
        "· deploy         waiting for model fetch",
        "Ctrl-C leaves the download running; rerun the same command to resume",
        "✔ model fetch    ",
        "✔ deploy         dynamographdeployment/tiny created",
        "  frontend  0/1 ",
        "  frontend  1/1  ✔ tiny-frontend-",
        "  worker    1/1  ✔ tiny-worker-",
        "Ctrl-C stops only the watch; check with: kubectl dynamo status tiny",
        "✔ ready in ",
        " · smoke test 200, first token ",
        " tok/s",
        "  in-cluster http://tiny-frontend.serving.svc:8000/v1",
        "  try        kubectl dynamo chat tiny -n serving",
    ] {
        ensure!(screen.contains(line), "`{line}` is missing on the screen:\n{screen}");
    }
    ensure!(!screen.contains("0/0"), "a progress bar without style was drawn:\n{screen}");
    run.save_recording("up.cast")?;
    let run = self::run_in_terminal(&shared, "chat tiny 'Hello, who are you?' -n serving").await?;
    for part in ["generates placeholder text", "TTFT ", "tok/s"] {
        ensure!(run.code == Some(0) && run.screen().contains(part), "{:?}: {}", run.code, run.screen());
    }
    run.save_recording("chat.cast")?;
    let run = self::run_in_terminal(&shared, "status tiny -n serving").await?;
    ensure!(
        run.code == Some(0) && run.screen().contains("✔ UP  deployment \"tiny\" serves acme/tiny"),
        "{}",
        run.screen()
    );
    run.save_recording("status.cast")?;
    let run = top_under_load(&shared, &namespace).await?;
    for part in ["requests/s", "TTFT", "WORKER", "quit"] {
        ensure!(run.code == Some(0) && run.screen().contains(part), "{part} is missing: {}", run.screen());
    }
    run.save_recording("top.cast")?;

    let args =
        "up acme/tiny --name broken --backend mocker --image registry.invalid/vllm-runtime:1.6.1 -n serving";
    let run = self::run_in_terminal(&shared, args).await?;
    let screen = run.screen();
    ensure!(run.code == Some(1), "{screen}");
    for line in ["✗ broken-", "evidence: ~/.local/state/kubectl-dynamo/", "error [KD05", "hint: "] {
        ensure!(screen.contains(line), "`{line}` is missing on the screen:\n{screen}");
    }
    run.save_recording("up-fails.cast")?;
    namespace.delete().await
}

/// Shows `top` for some seconds while chats are answered one after the other.
async fn top_under_load(shared: &Shared, namespace: &CaseNamespace) -> Outcome<TerminalRun> {
    let plugin = shared.plugin(namespace)?;
    let chats = async |_| -> Outcome {
        loop {
            plugin.run(&["chat", "tiny", "Write a poem.", "--max-tokens=100"]).await?.expect(0)?;
        }
    };
    let leave = |terminal: &mut TestTerminal| {
        terminal.wait_for("WORKER")?;
        std::thread::sleep(Duration::from_secs(8));
        terminal.type_keys("q")
    };
    tokio::select! {
        run = run_with_keys(shared, "top tiny -n serving", leave) => run,
        failed = try_join_all([1, 2, 3].map(chats)) => Err(format!("a chat failed: {failed:?}").into()),
    }
}

/// Runs the plugin in a terminal until it exits.
async fn run_in_terminal(shared: &Shared, command: &'static str) -> Outcome<TerminalRun> {
    run_with_keys(shared, command, |_| Ok(())).await
}

/// Runs the plugin in a terminal. Settings for this machine are in the config file and not in the command.
async fn run_with_keys(
    shared: &Shared,
    command: &'static str,
    press_keys: impl FnOnce(&mut TestTerminal) -> Result<(), String> + Send + 'static,
) -> Outcome<TerminalRun> {
    let home = tempfile::tempdir()?;
    let (_, hub) = shared.hub_environment.split_once('=').ok_or("the variable has a value")?;
    let config = format!(
        "release = \"{}\"\nfetcherImage = \"{}\"\ncache.storageClass = \"manual\"\nenv.HF_ENDPOINT = \"{hub}\"\n",
        shared.release(),
        images::fetcher::REFERENCE,
    );
    std::fs::create_dir_all(home.path().join(".config/kubectl-dynamo"))?;
    std::fs::write(home.path().join(".config/kubectl-dynamo/config.toml"), config)?;
    let kubeconfig = shared.cluster.control_plane(shared.generation())?.audited_kubeconfig();
    let line = format!("{} {command}", programs::kubectl_dynamo().display());
    let folder = home.path().display().to_string();
    let result = tokio::task::spawn_blocking(move || {
        let kubeconfig = kubeconfig.display().to_string();
        let variables = [("HOME", folder.as_str()), ("KUBECONFIG", &kubeconfig), ("TERM", "xterm-256color")];
        let terminal = TestTerminal::start_sized(SIZE, &line, Path::new(&folder), &variables);
        let mut terminal = terminal.map_err(|error| error.to_string())?;
        press_keys(&mut terminal)?;
        let (status, chunks) = terminal.finish_with_chunks()?;
        let at_home = |(at, text): (Duration, String)| (at, text.replace(&folder, "~"));
        Ok::<_, String>((status.code(), chunks.into_iter().map(at_home).collect()))
    });
    let (code, chunks) = result.await??;
    Ok(TerminalRun { command, code, chunks })
}

impl TerminalRun {
    /// Returns all output without colors and cursor movements.
    fn screen(&self) -> String {
        let drawn: String = self.chunks.iter().map(|(_, text)| text.as_str()).collect();
        let mut parts = drawn.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        let end = |part: &str| part.find(|letter: char| letter.is_ascii_alphabetic()).map_or(0, |at| at + 1);
        parts.fold(first, |screen, part| screen + &part[end(part)..])
    }

    /// Stores the run in the folder for recordings, if one is set.
    fn save_recording(&self, name: &str) -> Outcome {
        let Some(folder) = std::env::var_os("RECORD_TO") else { return Ok(()) };
        let title = format!("kubectl dynamo {}", self.command);
        let head = json!({
            "version": 2, "width": SIZE.0, "height": SIZE.1, "title": title,
            "env": {"TERM": "xterm-256color"},
        });
        let typed = json!([0.0, "o", format!("$ {title}\r\n")]);
        let mut lines = vec![head.to_string(), typed.to_string()];
        let pieces = self.chunks.iter().map(|(at, text)| {
            // One second to read the command.
            let milliseconds = (at.as_secs_f64() * 1000.0).round() / 1000.0 + 1.0;
            json!([milliseconds, "o", text]).to_string()
        });
        lines.extend(pieces);
        let recording = lines.join("\n") + "\n";
        for host_path in ["/tmp", "/root", "/home", "/work"] {
            ensure!(!recording.contains(host_path), "{host_path} is a path of this machine:\n{recording}");
        }
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(Path::new(&folder).join(name), recording)?)
    }
}
