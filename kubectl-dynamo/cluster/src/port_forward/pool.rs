//! A pool of sessions to the pod of a port-forward. Sessions are opened ahead, reused, and closed when idle.
//! It does not choose the pod and does not move data.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use kube::core::Status;
use kube::{Api, Client};
use tokio::time::{Instant, interval};

use super::connection::{PodStream, WebSocket};
use super::spdy_session::SpdySession;
use crate::error::FORWARD_PORT;
use crate::{Cluster, ClusterError, Kind, Result};

/// Idle sessions to keep; if there are fewer, more are opened ahead.
const IDLE_SESSIONS: usize = 2;
/// Maximum number of sessions of one port-forward. Further connections share a session, where a client that
/// stops reading blocks the others.
const MAX_SESSIONS: usize = 64;
/// How often idle sessions are closed.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10);
/// Time after the last connection until surplus sessions are closed, and until the idle ones are closed too.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const SPARE_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The sessions of a port-forward, all to the same pod.
pub(super) struct SessionPool {
    cluster: Cluster,
    port: u16,
    state: Mutex<PoolState>,
}

struct PoolState {
    pod: Option<String>,
    /// The pod of the last failed connection. Another pod is preferred.
    avoided_pod: Option<String>,
    open: Vec<Arc<SpdySession>>,
    opening: usize,
    /// Number of connections so far. A single connection does not need an idle session.
    connections: u64,
    last_connection: Instant,
    /// Set if a proxy does not let SPDY through; then each connection uses a separate WebSocket.
    web_sockets_only: bool,
}

impl PoolState {
    fn is_for(&self, pod: &str) -> bool {
        self.pod.as_deref() == Some(pod)
    }

    fn idle_count(&self) -> usize {
        self.open.iter().filter(|session| session.users() == 0).count()
    }
}

/// What a new connection uses.
enum StreamSlot {
    Ready(PodStream),
    NeedsSession,
    WebSocket,
}

impl SessionPool {
    pub(super) fn new(cluster: Cluster, port: u16) -> Arc<Self> {
        let state = PoolState {
            pod: None,
            avoided_pod: None,
            open: Vec::new(),
            opening: 0,
            connections: 0,
            last_connection: Instant::now(),
            web_sockets_only: false,
        };
        let pool = Arc::new(Self { cluster, port, state: Mutex::new(state) });
        tokio::spawn(close_idle_sessions(Arc::downgrade(&pool)));
        pool
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current pod.
    pub(super) fn pod(&self) -> Option<String> {
        self.state().pod.clone()
    }

    /// The pod to avoid while another one is ready.
    pub(super) fn avoided_pod(&self) -> Option<String> {
        self.state().avoided_pod.clone()
    }

    /// Switches new connections to `pod`. Open connections are not affected.
    pub(super) fn switch_pod(&self, pod: String) {
        let mut state = self.state();
        if !state.is_for(&pod) {
            state.open.clear();
            state.pod = Some(pod);
        }
    }

    /// Stops using `pod` for new connections and avoids it from now on.
    pub(super) fn drop_pod(&self, pod: &str) {
        let mut state = self.state();
        if state.is_for(pod) {
            state.open.clear();
            state.avoided_pod = state.pod.take();
        }
    }

    /// Opens the first session to this pod, so that errors are known at once.
    pub(super) async fn prepare(&self, pod: &str) -> Result<()> {
        self.switch_pod(pod.to_owned());
        self.state().opening += 1;
        let opened = self.open_session(pod).await?;
        if opened.is_none() {
            self.open_web_socket(pod).await.map(drop)?;
        }
        Ok(())
    }

    /// Opens a stream to the port of this pod.
    pub(super) async fn open_stream(self: &Arc<Self>, pod: &str) -> Result<PodStream> {
        match self.acquire(pod) {
            StreamSlot::Ready(stream) => Ok(stream),
            StreamSlot::WebSocket => self.open_web_socket(pod).await,
            StreamSlot::NeedsSession => match self.open_session(pod).await? {
                Some(session) => Ok(spdy_stream(&session, self.port)),
                None => self.open_web_socket(pod).await,
            },
        }
    }

    fn acquire(self: &Arc<Self>, pod: &str) -> StreamSlot {
        let mut state = self.state();
        state.connections += 1;
        state.last_connection = Instant::now();
        if state.web_sockets_only {
            return StreamSlot::WebSocket;
        }
        state.open.retain(|session| !session.is_dead());
        let least_used =
            if state.is_for(pod) { state.open.iter().min_by_key(|session| session.users()) } else { None };
        let is_full = state.open.len() + state.opening >= MAX_SESSIONS;
        let ready = least_used
            .filter(|session| is_full || session.users() == 0)
            .map(|session| StreamSlot::Ready(spdy_stream(session, self.port)));
        let idle = state.idle_count() + state.opening;
        let missing = if state.connections > 1 && !is_full { IDLE_SESSIONS.saturating_sub(idle) } else { 0 };
        let to_open = if ready.is_none() { missing + 1 } else { missing };
        state.opening += to_open;
        drop(state);
        for _ in 0..missing {
            let (pool, pod) = (self.clone(), pod.to_owned());
            // An error is ignored here; the connection that needs the session reports it.
            tokio::spawn(async move { pool.open_session(&pod).await.map(drop) });
        }
        ready.unwrap_or(StreamSlot::NeedsSession)
    }

    /// Opens a session that is already counted in `opening`. Returns `None` if only WebSockets get through.
    async fn open_session(&self, pod: &str) -> Result<Option<Arc<SpdySession>>> {
        let result = self.cluster.with_relogin(|client| self.upgrade_to_spdy(client, pod)).await;
        let result = result.map_err(|error| self.explain(error, pod));
        let mut state = self.state();
        state.opening = state.opening.saturating_sub(1);
        match &result {
            Ok(Some(session)) if state.is_for(pod) => state.open.push(session.clone()),
            Ok(None) => state.web_sockets_only = true,
            Ok(Some(_)) | Err(_) => {}
        }
        result
    }

    async fn upgrade_to_spdy(&self, client: Client, pod: &str) -> kube::Result<Option<Arc<SpdySession>>> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/portforward", self.cluster.namespace);
        let request = Request::post(path)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "SPDY/3.1")
            .header("X-Stream-Protocol-Version", "portforward.k8s.io")
            .body(Body::empty())
            .map_err(kube::Error::HttpError)?;
        let response = client.send(request).await?;
        let code = response.status();
        if code == StatusCode::SWITCHING_PROTOCOLS {
            let upgraded = hyper::upgrade::on(response).await.map_err(kube::Error::HyperError)?;
            return Ok(Some(SpdySession::start(TokioIo::new(upgraded))));
        }
        let body = response.into_body().collect_bytes().await?;
        match api_error(code, &body) {
            Some(status) => Err(kube::Error::Api(Box::new(status))),
            None => Ok(None),
        }
    }

    async fn open_web_socket(&self, pod: &str) -> Result<PodStream> {
        let connect = async |client| {
            Api::<Pod>::namespaced(client, &self.cluster.namespace).portforward(pod, &[self.port]).await
        };
        let connected = self.cluster.with_relogin(connect).await.map_err(|error| self.explain(error, pod));
        Ok(PodStream::WebSocket(WebSocket::new(connected?, self.port)))
    }

    fn explain(&self, error: kube::Error, pod: &str) -> ClusterError {
        self.cluster.explain(error, FORWARD_PORT, Kind::Pod, pod)
    }
}

fn spdy_stream(session: &Arc<SpdySession>, port: u16) -> PodStream {
    let (writer, events) = session.new_stream(port);
    PodStream::Spdy(writer, events)
}

/// Parses an error of the API server or kubelet; `None` for a response of a proxy without SPDY support.
fn api_error(code: StatusCode, body: &[u8]) -> Option<Status> {
    let status: Option<Status> = serde_json::from_slice(body).ok();
    match (code.as_u16(), status) {
        // The kubelet's plain-text response for a pod that it does not run.
        (404, None) => Some(Status::failure(&String::from_utf8_lossy(body), "NotFound").with_code(404)),
        (401 | 403 | 404 | 409 | 429 | 500.., Some(status)) => Some(status),
        _ => None,
    }
}

async fn close_idle_sessions(pool: Weak<SessionPool>) {
    let mut ticks = interval(CLEANUP_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        let idle = state.last_connection.elapsed();
        let mut remaining = match idle {
            idle if idle < IDLE_TIMEOUT => continue,
            idle if idle < SPARE_IDLE_TIMEOUT => IDLE_SESSIONS,
            _ => 0,
        };
        state.open.retain(|session| {
            let is_needed = session.users() > 0 || remaining > 0;
            remaining = remaining.saturating_sub(usize::from(session.users() == 0));
            is_needed && !session.is_dead()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_api_errors_from_proxy_responses() {
        let status =
            |code: u16| serde_json::to_vec(&Status::failure("no", "Any").with_code(code)).expect("JSON");
        for (code, body, is_api_error) in [
            (403, status(403), true),
            (404, status(404), true),
            (404, b"pod not found".to_vec(), true),
            (503, status(503), true),
            (400, status(400), false),
            (403, b"<html>forbidden</html>".to_vec(), false),
            (502, b"<html>bad gateway</html>".to_vec(), false),
        ] {
            let code = StatusCode::from_u16(code).expect("a valid HTTP status code");
            assert_eq!(api_error(code, &body).is_some(), is_api_error, "{code}");
        }
    }
}
