//! Proxies between a client and a server: a TCP proxy that can be cut, and an HTTP proxy.
//! They do not interpret the forwarded data.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Outcome;

/// Forwards connections to one server. While cut, it closes existing connections and reads nothing from new
/// ones. While stopped, it does not listen, as if the server had exited.
pub struct CuttableProxy {
    server: SocketAddr,
    address: SocketAddr,
    delay: ProxyDelay,
    is_open: watch::Sender<bool>,
    accept_task: Mutex<Option<JoinHandle<()>>>,
}

/// Where the proxy adds a delay.
#[derive(Debug, Clone, Copy)]
enum ProxyDelay {
    /// Before each connection's first byte.
    Connections(Duration),
    /// Before all data from a client.
    Requests(Duration),
}

impl Drop for CuttableProxy {
    fn drop(&mut self) {
        if let Some(accept_task) = self.remove_accept_task() {
            accept_task.abort();
        }
    }
}

impl CuttableProxy {
    /// Starts a proxy to `server` with this delay before each connection's first byte is forwarded.
    pub async fn with_connection_delay(server: SocketAddr, delay: Duration) -> Outcome<Self> {
        Self::start_with(server, ProxyDelay::Connections(delay)).await
    }

    /// Starts a proxy to `server` with this delay before all data from a client, like a slow server.
    pub async fn with_request_delay(server: SocketAddr, delay: Duration) -> Outcome<Self> {
        Self::start_with(server, ProxyDelay::Requests(delay)).await
    }

    async fn start_with(server: SocketAddr, delay: ProxyDelay) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let is_open = watch::Sender::new(true);
        let accept_task =
            Mutex::new(Some(tokio::spawn(accept(listener, server, delay, is_open.subscribe()))));
        Ok(Self { server, address, delay, is_open, accept_task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and new ones immediately.
    pub fn cut(&self) {
        self.is_open.send_replace(false);
    }

    /// Forwards new connections again.
    pub fn restore(&self) {
        self.is_open.send_replace(true);
    }

    /// Closes every connection and stops listening. The address is free when this returns.
    pub async fn stop(&self) {
        self.cut();
        if let Some(accept_task) = self.remove_accept_task() {
            accept_task.abort();
            // The result only reports the abort.
            let _ = accept_task.await;
        }
    }

    /// Listens again on the same address.
    pub async fn start(&self) -> Outcome {
        let listener = TcpListener::bind(self.address).await?;
        self.restore();
        let accept_task = tokio::spawn(accept(listener, self.server, self.delay, self.is_open.subscribe()));
        *self.accept_task.lock().unwrap_or_else(PoisonError::into_inner) = Some(accept_task);
        Ok(())
    }

    fn remove_accept_task(&self) -> Option<JoinHandle<()>> {
        self.accept_task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    proxy_delay: ProxyDelay,
    open: watch::Receiver<bool>,
) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut is_open = open.clone();
        tokio::spawn(async move {
            if !*is_open.borrow_and_update() {
                return;
            }
            if let ProxyDelay::Connections(delay) = proxy_delay {
                tokio::time::sleep(delay).await;
            }
            let Ok(mut upstream) = TcpStream::connect(server).await else { return };
            let forwarding = async {
                match proxy_delay {
                    ProxyDelay::Connections(_) => drop(copy_bidirectional(&mut client, &mut upstream).await),
                    ProxyDelay::Requests(delay) => {
                        forward_with_delay(&mut client, &mut upstream, delay).await
                    }
                }
            };
            tokio::select! {
                () = forwarding => {}
                _ = is_open.wait_for(|open| !open) => {}
            }
        });
    }
}

/// Forwards data from the server immediately and data from the client after a delay.
async fn forward_with_delay(client: &mut TcpStream, upstream: &mut TcpStream, delay: Duration) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.split();
    let requests = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            tokio::time::sleep(delay).await;
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// An HTTP proxy that answers CONNECT and counts the requests.
pub struct ConnectProxy {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ConnectProxy {
    pub async fn start() -> Outcome<Self> {
        Self::start_with_target(None).await
    }

    /// Starts a proxy whose tunnels all lead to one server, whatever the client asks for.
    pub async fn start_to(server: SocketAddr) -> Outcome<Self> {
        Self::start_with_target(Some(server)).await
    }

    async fn start_with_target(server: Option<SocketAddr>) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counter = counter.clone();
                tokio::spawn(async move { tunnel(client, server, &counter).await });
            }
        });
        Ok(Self { address, connections, accepting })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the number of opened tunnels.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn tunnel(
    mut client: TcpStream,
    server: Option<SocketAddr>,
    counter: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    let mut upstream = match server {
        Some(server) => TcpStream::connect(server).await?,
        None => TcpStream::connect(target).await?,
    };
    counter.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}
