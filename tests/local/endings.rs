//! What is left when something ends that should not have.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure, processes};
use rustix::process::Signal;
use serde_json::Value;

use crate::Shared;
use crate::machine::{Machine, all_end, hold};

pub(crate) async fn nothing_survives_a_kill_of_the_foreground(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let mut up = machine.start(&["up", "--local", "--mode", "disagg"])?;
    up.until("endpoint  ")?;
    let all = hold(&machine.processes()?)?;
    // The command, its supervisor, a frontend and two workers.
    ensure!(all.len() >= 5, "{} processes", all.len());
    up.signal(Signal::KILL)?;
    all_end(&all)?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    machine.run(&["status", "tiny", "--local"])?.expect(1, &[])?;
    // The same command begins again over what was left.
    machine.run(&["up", "--local", "--detach", "--mode", "disagg"])?.expect(0, &["smoke test: done"])?;
    Ok(())
}

pub(crate) async fn nothing_survives_a_kill_of_the_supervisor_and_a_down(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.up(&[])?;
    let all = hold(&machine.processes()?)?;
    let supervisor = supervisor(&machine)?;
    processes::kill_all(&[supervisor])?;
    machine.run(&["chat", "tiny", "--local", "hello"])?.expect(1, &["KD0522", "does not run any more"])?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &["tiny ended"])?;
    all_end(&all)?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    Ok(())
}

pub(crate) async fn a_worker_that_ends_early_is_shown_with_its_last_words(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let said = machine.run(&["up", "--local", "--", "--no-such-flag"])?;
    said.expect(
        1,
        &["KD0517", "worker ended before the model answered (exit code 2)", "worker | ", "no-such-flag"],
    )?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    Ok(())
}

pub(crate) async fn a_lost_worker_is_told_and_the_next_up_starts_anew(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&["--replicas", "2"])?;
    let lost = pid(&status, "worker-1")?;
    processes::kill_all(&[lost])?;
    let degraded = loop {
        let now = machine.run(&["status", "--local", "-o", "json"])?.json()?;
        if process(&now, "worker-1")["ended"] == "signal 9" {
            break now;
        }
    };
    ensure!(degraded["ready"] == 2 && degraded["status"] == "degraded", "{degraded}");
    let again = machine.up(&["--replicas", "2"])?;
    ensure!(again["ready"] == 3 && again["status"] == "running", "{again}");
    ensure!(process(&again, "frontend")["pid"] != process(&status, "frontend")["pid"], "{again}");
    Ok(())
}

fn process<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["processes"].as_array().into_iter().flatten();
    all.into_iter().find(|process| process["name"] == name).unwrap_or(&Value::Null)
}

/// The process id of one of a deployment's processes.
pub(crate) fn pid(status: &Value, name: &str) -> Outcome<u32> {
    let pid = process(status, name)["pid"].as_u64().ok_or_else(|| format!("no {name} in {status}"))?;
    Ok(pid.try_into()?)
}

fn supervisor(machine: &Machine) -> Outcome<u32> {
    let is_supervisor = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"__supervise"))
    };
    Ok(machine.processes()?.into_iter().find(is_supervisor).ok_or("no supervisor runs")?)
}
