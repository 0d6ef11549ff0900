//! Sockets: accepts connections, over TLS if asked to (there HTTP/2 too), and lets a handler reset one.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::content::Answer;
use super::{FaultKind, Host, State, cdn, pages};

/// A second handle on a connection's socket, to make its end a reset.
#[derive(Clone)]
pub(crate) struct Line(Option<Arc<OwnedFd>>);

impl Line {
    /// From now on closing the connection resets it.
    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = &self.0 {
            // A socket that is gone needs no reset.
            let _ = rustix::net::sockopt::set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
        }
    }
}

/// Accepts until the task is ended.
pub(crate) async fn serve(listener: TcpListener, host: Host, state: Arc<State>) {
    let acceptor = state
        .settings
        .identity
        .as_ref()
        .map(|identity| tokio_rustls::TlsAcceptor::from(identity.server.clone()));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (state, acceptor) = (state.clone(), acceptor.clone());
        connections.spawn(async move {
            let line = second_handle(&stream);
            match acceptor {
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let version = match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => Version::HTTP_2,
                            _ => Version::HTTP_11,
                        };
                        converse(stream, version, host, state, line).await;
                    }
                }
                None => converse(stream, Version::HTTP_11, host, state, line).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

fn second_handle(stream: &TcpStream) -> Line {
    let _ = stream.set_nodelay(true);
    Line(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    host: Host,
    state: Arc<State>,
    line: Line,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (state, line) = (state.clone(), line.clone());
        async move { Ok::<Answer, Infallible>(answer(&request, host, &state, &line).await) }
    });
    let stream = TokioIo::new(stream);
    // A client that goes away is no failure of the hub.
    let _ = match version {
        Version::HTTP_2 => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        _ => http1::Builder::new().serve_connection(stream, service).await,
    };
}

async fn answer(request: &hyper::Request<Incoming>, host: Host, state: &Arc<State>, line: &Line) -> Answer {
    if !state.settings.latency.is_zero() {
        tokio::time::sleep(state.settings.latency).await;
    }
    let fault = state.fault(host, request.uri().path());
    let answer = match (fault.as_ref().and_then(FaultKind::answer), host) {
        (Some(answer), _) => answer,
        (None, Host::Hub) => pages::answer(request, state, fault, line),
        (None, Host::Cdn) => cdn::answer(request, state, fault, line),
    };
    let header = |name: hyper::header::HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    state.note(super::Request {
        host,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        range: header(hyper::header::RANGE),
        authorization: header(hyper::header::AUTHORIZATION),
        status: answer.status().as_u16(),
    });
    answer
}
