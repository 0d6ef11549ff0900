//! `test --local` and `test --url` against the real frontend and mocker, healthy and with real faults.

use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure, processes};
use serde_json::Value;

use crate::Shared;
use crate::abnormal_exit::pid;

/// Runs `test` with these arguments and returns its document. The exit code must be `code`.
pub(crate) fn test_document(machine: &TestMachine, code: i32, args: &[&str]) -> Outcome<Value> {
    machine.run(&[&["test", "-o", "json"], args].concat())?.expect(code, &[])?.json()
}

/// Returns the finding of a probe.
fn finding<'a>(document: &'a Value, probe: &str) -> Outcome<&'a Value> {
    let findings = document["findings"].as_array().into_iter().flatten();
    findings
        .into_iter()
        .find(|one| one["name"] == probe)
        .ok_or_else(|| format!("{probe} in {document}").into())
}

/// Checks the outcome of a probe, its code, and a part of its text.
pub(crate) fn expect(
    document: &Value,
    probe: &str,
    outcome: &str,
    code: Option<&str>,
    text: &str,
) -> Outcome {
    let found = finding(document, probe)?;
    let has_text = found["text"].as_str().is_some_and(|shown| shown.contains(text));
    ensure!(found["outcome"] == outcome && found["code"].as_str() == code && has_text, "{found}");
    Ok(())
}

pub(crate) async fn healthy_endpoint_passes_and_url_gets_the_same_verdict(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&[])?;
    let local = test_document(&machine, 0, &["tiny", "--local"])?;
    ensure!(local["kind"] == "Test" && local["verdict"] == "PASSED" && local["failed"] == 0, "{local}");
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let url = test_document(&machine, 0, &["--url", endpoint])?;
    for document in [&local, &url] {
        expect(document, "models", "passed", None, "1 frontend lists tiny")?;
        expect(document, "chat", "passed", None, "8 and 8 of at most 8 tokens")?;
        expect(document, "completions", "passed", None, "an invalid request is HTTP 400")?;
    }
    let screen = machine.run(&["test", "--local", "--only", "models,chat"])?;
    ensure!(
        screen
            .expect(0, &[])?
            .stdout
            .contains("✔ tiny on this machine works as configured: 2 passed; 5 requests"),
        "{screen:?}"
    );
    machine.run(&["test", "--local", "-o", "junit", "--skip", "chat"])?.expect(0, &[])?;
    Ok(())
}

pub(crate) async fn killed_worker_fails_the_answers(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&[])?;
    processes::kill_all(&[pid(&status, "worker")?])?;
    let document = test_document(&machine, 9, &["tiny", "--local", "--only", "chat,completions"])?;
    ensure!(document["verdict"] == "FAILED" && document["failed"] == 2, "{document}");
    expect(&document, "chat", "failed", Some("KD0806"), "the unary request failed: HTTP 50")?;
    Ok(())
}

pub(crate) async fn stopped_frontend_fails_the_list_of_models(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--frontend-replicas", "2"])?;
    let both = test_document(&machine, 0, &["--local", "--only", "models"])?;
    expect(&both, "models", "passed", None, "2 frontends list tiny")?;
    let second = processes::open_process(pid(&status, "frontend-2")?)?.ok_or("the frontend is running")?;
    second.signal(rustix::process::Signal::STOP)?;
    let document = test_document(&machine, 9, &["--local", "--only", "models", "--timeout", "1s"])?;
    expect(
        &document,
        "models",
        "failed",
        Some("KD0809"),
        "frontend-2 failed: no complete answer within 1 s",
    )?;
    Ok(())
}

/// The KV router with two workers whose blocks have 16 tokens.
const KV_ROUTER: [&str; 4] = ["--router-mode", "kv", "--replicas", "2"];
const SMALL_BLOCKS: [&str; 3] = ["--", "--block-size", "16"];

fn up_with_kv_router(machine: &TestMachine, flags: &[&str], engine_flags: &[&str]) -> Outcome<Value> {
    machine.up_detached(&[&KV_ROUTER, flags, &SMALL_BLOCKS, engine_flags].concat())
}

pub(crate) async fn kv_router_with_events_is_exact(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    up_with_kv_router(&machine, &[], &[])?;
    let document = test_document(&machine, 0, &["--local"])?;
    expect(&document, "workers", "passed", None, "each of 2 registered workers answers")?;
    expect(&document, "kv-routing", "passed", None, "batches of KV events arrived: worker ")?;
    expect(&document, "burst", "passed", None, "4 concurrent streams completed on 2 workers, 64 tokens")?;
    ensure!(document["requests"].as_u64() < Some(40) && document["seconds"].is_number(), "{document}");
    Ok(())
}

pub(crate) async fn lost_kv_events_are_load_only(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    // The workers announce an address that the frontend cannot reach.
    up_with_kv_router(&machine, &["--env", "DYN_EVENT_PLANE_HOST=10.255.255.1"], &[])?;
    let document = test_document(&machine, 9, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "failed", Some("KD0711"), "none arrived at the router")
}

pub(crate) async fn predicted_caches_are_approximate(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    // The request asks for events, and the variable turns them off in the frontend.
    up_with_kv_router(&machine, &["--env", "DYN_ROUTER_USE_KV_EVENTS=false"], &[])?;
    let document = test_document(&machine, 9, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "failed", Some("KD0712"), "approximate")?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    up_with_kv_router(&machine, &["--router-kv-events=false"], &[])?;
    let document = test_document(&machine, 0, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "warning", Some("KD0712"), "approximate")
}

pub(crate) async fn disabled_prefix_caching_is_found(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    up_with_kv_router(&machine, &[], &["--no-enable-prefix-caching"])?;
    let document = test_document(&machine, 9, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "failed", Some("KD0713"), "prefix caching is off")
}

pub(crate) async fn one_worker_is_a_warning_for_the_kv_router(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&["--router-mode", "kv"])?;
    let document = test_document(&machine, 0, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "warning", Some("KD0709"), "only one worker to choose from")
}

pub(crate) async fn stopped_worker_is_named(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2"])?;
    let worker = processes::open_process(pid(&status, "worker-1")?)?.ok_or("the worker is running")?;
    worker.signal(rustix::process::Signal::STOP)?;
    // Streams that reach the worker do not complete. Afterwards, the frontend does not send it requests for a while.
    let document = test_document(&machine, 9, &["--local", "--only", "burst,workers", "--timeout", "2s"])?;
    expect(&document, "burst", "failed", Some("KD0825"), "of 4 concurrent streams failed")?;
    expect(&document, "workers", "failed", Some("KD0710"), "1 of 2 registered workers answer; worker ")?;
    Ok(())
}

pub(crate) async fn other_routers_and_urls_skip_probes_with_a_reason(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2"])?;
    let document = test_document(&machine, 0, &["--local", "--only", "kv-routing"])?;
    expect(&document, "kv-routing", "skipped", None, "the router mode is round-robin")?;
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let document = test_document(&machine, 0, &["--url", endpoint])?;
    for probe in ["workers", "kv-routing"] {
        expect(&document, probe, "skipped", None, "request fields, which are not sent to a URL")?;
    }
    expect(&document, "burst", "passed", None, "2 concurrent streams completed, 32 tokens")?;
    Ok(())
}

/// Prefill and decode workers whose simulated prefill is slow enough to be measured on a busy machine.
const DISAGGREGATED: [&str; 4] = ["--mode", "disagg", "--", "--speedup-ratio"];

fn up_disaggregated(machine: &TestMachine, engine_flags: &[&str]) -> Outcome<Value> {
    machine.up_detached(&[&DISAGGREGATED[..], &["0.2"], engine_flags].concat())
}

pub(crate) async fn disaggregated_roles_and_their_times_pass(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(
        &[&["--prefill-replicas", "2", "--decode-replicas", "2"], &DISAGGREGATED[..], &["0.2"]].concat(),
    )?;
    let document = test_document(&machine, 0, &["--local"])?;
    expect(&document, "disaggregation", "passed", None, "generates the answer; prefill took ")?;
    expect(&document, "disaggregation", "passed", None, "; all 4 pairs of workers answer")?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    machine.up_detached(&[])?;
    let document = test_document(&machine, 0, &["--local", "--only", "disaggregation"])?;
    expect(&document, "disaggregation", "skipped", None, "the same workers do prefill and decode")
}

pub(crate) async fn slow_handover_is_a_warning(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    // 1 MB of KV cache per token at 1 GB/s.
    let slow = ["--kv-transfer-bandwidth", "1", "--kv-bytes-per-token", "1000000"];
    up_disaggregated(&machine, &slow)?;
    let document = test_document(&machine, 0, &["--local", "--only", "disaggregation"])?;
    expect(&document, "disaggregation", "warning", Some("KD0715"), "TCP instead of RDMA is suspected")
}

pub(crate) async fn stopped_prefill_worker_is_found(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = up_disaggregated(&machine, &[])?;
    let prefill = processes::open_process(pid(&status, "prefill")?)?.ok_or("the worker is running")?;
    prefill.signal(rustix::process::Signal::TERM)?;
    ensure!(prefill.wait_for_exit(60)?, "the worker exits");
    let document = test_document(&machine, 9, &["--local", "--only", "disaggregation"])?;
    expect(&document, "disaggregation", "failed", Some("KD0714"), "1 decode and no prefill workers")
}

pub(crate) async fn silent_metrics_port_is_found(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--replicas", "2"])?;
    let document = test_document(&machine, 0, &["--local", "--only", "metrics"])?;
    expect(&document, "metrics", "passed", None, "3 metrics ports answer (frontend ")?;
    let worker = processes::open_process(pid(&status, "worker-2")?)?.ok_or("the worker is running")?;
    worker.signal(rustix::process::Signal::STOP)?;
    let document = test_document(&machine, 9, &["--local", "--only", "metrics", "--timeout", "2s"])?;
    expect(
        &document,
        "metrics",
        "failed",
        Some("KD0826"),
        "ports answer; worker worker-2 does not: no complete",
    )
}

pub(crate) async fn sessions_stay_on_one_worker_through_every_frontend(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let two = ["--frontend-replicas", "2", "--replicas", "2"];
    let enabled = ["--env", "DYN_ROUTER_SESSION_AFFINITY_TTL_SECS=60"];
    let unshared = ["--env", "DYN_EVENT_PLANE_HOST=10.255.255.1"];
    let kv_router = ["--router-mode", "kv"];
    let cases: [(&[&str], i32, &str, Option<&str>); 5] = [
        (&enabled, 0, "passed", None),
        (&[], 0, "warning", Some("KD0717")),
        // The frontends cannot tell each other about their sessions.
        (&[enabled, unshared].concat(), 9, "failed", Some("KD0717")),
        (&[enabled, kv_router].concat(), 0, "passed", None),
        (&kv_router, 0, "warning", Some("KD0717")),
    ];
    for (flags, exit, outcome, code) in cases {
        machine.up_detached(&[&two[..], flags, &SMALL_BLOCKS].concat())?;
        let document = test_document(&machine, exit, &["--local", "--only", "affinity"])?;
        expect(&document, "affinity", outcome, code, "through 2 frontends")?;
        machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    }
    machine.up_detached(&["--replicas", "2"])?;
    let document = test_document(&machine, 0, &["--local", "--only", "affinity"])?;
    expect(&document, "affinity", "skipped", None, "does not set DYN_ROUTER_SESSION_AFFINITY_TTL_SECS")
}

pub(crate) async fn offloaded_blocks_are_read_again(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let small_gpu = ["--", "--block-size", "16", "--num-gpu-blocks-override", "256", "--num-host-blocks"];
    machine.up_detached(&[&small_gpu[..], &["4096"]].concat())?;
    let document = test_document(&machine, 0, &["--local", "--only", "kv-offload"])?;
    expect(&document, "kv-offload", "passed", None, "of a prompt were read from the host tier")?;
    ensure!(document["requests"].as_u64() < Some(20), "{document}");
    machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    // The tier is smaller than a prompt.
    machine.up_detached(&[&small_gpu[..], &["1"]].concat())?;
    let document = test_document(&machine, 9, &["--local", "--only", "kv-offload"])?;
    expect(&document, "kv-offload", "failed", Some("KD0718"), "was computed again after ")?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    machine.up_detached(&[])?;
    let document = test_document(&machine, 0, &["--local", "--only", "kv-offload"])?;
    expect(&document, "kv-offload", "skipped", None, "does not configure a host tier")
}

pub(crate) async fn up_runs_the_probes_and_fails_with_them(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let up = ["up", "--local", "--detach", "--test"];
    let passed = machine.run(&[&up[..], &KV_ROUTER, &SMALL_BLOCKS].concat())?;
    passed.expect(0, &["probes: done: ", "kv-routing: exact, ", "metrics: 3 metrics ports answer"])?;
    machine.run(&["down", "--local", "--all"])?.expect(0, &[])?;
    let uncached = ["--no-enable-prefix-caching"];
    let failed = machine.run(&[&up[..], &KV_ROUTER, &SMALL_BLOCKS, &uncached].concat())?;
    failed.expect(9, &["KD0713", "probe \"kv-routing\" failed", "prefix caching is off"])?;
    // A deployment that fails is stopped, as after a failed smoke test.
    machine.run(&["status", "--local"])?.expect(1, &[])?;
    Ok(())
}
