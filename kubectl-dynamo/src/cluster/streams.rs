//! Tunnels to pods: a listener on this machine whose connections end in a container.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::error::FORWARD_PORT;
use super::{Cluster, ClusterError, Kind, Result};

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
    /// whenever a connection to the last one fails.
    ///
    /// # Errors
    /// No ready pod; an address that cannot be listened on.
    pub async fn tunnel(&self, target: TunnelTarget, listen: SocketAddr) -> Result<Tunnel> {
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| ClusterError::Listen { address: listen, cause: error.to_string() })?;
        let local = listener
            .local_addr()
            .map_err(|error| ClusterError::Listen { address: listen, cause: error.to_string() })?;
        let pod = Arc::new(Mutex::new(None));
        // A missing right shows here, and not as a connection that breaks off.
        self.reach(&target, &pod).await?.abort();
        let (failed, failures) = mpsc::unbounded_channel();
        let cluster = self.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (cluster, target, pod) = (cluster.clone(), target.clone(), pod.clone());
                let failed = failed.clone();
                // A connection that fails is closed; the tunnel itself goes on.
                tokio::spawn(async move {
                    if let Err(error) = cluster.forward(connection, &target, &pod).await {
                        let _ = failed.send(error);
                    }
                });
            }
        });
        Ok(Tunnel { local, accepting, failures })
    }

    async fn forward(
        &self,
        mut connection: TcpStream,
        target: &TunnelTarget,
        pod: &Mutex<Option<String>>,
    ) -> Result<()> {
        let _ = connection.set_nodelay(true);
        let mut forwarder = self.reach(target, pod).await?;
        let Some(mut stream) = forwarder.take_stream(target.port) else { return Ok(()) };
        if tokio::io::copy_bidirectional(&mut connection, &mut stream).await.is_err() {
            *pod.lock().await = None;
        }
        drop(stream);
        let _ = forwarder.join().await;
        Ok(())
    }

    /// A stream to the pod that answered last, or to another where that one is gone.
    async fn reach(
        &self,
        target: &TunnelTarget,
        pod: &Mutex<Option<String>>,
    ) -> Result<kube::api::Portforwarder> {
        let known = pod.lock().await.clone();
        if let Some(name) = known
            && let Ok(forwarder) = self.pods().portforward(&name, &[target.port]).await
        {
            return Ok(forwarder);
        }
        let name = self.ready_pod(target).await?;
        let forwarder = self
            .pods()
            .portforward(&name, &[target.port])
            .await
            .map_err(|e| self.explain(e, FORWARD_PORT, Kind::Pod, &name))?;
        *pod.lock().await = Some(name);
        Ok(forwarder)
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
