//! Installs the runtime with pip from PyPI.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kubectl_dynamo::local::LocalEvent;
use kubectl_dynamo_tests::test_machine::{TestMachine, run_to_end};
use kubectl_dynamo_tests::{Outcome, ensure};
use tokio::sync::mpsc;

use crate::{Shared, install_default_release};

pub(crate) async fn interrupted_installation_is_repaired(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let (progress, mut events) = mpsc::unbounded_channel();
    let observer = move |event: LocalEvent| {
        // The receiver is dropped once pip runs.
        let _ = progress.send(event);
    };
    {
        let interrupted = install_default_release(cache.path(), &observer);
        let pip_started = async {
            while let Some(event) = events.recv().await {
                if matches!(&event, LocalEvent::Runtime { waits_for } if waits_for.starts_with("PyPI")) {
                    return;
                }
            }
        };
        tokio::select! {
            installed = interrupted => return Err(format!("it was not interrupted: {installed:?}").into()),
            () = pip_started => {}
        }
    }
    while is_pip_running(cache.path())? {
        tokio::task::yield_now().await;
    }
    let repaired = install_default_release(cache.path(), &|_| {}).await?;
    ensure!(!repaired.reused, "a partial installation was used");
    ensure!(
        install_default_release(cache.path(), &|_| {}).await?.reused,
        "a complete installation was repeated"
    );

    let machine = TestMachine::with_cache(cache.path())?;
    machine.up_detached(&[])?;
    Ok(())
}

/// Returns whether a process of a virtual environment below this folder is running.
fn is_pip_running(cache: &Path) -> Outcome<bool> {
    let interpreter = cache.to_str().ok_or("the path of a temporary folder is UTF-8")?;
    for entry in std::fs::read_dir("/proc")? {
        let command = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        if command.starts_with(interpreter.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) async fn missing_python_error_has_the_install_command(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let machine = TestMachine::with_cache(cache.path())?;
    let output = run_to_end(&mut machine.command_without_programs(&["up", "--local"]))?;
    output.expect(1, &["KD0511", "sudo apt-get install python3 python3-venv"])?;
    Ok(())
}

pub(crate) async fn each_installation_failure_has_its_own_code(_: Arc<Shared>) -> Outcome {
    let cache = tempfile::tempdir()?;
    let machine = TestMachine::with_cache(cache.path())?;
    for (answer, code, message) in [
        ("3.8", "KD0512", "is Python 3.8"),
        ("3.12\nensurepip", "KD0513", "sudo apt-get install python3-venv"),
    ] {
        let python = machine.home().join("python3");
        std::fs::write(&python, format!("#!/bin/sh\nprintf '{answer}\\n'\n"))?;
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755))?;
        run_to_end(&mut machine.command_without_programs(&["up", "--local"]))?.expect(1, &[code, message])?;
    }
    // The port is closed, and pip tries once.
    let mut up = machine.command(&["up", "--local"]);
    up.env("PIP_INDEX_URL", "http://127.0.0.1:1/simple").env("PIP_RETRIES", "0");
    run_to_end(&mut up)?.expect(1, &["KD0514", "rerun the same command"])?;
    let file = cache.path().join("file");
    std::fs::write(&file, "")?;
    TestMachine::with_cache(&file)?.run(&["up", "--local"])?.expect(1, &["KD0515", "check the owner"])?;
    Ok(())
}
