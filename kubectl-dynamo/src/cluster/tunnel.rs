//! Tunnels to pods: a listener on this machine whose connections end in a container.
//!
//! It speaks SPDY/3.1 to the API server, as kubectl did for ten years and still can: one session carries connection
//! after connection, so that a new one costs neither a handshake nor a wait. Where a proxy lets only WebSockets
//! through, kube's own port-forward opens one for each connection.

mod connection;
mod frames;
mod peer;
mod session;
mod sessions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{Cluster, ClusterError, Kind, Result};
use connection::{Client, Ended};
use sessions::Sessions;

/// How long a connection waits for an API server or a pod that comes back.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Which pods answer, and on which port of theirs.
#[derive(Debug, Clone)]
pub struct TunnelTarget {
    /// Label selector; any ready pod with these labels will do.
    pub labels: String,
    /// Named in messages.
    pub name: String,
    pub port: u16,
}

/// A listener that lives as long as this value.
pub struct Tunnel {
    /// Where it listens.
    pub local: SocketAddr,
    accepting: JoinHandle<()>,
    failures: mpsc::UnboundedReceiver<ClusterError>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Tunnel {
    /// Why the next connection that fails did, of which its client only sees that it is closed; `None` when the
    /// listener has ended, which it does only by an error of the socket.
    pub async fn failure(&mut self) -> Option<ClusterError> {
        self.failures.recv().await
    }
}

impl Cluster {
    /// Opens a tunnel. A pod is looked for at once, so that a deployment without one is told apart, and again
    /// whenever the last one is gone.
    ///
    /// # Errors
    /// No ready pod; an address that cannot be listened on.
    pub async fn tunnel(&self, target: TunnelTarget, listen: SocketAddr) -> Result<Tunnel> {
        let cannot_listen =
            |error: std::io::Error| ClusterError::Listen { address: listen, cause: error.to_string() };
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let local = listener.local_addr().map_err(cannot_listen)?;
        let way = Way { cluster: self.clone(), sessions: Sessions::new(self.clone(), target.port), target };
        // A missing right shows here, and not as a connection that breaks off.
        way.sessions.prepare(&self.ready_pod(&way.target).await?).await?;
        let (failed, failures) = mpsc::unbounded_channel();
        let way = Arc::new(way);
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (way, failed) = (way.clone(), failed.clone());
                // A connection that fails is closed; the tunnel itself goes on.
                tokio::spawn(async move {
                    if let Err(error) = way.forward(Client::new(connection)).await {
                        let _ = failed.send(error);
                    }
                });
            }
        });
        Ok(Tunnel { local, accepting, failures })
    }

    async fn ready_pod(&self, target: &TunnelTarget) -> Result<String> {
        let pods = self.list(Kind::Pod, &target.labels, false).await?;
        pods.iter()
            .find(|pod| crate::readiness::pod_is_ready(pod))
            .and_then(|pod| pod["metadata"]["name"].as_str())
            .map(ToOwned::to_owned)
            .ok_or_else(|| ClusterError::NoReadyPod {
                name: target.name.clone(),
                namespace: self.namespace.clone(),
            })
    }
}

/// What connections of one tunnel share.
struct Way {
    cluster: Cluster,
    target: TunnelTarget,
    sessions: Arc<Sessions>,
}

impl Way {
    /// Carries one connection. While no pod has heard a word of it, it waits for one that does.
    async fn forward(&self, mut client: Client) -> Result<()> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut refused_by = None;
        loop {
            let Err(error) = self.attempt(&mut client).await else { return Ok(()) };
            let again = match &error {
                ClusterError::PodRefuses { pod, .. } => refused_by.replace(pod.clone()).as_ref() != Some(pod),
                ClusterError::NoReadyPod { .. } | ClusterError::NotFound { .. } => true,
                error => error.may_pass(),
            };
            if !again || begun.elapsed() > PATIENCE || !client.waits() {
                client.break_off();
                return Err(error);
            }
            if !error.may_pass() {
                self.sessions.turn_to(None);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn pod(&self) -> Result<String> {
        if let Some(pod) = self.sessions.pod() {
            return Ok(pod);
        }
        let pod = self.cluster.ready_pod(&self.target).await?;
        self.sessions.turn_to(Some(pod.clone()));
        Ok(pod)
    }

    async fn attempt(&self, client: &mut Client) -> Result<()> {
        let pod = self.pod().await?;
        let stream = self.sessions.stream(&pod).await?;
        match client.carry(stream).await {
            Ended::Whole => Ok(()),
            Ended::Unheard(cause) => Err(ClusterError::PodRefuses { pod, port: self.target.port, cause }),
            Ended::Broken(cause) => Err(ClusterError::ForwardBroke { pod, cause }),
        }
    }
}
