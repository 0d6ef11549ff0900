//! Port-forwards: a local listener whose connections are forwarded to a port of a pod.
//!
//! It uses SPDY/3.1 to the API server, which kubectl also supports. One session carries many connections, so
//! a new connection does not need a handshake. If a proxy only lets WebSockets through, kube's port-forward
//! opens one WebSocket for each connection. A failed connection does not close the listener.

mod connection;
mod peer;
mod pool;
mod spdy;
mod spdy_session;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::Pod;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::pod_is_ready;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{Cluster, ClusterError, Result};
use connection::{ClientConnection, RelayResult};
use pool::SessionPool;

/// How long a new connection waits for the API server or a ready pod.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const INITIAL_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Delay after a failed accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
/// `OPEN_MAX` of macOS. There, the hard limit of open files is usually infinite, but a soft limit must not be.
const MACOS_OPEN_MAX: u64 = 10_240;

/// The pods and the port that connections are forwarded to.
#[derive(Debug, Clone)]
pub struct PortForwardTarget {
    /// Label selector; connections go to any ready pod with these labels.
    pub labels: String,
    /// The only pod that connections go to.
    pub pod: Option<String>,
    /// Name of the deployment, for messages.
    pub name: String,
    pub port: u16,
}

/// A port-forward. Dropping it closes the listener.
pub struct PortForward {
    /// The address of the listener.
    pub local_address: SocketAddr,
    accept_task: JoinHandle<()>,
    failures: mpsc::UnboundedReceiver<ClusterError>,
}

impl Drop for PortForward {
    fn drop(&mut self) {
        self.accept_task.abort();
    }
}

impl PortForward {
    /// Waits for the next connection or accept that fails, and returns its error. The client of a failed
    /// connection only sees that it was closed. Returns `None` only after the listener was closed.
    pub async fn next_failure(&mut self) -> Option<ClusterError> {
        self.failures.recv().await
    }
}

impl Cluster {
    /// Opens a port-forward. It selects a ready pod at once, unless the target names its pod, so that a deployment
    /// without one is an error. It selects another one whenever the current pod fails.
    ///
    /// # Errors
    /// No ready pod, a missing permission, or an address that cannot be bound.
    pub async fn port_forward(&self, target: PortForwardTarget, listen: SocketAddr) -> Result<PortForward> {
        let listen_error =
            |error: std::io::Error| ClusterError::Listen { address: listen, cause: error.to_string() };
        if !self.api_client.has_login_command() {
            raise_open_file_limit();
        }
        let listener = TcpListener::bind(listen).await.map_err(listen_error)?;
        let local_address = listener.local_addr().map_err(listen_error)?;
        let forwarder =
            Forwarder { cluster: self.clone(), pool: SessionPool::new(self.clone(), target.port), target };
        // A missing permission is reported here and not as an interrupted connection.
        let pod = match &forwarder.target.pod {
            // The caller has just listed the pods. Listing them again for each would be slow for a hundred.
            Some(pod) => pod.clone(),
            None => self.ready_pod(&forwarder.target, None).await?,
        };
        forwarder.pool.prepare(&pod).await?;
        let (failure_sender, failures) = mpsc::unbounded_channel();
        let forwarder = Arc::new(forwarder);
        let handle_accepted = move |accepted: std::io::Result<(TcpStream, SocketAddr)>| {
            let (forwarder, failure_sender) = (forwarder.clone(), failure_sender.clone());
            // A failed connection is closed; the port-forward continues.
            tokio::spawn(async move {
                let result = match accepted {
                    Ok((connection, _)) => forwarder.forward(ClientConnection::new(connection)).await,
                    Err(error) => Err(ClusterError::PortForwardLost {
                        pod: forwarder.target.name.clone(),
                        cause: error.to_string(),
                    }),
                };
                if let Err(error) = result {
                    let _ = failure_sender.send(error);
                }
            });
        };
        let accept_task =
            tokio::spawn(async move { accept_loop(|| listener.accept(), handle_accepted).await });
        Ok(PortForward { local_address, accept_task, failures })
    }

    /// The name of a ready pod, preferably not `avoided_pod`, whose node may be unreachable.
    async fn ready_pod(&self, target: &PortForwardTarget, avoided_pod: Option<&str>) -> Result<String> {
        let pods = self.list_objects::<Pod>(&target.labels).await?;
        let is_target = |pod: &ObservedObject<Pod>| {
            target.pod.as_deref().is_none_or(|name| name == pod.name()) && pod_is_ready(pod)
        };
        let ready = pods.iter().filter(|pod| is_target(pod));
        let names: Vec<&str> = ready.map(|pod| pod.name()).collect();
        let best = names.iter().find(|name| avoided_pod != Some(**name)).or(names.first());
        best.map(|name| (*name).to_owned()).ok_or_else(|| ClusterError::NoReadyPod {
            name: target.name.clone(),
            namespace: self.namespace.clone(),
        })
    }
}

/// Accepts connections in an endless loop. Consecutive accept errors are reported once: too many open files
/// fail every accept until one is closed.
async fn accept_loop<C, N: Future<Output = std::io::Result<C>>>(
    accept: impl Fn() -> N,
    handle: impl Fn(std::io::Result<C>),
) {
    let mut is_reported = false;
    loop {
        let accepted = accept().await;
        let has_failed = accepted.is_err();
        if !(has_failed && is_reported) {
            handle(accepted);
        }
        is_reported = has_failed;
        if has_failed {
            sleep(ACCEPT_RETRY_DELAY).await;
        }
    }
}

/// Raises the soft limit of open files to the hard limit, because a connection uses up to two files. Child processes
/// inherit the limit, and some programs close or scan every possible file, so a process that starts others must not
/// call this.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If this fails, a later accept error is reported.
    let current = limit.maximum.or(limit.current.map(|current| current.max(MACOS_OPEN_MAX)));
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
}

/// The state that all connections of one port-forward share.
struct Forwarder {
    cluster: Cluster,
    target: PortForwardTarget,
    pool: Arc<SessionPool>,
}

impl Forwarder {
    /// Forwards one connection. It retries with another pod as long as no pod has received data from the
    /// client.
    async fn forward(&self, mut client: ClientConnection) -> Result<()> {
        let started = Instant::now();
        let mut delay = INITIAL_RETRY_DELAY;
        let mut refusing_pods = HashSet::new();
        loop {
            let Err(error) = self.try_forward(&mut client).await else { return Ok(()) };
            let should_retry = match &error {
                ClusterError::PortRefused { pod, .. } => refusing_pods.insert(pod.clone()),
                ClusterError::NoReadyPod { .. } | ClusterError::NotFound { .. } => true,
                error => error.is_retryable(),
            };
            if !should_retry || started.elapsed() > RECONNECT_TIMEOUT || !client.is_waiting() {
                client.reset();
                return Err(error);
            }
            sleep(delay).await;
            delay = (delay * 2).min(MAX_RETRY_DELAY);
        }
    }

    async fn current_pod(&self) -> Result<String> {
        if let Some(pod) = self.pool.pod() {
            return Ok(pod);
        }
        let avoided_pod = self.pool.avoided_pod();
        let pod = self.cluster.ready_pod(&self.target, avoided_pod.as_deref()).await?;
        self.pool.switch_pod(pod.clone());
        Ok(pod)
    }

    /// Forwards a connection to the current pod. After a failure, the next connection uses another pod.
    async fn try_forward(&self, client: &mut ClientConnection) -> Result<()> {
        let pod = self.current_pod().await?;
        let result = self.forward_to(client, &pod).await;
        // An unreachable API server does not mean that the pod has failed.
        if matches!(&result, Err(error) if !matches!(error, ClusterError::Unreachable { .. })) {
            self.pool.drop_pod(&pod);
        }
        result
    }

    async fn forward_to(&self, client: &mut ClientConnection, pod: &str) -> Result<()> {
        let stream = self.pool.open_stream(pod).await?;
        let pod = pod.to_owned();
        match client.relay(stream).await {
            RelayResult::Complete => Ok(()),
            RelayResult::NotDelivered(cause) => {
                Err(ClusterError::PortRefused { pod, port: self.target.port, cause })
            }
            RelayResult::Interrupted(cause) => Err(ClusterError::PortForwardLost { pod, cause }),
        }
    }
}
