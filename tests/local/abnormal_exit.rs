//! What remains when a process exits unexpectedly.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::{TestMachine, open_processes, wait_until_all_exit};
use kubectl_dynamo_tests::{Outcome, ensure, processes};
use rustix::process::Signal;
use serde_json::Value;

use crate::Shared;

pub(crate) async fn killing_the_foreground_command_stops_all_processes(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let mut up = machine.start(&["up", "--local", "--mode", "disagg"])?;
    up.wait_for_line("endpoint  ")?;
    let handles = open_processes(&machine.processes()?)?;
    // The command, its supervisor, a frontend, and two workers.
    ensure!(handles.len() >= 5, "{} processes", handles.len());
    up.signal(Signal::KILL)?;
    wait_until_all_exit(&handles)?;
    ensure!(machine.processes()?.is_empty(), "processes are still running");
    machine.run(&["status", "tiny", "--local"])?.expect(1, &[])?;
    // The same command starts again despite the leftovers.
    machine.run(&["up", "--local", "--detach", "--mode", "disagg"])?.expect(0, &["smoke test: done"])?;
    Ok(())
}

pub(crate) async fn down_after_supervisor_kill_stops_all_processes(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let handles = open_processes(&machine.processes()?)?;
    let supervisor = supervisor_pid(&machine)?;
    processes::kill_all(&[supervisor])?;
    machine
        .run(&["chat", "tiny", "--local", "hello"])?
        .expect(1, &["KD0522", "local deployment \"tiny\" is not running"])?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &["tiny stopped"])?;
    wait_until_all_exit(&handles)?;
    ensure!(machine.processes()?.is_empty(), "processes are still running");
    Ok(())
}

pub(crate) async fn early_worker_exit_is_reported_with_its_log_tail(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let output = machine.run(&["up", "--local", "--", "--no-such-flag"])?;
    output.expect(
        1,
        &[
            "KD0517",
            "process \"worker\" exited before the model was ready (exit code 2)",
            "worker | ",
            "no-such-flag",
        ],
    )?;
    ensure!(machine.processes()?.is_empty(), "processes are still running");
    Ok(())
}

pub(crate) async fn killed_worker_degrades_status_and_next_up_restarts(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2"])?;
    let worker_pid = pid(&status, "worker-1")?;
    processes::kill_all(&[worker_pid])?;
    let degraded = loop {
        let now = machine.run(&["status", "--local", "-o", "json"])?.json()?;
        if find_process(&now, "worker-1")["exitStatus"] == "signal 9" {
            break now;
        }
    };
    ensure!(degraded["ready"] == 2 && degraded["status"] == "degraded", "{degraded}");
    let again = machine.up_detached(&["--replicas", "2"])?;
    ensure!(again["ready"] == 3 && again["status"] == "running", "{again}");
    ensure!(find_process(&again, "frontend")["pid"] != find_process(&status, "frontend")["pid"], "{again}");
    Ok(())
}

fn find_process<'a>(status: &'a Value, name: &str) -> &'a Value {
    let all = status["processes"].as_array().into_iter().flatten();
    all.into_iter().find(|process| process["name"] == name).unwrap_or(&Value::Null)
}

/// Returns the ID of a process of a deployment.
pub(crate) fn pid(status: &Value, name: &str) -> Outcome<u32> {
    let pid = find_process(status, name)["pid"].as_u64().ok_or_else(|| format!("no {name} in {status}"))?;
    Ok(pid.try_into()?)
}

fn supervisor_pid(machine: &TestMachine) -> Outcome<u32> {
    let is_supervisor = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|arg| arg == b"__supervise"))
    };
    Ok(machine.processes()?.into_iter().find(is_supervisor).ok_or("no supervisor is running")?)
}
