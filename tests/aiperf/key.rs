//! A server that needs an API key: AIPerf sends it, and it is in no command line, no output, and no file.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::upstream::{API_KEY, Fault, with_upstream};

const RUN: [&str; 9] =
    ["bench", "run", "--name", "keyed", "--isl-osl", "64,16", "--concurrency", "2", "--progress=plain"];

pub(crate) async fn key_is_sent_and_written_nowhere(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    with_upstream(&machine, Fault::NeedsKey, |server| {
        machine.run(&[&RUN[..], server].concat())?.expect(4, &["KD0805", "--api-key-env"])?;
        let mut command = machine.command(&[&RUN[..], server, &["--api-key-env", "SERVER_KEY"]].concat());
        command.env("SERVER_KEY", format!("{API_KEY}\n")).stdin(Stdio::null());
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut aiperf_was_seen = false;
        while running.try_wait()?.is_none() {
            for pid in machine.processes()? {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                ensure!(!line.contains(API_KEY), "the key is in a command line");
                aiperf_was_seen |= line.contains("--artifact-dir");
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        ensure!(aiperf_was_seen, "AIPerf did not run");
        let output = running.wait_with_output()?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.concat();
        ensure!(text.contains("20 requests, 0 failed") && !text.contains(API_KEY), "{text}");
        Ok(())
    })?;
    let found = Command::new("grep").args(["-rl", API_KEY]).arg(machine.home()).output()?;
    ensure!(found.stdout.is_empty(), "the key is in {}", String::from_utf8_lossy(&found.stdout));
    let folder = machine.home().join(".local/share/kubectl-dynamo/bench/keyed");
    ensure!(Path::new(&folder).join("run.json").is_file(), "the run is kept");
    Ok(())
}
