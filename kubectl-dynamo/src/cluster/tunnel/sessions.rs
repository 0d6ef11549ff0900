//! The sessions to the pod that a tunnel leads to: opened ahead, used again, closed when nobody needs them.

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
use super::session::Session;
use crate::cluster::error::FORWARD_PORT;
use crate::cluster::{Cluster, ClusterError, Kind, Result};

/// Sessions that wait for connections to come; with fewer, more are opened ahead.
const SPARES: usize = 2;
/// Sessions of one tunnel. Beyond that connections share one, and a client that stops reading holds up its fellows.
const MOST: usize = 64;
/// How often it is looked at which are needed.
const LOOK: Duration = Duration::from_secs(10);
/// How long more than the spares are kept after the last connection, and then these.
const KEEP: Duration = Duration::from_secs(30);
const KEEP_SPARES: Duration = Duration::from_secs(300);

/// Sessions to one pod at a time.
pub(super) struct Sessions {
    cluster: Cluster,
    port: u16,
    state: Mutex<State>,
}

struct State {
    pod: Option<String>,
    /// The last pod that a connection failed at: another one is better.
    avoided: Option<String>,
    open: Vec<Arc<Session>>,
    opening: usize,
    /// Connections so far: whoever makes one alone needs no spare.
    taken: u64,
    last_taken: Instant,
    /// Something on the way lets no session through; each connection gets a WebSocket of its own.
    web_sockets: bool,
}

impl State {
    fn is_of(&self, pod: &str) -> bool {
        self.pod.as_deref() == Some(pod)
    }

    fn spares(&self) -> usize {
        self.open.iter().filter(|session| session.users() == 0).count()
    }
}

/// What there is for a connection at once.
enum Place {
    Here(PodStream),
    ToOpen,
    WebSocket,
}

impl Sessions {
    pub(super) fn new(cluster: Cluster, port: u16) -> Arc<Self> {
        let state = State {
            pod: None,
            avoided: None,
            open: Vec::new(),
            opening: 0,
            taken: 0,
            last_taken: Instant::now(),
            web_sockets: false,
        };
        let sessions = Arc::new(Self { cluster, port, state: Mutex::new(state) });
        tokio::spawn(close_unneeded(Arc::downgrade(&sessions)));
        sessions
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod that connections go to.
    pub(super) fn pod(&self) -> Option<String> {
        self.state().pod.clone()
    }

    /// The pod that connections should not go to while there is another.
    pub(super) fn avoided(&self) -> Option<String> {
        self.state().avoided.clone()
    }

    /// Leads to another pod. Connections that are open stay where they are.
    pub(super) fn turn_to(&self, pod: String) {
        let mut state = self.state();
        if !state.is_of(&pod) {
            state.open.clear();
            state.pod = Some(pod);
        }
    }

    /// Leads to this pod no more, and for now to none.
    pub(super) fn turn_from(&self, pod: &str) {
        let mut state = self.state();
        if state.is_of(pod) {
            state.open.clear();
            state.avoided = state.pod.take();
        }
    }

    /// Opens the first session to this pod, so that what stands in the way is known at once.
    pub(super) async fn prepare(&self, pod: &str) -> Result<()> {
        self.turn_to(pod.to_owned());
        self.state().opening += 1;
        let opened = self.open(pod).await?;
        if opened.is_none() {
            self.web_socket(pod).await.map(drop)?;
        }
        Ok(())
    }

    /// A stream to the port of this pod.
    pub(super) async fn stream(self: &Arc<Self>, pod: &str) -> Result<PodStream> {
        match self.place(pod) {
            Place::Here(stream) => Ok(stream),
            Place::WebSocket => self.web_socket(pod).await,
            Place::ToOpen => match self.open(pod).await? {
                Some(session) => Ok(stream_of(&session, self.port)),
                None => self.web_socket(pod).await,
            },
        }
    }

    fn place(self: &Arc<Self>, pod: &str) -> Place {
        let mut state = self.state();
        state.taken += 1;
        state.last_taken = Instant::now();
        if state.web_sockets {
            return Place::WebSocket;
        }
        state.open.retain(|session| !session.is_dead());
        let best =
            if state.is_of(pod) { state.open.iter().min_by_key(|session| session.users()) } else { None };
        let full = state.open.len() + state.opening >= MOST;
        let here = best
            .filter(|session| full || session.users() == 0)
            .map(|session| Place::Here(stream_of(session, self.port)));
        let spares = state.spares() + state.opening;
        let wanted = if state.taken > 1 && !full { SPARES.saturating_sub(spares) } else { 0 };
        let ahead = if here.is_none() { wanted + 1 } else { wanted };
        state.opening += ahead;
        drop(state);
        for _ in 0..wanted {
            let (sessions, pod) = (self.clone(), pod.to_owned());
            // Why one could not be opened ahead is told to the connection that needs it.
            tokio::spawn(async move { sessions.open(&pod).await.map(drop) });
        }
        here.unwrap_or(Place::ToOpen)
    }

    /// Opens a session that was counted as opening; none where nothing but WebSockets gets through.
    async fn open(&self, pod: &str) -> Result<Option<Arc<Session>>> {
        let opened = self.cluster.logged_in(|client| self.upgrade(client, pod)).await;
        let opened = opened.map_err(|error| self.explain(error, pod));
        let mut state = self.state();
        state.opening = state.opening.saturating_sub(1);
        match &opened {
            Ok(Some(session)) if state.is_of(pod) => state.open.push(session.clone()),
            Ok(None) => state.web_sockets = true,
            Ok(Some(_)) | Err(_) => {}
        }
        opened
    }

    async fn upgrade(&self, client: Client, pod: &str) -> kube::Result<Option<Arc<Session>>> {
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
            return Ok(Some(Session::over(TokioIo::new(upgraded))));
        }
        let said = response.into_body().collect_bytes().await?;
        match refusal(code, &said) {
            Some(status) => Err(kube::Error::Api(Box::new(status))),
            None => Ok(None),
        }
    }

    async fn web_socket(&self, pod: &str) -> Result<PodStream> {
        let ask = async |client| {
            Api::<Pod>::namespaced(client, &self.cluster.namespace).portforward(pod, &[self.port]).await
        };
        let asked = self.cluster.logged_in(ask).await.map_err(|error| self.explain(error, pod));
        Ok(PodStream::WebSocket(WebSocket::new(asked?, self.port)))
    }

    fn explain(&self, error: kube::Error, pod: &str) -> ClusterError {
        self.cluster.explain(error, FORWARD_PORT, Kind::Pod, pod)
    }
}

fn stream_of(session: &Arc<Session>, port: u16) -> PodStream {
    let (voice, told) = session.stream(port);
    PodStream::Session(voice, told)
}

/// What the cluster itself refuses. Anything else than that comes from a proxy which does not know the protocol.
fn refusal(code: StatusCode, said: &[u8]) -> Option<Status> {
    let status: Option<Status> = serde_json::from_slice(said).ok();
    match (code.as_u16(), status) {
        // The node's own word for a pod that it does not run any more.
        (404, None) => Some(Status::failure(&String::from_utf8_lossy(said), "NotFound").with_code(404)),
        (401 | 403 | 404 | 409 | 429 | 500.., Some(status)) => Some(status),
        _ => None,
    }
}

async fn close_unneeded(sessions: Weak<Sessions>) {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        let Some(sessions) = sessions.upgrade() else { return };
        let mut state = sessions.state();
        let idle = state.last_taken.elapsed();
        let mut left = match idle {
            idle if idle < KEEP => continue,
            idle if idle < KEEP_SPARES => SPARES,
            _ => 0,
        };
        state.open.retain(|session| {
            let needed = session.users() > 0 || left > 0;
            left = left.saturating_sub(usize::from(session.users() == 0));
            needed && !session.is_dead()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_refuses_is_told_from_a_proxy_in_between() {
        let status =
            |code: u16| serde_json::to_vec(&Status::failure("no", "Any").with_code(code)).expect("JSON");
        for (code, said, refused) in [
            (403, status(403), true),
            (404, status(404), true),
            (404, b"pod not found".to_vec(), true),
            (503, status(503), true),
            (400, status(400), false),
            (403, b"<html>forbidden</html>".to_vec(), false),
            (502, b"<html>bad gateway</html>".to_vec(), false),
        ] {
            let code = StatusCode::from_u16(code).expect("a code");
            assert_eq!(refusal(code, &said).is_some(), refused, "{code}");
        }
    }
}
