//! Two deployments of one model behind one name: with the printed settings, no request fails when one of them does.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure, processes};
use serde_json::Value;

use crate::Shared;
use crate::litellm::{Proxy, ask};
use crate::routing::{config, expect, gateway, list, test_document};
use kubectl_dynamo_tests::test_machine::TestMachine;

const REQUESTS: usize = 40;

/// Two deployments of the same model behind a proxy, and the status of the second one.
fn group(shared: &Shared) -> Outcome<(TestMachine, Proxy, Value)> {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&["--name", "one"])?;
    let up = ["up", "--local", "--detach", "--name", "two", "--replicas", "2"];
    machine.run(&up)?.expect(0, &[])?;
    let second = machine.run(&["status", "two", "--local", "-o", "json"])?.expect(0, &[])?.json()?;
    let proxy = Proxy::start(&machine, shared, &config(&machine, &[])?)?;
    Ok((machine, proxy, second))
}

/// Sends requests, which must all succeed, and returns how many each address answered.
fn answered_by(machine: &TestMachine, base: &str) -> Outcome<usize> {
    let answers = ask(machine, "tiny", REQUESTS)?;
    ensure!(answers.len() == REQUESTS && answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    Ok(answers.iter().filter(|(_, used)| used.as_deref() == Some(base)).count())
}

/// Waits until the frontend forgets its workers. It does not report that as an event.
fn wait_until_no_model_is_listed(machine: &TestMachine, base: &str) -> Outcome {
    for _ in 0..600 {
        let listed: Value = serde_json::from_str(&machine.get(&format!("{base}/models"))?)?;
        if listed["data"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("{base} still lists a model").into())
}

fn endpoint(status: &Value) -> Outcome<&str> {
    status["endpoint"].as_str().ok_or_else(|| format!("{status} has an endpoint").into())
}

pub(crate) async fn backend_that_stops_costs_no_request(shared: Arc<Shared>) -> Outcome {
    let (machine, _proxy, second) = group(&shared)?;
    let base = endpoint(&second)?;
    // Two of three workers are in the second deployment.
    let by_second = answered_by(&machine, base)?;
    ensure!(by_second > REQUESTS / 3 && by_second < REQUESTS, "{by_second} of {REQUESTS} by {base}");
    // `test` reaches each deployment of the group.
    for name in ["one", "two"] {
        let document = test_document(&machine, 0, &[name])?;
        expect(&document, "entry", None, "one of a group of 2")?;
        expect(&document, "unary", None, "; the frontends counted 1")?;
    }
    machine.run(&["down", "two", "--local"])?.expect(0, &[])?;
    ensure!(answered_by(&machine, base)? == 0, "a stopped deployment answers");
    let statuses = list(&machine)?;
    ensure!(statuses.contains(&("tiny".into(), "two".into(), "stale".into())), "{statuses:?}");
    gateway(&machine, &["list"])?.expect(0, &["kubectl dynamo gateway config --local"])?;
    Ok(())
}

pub(crate) async fn backend_without_workers_costs_no_request(shared: Arc<Shared>) -> Outcome {
    let (machine, _proxy, second) = group(&shared)?;
    let base = endpoint(&second)?;
    let processes = second["processes"].as_array().ok_or("the status has processes")?;
    let is_worker =
        |process: &&Value| process["name"].as_str().is_some_and(|name| name.starts_with("worker"));
    let pids = processes.iter().filter(is_worker).filter_map(|process| process["pid"].as_u64());
    let pids: Vec<u32> = pids.filter_map(|pid| u32::try_from(pid).ok()).collect();
    ensure!(pids.len() == 2, "{second}");
    processes::kill_all(&pids)?;
    // The frontend still knows its workers, and requests to them fail.
    ensure!(answered_by(&machine, base)? == 0, "a deployment without workers answers");
    wait_until_no_model_is_listed(&machine, base)?;
    // Now it answers with HTTP 404.
    ensure!(answered_by(&machine, base)? == 0, "a deployment without a model answers");
    // Without a worker, the deployment does not list a model: it is at fault, not its entry.
    gateway(&machine, &["test", "two"])?.expect(1, &["KD0807", "does not list a model"])?;
    let statuses = list(&machine)?;
    ensure!(statuses.contains(&("tiny".into(), "two".into(), "unknown".into())), "{statuses:?}");
    Ok(())
}
