//! One recorded case: what a watch brought, in order, and what was seen after each event.

use std::path::PathBuf;

use kubectl_dynamo::diagnosis::Evidence;
use kubectl_dynamo::readiness::GRAPH_LABEL;
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

/// Where the recordings are: `DYNAMO_RECORDINGS`, else beside this repository.
fn folder() -> PathBuf {
    cache::set("DYNAMO_RECORDINGS").unwrap_or_else(|| cache::repository().join("../shared/recorded"))
}

/// Why there is nothing to play, if so.
pub(crate) fn missing() -> Option<String> {
    let folder = folder();
    (!folder.is_dir()).then(|| format!("no recordings in {}", folder.display()))
}

/// One moment: the seconds since the start, and everything that was seen by then.
pub(crate) struct Moment {
    pub(crate) seconds: f64,
    pub(crate) evidence: Evidence,
}

/// The moments of a recording: one after each event about the graph, its components, Deployments and pods.
pub(crate) fn moments(name: &str) -> Outcome<Vec<Moment>> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.ndjson")))?;
    let mut evidence = Evidence::default();
    let mut moments = Vec::new();
    for line in text.lines() {
        let mut event: Value = serde_json::from_str(line)?;
        let seconds = event["seconds"].as_f64().ok_or("an event without a time")?;
        let gone = event["type"] == "DELETED";
        let object = event["object"].take();
        if take(&mut evidence, object, gone) {
            moments.push(Moment { seconds, evidence: evidence.clone() });
        }
    }
    Ok(moments)
}

/// Notes one event; answers whether it can change a verdict.
fn take(evidence: &mut Evidence, object: Value, gone: bool) -> bool {
    let seen = &mut evidence.seen;
    let list = match object["kind"].as_str() {
        Some("DynamoGraphDeployment") => {
            seen.graph = Some(object).filter(|_| !gone);
            return true;
        }
        Some("DynamoComponentDeployment") => &mut seen.components,
        Some("Deployment") => &mut seen.workloads,
        Some("Pod") if object["metadata"]["labels"][GRAPH_LABEL].is_string() => &mut seen.pods,
        Some("Event") => &mut evidence.events,
        _ => return false,
    };
    let can_change = object["kind"] != "Event";
    list.retain(|one| one["metadata"]["uid"] != object["metadata"]["uid"]);
    if !gone {
        list.push(object);
    }
    can_change
}
