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

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
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
/// After a connection that could not be taken.
const PAUSE_UNTAKEN: Duration = Duration::from_millis(50);

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
    /// Why the next connection that fails did, of which its client only sees that it is closed, or why none can be
    /// taken now; `None` only where the listener has ended, which it never does by itself.
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
        open_many_files();
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let local = listener.local_addr().map_err(cannot_listen)?;
        let way = Way { cluster: self.clone(), sessions: Sessions::new(self.clone(), target.port), target };
        // A missing right shows here, and not as a connection that breaks off.
        way.sessions.prepare(&self.ready_pod(&way.target, None).await?).await?;
        let (failed, failures) = mpsc::unbounded_channel();
        let way = Arc::new(way);
        let take = move |accepted: std::io::Result<(TcpStream, SocketAddr)>| {
            let (way, failed) = (way.clone(), failed.clone());
            // A connection that fails is closed; the tunnel itself goes on.
            tokio::spawn(async move {
                let forwarded = match accepted {
                    Ok((connection, _)) => way.forward(Client::new(connection)).await,
                    Err(error) => Err(ClusterError::ForwardBroke {
                        pod: way.target.name.clone(),
                        cause: error.to_string(),
                    }),
                };
                if let Err(error) = forwarded {
                    let _ = failed.send(error);
                }
            });
        };
        let accepting = tokio::spawn(async move { take_all(|| listener.accept(), take).await });
        Ok(Tunnel { local, accepting, failures })
    }

    /// The name of a ready pod; of several not this one, whose node may have died without a word.
    async fn ready_pod(&self, target: &TunnelTarget, avoided: Option<&str>) -> Result<String> {
        let pods = self.list(Kind::Pod, &target.labels, false).await?;
        let ready = pods.iter().filter(|pod| crate::readiness::pod_is_ready(pod));
        let names: Vec<&str> = ready.filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        let best = names.iter().find(|name| avoided != Some(**name)).or(names.first());
        best.map(|name| (*name).to_owned()).ok_or_else(|| ClusterError::NoReadyPod {
            name: target.name.clone(),
            namespace: self.namespace.clone(),
        })
    }
}

/// Takes every connection that comes, for ever. Why one cannot be taken is told once until another can: where too many
/// files are open, that takes until one is closed.
async fn take_all<C, N: Future<Output = std::io::Result<C>>>(
    next: impl Fn() -> N,
    take: impl Fn(std::io::Result<C>),
) {
    let mut is_told = false;
    loop {
        let taken = next().await;
        let failed = taken.is_err();
        if !(failed && is_told) {
            take(taken);
        }
        is_told = failed;
        if failed {
            sleep(PAUSE_UNTAKEN).await;
        }
    }
}

/// Lets this process open as many files as it may: a connection takes up to two.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused, what cannot be opened is told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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
        let mut refused_by = HashSet::new();
        loop {
            let Err(error) = self.attempt(&mut client).await else { return Ok(()) };
            let again = match &error {
                ClusterError::PodRefuses { pod, .. } => refused_by.insert(pod.clone()),
                ClusterError::NoReadyPod { .. } | ClusterError::NotFound { .. } => true,
                error => error.may_pass(),
            };
            if !again || begun.elapsed() > PATIENCE || !client.waits() {
                client.break_off();
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn pod(&self) -> Result<String> {
        if let Some(pod) = self.sessions.pod() {
            return Ok(pod);
        }
        let avoided = self.sessions.avoided();
        let pod = self.cluster.ready_pod(&self.target, avoided.as_deref()).await?;
        self.sessions.turn_to(pod.clone());
        Ok(pod)
    }

    /// Carries a connection to the pod that there is now. Where that fails the next one looks for another pod.
    async fn attempt(&self, client: &mut Client) -> Result<()> {
        let pod = self.pod().await?;
        let carried = self.carry(client, &pod).await;
        // An API server that does not answer says nothing of the pod.
        if matches!(&carried, Err(error) if !matches!(error, ClusterError::Unreachable { .. })) {
            self.sessions.turn_from(&pod);
        }
        carried
    }

    async fn carry(&self, client: &mut Client, pod: &str) -> Result<()> {
        let stream = self.sessions.stream(pod).await?;
        let pod = pod.to_owned();
        match client.carry(stream).await {
            Ended::Whole => Ok(()),
            Ended::Unheard(cause) => Err(ClusterError::PodRefuses { pod, port: self.target.port, cause }),
            Ended::Broken(cause) => Err(ClusterError::ForwardBroke { pod, cause }),
        }
    }
}
