//! `chat`: streams, their ways to break, and the terminal.

use std::process::Stdio;
use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure, processes, programs};
use rustix::process::Signal;

use crate::Shared;
use crate::endings::pid;
use crate::machine::{Machine, finish};

/// The mocker's own flag for a slower engine: about a third of a second a token.
const SLOW: [&str; 3] = ["--", "--speedup-ratio", "0.02"];

pub(crate) async fn one_question_comes_from_stdin_and_only_the_answer_goes_to_stdout(
    shared: Arc<Shared>,
) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.up(&[])?;
    let said = machine.run_with_stdin(&["chat", "tiny", "--local", "--max-tokens", "3"], "from a pipe\n")?;
    said.expect(0, &["mean nothing", "TTFT", "out 3 (cut)"])?;
    ensure!(said.stdout.split_whitespace().count() == 3 && said.stdout.ends_with('\n'), "{said:?}");
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

pub(crate) async fn any_address_is_asked_without_fields_of_dynamo(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&[])?;
    let endpoint = status["endpoint"].as_str().ok_or("a status has an endpoint")?;
    let object =
        machine.run(&["chat", "--url", endpoint, "hi", "--max-tokens", "3", "-o", "json"])?.json()?;
    // Dynamo names its workers only to those who ask for them by `nvext`.
    ensure!(object["workers"].is_null() && object["usage"]["completionTokens"] == 3, "{object}");
    Ok(())
}

pub(crate) async fn an_answer_that_breaks_off_is_an_error(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    let status = machine.up(&SLOW)?;
    let mut chat = machine.start(&["chat", "tiny", "--local", "hello", "--max-tokens", "500"])?;
    chat.first_output()?;
    processes::kill_all(&[pid(&status, "worker")?])?;
    chat.finish()?.expect(1, &["KD0809", "the answer broke off"])?;
    Ok(())
}

pub(crate) async fn ctrl_c_ends_an_answer(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.up(&SLOW)?;
    let mut chat = machine.start(&["chat", "tiny", "--local", "hello", "--max-tokens", "500"])?;
    chat.first_output()?;
    chat.signal(Signal::INT)?;
    chat.finish()?.expect(130, &["ended here"])?;
    Ok(())
}

pub(crate) async fn a_terminal_gets_a_conversation(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.up(&[])?;
    let plugin = programs::kubectl_dynamo();
    let mut script = machine.other("script");
    let line = format!("{} chat tiny --local --max-tokens 3", plugin.display());
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "dumb");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("stdin is piped")?;
    std::io::Write::write_all(&mut stdin, b"first question\n/reset\nsecond question\n/exit\n")?;
    let output = child.wait_with_output()?;
    drop(stdin);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success() && shown.matches("TTFT").count() == 2, "{shown}");
    let history = std::fs::read_to_string(machine.state().join("chat-history"))?;
    ensure!(history.contains("first question") && history.contains("second question"), "{history}");
    Ok(())
}

pub(crate) async fn refusals_are_told_apart(shared: Arc<Shared>) -> Outcome {
    let machine = Machine::new(&shared)?;
    machine.run(&["chat", "tiny", "--local", "hi"])?.expect(1, &["KD0520"])?;
    machine.run(&["chat", "--url", "http://127.0.0.1:1/v1", "hi"])?.expect(1, &["KD0802", "127.0.0.1:1"])?;
    machine.run(&["chat", "--url", "no address", "hi"])?.expect(2, &["KD0804"])?;
    machine.up(&[])?;
    machine
        .run(&["chat", "tiny", "--local", "--model", "other", "hi"])?
        .expect(2, &["KD0808", "it lists tiny", "--model"])?;
    machine
        .run(&["chat", "tiny", "--local", "--temperature", "9", "hi"])?
        .expect(1, &["KD0806", "HTTP 400"])?;
    let mut with_key =
        machine.command(&["chat", "--url", "http://127.0.0.1:1/v1", "--api-key-env", "NOT_SET", "hi"]);
    finish(with_key.stdin(Stdio::null()))?.expect(2, &["KD0812", "NOT_SET"])?;
    Ok(())
}
