//! One SPDY session to a pod: a connection that is opened once and carries many streams to ports of the pod.
//!
//! The server drops data for a stream that was reset. It has five write queues and distributes frames,
//! including pings, among them in turn. Five answered pings therefore prove that no queue is blocked by a
//! closed stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::spdy::{self, Fin, Frame, HEADER_LEN, HeaderBlock};

/// Size of one read from the server in bytes.
const READ_CHUNK: usize = 64 * 1024;
/// Queued events of one stream; if the queue is full, the session stops reading.
const CHANNEL_CAPACITY: usize = 8;
/// Write queues of the server, each of which must answer a ping.
const SERVER_QUEUES: u32 = 5;
/// How long the server may take to close a stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of keepalive pings to a silent server. They also prevent load balancers from closing an idle
/// connection, which they do after one minute at the earliest.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Unanswered keepalives after which the session counts as dead.
const MAX_MISSED_KEEPALIVES: u32 = 3;

/// Idle intervals after which the session counts as dead if no keepalive could be sent: the queue was full for five
/// minutes.
const MAX_IDLE_INTERVALS: u32 = 30;

/// An event on a stream from the pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamEvent {
    Bytes(Bytes),
    /// The pod has sent all data; a failure may follow.
    End,
    /// The pod was not reached, or the stream was interrupted, with the reason.
    Failed(String),
}

/// The receiver of a stream's events.
#[derive(Debug)]
struct StreamSink {
    sender: mpsc::Sender<StreamEvent>,
    kind: StreamKind,
}

/// Each connection has a data stream and an error stream, which is opened first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamKind {
    Error,
    Data,
}

/// A SPDY session to the API server for one pod.
#[derive(Debug)]
pub(super) struct SpdySession {
    outgoing: mpsc::Sender<Bytes>,
    shared: Arc<SessionState>,
    users: AtomicUsize,
}

#[derive(Debug, Default)]
struct SessionState {
    streams: Mutex<Streams>,
    dead: AtomicBool,
    pings: AtomicU32,
    pongs: AtomicU32,
    pong_received: Notify,
}

#[derive(Debug, Default)]
struct Streams {
    opened_count: u32,
    sinks: HashMap<u32, StreamSink>,
}

impl SessionState {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_ping(&self, out: &mut BytesMut) {
        spdy::ping(out, self.pings.fetch_add(1, Ordering::Relaxed).wrapping_mul(2) | 1);
    }
}

/// The session is closed.
#[derive(Debug)]
pub(super) struct ClosedSession;

impl SpdySession {
    /// Starts a session over this connection. It ends when it is dropped or when the connection fails.
    pub(super) fn start(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Arc<Self> {
        Self::start_with_interval(connection, KEEPALIVE_INTERVAL)
    }

    /// Like [`Self::start`], with another keepalive interval.
    fn start_with_interval(
        connection: impl AsyncRead + AsyncWrite + Send + 'static,
        keepalive_interval: Duration,
    ) -> Arc<Self> {
        let (reader, writer) = tokio::io::split(connection);
        let (outgoing, queue) = mpsc::channel(CHANNEL_CAPACITY);
        let shared = Arc::new(SessionState::default());
        let (reader_shared, weak_outgoing) = (shared.clone(), outgoing.downgrade());
        tokio::spawn(async move {
            tokio::select! {
                () = write_frames(writer, queue) => {}
                _ = FrameReader { reader, buffer: BytesMut::new(), shared: reader_shared.clone(), outgoing: weak_outgoing, keepalive_interval }.run() => {}
            }
            let mut streams = reader_shared.streams();
            reader_shared.dead.store(true, Ordering::Release);
            streams.sinks.clear();
            reader_shared.pong_received.notify_waiters();
        });
        Arc::new(Self { outgoing, shared, users: AtomicUsize::new(0) })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.shared.dead.load(Ordering::Acquire)
    }

    /// The number of connections that use the session.
    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::Acquire)
    }

    /// A new stream to this port of the pod. It is opened with the first data.
    pub(super) fn new_stream(self: &Arc<Self>, port: u16) -> (StreamWriter, mpsc::Receiver<StreamEvent>) {
        self.users.fetch_add(1, Ordering::AcqRel);
        let (sender, events) = mpsc::channel(CHANNEL_CAPACITY);
        (StreamWriter { session: self.clone(), port, sender: Some(sender), id: None }, events)
    }
}

/// The sending side of a stream.
#[derive(Debug)]
pub(super) struct StreamWriter {
    session: Arc<SpdySession>,
    port: u16,
    sender: Option<mpsc::Sender<StreamEvent>>,
    id: Option<u32>,
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.session.shared.streams().remove(id);
        }
        self.session.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl StreamWriter {
    /// Sends the data in `frame`, which starts with space for a frame header.
    pub(super) async fn send(&mut self, mut frame: BytesMut) -> Result<(), ClosedSession> {
        let length = frame.len().saturating_sub(HEADER_LEN);
        let permit = self.session.outgoing.reserve().await.map_err(|_| ClosedSession)?;
        let Some(id) = self.id else {
            // Stream ids must arrive in order, so the frame is queued before the next id is assigned.
            let mut streams = self.session.shared.streams();
            if self.session.is_dead() {
                return Err(ClosedSession);
            }
            let (mut out, id) = streams.open(self.port, self.sender.take().ok_or(ClosedSession)?);
            if length > 0 {
                out.extend_from_slice(&spdy::data_header(id, length, Fin::Unset));
                out.extend_from_slice(&frame[HEADER_LEN..]);
            }
            permit.send(out.freeze());
            self.id = Some(id);
            return Ok(());
        };
        frame[..HEADER_LEN].copy_from_slice(&spdy::data_header(id, length, Fin::Unset));
        permit.send(frame.freeze());
        Ok(())
    }

    /// Whether the stream is open. Before that, the pod has neither received nor sent any data.
    pub(super) fn is_open(&self) -> bool {
        self.id.is_some()
    }

    /// Opens the stream without data, for clients that wait for the server's first message.
    pub(super) async fn open(&mut self) -> Result<(), ClosedSession> {
        if self.is_open() { Ok(()) } else { self.send(BytesMut::zeroed(HEADER_LEN)).await }
    }

    /// Closes the stream and waits until the server has closed it, so that other connections can use the
    /// session. If the server takes too long, the session is marked as dead.
    pub(super) async fn close(self) {
        let (session, shared) = (&self.session, &self.session.shared);
        let Some(id) = self.id else { return };
        let mut out = BytesMut::new();
        spdy::rst_stream(&mut out, id);
        let mut awaited_pongs = 0;
        for _ in 0..SERVER_QUEUES {
            shared.next_ping(&mut out);
            awaited_pongs = shared.pings.load(Ordering::Relaxed);
        }
        let closed = async {
            session.outgoing.send(out.freeze()).await.map_err(|_| ClosedSession)?;
            loop {
                let pong_received = shared.pong_received.notified();
                if session.is_dead() {
                    return Err(ClosedSession);
                }
                if shared.pongs.load(Ordering::Acquire) >= awaited_pongs {
                    return Ok(());
                }
                pong_received.await;
            }
        };
        if !matches!(timeout(CLOSE_TIMEOUT, closed).await, Ok(Ok(()))) {
            shared.dead.store(true, Ordering::Release);
        }
    }
}

impl Streams {
    fn open(&mut self, port: u16, sender: mpsc::Sender<StreamEvent>) -> (BytesMut, u32) {
        let error_id = self.opened_count * 4 + 1;
        let data_id = error_id + 2;
        let (port, request) = (port.to_string(), self.opened_count.to_string());
        let mut out = BytesMut::new();
        for (id, kind, fin) in [(error_id, "error", Fin::Set), (data_id, "data", Fin::Unset)] {
            let headers = [("streamtype", kind), ("port", &port), ("requestid", &request)];
            let position = if id == 1 { HeaderBlock::First } else { HeaderBlock::Next };
            spdy::syn_stream(&mut out, id, &headers, fin, position);
        }
        self.opened_count += 1;
        self.sinks.insert(error_id, StreamSink { sender: sender.clone(), kind: StreamKind::Error });
        self.sinks.insert(data_id, StreamSink { sender, kind: StreamKind::Data });
        (out, data_id)
    }

    /// Removes both receivers of the data stream `data_id`.
    fn remove(&mut self, data_id: u32) {
        self.sinks.remove(&data_id);
        self.sinks.remove(&data_id.wrapping_sub(2));
    }
}

async fn write_frames(mut writer: WriteHalf<impl AsyncWrite>, mut queue: mpsc::Receiver<Bytes>) {
    while let Some(frame) = queue.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
        while let Ok(frame) = queue.try_recv() {
            if writer.write_all(&frame).await.is_err() {
                return;
            }
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

/// Reads frames from the server and distributes them to the streams.
struct FrameReader<R> {
    reader: ReadHalf<R>,
    buffer: BytesMut,
    shared: Arc<SessionState>,
    outgoing: mpsc::WeakSender<Bytes>,
    keepalive_interval: Duration,
}

impl<R: AsyncRead> FrameReader<R> {
    /// Reads until the connection ends.
    async fn run(mut self) -> Option<()> {
        loop {
            let header = self.read_payload(HEADER_LEN).await?;
            match spdy::parse_header(*header.first_chunk()?) {
                Frame::Data { stream, fin, length } => self.read_data(stream, fin, length).await?,
                Frame::Reset { length } => {
                    let payload = self.read_payload(length).await?;
                    self.end_stream(spdy::payload_id(&payload)?, Some("the connection was reset")).await;
                }
                Frame::Ping { length } => {
                    let payload = self.read_payload(length).await?;
                    self.handle_ping(spdy::payload_id(&payload)?);
                }
                Frame::GoAway => return None,
                Frame::Other { length } => drop(self.read_payload(length).await?),
            }
        }
    }

    async fn read_data(&mut self, stream: u32, fin: Fin, mut length: usize) -> Option<()> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.fill_buffer().await?;
            }
            let chunk = self.buffer.split_to(length.min(self.buffer.len())).freeze();
            length -= chunk.len();
            let sink = self.shared.streams().sinks.get(&stream).map(|sink| (sink.sender.clone(), sink.kind));
            // Data of a closed stream is read and dropped.
            if let Some((sender, kind)) = sink {
                let event = match kind {
                    StreamKind::Data => StreamEvent::Bytes(chunk),
                    StreamKind::Error => StreamEvent::Failed(String::from_utf8_lossy(&chunk).into_owned()),
                };
                let _ = sender.send(event).await;
            }
        }
        if fin == Fin::Set {
            self.end_stream(stream, None).await;
        }
        Some(())
    }

    /// Ends a stream; with a `reason` it has failed. The error stream may still report a failure after this.
    async fn end_stream(&mut self, stream: u32, reason: Option<&str>) {
        let sink = self.shared.streams().sinks.remove(&stream);
        let Some(StreamSink { sender, kind: StreamKind::Data }) = sink else { return };
        let event = reason.map_or(StreamEvent::End, |reason| StreamEvent::Failed(reason.into()));
        let _ = sender.send(event).await;
    }

    fn handle_ping(&self, id: u32) {
        if id % 2 == 1 {
            self.shared.pongs.fetch_add(1, Ordering::Release);
            self.shared.pong_received.notify_waiters();
        } else {
            let mut out = BytesMut::new();
            spdy::ping(&mut out, id);
            self.queue_frame(out);
        }
    }

    async fn read_payload(&mut self, length: usize) -> Option<Bytes> {
        while self.buffer.len() < length {
            self.fill_buffer().await?;
        }
        Some(self.buffer.split_to(length).freeze())
    }

    /// Reads more data. Sends keepalives to a silent server, and returns `None` after too many without a
    /// response.
    async fn fill_buffer(&mut self) -> Option<()> {
        if self.buffer.capacity() - self.buffer.len() < READ_CHUNK / 4 {
            self.buffer.reserve(READ_CHUNK);
        }
        let mut keepalive = interval(self.keepalive_interval);
        keepalive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keepalive.reset();
        let (mut sent, mut unsent) = (0, 0);
        while sent < MAX_MISSED_KEEPALIVES && unsent < MAX_IDLE_INTERVALS {
            tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => {
                    return read.ok().filter(|read| *read > 0).map(drop);
                }
                _ = keepalive.tick() => {}
            }
            if self.send_ping() {
                sent += 1;
            } else {
                unsent += 1;
            }
        }
        None
    }

    /// Sends a keepalive ping and returns whether the queue had room for it. A ping that is not sent does not get a
    /// number, because no answer to it would arrive.
    fn send_ping(&self) -> bool {
        let Some(outgoing) = self.outgoing.upgrade() else { return false };
        let Ok(permit) = outgoing.try_reserve() else { return false };
        let mut out = BytesMut::new();
        self.shared.next_ping(&mut out);
        permit.send(out.freeze());
        true
    }

    /// Queues a small frame. It is dropped if the queue is full, because then other frames keep the
    /// connection active.
    fn queue_frame(&self, frame: BytesMut) {
        if let Some(outgoing) = self.outgoing.upgrade() {
            let _ = outgoing.try_send(frame.freeze());
        }
    }
}

#[cfg(test)]
mod tests;
