//! `chat`: streams, how they fail, and the terminal.

use std::process::Stdio;
use std::sync::Arc;

use kubectl_dynamo_tests::test_machine::{TestMachine, run_to_end};
use kubectl_dynamo_tests::{Outcome, ensure, processes, programs};
use rustix::process::Signal;

use crate::Shared;
use crate::abnormal_exit::pid;

/// The mocker's flag for a slower engine: about 0.3 s per token.
const SLOW: [&str; 3] = ["--", "--speedup-ratio", "0.02"];

pub(crate) async fn prompt_is_read_from_stdin_and_stdout_has_only_the_answer(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let output =
        machine.run_with_stdin(&["chat", "tiny", "--local", "--max-tokens", "3"], "from a pipe\n")?;
    output.expect(0, &["placeholder text", "TTFT", "out 3 (cut)"])?;
    ensure!(output.stdout.split_whitespace().count() == 3 && output.stdout.ends_with('\n'), "{output:?}");
    machine.run_with_stdin(&["chat", "tiny", "--local"], " \n")?.expect(2, &["KD0812"])?;
    let object =
        machine.run(&["chat", "tiny", "--local", "hi", "--max-tokens", "3", "-o", "json"])?.json()?;
    ensure!(
        object["apiVersion"] == "kubectl-dynamo.dev/v1" && object["kind"] == "ChatCompletion",
        "{object}"
    );
    ensure!(
        object["timings"]["firstTokenMs"].is_f64() && object["usage"]["completionTokens"] == 3,
        "{object}"
    );
    Ok(())
}

pub(crate) async fn url_endpoint_gets_no_dynamo_fields(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&[])?;
    let endpoint = status["endpoint"].as_str().ok_or("the status has an endpoint")?;
    let object =
        machine.run(&["chat", "--url", endpoint, "hi", "--max-tokens", "3", "-o", "json"])?.json()?;
    // Dynamo returns worker IDs only to requests with `nvext`.
    ensure!(object["workers"].is_null() && object["usage"]["completionTokens"] == 3, "{object}");
    Ok(())
}

pub(crate) async fn truncated_stream_is_an_error(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    let status = machine.up_detached(&SLOW)?;
    let mut chat = machine.start(&["chat", "tiny", "--local", "hello", "--max-tokens", "500"])?;
    chat.wait_for_output()?;
    processes::kill_all(&[pid(&status, "worker")?])?;
    chat.finish()?.expect(1, &["KD0809", "the response stream failed"])?;
    Ok(())
}

pub(crate) async fn ctrl_c_stops_the_answer(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&SLOW)?;
    let mut chat = machine.start(&["chat", "tiny", "--local", "hello", "--max-tokens", "500"])?;
    chat.wait_for_output()?;
    chat.signal(Signal::INT)?;
    chat.finish()?.expect(130, &["interrupted"])?;
    Ok(())
}

pub(crate) async fn terminal_starts_a_repl(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.up_detached(&[])?;
    let plugin = programs::kubectl_dynamo();
    let mut script = machine.program_command("script");
    let line = format!("{} chat tiny --local --max-tokens 3", plugin.display());
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "dumb");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("stdin is piped")?;
    std::io::Write::write_all(&mut stdin, b"first question\n/reset\nsecond question\n/exit\n")?;
    let output = child.wait_with_output()?;
    drop(stdin);
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && screen.matches("TTFT").count() == 2, "{screen}");
    let history = std::fs::read_to_string(machine.state().join("chat-history"))?;
    ensure!(history.contains("first question") && history.contains("second question"), "{history}");
    Ok(())
}

pub(crate) async fn each_chat_error_has_its_own_code(shared: Arc<Shared>) -> Outcome {
    let machine = TestMachine::with_cache(&shared.cache)?;
    machine.run(&["chat", "tiny", "--local", "hi"])?.expect(1, &["KD0520"])?;
    machine.run(&["chat", "--url", "http://127.0.0.1:1/v1", "hi"])?.expect(1, &["KD0802", "127.0.0.1:1"])?;
    machine.run(&["chat", "--url", "no address", "hi"])?.expect(2, &["KD0804"])?;
    machine.up_detached(&[])?;
    machine
        .run(&["chat", "tiny", "--local", "--model", "other", "hi"])?
        .expect(2, &["KD0808", "available: tiny", "--model"])?;
    machine
        .run(&["chat", "tiny", "--local", "--temperature", "9", "hi"])?
        .expect(1, &["KD0806", "HTTP 400"])?;
    let mut with_key =
        machine.command(&["chat", "--url", "http://127.0.0.1:1/v1", "--api-key-env", "NOT_SET", "hi"]);
    run_to_end(with_key.stdin(Stdio::null()))?.expect(2, &["KD0812", "NOT_SET"])?;
    Ok(())
}
