//! A door in front of an API server that speaks plain HTTP: what a client meets of expired logins and watches, of an
//! operator that is down and of clocks that differ is made here, all else is the server's own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode, header};
use futures::StreamExt;
use http_body_util::BodyExt;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Outcome;

/// Which requests are answered in the server's place, and how.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// Part of the path.
    pub path: &'static str,
    pub method: Option<&'static str>,
    pub code: u16,
    pub message: &'static str,
}

#[derive(Debug, Default)]
struct Rules {
    /// Which token is taken, and of which requests: of one method or of all.
    token: Option<(String, Option<&'static str>)>,
    refusal: Option<Refusal>,
    /// By how much the server's clock is ahead.
    ahead: Option<SignedDuration>,
}

/// What the watches that pass are told.
#[derive(Debug, Clone, Copy, Default)]
struct Watches {
    blind: bool,
    expired: u64,
    closed: u64,
}

struct Door {
    server: Client,
    rules: Mutex<Rules>,
    watches: watch::Sender<Watches>,
}

/// A running door; it closes when dropped.
pub struct Gate {
    address: SocketAddr,
    door: Arc<Door>,
    serving: JoinHandle<()>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Gate {
    /// Opens a door to the server that `server` asks, with that client's rights.
    pub async fn open(server: Client) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let door = Arc::new(Door { server, rules: Mutex::default(), watches: watch::Sender::default() });
        let router = axum::Router::new().fallback(pass).with_state(door.clone());
        let serving = tokio::spawn(async move {
            // It ends with the test, and a test that needs it longer fails by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, door, serving })
    }

    /// A kubeconfig for it; `user` is the user's part.
    pub fn kubeconfig(&self, user: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "clusters": [{"name": "tests", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "tests", "user": user}],
        })
    }

    /// From now on only this token is taken, of requests with this method or of all.
    pub fn take_token(&self, token: &str, method: Option<&'static str>) {
        self.rules(|rules| rules.token = Some((token.to_owned(), method)));
    }

    /// From now on these requests are refused; none when there is no refusal.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.rules(|rules| rules.refusal = refusal);
    }

    /// Times in answers are those of a clock that is ahead.
    pub fn run_ahead(&self, by: SignedDuration) {
        self.rules(|rules| rules.ahead = Some(by));
    }

    /// Watches bring nothing any more.
    pub fn blind(&self) {
        self.door.watches.send_modify(|watches| watches.blind = true);
    }

    /// Ends every watch with `410 Gone`: what it began from is compacted. New ones see again.
    pub fn expire(&self) {
        self.door.watches.send_modify(|watches| {
            *watches = Watches { expired: watches.expired + 1, blind: false, ..*watches }
        });
    }

    /// Ends every watch as a server does after some minutes.
    pub fn close_watches(&self) {
        self.door.watches.send_modify(|watches| watches.closed += 1);
    }

    fn rules(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.door.rules.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Door {
    /// The answer in the server's place, if one is due.
    fn refusal(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let is_method =
            |method: Option<&str>| method.is_none_or(|method| request.method().as_str() == method);
        if let Some((token, method)) = &rules.token
            && is_method(*method)
            && given != Some(&format!("Bearer {token}"))
        {
            return Some(status(401, "Unauthorized"));
        }
        let refusal = rules
            .refusal
            .filter(|refusal| is_method(refusal.method) && request.uri().path().contains(refusal.path))?;
        Some(status(refusal.code, refusal.message))
    }

    fn ahead(&self) -> Option<SignedDuration> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).ahead
    }
}

async fn pass(State(door): State<Arc<Door>>, request: Request<Body>) -> Response<Body> {
    // Before it is looked at: a rule that comes from now on and ends the watches ends this one as well.
    let began = *door.watches.borrow();
    if let Some(refused) = door.refusal(&request) {
        return refused;
    }
    passed(&door, request, began).await.unwrap_or_else(|error| status(502, &error.to_string()))
}

async fn passed(door: &Door, request: Request<Body>, began: Watches) -> Outcome<Response<Body>> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut onwards = http::Request::builder().method(parts.method.clone()).uri(&target);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            onwards = onwards.header(name, value);
        }
    }
    let body = body.collect().await?.to_bytes();
    let answer = door.server.send(onwards.body(kube::client::Body::from(body.to_vec()))?).await?;
    let is_watch = parts.method == Method::GET && target.contains("watch=");
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    if is_watch {
        return Ok(response.body(watched(door, answer.into_body(), began))?);
    }
    let mut bytes = answer.into_body().collect().await?.to_bytes();
    if let Some(ahead) = door.ahead()
        && let Ok(mut object) = serde_json::from_slice(&bytes)
    {
        shift(&mut object, ahead);
        bytes = Bytes::from(object.to_string());
    }
    Ok(response.body(Body::from(bytes))?)
}

/// The watch's own bytes, until it is told to end.
fn watched(door: &Door, body: kube::client::Body, began: Watches) -> Body {
    let (chunks, told) = (body.into_data_stream(), door.watches.subscribe());
    let stream = futures::stream::unfold(Some((chunks, told)), move |state| async move {
        let (mut chunks, mut told) = state?;
        loop {
            let now = *told.borrow_and_update();
            if now.expired != began.expired {
                let error = json!({"type": "ERROR", "object": object(410, "too old resource version")});
                return Some((Ok(Bytes::from(format!("{error}\n"))), None));
            }
            if now.closed != began.closed {
                return None;
            }
            tokio::select! {
                changed = told.changed() => changed.ok()?,
                chunk = chunks.next() => match chunk? {
                    Ok(_) if told.borrow().blind => {}
                    Ok(chunk) => return Some((Ok(chunk), Some((chunks, told)))),
                    Err(error) => return Some((Err(std::io::Error::other(error.to_string())), None)),
                },
            }
        }
    });
    Body::from_stream(stream)
}

fn object(code: u16, message: &str) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        404 => "NotFound",
        410 => "Expired",
        _ if message.starts_with("Internal error occurred") => "InternalError",
        // The API server gives its plain errors none.
        _ => "",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn status(code: u16, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(object(code, message).to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Moves every text that is a time.
fn shift(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) => {
            let time = text.parse::<Timestamp>().ok().and_then(|time| time.checked_add(by).ok());
            if let Some(time) = time {
                *text = time.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, by)),
        _ => {}
    }
}
