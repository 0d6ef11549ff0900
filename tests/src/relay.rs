//! What stands between a client and a server: a relay that can be cut and mended, and an HTTP proxy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Outcome;

/// Passes connections on to one server. While it is cut, it closes those there are and takes no bytes of new ones;
/// while it is stopped, nothing listens there either, as where a server has ended.
pub struct Relay {
    server: SocketAddr,
    address: SocketAddr,
    pace: Pace,
    open: watch::Sender<bool>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What is slow about it.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// Before each connection's first byte.
    Connections(Duration),
    /// Before everything that a client sends.
    Requests(Duration),
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(accepting) = self.take() {
            accepting.abort();
        }
    }
}

impl Relay {
    /// A relay to `server`, with this delay before each connection's first byte is passed on.
    pub async fn to(server: SocketAddr, delay: Duration) -> Outcome<Self> {
        Self::begin(server, Pace::Connections(delay)).await
    }

    /// A relay to `server`, with this delay before everything that a client sends: a server that takes its time.
    pub async fn slow(server: SocketAddr, delay: Duration) -> Outcome<Self> {
        Self::begin(server, Pace::Requests(delay)).await
    }

    async fn begin(server: SocketAddr, pace: Pace) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let open = watch::Sender::new(true);
        let accepting = Mutex::new(Some(tokio::spawn(accept(listener, server, pace, open.subscribe()))));
        Ok(Self { server, address, pace, open, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and new ones as they come.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Passes new connections on again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }

    /// Closes every connection and listens no more: its address is free when this returns.
    pub async fn stop(&self) {
        self.cut();
        if let Some(accepting) = self.take() {
            accepting.abort();
            // It says that it was ended.
            let _ = accepting.await;
        }
    }

    /// Listens again where it did.
    pub async fn start(&self) -> Outcome {
        let listener = TcpListener::bind(self.address).await?;
        self.mend();
        let accepting = tokio::spawn(accept(listener, self.server, self.pace, self.open.subscribe()));
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(accepting);
        Ok(())
    }

    fn take(&self) -> Option<JoinHandle<()>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, pace: Pace, open: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut is_open = open.clone();
        tokio::spawn(async move {
            if !*is_open.borrow_and_update() {
                return;
            }
            if let Pace::Connections(delay) = pace {
                tokio::time::sleep(delay).await;
            }
            let Ok(mut upstream) = TcpStream::connect(server).await else { return };
            let passing = async {
                match pace {
                    Pace::Connections(_) => drop(copy_bidirectional(&mut client, &mut upstream).await),
                    Pace::Requests(delay) => pass_slowly(&mut client, &mut upstream, delay).await,
                }
            };
            tokio::select! {
                () = passing => {}
                _ = is_open.wait_for(|open| !open) => {}
            }
        });
    }
}

/// Passes on what the server sends at once, and what the client sends after a while.
async fn pass_slowly(client: &mut TcpStream, upstream: &mut TcpStream, delay: Duration) {
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

/// An HTTP proxy that answers CONNECT and counts how often.
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
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counter = counter.clone();
                tokio::spawn(async move { tunnel(client, &counter).await });
            }
        });
        Ok(Self { address, connections, accepting })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many tunnels were opened.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn tunnel(mut client: TcpStream, counter: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some(target) = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    let mut upstream = TcpStream::connect(target).await?;
    counter.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}
