//! The runtime's installation, with pip and PyPI.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kubectl_dynamo::local::Progress;
use kubectl_dynamo_tests::{Outcome, ensure};
use tokio::sync::mpsc;

use crate::machine::{Machine, finish};
use crate::{Shared, install};

pub(crate) async fn an_interrupted_installation_is_repaired(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let (progress, mut seen) = mpsc::unbounded_channel();
    let observer = move |event: Progress| {
        // Nobody listens once pip is reached.
        let _ = progress.send(event);
    };
    {
        let interrupted = install(cache.path(), &observer);
        let pip_works = async {
            while let Some(event) = seen.recv().await {
                if matches!(&event, Progress::Runtime { waits_for } if waits_for.starts_with("PyPI")) {
                    return;
                }
            }
        };
        tokio::select! {
            installed = interrupted => return Err(format!("it was not interrupted: {installed:?}").into()),
            () = pip_works => {}
        }
    }
    while pip_runs(cache.path())? {
        tokio::task::yield_now().await;
    }
    let repaired = install(cache.path(), &|_| {}).await?;
    ensure!(!repaired.reused, "half an installation was used");
    ensure!(install(cache.path(), &|_| {}).await?.reused, "a whole installation is made again");

    let machine = Machine::with_cache(cache.path())?;
    machine.up(&[])?;
    Ok(())
}

/// Whether a process of an environment below this folder runs.
fn pip_runs(cache: &Path) -> Outcome<bool> {
    let interpreter = cache.to_str().ok_or("a temporary folder's name is text")?;
    for entry in std::fs::read_dir("/proc")? {
        let command = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        if command.starts_with(interpreter.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) async fn a_missing_python_is_named_with_the_command_that_installs_it(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let machine = Machine::with_cache(cache.path())?;
    let said = finish(&mut machine.command_without_programs(&["up", "--local"]))?;
    said.expect(1, &["KD0511", "sudo apt-get install python3 python3-venv"])?;
    Ok(())
}

pub(crate) async fn what_keeps_a_runtime_from_being_installed_is_told_by_its_code(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let machine = Machine::with_cache(cache.path())?;
    for (answer, code, words) in [
        ("3.8", "KD0512", "is Python 3.8"),
        ("3.12\nensurepip", "KD0513", "sudo apt-get install python3-venv"),
    ] {
        let python = machine.home().join("python3");
        std::fs::write(&python, format!("#!/bin/sh\nprintf '{answer}\\n'\n"))?;
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755))?;
        finish(&mut machine.command_without_programs(&["up", "--local"]))?.expect(1, &[code, words])?;
    }
    // Nobody listens there, and pip asks once.
    let mut up = machine.command(&["up", "--local"]);
    up.env("PIP_INDEX_URL", "http://127.0.0.1:1/simple").env("PIP_RETRIES", "0");
    finish(&mut up)?.expect(1, &["KD0514", "run the same command again"])?;
    let file = cache.path().join("file");
    std::fs::write(&file, "")?;
    Machine::with_cache(&file)?.run(&["up", "--local"])?.expect(1, &["KD0515", "look at the owner"])?;
    Ok(())
}
