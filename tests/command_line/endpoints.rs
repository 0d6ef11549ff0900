//! Faulty endpoints: how `chat` and the smoke test of `up` report them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kubectl_dynamo::smoke_test::smoke_test;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;

use crate::assert_fails;

/// The response to a completion request, after the list of models.
struct EndpointResponses {
    models: &'static str,
    head: &'static str,
    body: &'static str,
}

const ONE_MODEL: &str = r#"{"object": "list", "data": [{"id": "m"}]}"#;

/// Serves these responses as long as the test program runs; returns the URL.
fn serve_endpoint(responses: EndpointResponses) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A client that disconnects early is not an error.
            let _ = respond(connection, &responses);
        }
    });
    format!("http://{address}/v1")
}

fn respond(mut connection: TcpStream, responses: &EndpointResponses) -> std::io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    request.read_line(&mut first)?;
    for line in request.by_ref().lines() {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length: ").map_or(length, |value| value.parse().unwrap_or(0));
    }
    request.read_exact(&mut vec![0; length])?;
    let (head, body) = match first.starts_with("GET") {
        true => ("200 OK\r\ncontent-type: application/json", responses.models),
        false => (responses.head, responses.body),
    };
    write!(connection, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}")
}

#[test]
fn faulty_endpoint_response_gets_its_code() {
    let json = "200 OK\r\ncontent-type: application/json";
    let stream = "200 OK\r\ncontent-type: text/event-stream";
    for (models, head, body, code, message) in [
        (ONE_MODEL, "401 Unauthorized", r#"{"message": "no key"}"#, ("KD0805", 4), "no key"),
        (ONE_MODEL, "404 Not Found", "", ("KD0807", 1), "does not serve a model"),
        (r#"{"data": []}"#, json, "{}", ("KD0807", 1), "does not list a model"),
        (
            ONE_MODEL,
            stream,
            "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n",
            ("KD0810", 1),
            "closed",
        ),
        ("<html>a page</html>", json, "{}", ("KD0811", 1), "OpenAI"),
    ] {
        let url = serve_endpoint(EndpointResponses { models, head, body });
        let (code, exit) = code;
        let output = crate::run(&["chat", "--url", &url, "hi"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{stderr}");
        assert!(
            stderr.contains(&format!("error [{code}]: ")) && stderr.contains(message),
            "{code}: {stderr}"
        );
    }
    assert_fails(&["chat", "--url", "http://127.0.0.1:1/v1", "hi"], 1, "KD0802", &["127.0.0.1:1"]);
}

#[tokio::test]
async fn smoke_test_fails_if_an_error_follows_the_first_token() {
    let first =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n";
    for (end, message) in [
        ("error: {\"code\":400,\"message\":\"exceeds the context size\"}\n\n", "exceeds the context size"),
        ("data: {\"detail\":\"engine is dead\"}\n\n", "engine is dead"),
        (
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
            "finish reason \"error\"",
        ),
        ("", "closed"),
    ] {
        let body: &'static str = Box::leak(format!("{first}{end}").into_boxed_str());
        let head = "200 OK\r\ncontent-type: text/event-stream";
        let url = serve_endpoint(EndpointResponses { models: ONE_MODEL, head, body });
        let error = smoke_test(&url, Some("m"), Duration::ZERO).await.expect_err("it does not serve");
        assert_eq!(error.code().map(MessageCode::as_str), Some("KD0703"), "{error}");
        assert!(error.to_string().contains(message), "{error}");
        let output = crate::run(&["test", "--url", &url, "--only", "chat", "-o", "json"]);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(output.status.code(), Some(9), "{document:#}");
        assert_eq!(document["findings"][0]["outcome"], "failed", "{document:#}");
    }
}

#[tokio::test]
async fn smoke_test_fails_without_model_or_completion() {
    for (models, head, code, message) in [
        (r#"{"data": []}"#, "200 OK", "KD0702", "(listed: none)"),
        (ONE_MODEL, "500 Internal Server Error", "KD0703", "no worker"),
        (ONE_MODEL, "200 OK\r\ncontent-type: application/json", "KD0703", "no worker"),
        (ONE_MODEL, "200 OK\r\ncontent-type: text/event-stream", "KD0703", "no worker"),
        (r#"{"detail": "no worker"}"#, "200 OK", "KD0702", "no worker"),
    ] {
        let url = serve_endpoint(EndpointResponses { models, head, body: r#"{"message": "no worker"}"# });
        let error = smoke_test(&url, Some("m"), Duration::ZERO).await.expect_err("it does not serve");
        assert_eq!(error.code().map(MessageCode::as_str), Some(code), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}
