//! The screens of `up` on a terminal, from real runs: one that serves and one that fails. With `RECORD_TO` naming a
//! folder they are kept there as recordings (asciicast, version 2).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kubectl_dynamo_tests::terminal::Terminal;
use kubectl_dynamo_tests::{Outcome, ensure, images, programs};
use serde_json::json;

use crate::Shared;

const SIZE: (u16, u16) = (100, 30);

/// What a run showed, piece by piece, and its exit code.
struct Run {
    command: &'static str,
    code: Option<i32>,
    moments: Vec<(Duration, String)>,
}

pub(crate) async fn a_run_that_serves_and_one_that_fails_draw_their_stages(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("serving").await?;
    place.volume("model-cache", "manual").await?;
    let run = run(&shared, "up acme/tiny --backend mocker -n serving").await?;
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
        "· deploy         waits for the model",
        "Ctrl-C leaves the download running; the same command continues",
        "✔ model fetch    ",
        "✔ deploy         dynamographdeployment/tiny created",
        "  frontend  0/1 ",
        "  frontend  1/1  ✔ tiny-frontend-",
        "  worker    1/1  ✔ tiny-worker-",
        "Ctrl-C stops only the watching: kubectl dynamo status tiny",
        "✔ ready in 0:",
        " · smoke test 200, first token ",
        " tok/s",
        "  in-cluster http://tiny-frontend.serving.svc:8000/v1",
        "  try        kubectl dynamo chat tiny -n serving",
    ] {
        ensure!(screen.contains(line), "`{line}` is not on the screen:\n{screen}");
    }
    ensure!(!screen.contains("0/0"), "a bar without its style was drawn:\n{screen}");
    run.keep("up.cast")?;
    let run = self::run(&shared, "chat tiny 'Hello, who are you?' -n serving").await?;
    for part in ["its answers mean nothing", "TTFT ", "tok/s"] {
        ensure!(run.code == Some(0) && run.screen().contains(part), "{:?}: {}", run.code, run.screen());
    }
    run.keep("chat.cast")?;
    let run = self::run(&shared, "status tiny -n serving").await?;
    ensure!(run.code == Some(0) && run.screen().contains("✔ UP  tiny serves acme/tiny"), "{}", run.screen());
    run.keep("status.cast")?;

    let words =
        "up acme/tiny --name broken --backend mocker --image registry.invalid/vllm-runtime:1.6.1 -n serving";
    let run = self::run(&shared, words).await?;
    let screen = run.screen();
    ensure!(run.code == Some(1), "{screen}");
    for line in ["✗ broken-", "evidence: ~/.local/state/kubectl-dynamo/", "error [KD05", "hint: "] {
        ensure!(screen.contains(line), "`{line}` is not on the screen:\n{screen}");
    }
    run.keep("up-fails.cast")?;
    place.delete().await
}

/// Runs the plugin at a person's terminal: what this machine needs stands in its config file, and not in the command.
async fn run(shared: &Shared, command: &'static str) -> Outcome<Run> {
    let home = tempfile::tempdir()?;
    let (_, hub) = shared.hub_environment.split_once('=').ok_or("a variable has a value")?;
    let config = format!(
        "release = \"{}\"\nfetcherImage = \"{}\"\ncache.storageClass = \"manual\"\nenv.HF_ENDPOINT = \"{hub}\"\n",
        shared.release(),
        images::fetcher::REFERENCE,
    );
    std::fs::create_dir_all(home.path().join(".config/kubectl-dynamo"))?;
    std::fs::write(home.path().join(".config/kubectl-dynamo/config.toml"), config)?;
    let kubeconfig = shared.cluster.control_plane(shared.generation())?.kubeconfig();
    let line = format!("{} {command}", programs::kubectl_dynamo().display());
    let folder = home.path().display().to_string();
    let ended = tokio::task::spawn_blocking(move || {
        let kubeconfig = kubeconfig.display().to_string();
        let variables = [("HOME", folder.as_str()), ("KUBECONFIG", &kubeconfig), ("TERM", "xterm-256color")];
        let terminal = Terminal::start_sized(SIZE, &line, Path::new(&folder), &variables);
        let (status, moments) = terminal.map_err(|error| error.to_string())?.end_in_moments()?;
        let at_home = |(at, text): (Duration, String)| (at, text.replace(&folder, "~"));
        Ok::<_, String>((status.code(), moments.into_iter().map(at_home).collect()))
    });
    let (code, moments) = ended.await??;
    Ok(Run { command, code, moments })
}

impl Run {
    /// All that was drawn, without colours and the cursor's ways.
    fn screen(&self) -> String {
        let drawn: String = self.moments.iter().map(|(_, text)| text.as_str()).collect();
        let mut parts = drawn.split('\u{1b}');
        let first = parts.next().unwrap_or_default().to_owned();
        let end = |part: &str| part.find(|letter: char| letter.is_ascii_alphabetic()).map_or(0, |at| at + 1);
        parts.fold(first, |screen, part| screen + &part[end(part)..])
    }

    /// Keeps it in the folder for recordings, if there is to be one.
    fn keep(&self, name: &str) -> Outcome {
        let Some(folder) = std::env::var_os("RECORD_TO") else { return Ok(()) };
        let title = format!("kubectl dynamo {}", self.command);
        let head = json!({
            "version": 2, "width": SIZE.0, "height": SIZE.1, "title": title,
            "env": {"TERM": "xterm-256color"},
        });
        let typed = json!([0.0, "o", format!("$ {title}\r\n")]);
        let mut lines = vec![head.to_string(), typed.to_string()];
        let pieces = self.moments.iter().map(|(at, text)| {
            // A second to read the command.
            let milliseconds = (at.as_secs_f64() * 1000.0).round() / 1000.0 + 1.0;
            json!([milliseconds, "o", text]).to_string()
        });
        lines.extend(pieces);
        let recording = lines.join("\n") + "\n";
        for private in ["/tmp", "/root", "/home", "/work"] {
            ensure!(!recording.contains(private), "{private} is a path of this machine:\n{recording}");
        }
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(Path::new(&folder).join(name), recording)?)
    }
}
