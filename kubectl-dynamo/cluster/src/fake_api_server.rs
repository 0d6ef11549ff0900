//! A fake API server for tests: each request over a real loopback connection gets the response that the test
//! defines.

use std::convert::Infallible;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Cluster, ConnectOptions};

/// A request to the fake API server.
pub type FakeRequest = Request<Incoming>;
/// A response of the fake API server.
pub type FakeResponse = Response<BoxBody<Bytes, Infallible>>;

/// Starts a server that responds with `handler` and returns a client for it. `user` is the kubeconfig's user
/// entry.
pub async fn cluster<A>(
    user: Value,
    handler: impl Fn(FakeRequest) -> A + Clone + Send + Sync + 'static,
) -> Cluster
where
    A: Future<Output = FakeResponse> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback is available");
    let address = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let handler = handler(request);
                async { Ok::<_, Infallible>(handler.await) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(connection), service);
            tokio::spawn(serving.with_upgrades());
        }
    });
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "played",
        "contexts": [{"name": "played", "context": {"cluster": "played", "user": "played"}}],
        "clusters": [{"name": "played", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "played", "user": user}],
    });
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be created");
    std::fs::write(file.path(), kubeconfig.to_string()).expect("the temporary file is writable");
    let access = ConnectOptions {
        kubeconfig: Some(file.path().to_owned()),
        namespace: Some("dynamo".into()),
        ..ConnectOptions::default()
    };
    Cluster::connect(&access).await.expect("the kubeconfig is valid")
}

/// A response with one object.
pub fn object_response(object: &Value) -> FakeResponse {
    response(StatusCode::OK, Full::new(object.to_string().into()).boxed())
}

/// A response with a PodList.
pub fn pod_list_response(items: &[Value]) -> FakeResponse {
    object_response(
        &json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items}),
    )
}

/// An error response with a Status object, as the API server sends it.
pub fn error_response(code: u16, message: &str) -> FakeResponse {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    let code = StatusCode::from_u16(code).expect("a valid HTTP status code");
    response(code, Full::new(status.to_string().into()).boxed())
}

/// A response with a complete body.
pub fn complete_body(bytes: &'static [u8]) -> FakeResponse {
    response(StatusCode::OK, Full::new(Bytes::from_static(bytes)).boxed())
}

/// A response whose body does not end after these bytes.
pub fn unfinished_body(bytes: &'static [u8]) -> FakeResponse {
    let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]);
    response(StatusCode::OK, BodyExt::boxed(StreamBody::new(first.chain(futures::stream::pending()))))
}

/// A "101 Switching Protocols" response with these additional headers.
pub fn switching_protocols(headers: &[(&'static str, &str)]) -> FakeResponse {
    let mut response = response(StatusCode::SWITCHING_PROTOCOLS, Empty::new().boxed());
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a valid header value"));
    }
    response
}

fn response(code: StatusCode, body: BoxBody<Bytes, Infallible>) -> FakeResponse {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}
