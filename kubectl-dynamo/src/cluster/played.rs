//! An API server that a test plays: every request over a real connection is answered as the test says.

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

use super::{Access, Cluster};

pub(crate) type Question = Request<Incoming>;
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A client of a server that answers like this; `user` is the user's part of its kubeconfig.
pub(crate) async fn cluster<A>(
    user: Value,
    answer: impl Fn(Question) -> A + Clone + Send + Sync + 'static,
) -> Cluster
where
    A: Future<Output = Answer> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |question| {
                let answer = answer(question);
                async { Ok::<_, Infallible>(answer.await) }
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
    let file = tempfile::NamedTempFile::new().expect("there is a folder for temporary files");
    std::fs::write(file.path(), kubeconfig.to_string()).expect("the file is there");
    let access = Access {
        kubeconfig: Some(file.path().to_owned()),
        namespace: Some("dynamo".into()),
        ..Access::default()
    };
    Cluster::connect(&access).await.expect("the kubeconfig is whole")
}

/// An object.
pub(crate) fn object(object: &Value) -> Answer {
    answer(StatusCode::OK, Full::new(object.to_string().into()).boxed())
}

/// A list of pods.
pub(crate) fn pods(items: &[Value]) -> Answer {
    object(
        &json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items}),
    )
}

/// A refusal in the API server's words.
pub(crate) fn refusal(code: u16, message: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
    });
    let code = StatusCode::from_u16(code).expect("a code");
    answer(code, Full::new(status.to_string().into()).boxed())
}

/// These bytes, and then the end.
pub(crate) fn whole(bytes: &'static [u8]) -> Answer {
    answer(StatusCode::OK, Full::new(Bytes::from_static(bytes)).boxed())
}

/// These bytes, and no end.
pub(crate) fn begun(bytes: &'static [u8]) -> Answer {
    let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]);
    answer(StatusCode::OK, BodyExt::boxed(StreamBody::new(first.chain(futures::stream::pending()))))
}

/// Goes over to another protocol, with these headers more.
pub(crate) fn switched(headers: &[(&'static str, &str)]) -> Answer {
    let mut answer = answer(StatusCode::SWITCHING_PROTOCOLS, Empty::new().boxed());
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().expect("a header's value"));
    }
    answer
}

fn answer(code: StatusCode, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    answer
}
