//! Tests of port-forwards against a fake API server and fake nodes.
//! Each test uses real loopback connections, but no Kubernetes.

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

use super::spdy::{self, Fin, Frame, HEADER_LEN};
use super::*;
use crate::fake_api_server::{self, FakeRequest, FakeResponse};

/// Timeout of a test step, far above the expected duration.
const TIMEOUT: Duration = Duration::from_secs(20);

fn ready(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

async fn open(cluster: &Cluster) -> PortForward {
    let target = PortForwardTarget { labels: "app=probe".into(), pod: None, name: "probe".into(), port: 80 };
    cluster.port_forward(target, (Ipv4Addr::LOCALHOST, 0).into()).await.expect("the first pod is ready")
}

async fn connect(port_forward: &PortForward) -> TcpStream {
    let mut client =
        TcpStream::connect(port_forward.local_address).await.expect("the port-forward accepts connections");
    client.write_all(b"request").await.expect("the port-forward reads");
    client
}

/// Reads the name of the pod that responds on a connection.
async fn read_pod_name(client: &mut TcpStream) -> String {
    let mut name = [0; 5];
    let read = timeout(TIMEOUT, client.read_exact(&mut name)).await.expect("a response within the timeout");
    read.map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&name).into_owned())
}

/// Serves SPDY as the node of `pod` on this connection, until `stop` is set.
fn serve_spdy(pod: &'static str, mut request: FakeRequest, mut stop: watch::Receiver<bool>) -> FakeResponse {
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(connection) = upgrading.await else { return };
        tokio::select! {
            _ = echo_pod_name(TokioIo::new(connection), pod) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    fake_api_server::switching_protocols(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")])
}

/// Responds to data on a stream with the pod's name, and does not end streams.
async fn echo_pod_name(mut connection: TokioIo<Upgraded>, pod: &str) -> std::io::Result<()> {
    let mut head = [0; HEADER_LEN];
    loop {
        connection.read_exact(&mut head).await?;
        let (Frame::Data { length, .. }
        | Frame::Reset { length }
        | Frame::Ping { length }
        | Frame::Other { length }) = spdy::parse_header(head)
        else {
            return Ok(());
        };
        let mut payload = vec![0; length];
        connection.read_exact(&mut payload).await?;
        let mut out = BytesMut::new();
        match spdy::parse_header(head) {
            Frame::Data { stream, .. } if length > 0 => {
                out.extend_from_slice(&spdy::data_header(stream, pod.len(), Fin::Unset));
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

/// How a WebSocket from a node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebSocketEnd {
    Closed,
    /// With a reason from the pod.
    Failed,
    /// Without a close frame, at the client's second message.
    Aborted,
}

const REASON: &str = "error forwarding port 80 to pod 1, uid : read: connection reset by peer";

/// A proxy that only lets WebSockets through: the node responds to the first data with the pod's name, and
/// ends.
fn serve_web_socket(mut request: FakeRequest, end: WebSocketEnd) -> FakeResponse {
    let Some(key) = request.headers().get("sec-websocket-key").cloned() else {
        return fake_api_server::error_response(400, "the proxy does not support SPDY");
    };
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let connection = TokioIo::new(upgrading.await.ok()?);
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        for channel in [0, 1] {
            socket.send(Message::binary(vec![channel, 80, 0])).await.ok()?;
        }
        socket.next().await?.ok()?;
        socket.send(Message::binary(&b"\0pod-a"[..])).await.ok()?;
        if end == WebSocketEnd::Failed {
            socket.send(Message::binary(format!("\u{1}{REASON}"))).await.ok()?;
        }
        match end {
            WebSocketEnd::Aborted => socket.next().await?.ok().map(drop),
            WebSocketEnd::Closed | WebSocketEnd::Failed => socket.close(None).await.ok(),
        }
    });
    fake_api_server::switching_protocols(&[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", &derive_accept_key(key.as_bytes())),
        ("sec-websocket-protocol", "v4.channel.k8s.io"),
    ])
}

#[tokio::test]
async fn distinguishes_failed_from_closed_web_socket() {
    for (end, cause) in [
        (WebSocketEnd::Closed, None),
        (WebSocketEnd::Failed, Some(REASON)),
        (WebSocketEnd::Aborted, Some("the connection to the pod was closed")),
    ] {
        let cluster = fake_api_server::cluster(json!({}), move |request| async move {
            match request.uri().path().ends_with("/pods") {
                true => fake_api_server::pod_list_response(&[ready("pod-a")]),
                false => serve_web_socket(request, end),
            }
        });
        let mut port_forward = open(&cluster.await).await;
        let mut client = connect(&port_forward).await;
        assert_eq!(read_pod_name(&mut client).await, "pod-a", "{end:?}");
        if end == WebSocketEnd::Aborted {
            client.write_all(b"more").await.expect("the port-forward reads");
        }
        let read =
            timeout(TIMEOUT, client.read(&mut [0])).await.expect("the connection ends within the timeout");
        assert_eq!(read.ok(), cause.is_none().then_some(0), "{end:?}");
        if let Some(expected) = cause {
            let failure = timeout(TIMEOUT, port_forward.next_failure())
                .await
                .expect("the failure is reported within the timeout");
            let Some(ClusterError::PortForwardLost { cause, .. }) = failure else { panic!("{failure:?}") };
            assert_eq!(cause, expected);
        }
    }
}

#[tokio::test]
async fn expired_token_is_renewed() {
    for web_sockets in [false, true] {
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be created");
        std::fs::write(file.path(), "first").expect("the temporary file is writable");
        let (accepted_token, stop) = (watch::Sender::new("Bearer first"), watch::Sender::new(false));
        let (accepted, stopped) = (accepted_token.subscribe(), stop.subscribe());
        let user = json!({"tokenFile": file.path()});
        let cluster = fake_api_server::cluster(user, move |request| {
            let (accepted, stopped) = (*accepted.borrow(), stopped.clone());
            async move {
                match request.headers().get(AUTHORIZATION) {
                    Some(header) if header == accepted => {}
                    _ => return fake_api_server::error_response(401, "Unauthorized"),
                }
                match request.uri().path().ends_with("/pods") {
                    true => fake_api_server::pod_list_response(&[ready("pod-a")]),
                    false if web_sockets => serve_web_socket(request, WebSocketEnd::Closed),
                    false => serve_spdy("pod-a", request, stopped),
                }
            }
        });
        let port_forward = open(&cluster.await).await;
        let mut first = connect(&port_forward).await;
        assert_eq!(read_pod_name(&mut first).await, "pod-a");
        accepted_token.send_replace("Bearer second");
        std::fs::write(file.path(), "second").expect("the temporary file is writable");
        // The first connection still uses its session, so this one needs a new session.
        assert_eq!(read_pod_name(&mut connect(&port_forward).await).await, "pod-a", "{web_sockets}");
    }
}

#[tokio::test]
async fn unreachable_node_switches_to_another_pod() {
    for (code, message) in [
        (500, "error dialing backend: dial tcp 192.0.2.1:10250: connect: no route to host"),
        (502, "the connection to the node was lost"),
    ] {
        let (unreachable, stop) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(false));
        let (is_unreachable, stopped) = (unreachable.clone(), stop.subscribe());
        let cluster = fake_api_server::cluster(json!({}), move |request| {
            let (is_unreachable, stopped) = (is_unreachable.clone(), stopped.clone());
            async move {
                match (request.method(), request.uri().path().contains("/pod-a/")) {
                    (&Method::GET, _) => {
                        fake_api_server::pod_list_response(&[ready("pod-a"), ready("pod-b")])
                    }
                    (_, true) if is_unreachable.load(Ordering::Relaxed) => {
                        fake_api_server::error_response(code, message)
                    }
                    (_, true) => serve_spdy("pod-a", request, stopped),
                    (_, false) => serve_spdy("pod-b", request, stopped),
                }
            }
        });
        let port_forward = open(&cluster.await).await;
        let mut first = connect(&port_forward).await;
        assert_eq!(read_pod_name(&mut first).await, "pod-a");
        unreachable.store(true, Ordering::Relaxed);
        assert_eq!(read_pod_name(&mut connect(&port_forward).await).await, "pod-b", "{code}");
        assert_eq!(read_pod_name(&mut connect(&port_forward).await).await, "pod-b", "{code}");
    }
}

#[tokio::test]
async fn broken_connection_switches_to_another_pod() {
    let (stop_first, stop_second) = (watch::Sender::new(false), watch::Sender::new(false));
    let (first_stopped, second_stopped) = (stop_first.subscribe(), stop_second.subscribe());
    let cluster = fake_api_server::cluster(json!({}), move |request| {
        let (first_stopped, second_stopped) = (first_stopped.clone(), second_stopped.clone());
        async move {
            match (request.method(), request.uri().path().contains("/pod-a/")) {
                (&Method::GET, _) => fake_api_server::pod_list_response(&[ready("pod-a"), ready("pod-b")]),
                (_, true) => serve_spdy("pod-a", request, first_stopped),
                (_, false) => serve_spdy("pod-b", request, second_stopped),
            }
        }
    });
    let mut port_forward = open(&cluster.await).await;
    let mut first = connect(&port_forward).await;
    assert_eq!(read_pod_name(&mut first).await, "pod-a");
    stop_first.send_replace(true);
    let failure = timeout(TIMEOUT, port_forward.next_failure())
        .await
        .expect("the failure is reported within the timeout");
    assert!(matches!(failure, Some(ClusterError::PortForwardLost { .. })), "{failure:?}");
    assert_eq!(read_pod_name(&mut connect(&port_forward).await).await, "pod-b");
}

#[tokio::test]
async fn accept_failure_is_reported_once() {
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
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let reported = async {
        let mut reported = Vec::new();
        while reported.len() < 4 {
            reported.extend(receiver.recv().await);
        }
        reported
    };
    tokio::select! {
        () = accept_loop(next, |taken| sender.send(taken.map_err(|error| error.to_string())).expect("the receiver is open")) => {}
        reported = reported => {
            let full = || Err("too many open files".to_owned());
            assert_eq!(reported, [Ok(1), full(), Ok(2), full()]);
        }
    }
}

#[tokio::test]
async fn file_limit_is_not_raised_for_login_commands() {
    let credential =
        r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
    let exec = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [credential],
        "interactiveMode": "Never",
    }});
    for (user, has_command) in [(exec, true), (json!({"token": "t"}), false)] {
        let cluster =
            fake_api_server::cluster(user, |_| async { fake_api_server::pod_list_response(&[]) }).await;
        assert_eq!(cluster.api_client.has_login_command(), has_command);
    }
}
