//! One connection of a client, carried to a pod and back until both have said everything.
//!
//! A client that has no more to say is not passed on: the node's runtime takes it for the end of the whole
//! connection, half a second later, and the rest of the answer would be lost.

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

use super::frames::HEAD;
use super::peer::{self, Peer};
use super::session::{Gone, Told, Voice};

/// What is read from a client at once.
const READ: usize = 64 * 1024;
/// What a client may have said for its connection to be carried anew when it turns out that no pod heard it.
const REMEMBERED: usize = 64 * 1024;
/// Most clients speak first, at once; then their first words open the stream.
const SPEAKS_FIRST: Duration = Duration::from_millis(1);
/// How long after the last bytes it may be told that they are not all.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long after its end a WebSocket may need to tell why.
const REASON: Duration = Duration::from_millis(50);
const CLOSED: &str = "the way to it closed";
/// How often a client that has no more to say is looked at: this, and up to a second later.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_secs(1);
/// Where nobody can tell whether it still listens: the silence after which it is taken for gone, once the answer
/// has begun and before. A model may think for minutes.
const SILENT_IN_ANSWER: Duration = Duration::from_secs(30);
const SILENT_BEFORE_ANSWER: Duration = Duration::from_secs(600);
/// What runtimes say when a pod, or the port of it, was not there to be connected to.
const NOT_REACHED: [&str; 6] = [
    "failed to connect",
    "failed to dial",
    "failed to find sandbox",
    "is not running",
    "is closed",
    "not found",
];

/// How carrying ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides are done, or the client went away.
    Whole,
    /// No pod heard a word of it, so that another may be asked; with the reason.
    Unheard(String),
    /// In the middle; with the reason.
    Broken(String),
}

/// A stream to a pod, in the way that there is to it.
pub(super) enum PodStream {
    Session(Voice, mpsc::Receiver<Told>),
    WebSocket(WebSocket),
}

/// One connection's own way to a pod: its bytes, and why it failed. It ends when this is dropped.
pub(super) struct WebSocket {
    forwarder: Portforwarder,
    bytes: DuplexStream,
    failure: Failure,
}

/// The pod's reason; none where the way to it broke.
type Failure = BoxFuture<'static, Option<String>>;

impl WebSocket {
    /// Of a forwarder to this one port.
    pub(super) fn new(mut forwarder: Portforwarder, port: u16) -> Self {
        let bytes = forwarder.take_stream(port).expect("it was asked for this port");
        let failure = forwarder.take_error(port).expect("it was asked for this port").boxed();
        Self { forwarder, bytes, failure }
    }
}

enum Speaking {
    Session(Voice),
    WebSocket(WriteHalf<DuplexStream>),
}

enum Hearing {
    Session(mpsc::Receiver<Told>),
    WebSocket(ReadHalf<DuplexStream>, Shared<Failure>),
}

impl Speaking {
    async fn send(&mut self, frame: BytesMut) -> Result<(), Gone> {
        match self {
            Self::Session(voice) => voice.send(frame).await,
            Self::WebSocket(writer) => writer.write_all(&frame[HEAD..]).await.map_err(|_| Gone),
        }
    }

    async fn open(&mut self) -> Result<(), Gone> {
        match self {
            Self::Session(voice) => voice.open().await,
            Self::WebSocket(_) => Ok(()),
        }
    }

    /// What it means that nothing can be sent any more.
    fn lost(&self) -> Up {
        match self {
            Self::Session(voice) if !voice.is_open() => Up::Unopened,
            _ => Up::Unheard,
        }
    }
}

impl Hearing {
    async fn next(&mut self) -> Option<Told> {
        match self {
            Self::Session(told) => told.recv().await,
            Self::WebSocket(reader, failure) => {
                let mut bytes = BytesMut::with_capacity(READ);
                match reader.read_buf(&mut bytes).await {
                    // The end looks the same however it came about; a reason comes before it.
                    Ok(0) => match timeout(REASON, failure.clone()).await {
                        Ok(reason) => Some(Told::Failed(reason.unwrap_or_else(|| CLOSED.into()))),
                        Err(_) => Some(Told::End),
                    },
                    Ok(_) => Some(Told::Bytes(bytes.freeze())),
                    Err(_) => None,
                }
            }
        }
    }
}

/// A client's connection, and what it has said as long as no pod has answered.
#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    ends: Option<(SocketAddr, SocketAddr)>,
    said: Mutex<Said>,
    answered: AtomicBool,
}

#[derive(Debug)]
struct Said {
    /// None once it is too much to be said again.
    words: Option<Vec<u8>>,
    /// When either side last said something.
    at: Instant,
}

impl Client {
    pub(super) fn new(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        let ends = socket.peer_addr().ok().zip(socket.local_addr().ok());
        let said = Said { words: Some(Vec::new()), at: Instant::now() };
        Self { socket, ends, said: Mutex::new(said), answered: AtomicBool::new(false) }
    }

    /// Closes the connection so that the client sees that it broke, and not that all was said.
    pub(super) fn break_off(self) {
        let _ = self.socket.set_zero_linger();
    }

    /// Whether the client still waits for an answer, as far as can be told.
    pub(super) fn waits(&self) -> bool {
        self.ends.is_none_or(|(peer, local)| peer::look(peer, local) != Peer::Abandoned)
    }

    /// Carries the connection over `stream`.
    pub(super) async fn carry(&mut self, stream: PodStream) -> Ended {
        let (mut speaking, mut hearing, forwarder) = match stream {
            PodStream::Session(voice, told) => (Speaking::Session(voice), Hearing::Session(told), None),
            PodStream::WebSocket(WebSocket { forwarder, bytes, failure }) => {
                let (reader, writer) = tokio::io::split(bytes);
                let hearing = Hearing::WebSocket(reader, failure.shared());
                (Speaking::WebSocket(writer), hearing, Some(forwarder))
            }
        };
        let Self { socket, ends, said, answered } = self;
        let (mut reader, mut writer) = socket.split();
        let talk = Talk { said, answered, ends: *ends };
        let ended = {
            let mut down = std::pin::pin!(talk.down(&mut hearing, &mut writer));
            let up = talk.up(&mut reader, &mut speaking);
            match tokio::select! { up = up => Err(up), ended = &mut down => Ok(ended) } {
                Ok(ended) => ended,
                Err(Up::Aborted) => Ended::Whole,
                Err(Up::Unheard) => down.await,
                Err(Up::Unopened) => talk.unheard(CLOSED.into()),
                Err(Up::Everything) => tokio::select! {
                    ended = &mut down => ended,
                    () = talk.abandoned() => Ended::Whole,
                },
            }
        };
        if ended == Ended::Whole {
            let _ = writer.shutdown().await;
        }
        drop(forwarder);
        if let Speaking::Session(voice) = speaking {
            tokio::spawn(voice.leave());
        }
        ended
    }
}

/// Why a client's words came to an end.
enum Up {
    Everything,
    Aborted,
    /// The stream ended meanwhile; its other direction tells why.
    Unheard,
    /// The stream never began.
    Unopened,
}

/// What both directions of a connection know of each other.
struct Talk<'a> {
    said: &'a Mutex<Said>,
    answered: &'a AtomicBool,
    ends: Option<(SocketAddr, SocketAddr)>,
}

impl Talk<'_> {
    fn said<T>(&self, look: impl FnOnce(&mut Said) -> T) -> T {
        look(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn up(&self, client: &mut ClientReader<'_>, pod: &mut Speaking) -> Up {
        let before = self.said(|said| said.words.clone().unwrap_or_default());
        if !before.is_empty() && pod.send(framed(&before)).await.is_err() {
            return pod.lost();
        }
        // Not `readable`, which may say so of one that has said nothing.
        if timeout(SPEAKS_FIRST, client.peek(&mut [0])).await.is_err() && pod.open().await.is_err() {
            return pod.lost();
        }
        loop {
            let mut frame = BytesMut::with_capacity(HEAD + READ);
            frame.put_bytes(0, HEAD);
            match client.read_buf(&mut frame).await {
                Ok(0) => {
                    self.said(|said| said.at = Instant::now());
                    return if pod.open().await.is_ok() { Up::Everything } else { pod.lost() };
                }
                Ok(_) => {}
                Err(_) => return Up::Aborted,
            }
            self.remember(&frame[HEAD..]);
            if pod.send(frame).await.is_err() {
                return pod.lost();
            }
        }
    }

    fn remember(&self, words: &[u8]) {
        if self.answered.load(Ordering::Relaxed) {
            return;
        }
        self.said(|said| {
            let fits = said.words.as_ref().is_some_and(|before| before.len() + words.len() <= REMEMBERED);
            match &mut said.words {
                Some(before) if fits => before.extend_from_slice(words),
                words => *words = None,
            }
        });
    }

    async fn down(&self, pod: &mut Hearing, client: &mut ClientWriter<'_>) -> Ended {
        loop {
            match pod.next().await {
                Some(Told::Bytes(bytes)) => {
                    self.answered.store(true, Ordering::Relaxed);
                    if client.write_all(&bytes).await.is_err() {
                        return Ended::Whole;
                    }
                    self.said(|said| said.at = Instant::now());
                }
                Some(Told::End) => {
                    return match timeout(LAST_WORDS, pod.next()).await {
                        Ok(Some(Told::Failed(reason))) => self.failed(reason),
                        _ => Ended::Whole,
                    };
                }
                Some(Told::Failed(reason)) => return self.failed(reason),
                None => return Ended::Broken(CLOSED.into()),
            }
        }
    }

    fn failed(&self, reason: String) -> Ended {
        let unheard = NOT_REACHED.iter().any(|words| reason.contains(words));
        // The node's runtime names its folders and ids first.
        let reason = reason.rsplit("\": ").next().unwrap_or_default().trim().to_owned();
        if unheard { self.unheard(reason) } else { Ended::Broken(reason) }
    }

    /// No pod heard it; where all that was said is still known, another may.
    fn unheard(&self, reason: String) -> Ended {
        let again = !self.answered.load(Ordering::Relaxed) && self.said(|said| said.words.is_some());
        if again { Ended::Unheard(reason) } else { Ended::Broken(reason) }
    }

    /// Returns when nobody is left to hear the answer.
    async fn abandoned(&self) {
        let mut pause = Duration::ZERO;
        loop {
            sleep(pause).await;
            pause = (pause * 2).clamp(FIRST_LOOK, LAST_LOOK);
            match self.ends.map_or(Peer::Unknown, |(peer, local)| peer::look(peer, local)) {
                Peer::Held => {}
                Peer::Abandoned => return,
                Peer::Unknown => {
                    let answered = self.answered.load(Ordering::Relaxed);
                    let patience = if answered { SILENT_IN_ANSWER } else { SILENT_BEFORE_ANSWER };
                    if self.said(|said| said.at.elapsed()) > patience {
                        return;
                    }
                }
            }
        }
    }
}

fn framed(words: &[u8]) -> BytesMut {
    let mut frame = BytesMut::zeroed(HEAD);
    frame.extend_from_slice(words);
    frame
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::session::Session;
    use super::*;

    #[tokio::test]
    async fn a_session_that_dies_before_the_first_word_leaves_the_connection_to_another() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a loopback");
        for words in [&b"hello"[..], b""] {
            let local = listener.local_addr().expect("it is bound");
            let mut theirs = TcpStream::connect(local).await.expect("it listens");
            theirs.write_all(words).await.expect("it is open");
            let (ours, _) = listener.accept().await.expect("somebody connects");
            let (near, far) = tokio::io::duplex(1024);
            let session = Session::over(near);
            let (voice, told) = session.stream(80);
            drop(far);
            while !session.is_dead() {
                tokio::task::yield_now().await;
            }
            let mut client = Client::new(ours);
            let carried =
                timeout(Duration::from_secs(20), client.carry(PodStream::Session(voice, told))).await;
            assert_eq!(carried.ok(), Some(Ended::Unheard(CLOSED.into())));
            assert_eq!(client.said.lock().expect("nobody panics").words.as_deref(), Some(words));
        }
    }
}
