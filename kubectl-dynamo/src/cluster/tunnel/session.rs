//! One connection to a pod's node that carries streams to ports of the pod, opened once and used again and again.
//!
//! The server drops what it sends to a stream that was reset, and queues pings like other frames, one of its five
//! queues after the other: five answered pings say that no queue hangs on a stream that ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::frames::{self, Frame, HEAD, Says};

/// What is read from the server at once.
const READ: usize = 64 * 1024;
/// Pieces of one stream that wait for its reader; then the session waits.
const BACKLOG: usize = 8;
/// Queues of the server, each of which must answer a ping.
const QUEUES: u32 = 5;
/// How long a server may take to be done with a stream that ended.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a silent server is asked for a sign of life. It also keeps what lies between from closing an idle
/// connection: load balancers do after a minute at the earliest.
const SILENCE: Duration = Duration::from_secs(10);
/// Silences after which it is taken for dead.
const SILENCES: u32 = 3;

/// What a pod's side says on a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Bytes(Bytes),
    /// It has said everything; a failure may follow.
    End,
    /// It could not be reached, or broke off, and why.
    Failed(String),
}

/// Where a stream's words go.
#[derive(Debug)]
struct Ear {
    tell: mpsc::Sender<Told>,
    of: Of,
}

/// Each connection has a stream for its bytes and one, opened before, for what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Errors,
    Bytes,
}

/// A session with the server at a pod's node.
#[derive(Debug)]
pub(super) struct Session {
    outgoing: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    users: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shared {
    streams: Mutex<Streams>,
    dead: AtomicBool,
    pings: AtomicU32,
    pongs: AtomicU32,
    ponged: Notify,
}

#[derive(Debug, Default)]
struct Streams {
    opened: u32,
    ears: HashMap<u32, Ear>,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_ping(&self, out: &mut BytesMut) {
        frames::ping(out, self.pings.fetch_add(1, Ordering::Relaxed).wrapping_mul(2) | 1);
    }
}

/// The session has ended.
#[derive(Debug)]
pub(super) struct Gone;

impl Session {
    /// Speaks over this connection until the last of its users has left, or it breaks.
    pub(super) fn over(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Arc<Self> {
        let (reader, writer) = tokio::io::split(connection);
        let (outgoing, queue) = mpsc::channel(BACKLOG);
        let shared = Arc::new(Shared::default());
        let (listening, asking) = (shared.clone(), outgoing.downgrade());
        tokio::spawn(async move {
            tokio::select! {
                () = write(writer, queue) => {}
                _ = Listener { reader, buffer: BytesMut::new(), shared: listening.clone(), asking }.listen() => {}
            }
            let mut streams = listening.streams();
            listening.dead.store(true, Ordering::Release);
            streams.ears.clear();
            listening.ponged.notify_waiters();
        });
        Arc::new(Self { outgoing, shared, users: AtomicUsize::new(0) })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.shared.dead.load(Ordering::Acquire)
    }

    /// How many connections it carries.
    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::Acquire)
    }

    /// A stream to this port of the pod, which opens with the first bytes to it.
    pub(super) fn stream(self: &Arc<Self>, port: u16) -> (Voice, mpsc::Receiver<Told>) {
        self.users.fetch_add(1, Ordering::AcqRel);
        let (tell, told) = mpsc::channel(BACKLOG);
        (Voice { session: self.clone(), port, tell: Some(tell), id: None }, told)
    }
}

/// The side of a stream that speaks to the pod.
#[derive(Debug)]
pub(super) struct Voice {
    session: Arc<Session>,
    port: u16,
    tell: Option<mpsc::Sender<Told>>,
    id: Option<u32>,
}

impl Drop for Voice {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.session.shared.streams().forget(id);
        }
        self.session.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Voice {
    /// Sends what stands in `frame` behind room for a head.
    pub(super) async fn send(&mut self, mut frame: BytesMut) -> Result<(), Gone> {
        let length = frame.len().saturating_sub(HEAD);
        let permit = self.session.outgoing.reserve().await.map_err(|_| Gone)?;
        let Some(id) = self.id else {
            // Ids must arrive in their order, so a frame is queued before the next id is given.
            let mut streams = self.session.shared.streams();
            if self.session.is_dead() {
                return Err(Gone);
            }
            let (mut out, id) = streams.open(self.port, self.tell.take().ok_or(Gone)?);
            if length > 0 {
                out.extend_from_slice(&frames::data_head(id, length, Says::More));
                out.extend_from_slice(&frame[HEAD..]);
            }
            permit.send(out.freeze());
            self.id = Some(id);
            return Ok(());
        };
        frame[..HEAD].copy_from_slice(&frames::data_head(id, length, Says::More));
        permit.send(frame.freeze());
        Ok(())
    }

    /// Whether the stream is open; before that no pod has heard a word of it, and none will say anything.
    pub(super) fn is_open(&self) -> bool {
        self.id.is_some()
    }

    /// Opens the stream without a word, for those who wait to be spoken to.
    pub(super) async fn open(&mut self) -> Result<(), Gone> {
        if self.is_open() { Ok(()) } else { self.send(BytesMut::zeroed(HEAD)).await }
    }

    /// Ends the stream, and waits until the server is done with it: others may use the session then.
    pub(super) async fn leave(self) {
        let (session, shared) = (&self.session, &self.session.shared);
        let Some(id) = self.id else { return };
        let mut out = BytesMut::new();
        frames::reset(&mut out, id);
        let mut awaited = 0;
        for _ in 0..QUEUES {
            shared.next_ping(&mut out);
            awaited = shared.pings.load(Ordering::Relaxed);
        }
        let settled = async {
            session.outgoing.send(out.freeze()).await.map_err(|_| Gone)?;
            loop {
                let ponged = shared.ponged.notified();
                if session.is_dead() {
                    return Err(Gone);
                }
                if shared.pongs.load(Ordering::Acquire) >= awaited {
                    return Ok(());
                }
                ponged.await;
            }
        };
        if !matches!(timeout(SETTLE, settled).await, Ok(Ok(()))) {
            shared.dead.store(true, Ordering::Release);
        }
    }
}

impl Streams {
    fn open(&mut self, port: u16, tell: mpsc::Sender<Told>) -> (BytesMut, u32) {
        let errors = self.opened * 4 + 1;
        let bytes = errors + 2;
        let (port, request) = (port.to_string(), self.opened.to_string());
        let mut out = BytesMut::new();
        for (id, kind, says) in [(errors, "error", Says::Last), (bytes, "data", Says::More)] {
            let headers = [("streamtype", kind), ("port", &port), ("requestid", &request)];
            frames::open(&mut out, id, &headers, says, id == 1);
        }
        self.opened += 1;
        self.ears.insert(errors, Ear { tell: tell.clone(), of: Of::Errors });
        self.ears.insert(bytes, Ear { tell, of: Of::Bytes });
        (out, bytes)
    }

    /// Takes both ears of the stream `bytes` away.
    fn forget(&mut self, bytes: u32) {
        self.ears.remove(&bytes);
        self.ears.remove(&bytes.wrapping_sub(2));
    }
}

async fn write(mut writer: WriteHalf<impl AsyncWrite>, mut queue: mpsc::Receiver<Bytes>) {
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

/// Hands out what the server sends.
struct Listener<R> {
    reader: ReadHalf<R>,
    buffer: BytesMut,
    shared: Arc<Shared>,
    asking: mpsc::WeakSender<Bytes>,
}

impl<R: AsyncRead> Listener<R> {
    /// Listens until the connection ends.
    async fn listen(mut self) -> Option<()> {
        loop {
            let head = self.payload(HEAD).await?;
            match frames::head(*head.first_chunk()?) {
                Frame::Data { stream, last, length } => self.data(stream, last, length).await?,
                Frame::Reset { length } => {
                    let payload = self.payload(length).await?;
                    self.end(frames::id(&payload)?, Some("the connection was reset")).await;
                }
                Frame::Ping { length } => {
                    let payload = self.payload(length).await?;
                    self.ping(frames::id(&payload)?);
                }
                Frame::GoAway => return None,
                Frame::Other { length } => drop(self.payload(length).await?),
            }
        }
    }

    async fn data(&mut self, stream: u32, last: bool, mut length: usize) -> Option<()> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.read().await?;
            }
            let piece = self.buffer.split_to(length.min(self.buffer.len())).freeze();
            length -= piece.len();
            let ear = self.shared.streams().ears.get(&stream).map(|ear| (ear.tell.clone(), ear.of));
            // A stream that was left is read to its end, for nobody.
            if let Some((tell, of)) = ear {
                let told = match of {
                    Of::Bytes => Told::Bytes(piece),
                    Of::Errors => Told::Failed(String::from_utf8_lossy(&piece).into_owned()),
                };
                let _ = tell.send(told).await;
            }
        }
        if last {
            self.end(stream, None).await;
        }
        Some(())
    }

    /// Ends a stream: with a reason it failed. What went wrong may still be told after the last bytes.
    async fn end(&mut self, stream: u32, reason: Option<&str>) {
        let ended = self.shared.streams().ears.remove(&stream);
        let Some(Ear { tell, of: Of::Bytes }) = ended else { return };
        let told = reason.map_or(Told::End, |reason| Told::Failed(reason.into()));
        let _ = tell.send(told).await;
    }

    fn ping(&self, id: u32) {
        if id % 2 == 1 {
            self.shared.pongs.fetch_add(1, Ordering::Release);
            self.shared.ponged.notify_waiters();
        } else {
            let mut out = BytesMut::new();
            frames::ping(&mut out, id);
            self.say(out);
        }
    }

    async fn payload(&mut self, length: usize) -> Option<Bytes> {
        while self.buffer.len() < length {
            self.read().await?;
        }
        Some(self.buffer.split_to(length).freeze())
    }

    /// Reads more; a server that stays silent is asked, and given up after a while.
    async fn read(&mut self) -> Option<()> {
        if self.buffer.capacity() - self.buffer.len() < READ / 4 {
            self.buffer.reserve(READ);
        }
        let mut silence = interval(SILENCE);
        silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        silence.reset();
        for _ in 0..SILENCES {
            tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => {
                    return read.ok().filter(|read| *read > 0).map(drop);
                }
                _ = silence.tick() => {}
            }
            let mut out = BytesMut::new();
            self.shared.next_ping(&mut out);
            self.say(out);
        }
        None
    }

    /// Queues a small frame. A full queue means that frames are on their way, which is as good a sign of life.
    fn say(&self, frame: BytesMut) {
        if let Some(outgoing) = self.asking.upgrade() {
            let _ = outgoing.try_send(frame.freeze());
        }
    }
}

#[cfg(test)]
mod tests;
