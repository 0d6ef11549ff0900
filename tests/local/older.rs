//! The same wishes in the words of an older release, which serves them too.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;
use crate::machine::Machine;

/// The newest release before the default one.
pub(crate) const VERSION: &str = "1.5.1";

const RELEASE: [&str; 2] = ["--release", VERSION];

pub(crate) async fn aggregated_workers_answer(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&RELEASE)?;
    ensure!(status["ready"] == 2 && status.to_string().contains(VERSION), "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    ensure!(answer["usage"]["completionTokens"].as_u64() > Some(0), "{answer}");
    Ok(())
}

pub(crate) async fn prefill_and_decode_are_two_workers(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&[&RELEASE[..], &["--mode", "disagg"]].concat())?;
    ensure!(status["ready"] == 3, "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    let workers = &answer["workers"];
    ensure!(workers["prefill"].is_string() && workers["prefill"] != workers["decode"], "{answer}");
    Ok(())
}

pub(crate) async fn the_kv_router_finds_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let shape = ["--router-mode", "kv", "--replicas", "2", "--", "--block-size", "16"];
    let status = machine.up(&[&RELEASE[..], &shape].concat())?;
    ensure!(status["ready"] == 3 && status["router"] == "kv", "{status}");
    let prompt = "the same beginning of a prompt that fills some blocks of sixteen tokens each";
    let ask = || machine.run(&["chat", "tiny", "--local", prompt, "-o", "json"])?.json();
    let (first, second) = (ask()?, ask()?);
    let cached = |answer: &Value| answer["usage"]["cachedTokens"].as_u64();
    ensure!(cached(&first) == Some(0), "{first}");
    ensure!(cached(&second) >= Some(64), "{second}");
    Ok(())
}
