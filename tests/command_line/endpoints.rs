//! Endpoints that do not answer as they should: what `chat` and the smoke test of `up` make of each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use kubectl_dynamo::error::Explain;
use kubectl_dynamo::smoke_test::smoke_test;

use crate::refuses;

/// What is answered to a question for a completion, after the list of models.
struct Answers {
    models: &'static str,
    head: &'static str,
    body: &'static str,
}

const ONE_MODEL: &str = r#"{"object": "list", "data": [{"id": "m"}]}"#;

/// Serves these answers for as long as the test program runs; says where.
fn serve(answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A client that leaves early has what it came for.
            let _ = answer(connection, &answers);
        }
    });
    format!("http://{address}/v1")
}

fn answer(mut connection: TcpStream, answers: &Answers) -> std::io::Result<()> {
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
        true => ("200 OK\r\ncontent-type: application/json", answers.models),
        false => (answers.head, answers.body),
    };
    write!(connection, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}")
}

#[test]
fn an_endpoint_that_answers_in_no_good_way_is_told_by_its_code() {
    let json = "200 OK\r\ncontent-type: application/json";
    let stream = "200 OK\r\ncontent-type: text/event-stream";
    for (models, head, body, code, said) in [
        (ONE_MODEL, "401 Unauthorized", r#"{"message": "no key"}"#, ("KD0805", 4), "no key"),
        (ONE_MODEL, "404 Not Found", "", ("KD0807", 1), "serves no model"),
        (r#"{"data": []}"#, json, "{}", ("KD0807", 1), "lists no model"),
        (
            ONE_MODEL,
            stream,
            "data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n",
            ("KD0810", 1),
            "closed",
        ),
        ("<html>a page</html>", json, "{}", ("KD0811", 1), "OpenAI"),
    ] {
        let url = serve(Answers { models, head, body });
        let (code, exit) = code;
        let output = crate::run(&["chat", "--url", &url, "hi"]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{stderr}");
        assert!(stderr.contains(&format!("error [{code}]: ")) && stderr.contains(said), "{code}: {stderr}");
    }
    refuses(&["chat", "--url", "http://127.0.0.1:1/v1", "hi"], 1, "KD0802", &["127.0.0.1:1"]);
}

#[tokio::test]
async fn a_frontend_that_lists_nothing_or_answers_nothing_is_no_proof() {
    for (models, head, code, said) in [
        (r#"{"data": []}"#, "200 OK", "KD0702", "it lists none"),
        (ONE_MODEL, "500 Internal Server Error", "KD0703", "no worker"),
        (ONE_MODEL, "200 OK\r\ncontent-type: application/json", "KD0703", "no worker"),
    ] {
        let url = serve(Answers { models, head, body: r#"{"message": "no worker"}"# });
        let error = smoke_test(&url, Some("m"), Duration::ZERO).await.expect_err("it does not serve");
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}
