//! Accepts connections, with TLS (and HTTP/2) if configured, and lets a handler reset one.
//! It does not interpret requests.

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

use super::content::{self, HubResponse};
use super::{FaultKind, HubHost, HubState, cdn, endpoints};

/// A second handle to a connection's socket, used to reset it.
#[derive(Clone)]
pub(crate) struct ConnectionHandle(Option<Arc<OwnedFd>>);

impl ConnectionHandle {
    /// Resets the connection when it is closed, instead of a normal close.
    pub(crate) fn reset_on_close(&self) {
        if let Some(socket) = &self.0 {
            // A closed socket needs no reset.
            let _ = rustix::net::sockopt::set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
        }
    }
}

/// Accepts connections until the task is aborted.
pub(crate) async fn serve(listener: TcpListener, host: HubHost, state: Arc<HubState>) {
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
            let connection = connection_handle(&stream);
            match acceptor {
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let version = match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => Version::HTTP_2,
                            _ => Version::HTTP_11,
                        };
                        handle_connection(stream, version, host, state, connection).await;
                    }
                }
                None => handle_connection(stream, Version::HTTP_11, host, state, connection).await,
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

fn connection_handle(stream: &TcpStream) -> ConnectionHandle {
    let _ = stream.set_nodelay(true);
    ConnectionHandle(stream.as_fd().try_clone_to_owned().ok().map(Arc::new))
}

async fn handle_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Version,
    host: HubHost,
    state: Arc<HubState>,
    connection: ConnectionHandle,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (state, connection) = (state.clone(), connection.clone());
        async move { Ok::<HubResponse, Infallible>(respond(&request, host, &state, &connection).await) }
    });
    let stream = TokioIo::new(stream);
    // A client that disconnects is not an error.
    let _ = match version {
        Version::HTTP_2 => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        _ => http1::Builder::new().serve_connection(stream, service).await,
    };
}

async fn respond(
    request: &hyper::Request<Incoming>,
    host: HubHost,
    state: &Arc<HubState>,
    connection: &ConnectionHandle,
) -> HubResponse {
    if !state.settings.latency.is_zero() {
        tokio::time::sleep(state.settings.latency).await;
    }
    let fault = state.next_due_fault(host, request.uri().path());
    let is_compressed = matches!(fault, Some(FaultKind::Gzip));
    let response = match (fault.as_ref().and_then(FaultKind::replacement_response), host) {
        (Some(response), _) => response,
        (None, HubHost::Hub) => endpoints::respond(request, state, fault, connection),
        (None, HubHost::Cdn) => cdn::respond(request, state, fault, connection),
    };
    let response = if is_compressed { content::compressed(response).await } else { response };
    let header = |name: hyper::header::HeaderName| {
        request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    state.record_request(super::HubRequest {
        host,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        range: header(hyper::header::RANGE),
        authorization: header(hyper::header::AUTHORIZATION),
        user_agent: header(hyper::header::USER_AGENT),
        status: response.status().as_u16(),
    });
    response
}
