//! Reads what one object shows about a model on a PVC: a fetch Job, or a deployment whose init containers
//! checked the model.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::CacheState;
use crate::workflow::cache_jobs::{mounted_pvcs, pod_of_job};
use crate::workflow::summary;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::{ModelRef, ServingIntent};
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject, time_text};
use kubectl_dynamo_core::readiness::{
    FetchSummary, GRAPH_LABEL, JOB_LABEL, fetch_termination, job_condition,
};
use kubectl_dynamo_core::resources::MODEL_ANNOTATION;

/// The revision that the fetcher uses if none is specified.
const REVISION: &str = model_fetcher_contract::DEFAULT_REVISION;

/// What one object shows about a model, before the records of a model are merged.
pub(super) struct ModelRecord {
    pub key: (String, String, String, String),
    pub state: CacheState,
    pub fetch_summary: Option<FetchSummary>,
    pub job: Option<String>,
}

/// Splits `org/name@revision` into the repository and the revision.
fn split_revision(model: &str) -> (&str, &str) {
    model.split_once('@').unwrap_or((model, REVISION))
}

pub(super) fn record_from_job(job: &Job, pods: &[ObservedObject<Pod>]) -> Option<ModelRecord> {
    if job.is_terminating() {
        return None;
    }
    let (repository, revision) = split_revision(job.annotation(MODEL_ANNOTATION)?);
    let pvc = mounted_pvcs(pod_of_job(job)?).next()?;
    let is_of_job = |pod: &&ObservedObject<Pod>| {
        pod.namespace() == job.namespace() && pod.label(JOB_LABEL) == Some(job.name())
    };
    let termination = pods
        .iter()
        .filter(is_of_job)
        .filter_map(|pod| fetch_termination(pod))
        .max_by(|one, other| one.finished_at.cmp(&other.finished_at));
    let changed_at = |condition: &JobCondition| time_text(condition.last_transition_time.as_ref());
    let state = match (job_condition(job, "Complete"), job_condition(job, "Failed")) {
        (Some(complete), _) => CacheState::Complete { at: changed_at(complete) },
        (None, Some(failed)) => CacheState::Failed {
            at: changed_at(failed),
            reason: termination.as_ref().map_or_else(
                || failed.message.clone().unwrap_or_default(),
                |termination| first_line(&termination.message),
            ),
        },
        (None, None) => CacheState::Fetching,
    };
    Some(ModelRecord {
        key: (job.namespace().into(), pvc.into(), repository.into(), revision.into()),
        state,
        fetch_summary: termination.and_then(|termination| FetchSummary::parse(&termination.message)),
        job: Some(job.name().into()),
    })
}

/// Reads the record of a managed deployment, whose init containers check the model before the engine starts.
pub(super) fn record_from_graph(graph: &Value, pods: &[ObservedObject<Pod>]) -> Option<ModelRecord> {
    let intent: ServingIntent = summary::stored_intent(graph)?;
    let ModelRef::Hub { repository, revision } = &intent.model else { return None };
    let graph = GraphView::new(graph);
    let is_of_graph = |pod: &&ObservedObject<Pod>| {
        pod.namespace() == graph.namespace() && pod.label(GRAPH_LABEL) == Some(graph.name())
    };
    let termination = pods
        .iter()
        .filter(is_of_graph)
        .filter_map(|pod| fetch_termination(pod))
        .filter(|termination| termination.exit_code == 0)
        .max_by(|one, other| one.finished_at.cmp(&other.finished_at));
    let state = termination.as_ref().map_or(CacheState::Unknown, |termination| CacheState::Complete {
        at: termination.finished_at.clone(),
    });
    Some(ModelRecord {
        key: (
            graph.namespace().into(),
            intent.cache.pvc().into(),
            repository.clone(),
            revision.as_deref().unwrap_or(REVISION).into(),
        ),
        state,
        fetch_summary: termination.and_then(|termination| FetchSummary::parse(&termination.message)),
        job: None,
    })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Returns the current one of two states: a running fetch wins over a finished one, then the later one wins.
pub(super) fn current_state(one: CacheState, other: CacheState) -> CacheState {
    fn time(state: &CacheState) -> &str {
        match state {
            CacheState::Complete { at } | CacheState::Failed { at, .. } => at,
            // `~` sorts after every RFC 3339 time, the empty string before it.
            CacheState::Fetching => "~",
            CacheState::Unknown => "",
        }
    }
    if time(&other) > time(&one) { other } else { one }
}
