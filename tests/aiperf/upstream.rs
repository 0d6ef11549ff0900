//! A server with the OpenAI API that fails in one way, for one case.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use kubectl_dynamo_tests::test_machine::TestMachine;
use kubectl_dynamo_tests::{Outcome, ensure, model};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How the server fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every third request gets a 503.
    EveryThird,
    /// Every second stream ends after half of its tokens with an error in a chunk.
    ErrorInStream,
    /// Every request gets a 404.
    All,
    /// Requests without [`API_KEY`] get a 401.
    NeedsKey,
}

/// The key of the server that needs one.
pub(crate) const API_KEY: &str = "key-of-the-benchmark-4711";

struct Upstream {
    fault: Fault,
    requests: AtomicU32,
}

/// Runs the work with the arguments for a server on the machine: its URL and the folder with the tokenizer.
pub(crate) fn with_upstream<T>(
    machine: &TestMachine,
    fault: Fault,
    work: impl FnOnce(&[&str]) -> Outcome<T>,
) -> Outcome<T> {
    let tokenizer = machine.home().join("model");
    model::write_model(&tokenizer)?;
    let (stop, stopped) = oneshot::channel();
    let (url_sender, url) = channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| machine.run_inside(serve(fault, url_sender, stopped)));
        let url = url.recv_timeout(Duration::from_secs(60))?;
        let tokenizer = tokenizer.to_str().ok_or("the path of a temporary folder is UTF-8")?;
        let result = work(&["--url", &url, "--tokenizer", tokenizer]);
        drop(stop);
        server.join().map_err(|_| "the server panicked")??;
        result
    })
}

async fn serve(fault: Fault, url: Sender<String>, stopped: oneshot::Receiver<()>) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    url.send(format!("http://{}/v1", listener.local_addr()?))?;
    let upstream = Arc::new(Upstream { fault, requests: AtomicU32::new(0) });
    let router = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(answer))
        .with_state(upstream);
    // The sender is dropped at the end of the case. AIPerf's connections may stay open, so the server does not wait.
    tokio::select! {
        served = axum::serve(listener, router) => served?,
        _ = stopped => {}
    }
    Ok(())
}

/// Whether a request is refused because it does not have the key.
fn is_refused(upstream: &Upstream, headers: &HeaderMap) -> bool {
    let expected = format!("Bearer {API_KEY}");
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    upstream.fault == Fault::NeedsKey && given != Some(&expected)
}

async fn models(State(upstream): State<Arc<Upstream>>, headers: HeaderMap) -> Response {
    if is_refused(&upstream, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({"object": "list", "data": [{"id": "tiny"}]})).into_response()
}

async fn answer(
    State(upstream): State<Arc<Upstream>>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    if is_refused(&upstream, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let number = upstream.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let failure = |status: StatusCode, message: &str| {
        (status, Json(json!({"error": {"message": message, "code": status.as_u16()}}))).into_response()
    };
    match upstream.fault {
        Fault::EveryThird if number % 3 == 0 => {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "no worker is available");
        }
        Fault::All => return failure(StatusCode::NOT_FOUND, "the model is gone"),
        Fault::EveryThird | Fault::ErrorInStream | Fault::NeedsKey => {}
    }
    let tokens = request["max_completion_tokens"].as_u64().unwrap_or(1);
    let is_cut = upstream.fault == Fault::ErrorInStream && number % 2 == 0;
    let events =
        stream_events(tokens, is_cut).into_iter().map(|event| Ok::<_, Infallible>(Bytes::from(event)));
    let body = Body::from_stream(stream::iter(events));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The events of an answer: one chunk for each token, then the usage. The letter is one token of the test's model.
fn stream_events(tokens: u64, is_cut: bool) -> Vec<String> {
    let event = |data: &Value| format!("data: {data}\n\n");
    let chunk = |choices: Value, usage: Value| json!({"id": "1", "object": "chat.completion.chunk", "model": "tiny", "choices": choices, "usage": usage});
    let token = event(&chunk(json!([{"index": 0, "delta": {"content": "a"}}]), Value::Null));
    let sent = usize::try_from(if is_cut { tokens / 2 } else { tokens }).unwrap_or_default();
    let mut events = vec![token; sent];
    let usage = json!({"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1});
    events.push(match is_cut {
        true => event(&json!({"error": {"message": "the worker exited", "code": 500}})),
        false => event(&chunk(json!([]), usage)),
    });
    events.push("data: [DONE]\n\n".into());
    events
}

/// Returns the requests of AIPerf's own file without the warm-up.
pub(crate) fn requests_in(folder: &std::path::Path) -> Outcome<Vec<Value>> {
    let text = std::fs::read_to_string(folder.join("profile_export.jsonl"))?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let requests: Vec<Value> =
        lines?.into_iter().filter(|line| line["metadata"]["benchmark_phase"] == "profiling").collect();
    ensure!(!requests.is_empty(), "no requests in {}", folder.display());
    Ok(requests)
}
