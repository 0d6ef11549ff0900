//! An API server with scripted responses: objects that never stop changing, watches that fail, requests that
//! fail once, and writes that are rejected.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use kubectl_dynamo_tests::plugin::Plugin;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub(crate) const GRAPHS: &str = "dynamographdeployments";
pub(crate) const COMPONENTS: &str = "dynamocomponentdeployments";

/// How the server responds to requests for one kind. The default is an empty list that does not change.
#[derive(Clone, Default)]
pub(crate) struct KindScript {
    pub(crate) objects: Vec<Value>,
    /// Time between two changes of the first object.
    pub(crate) changes_every: Option<Duration>,
    /// Whether a watch is forbidden.
    pub(crate) is_watch_forbidden: bool,
    /// Number of list requests that fail before the first one succeeds, after the initial list of a watch.
    pub(crate) failing_lists: usize,
    /// The write that is rejected.
    pub(crate) rejected_patch: Option<RejectedPatch>,
}

/// A write that the server rejects.
#[derive(Clone)]
pub(crate) struct RejectedPatch {
    pub(crate) name: &'static str,
    /// Whether a dry run is rejected too.
    pub(crate) in_dry_run: bool,
}

/// The server: it stores nothing, and it answers from the scripts. It serves graphs as v1alpha1 if component
/// deployments have a script, otherwise as v1beta1.
#[derive(Default)]
pub(crate) struct ScriptedServer {
    kinds: Mutex<BTreeMap<&'static str, KindScript>>,
    /// The requests so far, such as `list pods`, `get pods`, `dry-run pods`, or `patch pods`.
    requests: Mutex<Vec<String>>,
}

impl ScriptedServer {
    /// Starts a server and returns a plugin that uses it.
    pub(crate) async fn start(
        kinds: &[(&'static str, KindScript)],
    ) -> (Arc<Self>, Plugin, tempfile::TempDir) {
        let server = Arc::new(Self { kinds: Mutex::new(kinds.iter().cloned().collect()), ..Self::default() });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = server.clone();
        let handler = move |request: Request<Body>| std::future::ready(shared.respond(&request));
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handler)).await });
        let home = tempfile::tempdir().expect("a temporary folder");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scripted",
            "contexts": [{ "name": "scripted", "context": { "cluster": "scripted", "user": "scripted" } }],
            "clusters": [{ "name": "scripted", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "scripted", "user": {} }],
        });
        let path = home.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).expect("the kubeconfig");
        (server, Plugin::new(path, "serving"), home)
    }

    fn respond(&self, request: &Request<Body>) -> Response<Body> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        match path {
            "/apis" => {
                return ok(&json!({ "apiVersion": "v1", "kind": "APIGroupList", "groups": [] }));
            }
            _ if path == format!("/apis/nvidia.com/{}", self.graph_api()) => {
                return ok(&json!({
                    "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": &path["/apis/".len()..],
                    "resources": [{ "name": GRAPHS, "singularName": "", "namespaced": true,
                        "kind": "DynamoGraphDeployment", "verbs": ["get", "list", "watch"] }],
                }));
            }
            _ => {}
        }
        let Some((_, rest)) = path.split_once("/namespaces/serving/") else {
            return failure(404, "not found");
        };
        let mut parts = rest.split('/');
        let (plural, name) = (parts.next().unwrap_or_default(), parts.next());
        let verb = match (request.method(), name) {
            (&Method::PATCH, _) if query.contains("dryRun=") => "dry-run",
            (&Method::PATCH, _) => "patch",
            _ if query.contains("watch=") => "watch",
            (_, Some(_)) => "get",
            _ => "list",
        };
        self.requests.lock().expect("the lock").push(format!("{verb} {plural}"));
        let mut kinds = self.kinds.lock().expect("the lock");
        let mut unknown = KindScript::default();
        let script = kinds.get_mut(plural).unwrap_or(&mut unknown);
        match (verb, name) {
            ("watch", _) if script.is_watch_forbidden => failure(403, "forbidden"),
            ("watch", _) => watch(script),
            (verb @ ("patch" | "dry-run"), Some(name)) if script.rejects(verb, name) => {
                failure(422, "denied")
            }
            (_, Some(name)) => {
                let found = script.objects.iter().find(|one| one["metadata"]["name"] == name);
                found.map_or_else(|| failure(404, "not found"), ok)
            }
            // The initial list of a watch has a limit.
            _ if script.failing_lists > 0 && !query.contains("limit=") => {
                script.failing_lists -= 1;
                failure(500, "the server is overloaded")
            }
            _ => ok(&json!({
                "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": script.objects,
            })),
        }
    }

    fn graph_api(&self) -> &'static str {
        match self.kinds.lock().expect("the lock").contains_key(COMPONENTS) {
            true => "v1alpha1",
            false => "v1beta1",
        }
    }

    /// Returns the number of these requests so far.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.requests.lock().expect("the lock").iter().filter(|one| *one == request).count()
    }
}

impl KindScript {
    fn rejects(&self, verb: &str, name: &str) -> bool {
        let rejected = self.rejected_patch.as_ref();
        rejected.is_some_and(|one| one.name == name && (verb == "patch" || one.in_dry_run))
    }
}

/// Streams a change of the first object again and again, or nothing.
fn watch(script: &KindScript) -> Response<Body> {
    let (Some(every), Some(object)) = (script.changes_every, script.objects.first().cloned()) else {
        return Response::new(Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()));
    };
    let stream = futures::stream::unfold(2_u64, move |version| {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        if object["kind"] == "Event" {
            object["lastTimestamp"] =
                format!("2026-11-25T{:02}:{:02}:{:02}Z", version / 3600, version / 60 % 60, version % 60)
                    .into();
        }
        let line = format!("{}\n", json!({ "type": "MODIFIED", "object": object }));
        async move {
            tokio::time::sleep(every).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(line)), version + 1))
        }
    });
    Response::new(Body::from_stream(stream))
}

fn ok(object: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(object.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

fn failure(code: u16, message: &str) -> Response<Body> {
    let reason = if code == 404 { "NotFound" } else { "" };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    });
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::from_u16(code).expect("a valid status code");
    response
}

/// A v1beta1 graph with one worker, which is not ready.
pub(crate) fn graph() -> Value {
    json!({
        "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "metadata": { "name": "tiny", "namespace": "serving", "uid": "1", "resourceVersion": "1", "generation": 1 },
        "spec": { "components": [{ "name": "worker", "type": "worker", "replicas": 1 }] },
        "status": { "state": "pending", "observedGeneration": 1 },
    })
}
