//! Summarizes a live deployment for tables: from the stored intent in its annotation or, for objects of other
//! tools, from its spec. It makes no request.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use kubectl_dynamo_core::diagnosis::{DiagnosisResult, Snapshot, diagnose};
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::request::TopologyMode;
use kubectl_dynamo_core::intent::{ServingIntent, StringEnum, Topology};
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::Observation;
use kubectl_dynamo_core::resources::{INTENT_ANNOTATION, MODEL_ANNOTATION, NAME_LABEL, RELEASE_ANNOTATION};

/// The values of a deployment that tables show.
pub(crate) struct DeploymentSummary {
    pub name: String,
    pub namespace: String,
    pub model: String,
    pub mode: TopologyMode,
    pub router: String,
    pub backend: String,
    pub release: String,
    pub gpus: Option<u32>,
    pub ready: u64,
    pub desired: u64,
    /// RFC 3339 timestamp.
    pub created: String,
    /// Name of the PVC that holds the model, if known.
    pub pvc: Option<String>,
}

/// Returns the stored intent of a graph, or `None` if the graph has none.
pub(crate) fn stored_intent(graph: &Value) -> Option<ServingIntent> {
    serde_json::from_str(GraphView::new(graph).annotation(INTENT_ANNOTATION)?).ok()
}

pub(crate) fn summarize(graph: &Value) -> DeploymentSummary {
    let view = GraphView::new(graph);
    let text = |value: Option<&str>| value.unwrap_or("-").to_owned();
    let (ready, desired) = replica_counts(graph);
    let intent = stored_intent(graph);
    let from_intent =
        |field: &dyn Fn(&ServingIntent) -> String| intent.as_ref().map_or_else(|| "-".to_owned(), field);
    DeploymentSummary {
        name: text(view.text("/metadata/name")),
        namespace: text(view.text("/metadata/namespace")),
        model: from_intent(&|intent| intent.model.to_string()),
        mode: intent.as_ref().map_or_else(|| mode_from_spec(graph), |intent| topology_mode(&intent.topology)),
        router: from_intent(&|intent| intent.router.mode.as_str().to_owned()),
        backend: from_intent(&|intent| intent.backend.as_str().to_owned()),
        release: text(view.annotation(RELEASE_ANNOTATION)),
        gpus: intent.as_ref().map(ServingIntent::gpus),
        ready,
        desired,
        created: text(view.created()),
        pvc: intent.map(|intent| intent.cache.pvc().to_owned()),
    }
}

impl DeploymentSummary {
    /// Returns the `READY` column as kubectl prints it for a Deployment.
    pub(crate) fn readiness(&self) -> String {
        format!("{}/{}", self.ready, self.desired)
    }

    /// Summarizes a deployment that is not created yet, from the Job that fetches its model. Its mode is not known.
    pub(crate) fn of_fetch_job(job: &Job) -> Self {
        let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let unknown = || "-".to_owned();
        Self {
            name: text(job.label(NAME_LABEL)),
            namespace: text(job.metadata.namespace.as_deref()),
            model: text(job.annotation(MODEL_ANNOTATION)),
            mode: TopologyMode::Aggregated,
            router: unknown(),
            backend: unknown(),
            release: unknown(),
            gpus: None,
            ready: 0,
            desired: 0,
            created: job.created(),
            pvc: None,
        }
    }

    /// Returns the URL that other pods use.
    pub(crate) fn in_cluster_url(&self) -> String {
        in_cluster_url(&self.name, &self.namespace)
    }
}

/// Returns the URL of the frontend Service, with the operator's name for it.
pub(crate) fn in_cluster_url(name: &str, namespace: &str) -> String {
    format!("http://{}-frontend.{namespace}.svc:8000/v1", name.replace('.', "-"))
}

/// Returns the URL of the frontend Service of a graph. The operator names it after the frontend component, which a file
/// can name in any way.
pub(crate) fn frontend_url(graph: &Value) -> String {
    let view = GraphView::new(graph);
    let components = view.components();
    let frontend = components.iter().find(|one| one.role() == "frontend");
    let component = frontend.map_or_else(|| "frontend".to_owned(), |one| one.name.to_lowercase());
    let deployment = view.name().replace('.', "-");
    format!("http://{deployment}-{component}.{}.svc:8000/v1", view.namespace())
}

/// Returns the ready and the desired replicas of all components, from the operator's status.
fn replica_counts(graph: &Value) -> (u64, u64) {
    let graph = GraphView::new(graph);
    let desired = graph.components().iter().map(|component| component.replicas()).sum();
    (graph.available_replicas(), desired)
}

fn topology_mode(topology: &Topology) -> TopologyMode {
    match topology {
        Topology::Aggregated { .. } => TopologyMode::Aggregated,
        Topology::Disaggregated { .. } => TopologyMode::Disaggregated,
    }
}

/// Returns the mode of a graph without a stored intent: disaggregated if it has a prefill component.
fn mode_from_spec(graph: &Value) -> TopologyMode {
    match GraphView::new(graph).components().iter().any(|one| one.role() == "prefill") {
        true => TopologyMode::Disaggregated,
        false => TopologyMode::Aggregated,
    }
}

/// The status of a graph in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListStatus {
    Ready,
    Progressing,
    Failed,
    /// The graph is being deleted.
    Terminating,
    /// The graph does not exist yet, and its model is being fetched.
    Fetching,
    /// The graph does not exist, because the fetch of its model failed.
    FetchFailed,
}

impl ListStatus {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Progressing => "starting",
            Self::Failed => "failed",
            Self::Terminating => "deleting",
            Self::Fetching => "fetching model",
            Self::FetchFailed => "fetch failed",
        }
    }

    /// Returns whether the graph exists.
    pub(crate) fn is_created(self) -> bool {
        !matches!(self, Self::Fetching | Self::FetchFailed)
    }
}

/// Returns the status of a graph from its own status, its pods, and, on 0.9.1, its component deployments. It is the same
/// as in `status`, which also reads logs.
pub(crate) fn list_status(
    graph: &Value,
    component_deployments: &[Value],
    pods: &[ObservedObject<Pod>],
) -> ListStatus {
    let observation = Observation {
        graph: Some(graph.clone()),
        components: component_deployments.to_vec(),
        pods: pods.to_vec(),
        ..Observation::default()
    };
    match diagnose(&Snapshot { observation, ..Snapshot::default() }).result {
        DiagnosisResult::Ready => ListStatus::Ready,
        DiagnosisResult::Failed { .. } => ListStatus::Failed,
        DiagnosisResult::Progressing { .. } | DiagnosisResult::Blocked { .. } => ListStatus::Progressing,
        DiagnosisResult::Terminating { .. } => ListStatus::Terminating,
    }
}

/// Returns an age as kubectl formats it: `45s`, `12m`, `3h`, `2d`.
pub(crate) fn age(created: &str, now: jiff::Timestamp) -> String {
    let Ok(created) = created.parse::<jiff::Timestamp>() else { return "-".into() };
    let seconds = now.duration_since(created).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_graph_is_disaggregated_by_its_components_alone() {
        let beta = |components: Value| json!({ "spec": { "components": components } });
        let variable =
            json!([{ "name": "worker", "type": "worker", "env": [{ "name": "MODE", "value": "prefill" }] }]);
        assert_eq!(mode_from_spec(&beta(variable)), TopologyMode::Aggregated);
        assert_eq!(
            mode_from_spec(&beta(
                json!([{ "name": "p", "type": "prefill" }, { "name": "d", "type": "decode" }])
            )),
            TopologyMode::Disaggregated
        );
        let alpha = json!({ "spec": { "services": {
            "p": { "componentType": "worker", "subComponentType": "prefill" },
            "d": { "componentType": "worker", "subComponentType": "decode" },
        } } });
        assert_eq!(mode_from_spec(&alpha), TopologyMode::Disaggregated);
    }

    #[test]
    fn v1alpha1_readiness_comes_from_component_deployments() {
        let graph = json!({
            "metadata": { "name": "tiny", "uid": "1" },
            "spec": { "services": { "worker": {} } },
            "status": { "state": "successful", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let component = json!({
            "metadata": { "name": "tiny-worker", "generation": 1, "ownerReferences": [{ "uid": "1" }] },
            "spec": { "serviceName": "worker" },
            "status": { "observedGeneration": 1, "conditions": [{ "type": "Available", "status": "True" }] },
        });
        assert_eq!(list_status(&graph, &[component], &[]).as_str(), "ready");
        assert_eq!(list_status(&graph, &[], &[]).as_str(), "starting");
    }
}
