//! What a tunnel makes of an API server and of nodes that a test plays.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use http::Method;
use http::header::AUTHORIZATION;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::frames::{self, Frame, HEAD, Says};
use super::*;
use crate::cluster::played::{self, Answer, Question};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

fn ready(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

async fn open(cluster: &Cluster) -> Tunnel {
    let target = TunnelTarget { labels: "app=probe".into(), name: "probe".into(), port: 80 };
    cluster.tunnel(target, (Ipv4Addr::LOCALHOST, 0).into()).await.expect("the first pod is there")
}

async fn connect(tunnel: &Tunnel) -> TcpStream {
    let mut client = TcpStream::connect(tunnel.local).await.expect("it listens");
    client.write_all(b"who is there?").await.expect("it reads");
    client
}

/// The name of the pod that answers a connection.
async fn name(client: &mut TcpStream) -> String {
    let mut name = [0; 5];
    let read = timeout(LIMIT, client.read_exact(&mut name)).await.expect("an answer in time");
    read.map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&name).into_owned())
}

/// Lets the node of `pod` speak on this connection, until it stops.
fn spoken_by(pod: &'static str, mut question: Question, mut stops: watch::Receiver<bool>) -> Answer {
    let upgrading = hyper::upgrade::on(&mut question);
    tokio::spawn(async move {
        let Ok(connection) = upgrading.await else { return };
        tokio::select! {
            _ = speak(TokioIo::new(connection), pod) => {}
            _ = stops.wait_for(|stops| *stops) => {}
        }
    });
    played::switched(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])
}

/// Answers whatever is said on a stream with the pod's name, and ends none.
async fn speak(mut connection: TokioIo<Upgraded>, pod: &str) -> std::io::Result<()> {
    let mut head = [0; HEAD];
    loop {
        connection.read_exact(&mut head).await?;
        let (Frame::Data { length, .. }
        | Frame::Reset { length }
        | Frame::Ping { length }
        | Frame::Other { length }) = frames::head(head)
        else {
            return Ok(());
        };
        let mut payload = vec![0; length];
        connection.read_exact(&mut payload).await?;
        let mut out = BytesMut::new();
        match frames::head(head) {
            Frame::Data { stream, .. } if length > 0 => {
                out.extend_from_slice(&frames::data_head(stream, pod.len(), Says::More));
                out.extend_from_slice(pod.as_bytes());
            }
            Frame::Ping { .. } => {
                out.extend_from_slice(&head);
                out.extend_from_slice(&payload);
            }
            _ => {}
        }
        connection.write_all(&out).await?;
    }
}

/// How a WebSocket of a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Whole,
    /// With the pod's reason.
    Failed,
    /// Without a word, at the client's second.
    Cut,
}

const REASON: &str = "error forwarding port 80 to pod 1, uid : read: connection reset by peer";

/// Where nothing but WebSockets gets through: the node answers the first words with the pod's name, and ends.
fn through_web_sockets(mut question: Question, ends: Ends) -> Answer {
    let Some(key) = question.headers().get("sec-websocket-key").cloned() else {
        return played::refusal(400, "a proxy knows no SPDY");
    };
    let upgrading = hyper::upgrade::on(&mut question);
    tokio::spawn(async move {
        let connection = TokioIo::new(upgrading.await.ok()?);
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        for channel in [0, 1] {
            socket.send(Message::binary(vec![channel, 80, 0])).await.ok()?;
        }
        socket.next().await?.ok()?;
        socket.send(Message::binary(&b"\0pod-a"[..])).await.ok()?;
        if ends == Ends::Failed {
            socket.send(Message::binary(format!("\u{1}{REASON}"))).await.ok()?;
        }
        match ends {
            Ends::Cut => socket.next().await?.ok().map(drop),
            Ends::Whole | Ends::Failed => socket.close(None).await.ok(),
        }
    });
    played::switched(&[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", &derive_accept_key(key.as_bytes())),
        ("sec-websocket-protocol", "v4.channel.k8s.io"),
    ])
}

#[tokio::test]
async fn a_web_socket_that_failed_is_told_from_one_that_ended() {
    for (ends, cause) in
        [(Ends::Whole, None), (Ends::Failed, Some(REASON)), (Ends::Cut, Some("the way to it closed"))]
    {
        let cluster = played::cluster(json!({}), move |question| async move {
            match question.uri().path().ends_with("/pods") {
                true => played::pods(&[ready("pod-a")]),
                false => through_web_sockets(question, ends),
            }
        });
        let mut tunnel = open(&cluster.await).await;
        let mut client = connect(&tunnel).await;
        assert_eq!(name(&mut client).await, "pod-a", "{ends:?}");
        if ends == Ends::Cut {
            client.write_all(b"more").await.expect("it reads");
        }
        let rest = timeout(LIMIT, client.read(&mut [0])).await.expect("it ends in time");
        assert_eq!(rest.ok(), cause.is_none().then_some(0), "{ends:?}");
        if let Some(expected) = cause {
            let told = timeout(LIMIT, tunnel.failure()).await.expect("it is told");
            let Some(ClusterError::ForwardBroke { cause, .. }) = told else { panic!("{told:?}") };
            assert_eq!(cause, expected);
        }
    }
}

#[tokio::test]
async fn a_login_that_expires_is_asked_for_again() {
    for web_sockets in [false, true] {
        let file = tempfile::NamedTempFile::new().expect("there is a folder for temporary files");
        std::fs::write(file.path(), "first").expect("the file is there");
        let (taken, stays) = (watch::Sender::new("Bearer first"), watch::Sender::new(false));
        let (takes, staying) = (taken.subscribe(), stays.subscribe());
        let user = json!({"tokenFile": file.path()});
        let cluster = played::cluster(user, move |question| {
            let (takes, staying) = (*takes.borrow(), staying.clone());
            async move {
                match question.headers().get(AUTHORIZATION) {
                    Some(given) if given == takes => {}
                    _ => return played::refusal(401, "Unauthorized"),
                }
                match question.uri().path().ends_with("/pods") {
                    true => played::pods(&[ready("pod-a")]),
                    false if web_sockets => through_web_sockets(question, Ends::Whole),
                    false => spoken_by("pod-a", question, staying),
                }
            }
        });
        let tunnel = open(&cluster.await).await;
        let mut first = connect(&tunnel).await;
        assert_eq!(name(&mut first).await, "pod-a");
        taken.send_replace("Bearer second");
        std::fs::write(file.path(), "second").expect("the file is there");
        // The first one still has its session, so this one needs another.
        assert_eq!(name(&mut connect(&tunnel).await).await, "pod-a", "{web_sockets}");
    }
}

#[tokio::test]
async fn a_pod_whose_node_cannot_be_reached_is_left_for_another() {
    for (code, message) in [
        (500, "error dialing backend: dial tcp 192.0.2.1:10250: connect: no route to host"),
        (502, "the connection to the node was lost"),
    ] {
        let (gone, stays) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(false));
        let (is_gone, stopping) = (gone.clone(), stays.subscribe());
        let cluster = played::cluster(json!({}), move |question| {
            let (is_gone, stopping) = (is_gone.clone(), stopping.clone());
            async move {
                match (question.method(), question.uri().path().contains("/pod-a/")) {
                    (&Method::GET, _) => played::pods(&[ready("pod-a"), ready("pod-b")]),
                    (_, true) if is_gone.load(Ordering::Relaxed) => played::refusal(code, message),
                    (_, true) => spoken_by("pod-a", question, stopping),
                    (_, false) => spoken_by("pod-b", question, stopping),
                }
            }
        });
        let tunnel = open(&cluster.await).await;
        let mut first = connect(&tunnel).await;
        assert_eq!(name(&mut first).await, "pod-a");
        gone.store(true, Ordering::Relaxed);
        assert_eq!(name(&mut connect(&tunnel).await).await, "pod-b", "{code}");
        assert_eq!(name(&mut connect(&tunnel).await).await, "pod-b", "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_broke_turns_the_next_one_to_another_pod() {
    let (stops, stays) = (watch::Sender::new(false), watch::Sender::new(false));
    let (stopping, staying) = (stops.subscribe(), stays.subscribe());
    let cluster = played::cluster(json!({}), move |question| {
        let (stopping, staying) = (stopping.clone(), staying.clone());
        async move {
            match (question.method(), question.uri().path().contains("/pod-a/")) {
                (&Method::GET, _) => played::pods(&[ready("pod-a"), ready("pod-b")]),
                (_, true) => spoken_by("pod-a", question, stopping),
                (_, false) => spoken_by("pod-b", question, staying),
            }
        }
    });
    let mut tunnel = open(&cluster.await).await;
    let mut first = connect(&tunnel).await;
    assert_eq!(name(&mut first).await, "pod-a");
    stops.send_replace(true);
    let told = timeout(LIMIT, tunnel.failure()).await.expect("it is told");
    assert!(matches!(told, Some(ClusterError::ForwardBroke { .. })), "{told:?}");
    assert_eq!(name(&mut connect(&tunnel).await).await, "pod-b");
}

#[tokio::test]
async fn a_listener_that_cannot_take_a_connection_says_so_once_and_goes_on() {
    let full = || Err(std::io::Error::other("too many open files"));
    let outcomes = Mutex::new(VecDeque::from([Ok(1), full(), full(), Ok(2), full()]));
    let next = || {
        let outcome = outcomes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        async {
            match outcome {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            }
        }
    };
    let (tell, mut told) = mpsc::unbounded_channel();
    let said = async {
        let mut said = Vec::new();
        while said.len() < 4 {
            said.extend(told.recv().await);
        }
        said
    };
    tokio::select! {
        () = take_all(next, |taken| tell.send(taken.map_err(|error| error.to_string())).expect("it is heard")) => {}
        said = said => {
            let full = || Err("too many open files".to_owned());
            assert_eq!(said, [Ok(1), full(), Ok(2), full()]);
        }
    }
}
