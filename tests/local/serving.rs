//! Serving deployments: in the foreground, detached, disaggregated, with the KV router.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use rustix::process::Signal;

use crate::Shared;

pub(crate) async fn foreground_deployment_answers_until_interrupted(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let mut up = machine.start(&["up", "--local", "--logs"])?;
    up.wait_for_line("mocker (generates placeholder text)")?;
    up.wait_for_line("frontend | ")?;
    up.wait_for_line("smoke test: done: 200")?;
    up.wait_for_line("endpoint  http://127.0.0.1:")?;
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "--max-tokens", "4"])?;
    let words: Vec<&str> =
        answer.expect(0, &["placeholder text", "TTFT", " · on "])?.stdout.split_whitespace().collect();
    let readable = |word: &&str| word.len() == 4 && word.chars().all(|c| c.is_ascii_lowercase());
    ensure!(words.len() == 4 && words.iter().all(readable), "expected four words: {answer:?}");
    up.signal(Signal::INT)?;
    let output = up.finish()?;
    output.expect(130, &["deployment \"tiny\" stopped"])?;
    ensure!(output.stdout.is_empty(), "stdout belongs to data: {output:?}");
    ensure!(machine.processes()?.is_empty(), "processes are left");
    machine.run(&["list", "--local"])?.expect(0, &["no local deployments found"])?;
    Ok(())
}

pub(crate) async fn concurrent_ups_start_one_deployment(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let up = ["up", "--local", "--detach"];
    let (first, second) = (machine.start(&up)?, machine.start(&up)?);
    let (first, second) = (first.finish()?, second.finish()?);
    let unchanged = [&first, &second].iter().filter(|output| output.stderr.contains("unchanged")).count();
    ensure!(unchanged == 1, "one starts and the other is unchanged: {first:?} {second:?}");
    for output in [&first, &second] {
        output.expect(0, &["endpoint  http://127.0.0.1:"])?;
    }
    let status = machine.run(&["status", "tiny", "--local", "-o", "json"])?.json()?;
    ensure!(status["ready"] == 2, "expected a frontend and a worker: {status}");
    Ok(())
}

pub(crate) async fn every_verb_finds_a_detached_deployment(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--name", "one"])?;
    ensure!(status["verdict"] == "UP" && status["ready"] == 2, "{status}");

    for process in status["processes"].as_array().ok_or("the status has processes")? {
        let port = process["metricsPort"].as_u64().ok_or("a process has a metrics port")?;
        let url = format!("http://127.0.0.1:{port}/metrics");
        let metrics = machine.get(&url)?;
        ensure!(metrics.contains("# TYPE dynamo_"), "{process}: {metrics}");
        let screen = machine.run(&["status", "one", "--local"])?;
        ensure!(screen.stdout.contains(&url), "{screen:?}");
    }

    let again = machine.run(&["up", "--local", "--detach", "--name", "one"])?;
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    again.expect(0, &["unchanged", endpoint])?;
    let after = machine.run(&["status", "one", "--local", "-o", "json"])?.json()?;
    ensure!(after["processes"] == status["processes"], "a process was replaced: {after}");
    machine
        .run(&["up", "--local", "--detach", "--name", "one", "--mode", "disagg"])?
        .expect(1, &["KD0519", "kubectl dynamo down one --local"])?;

    let list = machine.run(&["list", "--local"])?;
    ensure!(list.expect(0, &[])?.stdout.contains(endpoint), "{list:?}");
    let names = machine.run(&["list", "--local", "-o", "name"])?;
    ensure!(names.stdout == "one\n", "{names:?}");
    let screen = machine.run(&["status", "one", "--local"])?;
    ensure!(screen.stdout.starts_with("✔ UP  deployment \"one\" serves tiny\n"), "{screen:?}");
    let logs = machine.run(&["logs", "one", "--local", "-c", "worker"])?;
    ensure!(logs.expect(0, &[])?.stdout.lines().all(|line| line.starts_with("worker     | ")), "{logs:?}");
    ensure!(!logs.stdout.is_empty(), "a worker logs something when it starts");

    machine.run(&["down", "one", "--local"])?.expect(0, &["one stopped"])?;
    ensure!(machine.processes()?.is_empty(), "processes are left");
    machine.run(&["status", "one", "--local"])?.expect(1, &["KD0520", "kubectl dynamo list --local"])?;
    Ok(())
}

pub(crate) async fn disaggregated_answer_uses_two_workers(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--mode", "disagg"])?;
    ensure!(status["ready"] == 3, "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    let workers = &answer["workers"];
    ensure!(workers["prefill"].is_string() && workers["prefill"] != workers["decode"], "{answer}");
    Ok(())
}

pub(crate) async fn kv_router_reuses_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status =
        machine.up_detached(&["--router-mode", "kv", "--replicas", "2", "--", "--block-size", "16"])?;
    ensure!(status["ready"] == 3 && status["router"] == "kv", "{status}");
    let prompt = "the same beginning of a prompt that fills some blocks of sixteen tokens each";
    let send_prompt = || machine.run(&["chat", "tiny", "--local", prompt, "-o", "json"])?.json();
    let (first, second) = (send_prompt()?, send_prompt()?);
    let cached = |answer: &serde_json::Value| answer["usage"]["cachedTokens"].as_u64();
    ensure!(cached(&first) == Some(0), "{first}");
    ensure!(cached(&second) >= Some(64), "{second}");
    ensure!(first["workers"] == second["workers"], "{first} and {second}");
    Ok(())
}
