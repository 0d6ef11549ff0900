//! The operator's admission webhooks: served over TLS with the cluster's authority, and registered.
//! The rules are in the submodules.

pub mod rules;
mod v1alpha1;
mod v1beta1;
mod verdict;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
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

use super::api_client::{OperatorClient, text};
use super::faults::{OperatorFault, OperatorFaults};
use super::names;
use crate::Outcome;
use crate::kubernetes::authority::CertificateAuthority;
use crate::kubernetes::definitions::GraphGeneration;
use verdict::AdmissionVerdict;

/// The state of the webhooks.
#[derive(Clone)]
struct Webhooks {
    generation: GraphGeneration,
    faults: Arc<OperatorFaults>,
}

impl Webhooks {
    /// Returns whether this review fails; the next one of the namespace does not.
    fn is_refused(&self, request: &Value) -> bool {
        self.faults.end(OperatorFault::RefusesNextReview, text(request, "/namespace"))
    }
}

/// Serves the webhooks and registers them. They respond as long as the task runs.
pub(super) async fn start(
    access: &OperatorClient,
    authority: &CertificateAuthority,
) -> Outcome<JoinHandle<()>> {
    let listener = TlsListener::bind(authority).await?;
    let address = listener.local_addr()?;
    let router = axum::Router::new()
        .route("/mutate", post(mutate))
        .route("/validate", post(validate))
        .with_state(Webhooks { generation: access.generation, faults: access.faults.clone() });
    let server = tokio::spawn(async move {
        // The server only ends with its task.
        let _ = axum::serve(listener, router).await;
    });
    register(access, authority, address).await?;
    Ok(server)
}

async fn register(access: &OperatorClient, authority: &CertificateAuthority, address: SocketAddr) -> Outcome {
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority.certificate());
    let webhook = |name: &str, path: &str| {
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "clientConfig": {"url": format!("https://{address}{path}"), "caBundle": bundle},
            // 1.5 registers only its stored version: other versions reach it after conversion.
            "matchPolicy": "Equivalent",
            "rules": [{
                "apiGroups": [names::API_GROUP],
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
        access.apply_cluster_scoped(&registration).await?;
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
    review_response(request, verdict)
}

async fn validate(
    State(webhooks): State<Webhooks>,
    Json(review): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    let request = &review["request"];
    if webhooks.is_refused(request) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let (object, old) = (&request["object"], &request["oldObject"]);
    let old = Some(old).filter(|old| old.is_object());
    // The operator itself writes the values of its scaling adapters.
    if request["options"]["fieldManager"] == names::FIELD_MANAGER {
        return Ok(review_response(request, json!({"allowed": true})));
    }
    let verdict: AdmissionVerdict = match webhooks.generation {
        GraphGeneration::V1Alpha1 => v1alpha1::validate(object, old),
        GraphGeneration::V1Beta1 => v1beta1::validate(object, old),
    };
    Ok(review_response(request, verdict.response()))
}

fn review_response(request: &Value, mut response: Value) -> Json<Value> {
    response["uid"] = request["uid"].clone();
    Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

/// Accepts TLS connections on a free port.
struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl TlsListener {
    async fn bind(authority: &CertificateAuthority) -> Outcome<Self> {
        let identity = authority.server_certificate("dynamo-operator", &["127.0.0.1"])?;
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

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // A failed connection does not stop the listener.
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
