//! SIGTERM and SIGHUP end the program while it is blocked: in a prompt, or in a write to a pipe without a reader.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use kubectl_dynamo_tests::terminal::TestTerminal;
use kubectl_dynamo_tests::{processes, programs};
use rustix::process::Signal;

use crate::requests::TestFolder;

/// The documented exit code of an interrupted command.
const INTERRUPTED: i32 = 130;
/// How many seconds a command may take to end. A blocked command would never end.
const PROMPTLY: i64 = 10;

fn running(id: u32) -> processes::ProcessHandle {
    processes::open_process(id).expect("a process ID").expect("it runs")
}

/// Serves a model whose answer does not end.
fn serve_endless_answer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/v1", listener.local_addr().expect("it listens"));
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let lines = BufReader::new(&connection).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let models = r#"{"data": [{"id": "m"}]}"#;
                if head.first().is_some_and(|first| first.starts_with("GET ")) {
                    let _ = write!(&connection, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{models}");
                    return;
                }
                let event = format!(
                    "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
                    "a".repeat(1000)
                );
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                let mut result = write!(&connection, "{head}");
                while result.is_ok() {
                    result = write!(&connection, "{event}");
                }
            });
        }
    });
    url
}

#[test]
fn signals_end_a_command_whose_stdout_is_blocked() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let folder = TestFolder::new();
        let mut child = Command::new(programs::kubectl_dynamo())
            .args(["chat", "--url", &serve_endless_answer(), "hi"])
            .env_clear()
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the plugin runs");
        processes::wait_until_stdout_is_blocked(child.id()).expect("it blocks");
        let process = running(child.id());
        process.signal(signal).expect("it can be signaled");
        if !process.wait_for_exit(PROMPTLY).expect("it can be waited for") {
            let _ = child.kill();
            panic!("{signal:?} does not end the program");
        }
        let status = child.wait().expect("a child");
        assert_eq!(status.code(), Some(INTERRUPTED), "{signal:?}: {status}");
    }
}

/// Starts a command line in a terminal; its process ID is written to `pid`, and its exit code and the mode of the
/// terminal are printed after it.
fn start_in_terminal(folder: &Path, line: &str) -> TestTerminal {
    let script = format!("sh -c 'echo $$ > pid; exec {line}'; echo code=$?; stty -a; echo end");
    std::fs::write(folder.join("run.sh"), script).expect("the script");
    let home = folder.display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", "xterm"), ("LANG", "C.UTF-8")];
    TestTerminal::start("sh run.sh", folder, &variables).expect("script is installed")
}

#[test]
fn signals_end_a_command_that_waits_in_a_prompt_and_restore_the_terminal() {
    let program = programs::kubectl_dynamo();
    let endpoint = serve_endless_answer();
    let wizard = format!("{} render --release 1.6.1 --graph-api v1beta1 --tp 1 --pp 1", program.display());
    let chat = format!("{} chat --url {endpoint}", program.display());
    let (model, mode) = ("Model of the Hugging Face Hub", "Mode: agg");
    // A text, a choice, yes or no, and the conversation.
    for (line, answers, prompt) in [
        (&wizard, &[][..], model),
        (&wizard, &[(model, "acme/tiny\r")][..], mode),
        (&wizard, &[(model, "acme/tiny\r"), (mode, "\r")][..], "Expert parallelism"),
        (&chat, &[][..], "> "),
    ] {
        for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
            let folder = TestFolder::new();
            let mut terminal = start_in_terminal(folder.path(), line);
            for (question, keys) in answers {
                terminal
                    .wait_for(question)
                    .and_then(|()| terminal.type_keys(keys))
                    .unwrap_or_else(|error| panic!("{error}"));
            }
            terminal.wait_for(prompt).unwrap_or_else(|error| panic!("{error}"));
            let id = folder.read("pid").trim().parse().expect("a process ID");
            running(id).signal(signal).expect("it can be signaled");
            terminal
                .wait_for(&format!("code={INTERRUPTED}"))
                .unwrap_or_else(|error| panic!("{signal:?}: {error}"));
            // The prompt turns off the line mode and the echo of the terminal.
            let (_, screen) = terminal.finish().expect("the script exits");
            assert!(screen.contains("\u{1b}[?2004l"), "marks around pasted text stay on: {screen:?}");
            let mode = screen.rsplit_once("code=").expect("the code is printed").1;
            for setting in ["icanon", "echo"] {
                let is_on = mode.split_whitespace().any(|word| word == setting);
                assert!(is_on, "{line}, {signal:?}: {setting} is off\n{mode}");
            }
        }
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    let folder = TestFolder::new();
    // A shell starts background jobs with SIGINT ignored, and `nohup` ignores SIGHUP.
    let line = format!(
        "trap '' HUP INT; exec {} chat --url {} hi",
        programs::kubectl_dynamo().display(),
        serve_endless_answer()
    );
    let mut child = Command::new("sh")
        .args(["-c", &line])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    processes::wait_until_stdout_is_blocked(child.id()).expect("it blocks");
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        running(child.id()).signal(signal).expect("it can be signaled");
    }
    let status = child.wait().expect("a child");
    assert_eq!(status.code(), Some(INTERRUPTED), "{status}");
}
