//! Relays one client connection to a pod in both directions until both sides have finished.
//!
//! The client's half-close is not forwarded: the container runtime would close the whole connection 0.5 s
//! later, and the rest of the response would be lost. Retries and the choice of the pod are left to the
//! caller.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use kube::api::Portforwarder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf as ClientReader, WriteHalf as ClientWriter};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::peer::{self, PeerState};
use super::spdy::HEADER_LEN;
use super::spdy_session::{ClosedSession, StreamEvent, StreamWriter};

/// Size of one read from a client in bytes.
const READ_CHUNK: usize = 64 * 1024;
/// Maximum number of bytes kept for replay to another pod if the first pod did not receive them.
const REPLAY_LIMIT: usize = 64 * 1024;
/// How long to wait for the client's first data before an empty stream is opened. Most clients send first.
const FIRST_BYTE_WAIT: Duration = Duration::from_millis(1);
/// How long after the end of the data the error stream may still report a failure.
const ERROR_AFTER_END_TIMEOUT: Duration = Duration::from_millis(500);
/// How long after its end a WebSocket may take to report the reason.
const CLOSE_REASON_TIMEOUT: Duration = Duration::from_millis(50);
const CONNECTION_CLOSED: &str = "the connection to the pod was closed";
/// Shortest and longest interval between checks whether a half-closed client is still connected.
const MIN_PEER_CHECK_INTERVAL: Duration = Duration::from_millis(2);
const MAX_PEER_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// If the state of a half-closed client is unknown: the idle time after which it counts as disconnected,
/// after the response has started and before. A model may take minutes to start a response.
const RESPONSE_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
/// Fragments of container runtime errors that mean that the port of the pod was not reached.
const PORT_NOT_REACHED: [&str; 3] = ["failed to connect", "failed to dial", "failed to find sandbox"];
/// Fragments that mean that the pod was not reached, in an error about its sandbox or container: elsewhere they can
/// also be about a connection that has already carried the request.
const POD_NOT_REACHED: [&str; 3] = ["is not running", "is closed", "not found"];

/// How relaying a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RelayResult {
    /// Both sides have finished, or the client disconnected.
    Complete,
    /// The pod did not receive any data, so another pod may be tried; with the reason.
    NotDelivered(String),
    /// The connection failed after data was exchanged; with the reason.
    Interrupted(String),
}

/// A stream to a pod over SPDY or a WebSocket.
pub(super) enum PodStream {
    Spdy(StreamWriter, mpsc::Receiver<StreamEvent>),
    WebSocket(WebSocket),
}

/// A WebSocket to a pod for one connection. It is closed when this value is dropped.
pub(super) struct WebSocket {
    forwarder: Portforwarder,
    bytes: DuplexStream,
    failure: Failure,
}

/// The reason reported by the pod; `None` if the connection to it failed.
type Failure = BoxFuture<'static, Option<String>>;

impl WebSocket {
    /// Wraps a forwarder to this port.
    pub(super) fn new(mut forwarder: Portforwarder, port: u16) -> Self {
        let bytes = forwarder.take_stream(port).expect("the forwarder was created for this port");
        let failure = forwarder.take_error(port).expect("the forwarder was created for this port").boxed();
        Self { forwarder, bytes, failure }
    }
}

enum Upstream {
    Spdy(StreamWriter),
    WebSocket(WriteHalf<DuplexStream>),
}

enum Downstream {
    Spdy(mpsc::Receiver<StreamEvent>),
    WebSocket(ReadHalf<DuplexStream>, Shared<Failure>),
}

impl Upstream {
    async fn send(&mut self, frame: BytesMut) -> Result<(), ClosedSession> {
        match self {
            Self::Spdy(stream_writer) => stream_writer.send(frame).await,
            Self::WebSocket(writer) => {
                writer.write_all(&frame[HEADER_LEN..]).await.map_err(|_| ClosedSession)
            }
        }
    }

    async fn open(&mut self) -> Result<(), ClosedSession> {
        match self {
            Self::Spdy(writer) => writer.open().await,
            Self::WebSocket(_) => Ok(()),
        }
    }

    /// What a failed send means.
    fn upload_end(&self) -> UploadEnd {
        match self {
            Self::Spdy(writer) if !writer.is_open() => UploadEnd::NotOpened,
            _ => UploadEnd::StreamClosed,
        }
    }
}

impl Downstream {
    async fn next_event(&mut self) -> Option<StreamEvent> {
        match self {
            Self::Spdy(events) => events.recv().await,
            Self::WebSocket(reader, failure) => {
                let mut bytes = BytesMut::with_capacity(READ_CHUNK);
                match reader.read_buf(&mut bytes).await {
                    // A failure and a normal end both end the stream; a failure reports its reason first.
                    Ok(0) => match timeout(CLOSE_REASON_TIMEOUT, failure.clone()).await {
                        Ok(reason) => {
                            Some(StreamEvent::Failed(reason.unwrap_or_else(|| CONNECTION_CLOSED.into())))
                        }
                        Err(_) => Some(StreamEvent::End),
                    },
                    Ok(_) => Some(StreamEvent::Bytes(bytes.freeze())),
                    Err(_) => None,
                }
            }
        }
    }
}

/// A client's connection, with the data to replay until a pod has responded.
#[derive(Debug)]
pub(super) struct ClientConnection {
    socket: TcpStream,
    addresses: Option<(SocketAddr, SocketAddr)>,
    replay_buffer: Mutex<ReplayBuffer>,
    has_response: AtomicBool,
}

#[derive(Debug)]
struct ReplayBuffer {
    /// `None` if the data exceeded the replay limit.
    bytes: Option<Vec<u8>>,
    /// When either side last sent data.
    last_activity: Instant,
}

impl ClientConnection {
    pub(super) fn new(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        let addresses = socket.peer_addr().ok().zip(socket.local_addr().ok());
        let replay_buffer = ReplayBuffer { bytes: Some(Vec::new()), last_activity: Instant::now() };
        Self {
            socket,
            addresses,
            replay_buffer: Mutex::new(replay_buffer),
            has_response: AtomicBool::new(false),
        }
    }

    /// Closes the connection with a reset, so that the client sees a failure and not a normal end.
    pub(super) fn reset(self) {
        let _ = self.socket.set_zero_linger();
    }

    /// Whether the client still waits for a response, as far as known.
    pub(super) fn is_waiting(&self) -> bool {
        self.addresses.is_none_or(|(peer, local)| peer::peer_state(peer, local) != PeerState::Closed)
    }

    /// Relays the connection over `stream`.
    pub(super) async fn relay(&mut self, stream: PodStream) -> RelayResult {
        let (mut upstream, mut downstream, forwarder) = match stream {
            PodStream::Spdy(stream_writer, events) => {
                (Upstream::Spdy(stream_writer), Downstream::Spdy(events), None)
            }
            PodStream::WebSocket(WebSocket { forwarder, bytes, failure }) => {
                let (reader, socket_writer) = tokio::io::split(bytes);
                let downstream = Downstream::WebSocket(reader, failure.shared());
                (Upstream::WebSocket(socket_writer), downstream, Some(forwarder))
            }
        };
        let Self { socket, addresses, replay_buffer, has_response } = self;
        let (mut reader, mut socket_writer) = socket.split();
        let relay = StreamRelay { replay_buffer, has_response, addresses: *addresses };
        let result = {
            let mut down = std::pin::pin!(relay.download(&mut downstream, &mut socket_writer));
            let up = relay.upload(&mut reader, &mut upstream);
            match tokio::select! { up = up => Err(up), result = &mut down => Ok(result) } {
                Ok(result) => result,
                Err(UploadEnd::Aborted) => RelayResult::Complete,
                Err(UploadEnd::StreamClosed) => down.await,
                Err(UploadEnd::NotOpened) => relay.not_delivered(CONNECTION_CLOSED.into()),
                Err(UploadEnd::Complete) => tokio::select! {
                    result = &mut down => result,
                    () = relay.peer_closed() => RelayResult::Complete,
                },
            }
        };
        if result == RelayResult::Complete {
            let _ = socket_writer.shutdown().await;
        }
        drop(forwarder);
        if let Upstream::Spdy(stream_writer) = upstream {
            tokio::spawn(stream_writer.close());
        }
        result
    }
}

/// Why the upload from the client ended.
enum UploadEnd {
    Complete,
    Aborted,
    /// The stream was closed; the download reports the reason.
    StreamClosed,
    /// The stream was never opened.
    NotOpened,
}

/// The state that both directions of a connection share.
struct StreamRelay<'a> {
    replay_buffer: &'a Mutex<ReplayBuffer>,
    has_response: &'a AtomicBool,
    addresses: Option<(SocketAddr, SocketAddr)>,
}

impl StreamRelay<'_> {
    fn with_replay_buffer<T>(&self, edit: impl FnOnce(&mut ReplayBuffer) -> T) -> T {
        edit(&mut self.replay_buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn upload(&self, client: &mut ClientReader<'_>, upstream: &mut Upstream) -> UploadEnd {
        let replayed = self.with_replay_buffer(|buffer| buffer.bytes.clone().unwrap_or_default());
        if !replayed.is_empty() && upstream.send(to_frame(&replayed)).await.is_err() {
            return upstream.upload_end();
        }
        // Not `readable`, which may return without data.
        if timeout(FIRST_BYTE_WAIT, client.peek(&mut [0])).await.is_err() && upstream.open().await.is_err() {
            return upstream.upload_end();
        }
        loop {
            let mut frame = BytesMut::with_capacity(HEADER_LEN + READ_CHUNK);
            frame.put_bytes(0, HEADER_LEN);
            match client.read_buf(&mut frame).await {
                Ok(0) => {
                    self.with_replay_buffer(|buffer| buffer.last_activity = Instant::now());
                    return if upstream.open().await.is_ok() {
                        UploadEnd::Complete
                    } else {
                        upstream.upload_end()
                    };
                }
                Ok(_) => {}
                Err(_) => return UploadEnd::Aborted,
            }
            self.record_upload(&frame[HEADER_LEN..]);
            if upstream.send(frame).await.is_err() {
                return upstream.upload_end();
            }
        }
    }

    fn record_upload(&self, uploaded: &[u8]) {
        if self.has_response.load(Ordering::Relaxed) {
            return;
        }
        self.with_replay_buffer(|buffer| {
            let is_within_limit =
                buffer.bytes.as_ref().is_some_and(|recorded| recorded.len() + uploaded.len() <= REPLAY_LIMIT);
            match &mut buffer.bytes {
                Some(recorded) if is_within_limit => recorded.extend_from_slice(uploaded),
                uploaded => *uploaded = None,
            }
        });
    }

    async fn download(&self, downstream: &mut Downstream, client: &mut ClientWriter<'_>) -> RelayResult {
        loop {
            match downstream.next_event().await {
                Some(StreamEvent::Bytes(bytes)) => {
                    self.has_response.store(true, Ordering::Relaxed);
                    if client.write_all(&bytes).await.is_err() {
                        return RelayResult::Complete;
                    }
                    self.with_replay_buffer(|buffer| buffer.last_activity = Instant::now());
                }
                Some(StreamEvent::End) => {
                    return match timeout(ERROR_AFTER_END_TIMEOUT, downstream.next_event()).await {
                        Ok(Some(StreamEvent::Failed(reason))) => self.failure_result(reason),
                        _ => RelayResult::Complete,
                    };
                }
                Some(StreamEvent::Failed(reason)) => return self.failure_result(reason),
                None => return RelayResult::Interrupted(CONNECTION_CLOSED.into()),
            }
        }
    }

    fn failure_result(&self, reason: String) -> RelayResult {
        let contains = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
        let is_not_delivered = contains(&PORT_NOT_REACHED)
            || (contains(&["sandbox", "container"]) && contains(&POD_NOT_REACHED));
        // The container runtime puts its paths and ids before the reason.
        let reason = reason.rsplit("\": ").next().unwrap_or_default().trim().to_owned();
        if is_not_delivered { self.not_delivered(reason) } else { RelayResult::Interrupted(reason) }
    }

    /// The pod did not receive the data. Another pod may be tried if all data can be replayed.
    fn not_delivered(&self, reason: String) -> RelayResult {
        let can_replay = !self.has_response.load(Ordering::Relaxed)
            && self.with_replay_buffer(|buffer| buffer.bytes.is_some());
        if can_replay { RelayResult::NotDelivered(reason) } else { RelayResult::Interrupted(reason) }
    }

    /// Returns when the client has disconnected.
    async fn peer_closed(&self) {
        let mut interval = Duration::ZERO;
        loop {
            sleep(interval).await;
            interval = (interval * 2).clamp(MIN_PEER_CHECK_INTERVAL, MAX_PEER_CHECK_INTERVAL);
            match self.addresses.map_or(PeerState::Unknown, |(peer, local)| peer::peer_state(peer, local)) {
                PeerState::Open => {}
                PeerState::Closed => return,
                PeerState::Unknown => {
                    let has_response = self.has_response.load(Ordering::Relaxed);
                    let idle_timeout =
                        if has_response { RESPONSE_IDLE_TIMEOUT } else { FIRST_RESPONSE_TIMEOUT };
                    if self.with_replay_buffer(|buffer| buffer.last_activity.elapsed()) > idle_timeout {
                        return;
                    }
                }
            }
        }
    }
}

fn to_frame(payload: &[u8]) -> BytesMut {
    let mut frame = BytesMut::zeroed(HEADER_LEN);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::spdy_session::SpdySession;
    use super::*;

    #[tokio::test]
    async fn dead_session_leaves_connection_retryable() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback is available");
        for sent in [&b"hello"[..], b""] {
            let local = listener.local_addr().expect("the listener is bound");
            let mut client_socket = TcpStream::connect(local).await.expect("the listener accepts");
            client_socket.write_all(sent).await.expect("the connection is open");
            let (accepted_socket, _) = listener.accept().await.expect("a client connects");
            let (local_end, remote_end) = tokio::io::duplex(1024);
            let session = SpdySession::start(local_end);
            let (writer, events) = session.new_stream(80);
            drop(remote_end);
            while !session.is_dead() {
                tokio::task::yield_now().await;
            }
            let mut client = ClientConnection::new(accepted_socket);
            let result =
                timeout(Duration::from_secs(20), client.relay(PodStream::Spdy(writer, events))).await;
            assert_eq!(result.ok(), Some(RelayResult::NotDelivered(CONNECTION_CLOSED.into())));
            assert_eq!(
                client.replay_buffer.lock().expect("the lock is not poisoned").bytes.as_deref(),
                Some(sent)
            );
        }
    }
}
