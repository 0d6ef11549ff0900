//! Serves the same requests with the settings of an older release.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;

/// The newest release before the default one.
pub(crate) const VERSION: &str = "1.5.1";

const RELEASE: [&str; 2] = ["--release", VERSION];

pub(crate) async fn aggregated_deployment_answers(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&RELEASE)?;
    ensure!(status["ready"] == 2 && status.to_string().contains(VERSION), "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    ensure!(answer["usage"]["completionTokens"].as_u64() > Some(0), "{answer}");
    Ok(())
}

pub(crate) async fn disaggregated_answer_uses_two_workers(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&[&RELEASE[..], &["--mode", "disagg"]].concat())?;
    ensure!(status["ready"] == 3, "{status}");
    let answer = machine.run(&["chat", "tiny", "--local", "hello", "-o", "json"])?.json()?;
    let workers = &answer["workers"];
    ensure!(workers["prefill"].is_string() && workers["prefill"] != workers["decode"], "{answer}");
    Ok(())
}

pub(crate) async fn kv_router_reuses_the_cached_prefix(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let router_args = ["--router-mode", "kv", "--replicas", "2", "--", "--block-size", "16"];
    let status = machine.up_detached(&[&RELEASE[..], &router_args].concat())?;
    ensure!(status["ready"] == 3 && status["router"] == "kv", "{status}");
    let prompt = "the same beginning of a prompt that fills some blocks of sixteen tokens each";
    let send_prompt = || machine.run(&["chat", "tiny", "--local", prompt, "-o", "json"])?.json();
    let (first, second) = (send_prompt()?, send_prompt()?);
    let cached = |answer: &Value| answer["usage"]["cachedTokens"].as_u64();
    ensure!(cached(&first) == Some(0), "{first}");
    ensure!(cached(&second) >= Some(64), "{second}");
    Ok(())
}
