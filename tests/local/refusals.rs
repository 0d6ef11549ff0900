//! What cannot be served here, each with its code and a command that helps.

use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::machine::{Machine, finish};

pub(crate) async fn a_port_in_use_is_named(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&["--name", "first"])?;
    let endpoint = status["endpoint"].as_str().ok_or("a status has an endpoint")?;
    let port = endpoint.trim_start_matches("http://127.0.0.1:").trim_end_matches("/v1");
    let said = machine.run(&["up", "--local", "--name", "second", "--port", port])?;
    said.expect(1, &["KD0803", &format!("port {port} of 127.0.0.1 is in use"), "--port"])?;
    let names = machine.run(&["list", "--local", "-o", "name"])?;
    ensure!(names.stdout == "first\n", "{names:?}");
    Ok(())
}

pub(crate) async fn a_release_that_needs_services_is_refused(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    for (release, reason) in [("0.9.1", "NATS"), ("1.3.1", "the hub")] {
        machine.run(&["up", "--local", "--release", release])?.expect(6, &["KD0516", reason, "--release"])?;
    }
    Ok(())
}

pub(crate) async fn vllm_without_a_gpu_is_refused(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let mut up = machine.command_without_programs(&["up", "--local", "--backend", "vllm", "acme/small"]);
    finish(&mut up)?.expect(5, &["KD0521", "nvidia-smi", "--backend mocker"])?;
    Ok(())
}

pub(crate) async fn flags_of_a_cluster_are_refused(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    for (flag, value) in [("--hf-token-secret", "a"), ("--storage-class", "fast"), ("--image", "i:1")] {
        machine.run(&["up", "--local", flag, value])?.expect(2, &["KD0523", flag])?;
    }
    Ok(())
}

pub(crate) async fn a_start_that_takes_too_long_is_given_up(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.run(&["up", "--local", "--timeout", "10ms"])?.expect(3, &["KD0518", "did not answer within"])?;
    Ok(())
}
