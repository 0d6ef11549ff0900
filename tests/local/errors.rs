//! Requests that cannot be served on this machine, each with its code and a helpful command.

use std::sync::Arc;

use kubectl_dynamo_core::intent::request::{FieldType, Heading, fields};
use kubectl_dynamo_tests::test_machine::{TestMachine, run_to_end};
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;

pub(crate) async fn port_in_use_is_reported(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&["--name", "first"])?;
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let port = endpoint.trim_start_matches("http://127.0.0.1:").trim_end_matches("/v1");
    let output = machine.run(&["up", "--local", "--name", "second", "--port", port])?;
    output.expect(1, &["KD0803", &format!("port {port} on 127.0.0.1 is already in use"), "--port"])?;
    let names = machine.run(&["list", "--local", "-o", "name"])?;
    ensure!(names.stdout == "first\n", "{names:?}");
    Ok(())
}

pub(crate) async fn rejects_releases_that_need_external_services(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    for (release, reason) in [("0.9.1", "NATS"), ("1.3.1", "the hub")] {
        machine.run(&["up", "--local", "--release", release])?.expect(6, &["KD0516", reason, "--release"])?;
    }
    Ok(())
}

pub(crate) async fn rejects_vllm_without_a_gpu(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let mut up = machine.command_without_programs(&["up", "--local", "--backend", "vllm", "acme/small"]);
    run_to_end(&mut up)?.expect(5, &["KD0521", "nvidia-smi", "--backend mocker"])?;
    Ok(())
}

pub(crate) async fn rejects_cluster_only_flags(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    // Only `--env` also applies to processes.
    let of_pods = fields().filter(|field| field.heading == Heading::Placement && field.path != "env");
    let of_pods = of_pods.map(|field| match field.kind {
        FieldType::Enum(values) => (field.flag, values()[0]),
        _ => (field.flag, field.example),
    });
    let others = [
        ("--hf-token-secret", "a"),
        ("--storage-class", "fast"),
        ("--cache-size", "10Gi"),
        ("--access-mode", "ReadWriteOnce"),
        ("--ignore-preflight", "all"),
    ];
    for (flag, value) in others.into_iter().chain(of_pods) {
        machine.run(&["up", "--local", flag, value])?.expect(2, &["KD0523", flag])?;
    }
    Ok(())
}

pub(crate) async fn startup_timeout_is_an_error(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine
        .run(&["up", "--local", "--timeout", "10ms"])?
        .expect(3, &["KD0518", "waiting for local deployment"])?;
    Ok(())
}
