//! Deployments that serve: in the foreground, detached, apart, behind the KV router.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};
use rustix::process::Signal;

use crate::Shared;
use crate::machine::Machine;

pub(crate) async fn answers_in_the_foreground_until_interrupted(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let mut up = machine.start(&["up", "--local", "--logs"])?;
    up.until("its words mean nothing")?;
    up.until("frontend | ")?;
    up.until("smoke test: done: 200")?;
    up.until("endpoint  http://127.0.0.1:")?;
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "--max-tokens", "4"])?;
    let words: Vec<&str> =
        answer.expect(0, &["mean nothing", "TTFT", " · on "])?.stdout.split_whitespace().collect();
    let readable = |word: &&str| word.len() == 4 && word.chars().all(|c| c.is_ascii_lowercase());
    ensure!(words.len() == 4 && words.iter().all(readable), "four words are expected: {answer:?}");
    up.signal(Signal::INT)?;
    let said = up.finish()?;
    said.expect(130, &["tiny is ended"])?;
    ensure!(said.stdout.is_empty(), "stdout belongs to data: {said:?}");
    ensure!(machine.processes()?.is_empty(), "processes are left");
    machine.run(&["list", "--local"])?.expect(0, &["no deployments on this machine"])?;
    Ok(())
}

pub(crate) async fn two_ups_of_one_name_serve_once(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let up = ["up", "--local", "--detach"];
    let (first, second) = (machine.start(&up)?, machine.start(&up)?);
    let (first, second) = (first.finish()?, second.finish()?);
    let unchanged = [&first, &second].iter().filter(|said| said.stderr.contains("unchanged")).count();
    ensure!(unchanged == 1, "one serves and the other finds it: {first:?} {second:?}");
    for said in [&first, &second] {
        said.expect(0, &["endpoint  http://127.0.0.1:"])?;
    }
    let status = machine.run(&["status", "tiny", "--local", "-o", "json"])?.json()?;
    ensure!(status["ready"] == 2, "a frontend and a worker are expected: {status}");
    Ok(())
}

pub(crate) async fn a_detached_deployment_is_found_by_every_verb(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&["--name", "one"])?;
    ensure!(status["verdict"] == "UP" && status["ready"] == 2, "{status}");

    let again = machine.run(&["up", "--local", "--detach", "--name", "one"])?;
    let endpoint = status["endpoint"].as_str().ok_or("a status has an endpoint")?;
    again.expect(0, &["unchanged", endpoint])?;
    let after = machine.run(&["status", "one", "--local", "-o", "json"])?.json()?;
    ensure!(after["processes"] == status["processes"], "a process moved: {after}");
    machine
        .run(&["up", "--local", "--detach", "--name", "one", "--mode", "disagg"])?
        .expect(1, &["KD0519", "kubectl dynamo down one --local"])?;

    let list = machine.run(&["list", "--local"])?;
    ensure!(list.expect(0, &[])?.stdout.contains(endpoint), "{list:?}");
    let names = machine.run(&["list", "--local", "-o", "name"])?;
    ensure!(names.stdout == "one\n", "{names:?}");
    let screen = machine.run(&["status", "one", "--local"])?;
    ensure!(screen.stdout.starts_with("✔ UP  one serves tiny\n"), "{screen:?}");
    let logs = machine.run(&["logs", "one", "--local", "-c", "worker"])?;
    ensure!(logs.expect(0, &[])?.stdout.lines().all(|line| line.starts_with("worker     | ")), "{logs:?}");
    ensure!(!logs.stdout.is_empty(), "a worker says something when it starts");

    machine.run(&["down", "one", "--local"])?.expect(0, &["one ended"])?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    machine.run(&["status", "one", "--local"])?.expect(1, &["KD0520", "kubectl dynamo list --local"])?;
    Ok(())
}

pub(crate) async fn prefill_and_decode_are_two_workers(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&["--mode", "disagg"])?;
    ensure!(status["ready"] == 3, "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    let workers = &answer["workers"];
    ensure!(workers["prefill"].is_string() && workers["prefill"] != workers["decode"], "{answer}");
    Ok(())
}

pub(crate) async fn the_kv_router_finds_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&["--router-mode", "kv", "--replicas", "2", "--", "--block-size", "16"])?;
    ensure!(status["ready"] == 3 && status["router"] == "kv", "{status}");
    let prompt = "the same beginning of a prompt that fills some blocks of sixteen tokens each";
    let ask = || machine.run(&["chat", "tiny", "--local", prompt, "-o", "json"])?.json();
    let (first, second) = (ask()?, ask()?);
    let cached = |answer: &serde_json::Value| answer["usage"]["cachedTokens"].as_u64();
    ensure!(cached(&first) == Some(0), "{first}");
    ensure!(cached(&second) >= Some(64), "{second}");
    ensure!(first["workers"] == second["workers"], "{first} and {second}");
    Ok(())
}
