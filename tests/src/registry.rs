//! A registry on loopback: images that need different logins, that are missing, or that never arrive. It records the
//! requests. Its documents are those of the OCI distribution specification. [`RegistryProgram`] is a real one.

mod program;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::serve::Listener;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Outcome;
use crate::hub::identity::TlsIdentity;
pub use program::RegistryProgram;

/// The user and the password with which the registry provides images of `private` and `basic`.
pub const LOGIN: (&str, &str) = ("puller", "pull-password");
/// `puller:pull-password` in base64.
const ENCODED_LOGIN: &str = "cHVsbGVyOnB1bGwtcGFzc3dvcmQ=";

/// A request to the registry.
#[derive(Debug, Clone)]
pub struct RegistryRequest {
    /// Host, path, and query.
    pub url: String,
    pub authorization: Option<String>,
}

/// A running registry.
pub struct TestRegistry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<RegistryRequest>>>,
    serving: JoinHandle<()>,
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl TestRegistry {
    /// Starts a registry that speaks plain HTTP.
    pub async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Self::serve(listener.local_addr()?, "http", listener)
    }

    /// Starts a registry that speaks TLS. `realm_scheme` is the scheme in the address of its token service.
    pub async fn start_with_tls(identity: &TlsIdentity, realm_scheme: &'static str) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut config = (*identity.server).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::serve(listener.local_addr()?, realm_scheme, TlsListener { listener, acceptor })
    }

    fn serve<L: Listener<Addr = SocketAddr>>(
        address: SocketAddr,
        scheme: &'static str,
        listener: L,
    ) -> Outcome<Self> {
        let requests: Arc<Mutex<Vec<RegistryRequest>>> = Arc::default();
        let recorded = requests.clone();
        let handler = move |request: Request<Body>| {
            let recorded = recorded.clone();
            // The body is not needed, and it cannot be shared between threads.
            let (request, _) = request.into_parts();
            async move { respond(&request, scheme, &recorded).await }
        };
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, Router::new().fallback(handler)).await;
        });
        Ok(Self { address, requests, serving })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the name of an image in this registry.
    pub fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.address)
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<RegistryRequest> {
        self.requests.lock().map(|requests| requests.clone()).unwrap_or_default()
    }
}

/// Accepts connections with TLS. A client that does not trust the certificate is dropped.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn respond(request: &Parts, scheme: &str, requests: &Mutex<Vec<RegistryRequest>>) -> Response<Body> {
    let header = |headers: &HeaderMap, name| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned)
    };
    let host = header(&request.headers, header::HOST).unwrap_or_default();
    let authorization = header(&request.headers, header::AUTHORIZATION);
    if let Ok(mut requests) = requests.lock() {
        requests.push(RegistryRequest {
            url: format!("{host}{}", request.uri),
            authorization: authorization.clone(),
        });
    }
    let base = format!("{scheme}://{host}");
    let path = request.uri.path();
    if path == "/token" {
        return token_response(request.uri.query().unwrap_or_default(), authorization.as_deref());
    }
    if path == "/storage" {
        return document(&json!({ "os": "linux", "architecture": "amd64" }));
    }
    let Some((repository, kind)) = path.strip_prefix("/v2/").and_then(|path| {
        ["/manifests/", "/blobs/"].into_iter().find_map(|kind| Some((path.split_once(kind)?.0, kind)))
    }) else {
        return failure(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    };
    if let Some(challenge) = challenge(repository, &base, authorization.as_deref()) {
        let mut response = failure(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    match (repository, kind) {
        ("slow", _) => std::future::pending().await,
        // The storage has another host name, as with a content delivery network.
        ("single", "/blobs/") => redirect(&format!("{base}/storage").replace("127.0.0.1", "localhost")),
        ("single", _) => document(&json!({ "schemaVersion": 2, "config": { "digest": "sha256:00ff" } })),
        ("moved", _) => redirect(&format!("{base}/v2/open/manifests/1")),
        ("loop", _) => redirect(&format!("{base}/v2/loop/manifests/1")),
        ("downgrade", _) => redirect("http://registry.test/v2/open/manifests/1"),
        ("busy", _) => failure(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        ("forbidden", _) => failure(StatusCode::FORBIDDEN, "DENIED"),
        ("odd", _) => Response::new(Body::from("<html>sign in</html>")),
        ("large", _) => Response::new(Body::from(vec![b' '; 5 << 20])),
        ("arm", _) => document(&index(&["arm64"])),
        ("open" | "token" | "private" | "basic", _) => document(&index(&["amd64", "arm64"])),
        _ => failure(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
    }
}

/// Returns how a repository wants the request to be authorized, unless it is.
fn challenge(repository: &str, base: &str, authorization: Option<&str>) -> Option<header::HeaderValue> {
    let (expected, challenge) = match repository {
        "token" | "private" | "single" => (
            format!("Bearer {}", token_of(&format!("repository:{repository}:pull"))),
            format!(
                "Bearer realm=\"{base}/token\",service=\"registry\",scope=\"repository:{repository}:pull\""
            ),
        ),
        "basic" => (format!("Basic {ENCODED_LOGIN}"), "Basic realm=\"registry\"".to_owned()),
        "unknown-login" => (String::new(), "Negotiate".to_owned()),
        _ => return None,
    };
    (authorization != Some(&expected)).then(|| challenge.parse().ok()).flatten()
}

/// Returns a token for the scope. `private` needs the login.
fn token_response(query: &str, authorization: Option<&str>) -> Response<Body> {
    let query = query.replace("%3A", ":");
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope=")).unwrap_or_default();
    let has_login = authorization == Some(&format!("Basic {ENCODED_LOGIN}"));
    if scope.contains(":private:") && !has_login {
        return failure(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    document(&json!({ "token": token_of(scope) }))
}

fn token_of(scope: &str) -> String {
    format!("token-for-{}", scope.replace(':', "-"))
}

fn index(architectures: &[&str]) -> Value {
    let manifests = architectures.iter().map(|architecture| {
        json!({ "digest": "sha256:00ff", "platform": { "os": "linux", "architecture": architecture } })
    });
    json!({ "schemaVersion": 2, "manifests": manifests.collect::<Vec<_>>() })
}

fn document(document: &Value) -> Response<Body> {
    Response::new(Body::from(document.to_string()))
}

fn failure(status: StatusCode, code: &str) -> Response<Body> {
    let mut response = document(&json!({ "errors": [{ "code": code, "message": "" }] }));
    *response.status_mut() = status;
    response
}

fn redirect(address: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(address) = address.parse() {
        response.headers_mut().insert(header::LOCATION, address);
    }
    response
}
