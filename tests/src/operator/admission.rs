//! The operator's admission webhooks: served over TLS of the cluster's own authority, and registered with it.

mod refusal;
pub mod rules;
mod v1alpha1;
mod v1beta1;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use base64::Engine;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use axum::serve::Listener as _;

use super::access::{Access, text};
use super::words;
use crate::Outcome;
use crate::kubernetes::authority::Authority;
use crate::kubernetes::definitions::GraphGeneration;
use refusal::Verdict;

/// Serves the webhooks and registers them; they answer for as long as the task runs.
pub(super) async fn start(access: &Access, authority: &Authority) -> Outcome<JoinHandle<()>> {
    let listener = Listener::bind(authority).await?;
    let address = listener.local_addr()?;
    let router = axum::Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .with_state(access.generation);
    let server = tokio::spawn(async move {
        // The server ends with its task alone.
        let _ = axum::serve(listener, router).await;
    });
    register(access, authority, address).await?;
    Ok(server)
}

async fn register(access: &Access, authority: &Authority, address: SocketAddr) -> Outcome {
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority.certificate());
    let webhook = |name: &str, path: &str| {
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "clientConfig": {"url": format!("https://{address}{path}"), "caBundle": bundle},
            // 1.5 names its stored version alone: other versions reach it by conversion.
            "matchPolicy": "Equivalent",
            "rules": [{
                "apiGroups": [words::GROUP],
                "apiVersions": [access.generation.version()],
                "resources": ["dynamographdeployments"],
                "operations": ["CREATE", "UPDATE"],
            }],
        })
    };
    let registration = |kind: &str, name: &str, webhook: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "webhooks": [webhook],
        })
    };
    let mut registrations = vec![registration(
        "ValidatingWebhookConfiguration",
        "dynamo-operator-validating",
        webhook("vdynamographdeployment.kb.io", "/validate"),
    )];
    if access.generation == GraphGeneration::V1Beta1 {
        registrations.push(registration(
            "MutatingWebhookConfiguration",
            "dynamo-operator-mutating",
            webhook("mdynamographdeployment.kb.io", "/mutate"),
        ));
    }
    for registration in registrations {
        access.apply_everywhere(&registration).await?;
    }
    Ok(())
}

async fn mutate(Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let verdict = match v1beta1::mutate(&request["object"], text(request, "/operation") == "CREATE") {
        Ok(patch) => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
            json!({"allowed": true, "patchType": "JSONPatch", "patch": encoded})
        }
        Err(refusal) => refusal,
    };
    answer(request, verdict)
}

async fn validate(State(generation): State<GraphGeneration>, Json(review): Json<Value>) -> Json<Value> {
    let request = &review["request"];
    let (object, old) = (&request["object"], &request["oldObject"]);
    let old = Some(old).filter(|old| old.is_object());
    // The operator itself writes what its scaling adapters say.
    if request["options"]["fieldManager"] == words::MANAGER {
        return answer(request, json!({"allowed": true}));
    }
    let verdict: Verdict = match generation {
        GraphGeneration::V1Alpha1 => v1alpha1::validate(object, old),
        GraphGeneration::V1Beta1 => v1beta1::validate(object, old),
    };
    answer(request, verdict.response())
}

fn answer(request: &Value, mut response: Value) -> Json<Value> {
    response["uid"] = request["uid"].clone();
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

/// Accepts TLS connections on a free port.
struct Listener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener {
    async fn bind(authority: &Authority) -> Outcome<Self> {
        let identity = authority.server("dynamo-operator", &["127.0.0.1"])?;
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let settings =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        Ok(Self {
            tcp: TcpListener::bind(("127.0.0.1", 0)).await?,
            tls: TlsAcceptor::from(Arc::new(settings)),
        })
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // A client that breaks off is no reason to stop listening.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.tls.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
