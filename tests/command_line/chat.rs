//! `chat` against endpoints that deviate from OpenAI's: what counts as an answer, which errors are recognized, and what
//! reaches the terminal.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use kubectl_dynamo_tests::programs;
use kubectl_dynamo_tests::terminal::TestTerminal;

use crate::requests::TestFolder;

const STREAM: &str = "200 OK\r\ncontent-type: text/event-stream";
const MODELS: &str = r#"{"object": "list", "data": [{"id": "m"}]}"#;

/// What an endpoint sends: the status and headers, and the body.
#[derive(Clone)]
struct Response {
    head: &'static str,
    body: String,
}

/// An endpoint on loopback that records the requests, with headers and body.
struct TestEndpoint {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TestEndpoint {
    /// Serves the list of models and the responses to completion requests in turn; the last one repeats.
    fn start(models: Response, completions: Vec<Response>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = requests.clone();
        std::thread::spawn(move || {
            let mut completions = completions.into_iter();
            let mut last = completions.next();
            for connection in listener.incoming().map_while(Result::ok) {
                let Ok(request) = read_request(&connection) else { continue };
                let response = if request.starts_with("GET") { Some(models.clone()) } else { last.clone() };
                if !request.starts_with("GET") {
                    last = completions.next().or(last);
                }
                recorded.lock().expect("no panic").push(request);
                let Response { head, body } = response.expect("a response");
                // A client that disconnects early is not an error.
                let _ = write!(&connection, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}");
            }
        });
        Self { url: format!("http://{address}/v1"), requests }
    }

    /// Streams this body as the answer of model `m`.
    fn with_stream(body: &str) -> Self {
        let models = Response { head: "200 OK\r\ncontent-type: application/json", body: MODELS.into() };
        Self::start(models, vec![Response { head: STREAM, body: body.into() }])
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    fn chat(&self, arguments: &[&str]) -> Output {
        crate::run(&[&["chat", "--url", &self.url, "hi"], arguments].concat())
    }
}

fn read_request(connection: &TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(connection);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let start = request.len();
        if reader.read_line(&mut request)? == 0 || request[start..].trim().is_empty() {
            break;
        }
        let line = request[start..].to_lowercase();
        length =
            line.strip_prefix("content-length: ").map_or(length, |value| value.trim().parse().unwrap_or(0));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.push_str(&String::from_utf8_lossy(&body));
    Ok(request)
}

/// A stream event with this delta and finish reason.
fn event(delta: &str, finish_reason: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish_reason}}}]}}\n\n")
}

fn hel() -> String {
    event(r#"{"content":"Hel"}"#, "null")
}

fn stop() -> String {
    event("{}", r#""stop""#)
}

const DONE: &str = "data: [DONE]\n\n";

#[track_caller]
fn assert_chat(body: &str, exit: i32, stdout: &str, stderr: &str) {
    let output = TestEndpoint::with_stream(body).chat(&[]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{body}\n{out}\n{err}");
    assert_eq!(out, stdout, "{body}\n{err}");
    assert!(err.contains(stderr), "{body}\n{err}");
}

#[test]
fn error_in_a_stream_is_printed_and_fails() {
    let bare_error = |json: &str| format!("data: {json}\n\n{DONE}");
    for (end, words) in [
        (
            "error: {\"code\":400,\"message\":\"exceeds the context size\"}\n\ndata: [DONE]\n\n".into(),
            "exceeds the context size",
        ),
        (bare_error(r#"{"error":{"code":503,"type":"overloaded_error"}}"#), "overloaded_error (code 503)"),
        (bare_error(r#"{"detail":"engine is dead"}"#), "engine is dead"),
        (bare_error(r#"{"error":{"error":{"message":"inner words"}}}"#), "inner words"),
        (bare_error(r#"{"object":"error","message":"KV cache pool is full"}"#), "KV cache pool is full"),
        ("event: error\ndata: {\"message\":\"timed out\"}\n\n".into(), "timed out"),
        (event("{}", r#""error""#) + DONE, "finish reason \"error\""),
        (event("{}", r#""error","error":{"message":"upstream"}"#) + DONE, "upstream"),
        (event("{}", r#"{"type":"abort","message":"out of memory"}"#) + DONE, "out of memory"),
    ] {
        assert_chat(&format!("{}{end}", hel()), 1, "Hel\n", "error [KD0809]: the response stream failed: ");
        assert_chat(&format!("{}{end}", hel()), 1, "Hel\n", words);
    }
    assert_chat(&hel(), 1, "Hel\n", "error [KD0810]: ");
    assert_chat(DONE, 1, "", "error [KD0811]: ");
    assert_chat("<html>log in</html>", 1, "", "log in");
}

#[test]
fn answer_with_a_finish_reason_is_complete_without_done() {
    assert_chat(&(hel() + &stop()), 0, "Hel\n", "");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n";
    assert_chat(&(hel() + &stop() + usage), 0, "Hel\n", "in 5 · out 2");
}

#[test]
fn content_parts_refusals_and_tool_calls_are_printed() {
    let parts =
        event(r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hmm"}]}]}"#, "null")
            + &event(r#"{"content":[{"type":"text","text":"Hello"}]}"#, "null")
            + &event(r#"{"content":" world"}"#, r#""stop""#);
    assert_chat(&parts, 0, "Hello world\n", "hmm");
    assert_chat(&event(r#"{"refusal":"I cannot"}"#, r#""stop""#), 0, "I cannot\n", "");
    let tools = event(r#"{"tool_calls":[{"index":0,"function":{"name":"weather","arguments":""}}]}"#, "null")
        + &event(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}"#, r#""tool_calls""#);
    assert_chat(&tools, 0, "", "the model calls weather({\"a\":1})");
    assert_chat(&event("{}", r#""stop""#), 0, "", "the answer is empty");
    assert_chat(&event(r#"{"content":"Hel"}"#, r#""content_filter""#), 0, "Hel\n", "filtered");
}

#[test]
fn empty_events_and_a_byte_order_mark_are_ignored() {
    assert_chat(&format!("data:\n\ndata: \n\n{}{}{DONE}", hel(), stop()), 0, "Hel\n", "");
    assert_chat(&format!("\u{feff}{}{}{DONE}", hel(), stop()), 0, "Hel\n", "");
    assert_chat("{\"choices\":[{\"message\":{\"content\":\"Hello\"}}]}", 0, "Hello\n", "");
}

#[test]
fn named_model_is_used_if_the_endpoint_does_not_list_its_models() {
    let json = "200 OK\r\ncontent-type: application/json";
    for (head, models) in [
        ("404 Not Found", r#"{"detail":"Not Found"}"#),
        ("404 Not Found", ""),
        ("403 Forbidden", r#"{"error":{"message":"no permission to list"}}"#),
        (json, r#"{"object":"list","data":[]}"#),
        (json, r#"{"object":"list","data":[{"id":"*"}]}"#),
        (json, r#"{"object":"list","data":[{"id":"openai/*"}]}"#),
        (json, "<html>"),
        (json, r#"[{"id":"gpt"}]"#),
    ] {
        let models = Response { head, body: models.into() };
        let body = hel() + &stop() + DONE;
        let endpoint = TestEndpoint::start(models.clone(), vec![Response { head: STREAM, body }]);
        let output = endpoint.chat(&["--model", "gpt"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == b"Hel\n", "{}: {stderr}", models.body);
        assert!(endpoint.requests()[1].contains(r#""model":"gpt""#), "{}", models.body);
        if !models.body.contains("gpt") {
            assert!(!endpoint.chat(&[]).status.success(), "{}", models.body);
        }
    }
    let listed = TestEndpoint::with_stream("");
    let output = listed.chat(&["--model", "other"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("error [KD0808]: "), "{output:?}");
    let unlisted = Response { head: "404 Not Found", body: r#"{"detail":"Not Found"}"#.into() };
    let output = TestEndpoint::start(unlisted, Vec::new()).chat(&[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error [KD0808]: ") && stderr.contains("--model MODEL"), "{stderr}");
}

#[test]
fn optional_fields_that_an_endpoint_rejects_are_not_sent_again() {
    let rejection = |body: &str| Response { head: "400 Bad Request", body: body.into() };
    let models = Response { head: "200 OK\r\ncontent-type: application/json", body: MODELS.into() };
    let endpoint = TestEndpoint::start(
        models,
        vec![
            rejection(
                r#"{"detail":[{"loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#,
            ),
            rejection(r#"{"error":{"message":"Use 'max_completion_tokens' instead of 'max_tokens'."}}"#),
            Response { head: STREAM, body: hel() + &stop() },
        ],
    );
    let output = endpoint.chat(&["--max-tokens", "3"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = endpoint.requests();
    assert_eq!(requests.len(), 4);
    assert!(!requests[3].contains("stream_options") && requests[3].contains(r#""max_completion_tokens":3"#));
}

#[test]
fn key_is_trimmed_and_an_invalid_key_is_not_sent_or_printed() {
    let chat = |endpoint: &TestEndpoint, key: &str| {
        let home = tempfile::tempdir().expect("a folder");
        Command::new(programs::kubectl_dynamo())
            .args(["chat", "--url", &endpoint.url, "--api-key-env", "MYKEY", "hi"])
            .env_clear()
            .env("HOME", home.path())
            .env("MYKEY", key)
            .stdin(Stdio::null())
            .output()
            .expect("the plugin runs")
    };
    let endpoint = TestEndpoint::with_stream(&(hel() + &stop()));
    let output = chat(&endpoint, "sk-abc\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = endpoint.requests();
    assert!(
        requests.len() == 2 && requests.iter().all(|one| one.contains("authorization: Bearer sk-abc\r\n"))
    );
    for (key, reason) in [("sk-abc\nsk-def", "a line break"), ("Bearer sk-abc", "a space"), ("", "is empty")]
    {
        let endpoint = TestEndpoint::with_stream("");
        let output = chat(&endpoint, key);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("error [KD0005]: ") && stderr.contains(reason), "{stderr}");
        assert!(!stderr.contains("abc") && endpoint.requests().is_empty(), "{stderr}");
    }
}

#[test]
fn no_proxy_accepts_all_hosts_and_ports() {
    let endpoint = TestEndpoint::with_stream(&(hel() + &stop()));
    // Another notation of the address, because a proxy is never used for 127.0.0.1.
    let url = endpoint.url.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let address = endpoint.url.trim_start_matches("http://").trim_end_matches("/v1");
    let chat = |exceptions: &str| {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(programs::kubectl_dynamo());
        command.args(["chat", "--url", &url, "hi"]).env_clear().env("HOME", home.path());
        command.env("HTTP_PROXY", "http://127.0.0.1:1").env("NO_PROXY", exceptions);
        command.stdin(Stdio::null()).output().expect("the plugin runs")
    };
    for exceptions in ["*", address, "127.0.0.0/8"] {
        let output = chat(exceptions);
        assert!(output.status.success(), "{exceptions}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!chat("127.0.0.1:1").status.success());
}

#[test]
fn password_of_the_url_is_not_printed() {
    let output = crate::run(&["chat", "--url", "http://user:secret@127.0.0.1:1/v1", "hi"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("KD0802") && !stderr.contains("secret"), "{stderr}");
}

const ESCAPES: &str = "Hello \\u001b[31mred\\u001b]0;title\\u0007 \\u009b2J\\u202eend\\r\\n";

fn with_escapes() -> TestEndpoint {
    let stream = event(&format!(r#"{{"reasoning":"{ESCAPES}"}}"#), "null")
        + &event(r#"{"content":"a\u001b]0;ti"}"#, "null")
        + &event(r#"{"content":"tle\u0007b"}"#, "null")
        + &event(&format!(r#"{{"content":"{ESCAPES}"}}"#), r#""stop""#);
    TestEndpoint::with_stream(&stream)
}

/// Removes the colors and the line editing of this program.
fn forbidden_characters(text: &str) -> Vec<char> {
    let own = ["\u{1b}[2m", "\u{1b}[0m", "\u{1b}[m"];
    let text = own.into_iter().fold(text.to_owned(), |text, sequence| text.replace(sequence, ""));
    text.chars().filter(|c| (c.is_control() && !"\n\r\t".contains(*c)) || *c == '\u{202e}').collect()
}

#[test]
fn escape_sequences_of_a_model_do_not_reach_a_pipe() {
    let output = with_escapes().chat(&[]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert_eq!(out, "abHello red end\n");
    assert!(forbidden_characters(&err).is_empty() && err.contains("Hello red end"), "{err:?}");
    // Errors contain words of the endpoint, too.
    let failing = event("{}", r#"null,"error":{"message":"a\u001b[31mb\u009bc"}"#);
    let output = TestEndpoint::with_stream(&failing).chat(&[]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(forbidden_characters(&err).is_empty() && err.contains("stream failed: ab"), "{err:?}");
}

#[test]
fn escape_sequences_of_a_model_do_not_reach_a_terminal() {
    let folder = TestFolder::new();
    let endpoint = with_escapes();
    let line = format!("{} chat --url {} hi", programs::kubectl_dynamo().display(), endpoint.url);
    let home = folder.path().display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", "xterm"), ("LANG", "C.UTF-8")];
    let terminal = TestTerminal::start(&line, folder.path(), &variables).expect("script is installed");
    let (status, screen) = terminal.finish().expect("it exits");
    assert!(status.success() && screen.contains("abHello red end"), "{screen:?}");
    assert!(forbidden_characters(&screen).is_empty(), "{screen:?}");
}

#[test]
fn json_output_keeps_every_character_as_an_escape() {
    let output = with_escapes().chat(&["-o", "json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(forbidden_characters(&text).is_empty(), "{text:?}");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected = "a\u{1b}]0;title\u{7}bHello \u{1b}[31mred\u{1b}]0;title\u{7} \u{9b}2J\u{202e}end\r\n";
    assert_eq!(document["text"], expected);
}
