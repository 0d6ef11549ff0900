//! A deployment in a few words, read from its live object: from the wish in its annotation where this program
//! made it, from its spec otherwise.

use serde_json::Value;

use crate::intent::{ServingIntent, Word};
use crate::readiness::{Observation, Standing, standing};
use crate::resources::{INTENT_ANNOTATION, RELEASE_ANNOTATION};

/// What tables show of a deployment.
pub(super) struct Summary {
    pub name: String,
    pub namespace: String,
    pub model: String,
    pub mode: String,
    pub router: String,
    pub backend: String,
    pub release: String,
    pub gpus: Option<u32>,
    pub ready: u64,
    pub wanted: u64,
    /// RFC 3339.
    pub created: String,
    /// The claim that holds the model, where it is known.
    pub claim: Option<String>,
}

/// The wish that led to a graph, if this program made it.
pub(super) fn intent(graph: &Value) -> Option<ServingIntent> {
    serde_json::from_str(graph["metadata"]["annotations"][INTENT_ANNOTATION].as_str()?).ok()
}

pub(super) fn summary(graph: &Value) -> Summary {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let metadata = &graph["metadata"];
    let (ready, wanted) = replicas(graph);
    let intent = intent(graph);
    let of = |field: &dyn Fn(&ServingIntent) -> String| intent.as_ref().map_or_else(|| "-".to_owned(), field);
    Summary {
        name: text(&metadata["name"]),
        namespace: text(&metadata["namespace"]),
        model: of(&|intent| intent.model.to_string()),
        mode: intent
            .as_ref()
            .map_or_else(|| mode(graph).to_owned(), |intent| intent.topology.mode().to_owned()),
        router: of(&|intent| intent.router.mode.as_str().to_owned()),
        backend: of(&|intent| intent.backend.as_str().to_owned()),
        release: text(&metadata["annotations"][RELEASE_ANNOTATION]),
        gpus: intent.as_ref().map(ServingIntent::gpus),
        ready,
        wanted,
        created: text(&metadata["creationTimestamp"]),
        claim: intent.map(|intent| intent.cache.claim().to_owned()),
    }
}

impl Summary {
    /// `READY` as kubectl prints it for a Deployment.
    pub(super) fn readiness(&self) -> String {
        format!("{}/{}", self.ready, self.wanted)
    }

    /// The address that other pods use.
    pub(super) fn in_cluster_url(&self) -> String {
        in_cluster_url(&self.name, &self.namespace)
    }
}

/// The frontend's Service, as the operator names it.
pub(super) fn in_cluster_url(name: &str, namespace: &str) -> String {
    format!("http://{}-frontend.{namespace}.svc:8000/v1", name.replace('.', "-"))
}

/// Replicas ready and wanted over all components, by the operator's own status. A status of another spec
/// counts as nothing ready.
fn replicas(graph: &Value) -> (u64, u64) {
    let wanted = crate::readiness::components(graph, &[]).iter().map(|component| component.wanted).sum();
    let status = &graph["status"];
    let counts = [&status["components"], &status["services"]];
    let ready = counts
        .iter()
        .filter_map(|counts| counts.as_object())
        .flat_map(serde_json::Map::values)
        .map(|one| one["availableReplicas"].as_u64().or(one["readyReplicas"].as_u64()).unwrap_or(0))
        .sum();
    (ready, wanted)
}

/// The mode of a graph that somebody else wrote: apart as soon as one component only prefills.
fn mode(graph: &Value) -> &'static str {
    if graph["spec"].to_string().contains("\"prefill\"") { "disagg" } else { "agg" }
}

/// Where a graph stands, as lists tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Ready,
    ComingUp,
    Failed,
}

impl Stand {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::ComingUp => "coming up",
            Self::Failed => "failed",
        }
    }
}

/// Where a graph stands by its own status and, on 0.9.1, by that of its component deployments.
pub(super) fn stand(graph: &Value, component_deployments: &[Value]) -> Stand {
    let (graph, components) = (Some(graph.clone()), component_deployments.to_vec());
    match standing(&Observation { graph, components, ..Observation::default() }) {
        Standing::Reported => Stand::Ready,
        Standing::Troubled { .. } => Stand::Failed,
        Standing::Waiting { .. } | Standing::Absent => Stand::ComingUp,
    }
}

/// How long ago something was, as kubectl writes it: `45s`, `12m`, `3h`, `2d`.
pub(super) fn age(created: &str, now: jiff::Timestamp) -> String {
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
    fn a_graph_of_the_older_shape_is_ready_by_its_component_deployments() {
        let graph = json!({
            "metadata": { "name": "tiny", "uid": "1" },
            "spec": { "services": { "worker": {} } },
            "status": { "state": "successful", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let component = json!({
            "metadata": { "name": "tiny-worker", "generation": 1, "ownerReferences": [{ "uid": "1" }] },
            "status": { "observedGeneration": 1, "conditions": [{ "type": "Available", "status": "True" }] },
        });
        assert_eq!(stand(&graph, &[component]).as_str(), "ready");
        assert_eq!(stand(&graph, &[]).as_str(), "coming up");
    }
}
