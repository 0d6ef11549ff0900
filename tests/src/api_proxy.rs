//! An HTTP proxy in front of an API server that simulates expired credentials and watches, an unavailable
//! operator, and clock skew. All other responses come from the server.

use std::collections::BTreeMap;
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

/// Requests that the proxy answers itself, and the response.
#[derive(Debug, Clone, Copy)]
pub struct InjectedError {
    /// Substring of the request path.
    pub path: &'static str,
    pub method: Option<&'static str>,
    pub code: u16,
    pub message: &'static str,
}

#[derive(Debug, Default)]
struct ProxyRules {
    /// The accepted token, for requests with one method or for all.
    accepted_token: Option<(String, Option<&'static str>)>,
    injected_error: Option<InjectedError>,
    /// Responses to reads, by a part of their address.
    injected_objects: BTreeMap<&'static str, Value>,
    /// How far the server's clock is ahead.
    clock_skew: Option<SignedDuration>,
}

/// How forwarded watches behave.
#[derive(Debug, Clone, Copy, Default)]
struct WatchControl {
    suppressed: bool,
    expirations: u64,
    closures: u64,
}

struct ProxyState {
    server: Client,
    rules: Mutex<ProxyRules>,
    watches: watch::Sender<WatchControl>,
}

/// A running proxy; dropping it stops it.
pub struct ApiProxy {
    address: SocketAddr,
    proxy: Arc<ProxyState>,
    serving: JoinHandle<()>,
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ApiProxy {
    /// Starts a proxy to the server of the client `server`, with that client's permissions.
    pub async fn start(server: Client) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let proxy =
            Arc::new(ProxyState { server, rules: Mutex::default(), watches: watch::Sender::default() });
        let router = axum::Router::new().fallback(handle).with_state(proxy.clone());
        let serving = tokio::spawn(async move {
            // It stops with the test; a test that needs it longer fails anyway.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, proxy, serving })
    }

    /// Returns a kubeconfig for the proxy. `user` is its user entry.
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

    /// Accepts only this token from now on, for requests with this method or for all.
    pub fn accept_only_token(&self, token: &str, method: Option<&'static str>) {
        self.update_rules(|rules| rules.accepted_token = Some((token.to_owned(), method)));
    }

    /// Rejects these requests from now on, or none if there is no rejection.
    pub fn inject_error(&self, error: Option<InjectedError>) {
        self.update_rules(|rules| rules.injected_error = error);
    }

    /// Answers reads whose address contains `address` with this object, such as a list of what runs outside of these
    /// tests.
    pub fn inject_object(&self, address: &'static str, object: Value) {
        self.update_rules(|rules| drop(rules.injected_objects.insert(address, object)));
    }

    /// Shifts times in responses as if the server's clock were ahead.
    pub fn set_clock_skew(&self, skew: SignedDuration) {
        self.update_rules(|rules| rules.clock_skew = Some(skew));
    }

    /// Watches deliver no more events.
    pub fn suppress_watch_events(&self) {
        self.proxy.watches.send_modify(|watches| watches.suppressed = true);
    }

    /// Ends every watch with `410 Gone`, as if its resource version were compacted. New watches deliver
    /// events again.
    pub fn expire_watches(&self) {
        self.proxy.watches.send_modify(|watches| {
            *watches = WatchControl { expirations: watches.expirations + 1, suppressed: false, ..*watches }
        });
    }

    /// Ends every watch, as a server does after some minutes.
    pub fn close_watches(&self) {
        self.proxy.watches.send_modify(|watches| watches.closures += 1);
    }

    fn update_rules(&self, change: impl FnOnce(&mut ProxyRules)) {
        change(&mut self.proxy.rules.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ProxyState {
    /// Returns the response if the proxy answers this request itself.
    fn injected_response(&self, request: &Request<Body>) -> Option<Response<Body>> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let authorization =
            request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let is_method =
            |method: Option<&str>| method.is_none_or(|method| request.method().as_str() == method);
        if let Some((token, method)) = &rules.accepted_token
            && is_method(*method)
            && authorization != Some(&format!("Bearer {token}"))
        {
            return Some(status_response(401, "Unauthorized"));
        }
        let uri = request.uri().to_string();
        if request.method() == Method::GET
            && let Some((_, object)) =
                rules.injected_objects.iter().find(|(address, _)| uri.contains(**address))
        {
            return Some(json_response(StatusCode::OK, object));
        }
        let error = rules
            .injected_error
            .filter(|error| is_method(error.method) && request.uri().path().contains(error.path))?;
        Some(status_response(error.code, error.message))
    }

    fn clock_skew(&self) -> Option<SignedDuration> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clock_skew
    }
}

async fn handle(State(proxy): State<Arc<ProxyState>>, request: Request<Body>) -> Response<Body> {
    // Read before the request is handled, so that a rule set from now on also ends this watch.
    let initial = *proxy.watches.borrow();
    if let Some(response) = proxy.injected_response(&request) {
        return response;
    }
    forward(&proxy, request, initial).await.unwrap_or_else(|error| status_response(502, &error.to_string()))
}

async fn forward(
    proxy: &ProxyState,
    request: Request<Body>,
    initial: WatchControl,
) -> Outcome<Response<Body>> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut forwarded = http::Request::builder().method(parts.method.clone()).uri(&target);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let body = body.collect().await?.to_bytes();
    let answer = proxy.server.send(forwarded.body(kube::client::Body::from(body.to_vec()))?).await?;
    let is_watch = parts.method == Method::GET && target.contains("watch=");
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    if is_watch {
        return Ok(response.body(watch_body(proxy, answer.into_body(), initial))?);
    }
    let mut bytes = answer.into_body().collect().await?.to_bytes();
    if let Some(skew) = proxy.clock_skew()
        && let Ok(mut object) = serde_json::from_slice(&bytes)
    {
        shift_times(&mut object, skew);
        bytes = Bytes::from(object.to_string());
    }
    Ok(response.body(Body::from(bytes))?)
}

/// Forwards the bytes of a watch until it must end.
fn watch_body(proxy: &ProxyState, body: kube::client::Body, initial: WatchControl) -> Body {
    let (chunks, changes) = (body.into_data_stream(), proxy.watches.subscribe());
    let stream = futures::stream::unfold(Some((chunks, changes)), move |state| async move {
        let (mut chunks, mut changes) = state?;
        loop {
            let current = *changes.borrow_and_update();
            if current.expirations != initial.expirations {
                let error =
                    json!({"type": "ERROR", "object": status_object(410, "too old resource version")});
                return Some((Ok(Bytes::from(format!("{error}\n"))), None));
            }
            if current.closures != initial.closures {
                return None;
            }
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                chunk = chunks.next() => match chunk? {
                    Ok(_) if changes.borrow().suppressed => {}
                    Ok(chunk) => return Some((Ok(chunk), Some((chunks, changes)))),
                    Err(error) => return Some((Err(std::io::Error::other(error.to_string())), None)),
                },
            }
        }
    });
    Body::from_stream(stream)
}

fn status_object(code: u16, message: &str) -> Value {
    let reason = match code {
        401 => "Unauthorized",
        404 => "NotFound",
        410 => "Expired",
        _ if message.starts_with("Internal error occurred") => "InternalError",
        // The API server does not set a reason for plain errors.
        _ => "",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn status_response(code: u16, message: &str) -> Response<Body> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &status_object(code, message))
}

fn json_response(status: StatusCode, object: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(object.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// Shifts every string that is a time.
fn shift_times(value: &mut Value, by: SignedDuration) {
    match value {
        Value::String(text) => {
            let time = text.parse::<Timestamp>().ok().and_then(|time| time.checked_add(by).ok());
            if let Some(time) = time {
                *text = time.to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shift_times(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift_times(field, by)),
        _ => {}
    }
}
