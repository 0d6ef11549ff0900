//! One recording: the events of a watch in order, and the observed state after each event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kubectl_dynamo_core::diagnosis::Snapshot;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::readiness::{DeploymentReducer, ObjectChange, ObservedKind};
use kubectl_dynamo_tests::{Outcome, cache};
use serde_json::Value;

/// All recordings: operator and case.
pub(crate) const RECORDINGS: [&str; 19] = [
    "operator-0.9.1/aggregated-with-updates",
    "operator-0.9.1/delete-then-apply-false-ready",
    "operator-0.9.1/disaggregated-with-updates",
    "operator-0.9.1/image-cannot-be-pulled",
    "operator-0.9.1/multinode-without-orchestrator",
    "operator-0.9.1/no-gpu",
    "operator-0.9.1/secret-missing",
    "operator-0.9.1/volume-claim-missing-then-made",
    "operator-0.9.1/worker-crashes",
    "operator-1.5/aggregated-with-rollouts",
    "operator-1.5/disaggregated",
    "operator-1.5/image-cannot-be-pulled",
    "operator-1.5/init-container-and-volume",
    "operator-1.5/multinode-without-orchestrator",
    "operator-1.5/name-too-long",
    "operator-1.5/no-gpu-then-eight",
    "operator-1.5/scaling-adapter",
    "operator-1.5/volume-claim-missing",
    "operator-1.5/worker-crashes",
];

const GRAPH: &str = "DynamoGraphDeployment";

/// Returns the folder of the recordings: `DYNAMO_RECORDINGS`, else next to this repository.
fn folder() -> PathBuf {
    cache::set("DYNAMO_RECORDINGS").unwrap_or_else(|| cache::repository().join("../shared/recorded"))
}

/// Returns why there are no recordings, if there are none.
pub(crate) fn missing() -> Option<String> {
    let folder = folder();
    (!folder.is_dir()).then(|| format!("no recordings in {}", folder.display()))
}

/// The observed state at one time, in seconds since the start.
pub(crate) struct Moment {
    pub(crate) seconds: f64,
    pub(crate) evidence: Snapshot,
}

/// Returns the states of a recording: one after each event about the graph, its components, Deployments, and
/// pods.
pub(crate) fn moments(name: &str) -> Outcome<Vec<Moment>> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.ndjson")))?;
    let events = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let graph = events.iter().map(|event| ObjectView::new(&event["object"])).find(|one| one.kind() == GRAPH);
    let mut objects =
        DeploymentReducer::for_deployment(graph.ok_or("no graph was recorded")?.name(), BTreeMap::new());
    let mut moments = Vec::new();
    for mut event in events {
        let seconds = event["seconds"].as_f64().ok_or("the event does not have a time")?;
        let object = event["object"].take();
        let Some(kind) = kind(&object) else { continue };
        let change = match event["type"].as_str() {
            Some("DELETED") => ObjectChange::Deleted(object),
            _ => ObjectChange::Applied(object),
        };
        if objects.apply(kind, change)? {
            let evidence = Snapshot {
                observation: objects.observation().clone(),
                events: objects.events().to_vec(),
                ..Snapshot::default()
            };
            moments.push(Moment { seconds, evidence });
        }
    }
    Ok(moments)
}

/// Returns the kind of a recorded object, if a reducer stores it.
fn kind(object: &Value) -> Option<ObservedKind> {
    Some(match ObjectView::new(object).kind() {
        GRAPH => ObservedKind::Graph,
        "DynamoComponentDeployment" => ObservedKind::ComponentDeployment,
        "Deployment" => ObservedKind::Deployment,
        "Pod" => ObservedKind::Pod,
        "Event" => ObservedKind::Event,
        _ => return None,
    })
}
