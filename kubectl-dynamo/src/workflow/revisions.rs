//! Applies a graph and records the applied spec as a revision. Recording is optional: if it fails, for
//! example because of a missing permission, the command warns and the update is still applied.

use serde_json::Value;

use crate::report::Report;
use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, ClusterError, ConflictPolicy, Kind, SendMode};
use kubectl_dynamo_core::change::owned_by;
use kubectl_dynamo_core::change::revision::{
    self, REVISION_HISTORY_LIMIT, Revision, number, revision_content, set_number, to_controller_revision,
};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::resources::FIELD_MANAGER;

/// Returns the recorded revisions of a graph, oldest first.
///
/// # Errors
/// Returns an error if the revisions cannot be listed.
pub(crate) async fn list(
    cluster: &Cluster,
    graph: &Value,
) -> std::result::Result<Vec<Revision>, ClusterError> {
    let name = GraphView::new(graph).name();
    let objects = cluster.list_objects(&revision::selector(name)).await?;
    Ok(revision::revisions(&objects, graph))
}

/// Applies the change of a graph and records it as a revision. An unchanged graph is neither written nor
/// recorded. The live spec is recorded first if it is missing, because the plugin may have been killed
/// between the two steps or be older than revisions.
///
/// # Errors
/// Returns an error if the graph itself cannot be applied.
pub(crate) async fn apply(
    cluster: &Cluster,
    change: &Change,
    conflicts: ConflictPolicy,
    cause: &str,
    report: &Report,
) -> Result<Value> {
    let written = write(cluster, change, conflicts).await?;
    Ok(written.record(cluster, cause, report).await)
}

/// A graph that was applied, and what its revision needs.
pub(crate) struct WrittenGraph {
    live: Value,
    /// The number of the new revision and the recorded ones. `None` if the graph is unchanged.
    revision: Option<(i64, std::result::Result<Vec<Revision>, ClusterError>)>,
}

/// Applies the change of a graph without recording it.
///
/// # Errors
/// Returns an error if the graph cannot be applied.
pub(crate) async fn write(
    cluster: &Cluster,
    change: &Change,
    conflicts: ConflictPolicy,
) -> Result<WrittenGraph> {
    if change.outcome == ApplyResult::Unchanged {
        return Ok(WrittenGraph { live: cluster.apply(change, conflicts).await?, revision: None });
    }
    let recorded = match &change.live {
        Some(live) => ensure_current_recorded(cluster, live).await,
        None => Ok(Vec::new()),
    };
    let last = recorded.as_ref().ok().and_then(|recorded| recorded.last()).map(|last| last.number);
    let live_number = change.live.as_ref().and_then(number);
    let next = last.max(live_number).unwrap_or(0) + 1;
    let mut change = change.clone();
    set_number(&mut change.resource.object, next);
    let live = cluster.apply(&change, conflicts).await?;
    Ok(WrittenGraph { live, revision: Some((next, recorded)) })
}

impl WrittenGraph {
    /// Records the revision and returns the live graph. A failure is a warning: the graph itself is applied.
    pub(crate) async fn record(self, cluster: &Cluster, cause: &str, report: &Report) -> Value {
        let Self { live, revision: Some((number, recorded)) } = self else { return self.live };
        let record_result = match recorded {
            Ok(recorded) => record(cluster, &live, &recorded, number, cause).await,
            Err(error) => Err(error),
        };
        if let Err(error) = record_result {
            cluster.mark_reported(&error);
            let hint = "the update is applied, but rollout undo cannot restore this revision".into();
            report.warn(
                Some(MessageCode::RevisionNotRecorded),
                format!("cannot record revision {number}: {error}"),
                Some(hint),
            );
        }
        live
    }
}

/// Records the live spec if no revision has it, and returns all revisions of the graph.
async fn ensure_current_recorded(
    cluster: &Cluster,
    live: &Value,
) -> std::result::Result<Vec<Revision>, ClusterError> {
    let mut recorded = list(cluster, live).await?;
    let Some(owned_fields) = owned_by(live, FIELD_MANAGER) else { return Ok(recorded) };
    let current_content = revision_content(&owned_fields);
    if recorded.iter().any(|one| one.graph == current_content) {
        return Ok(recorded);
    }
    let last = recorded.last().map_or(0, |last| last.number);
    let number = number(live).filter(|number| *number > last).unwrap_or(last + 1);
    let resource = to_controller_revision(live, &owned_fields, number, "up");
    let name = resource.name().to_owned();
    cluster.apply_as(FIELD_MANAGER, &resource, SendMode::Write).await?;
    recorded.push(Revision {
        number,
        name,
        created: String::new(),
        applied: String::new(),
        cause: "up".into(),
        graph: current_content,
    });
    Ok(recorded)
}

/// Records the applied spec as a revision and deletes the oldest revisions over the limit.
async fn record(
    cluster: &Cluster,
    live: &Value,
    recorded: &[Revision],
    number: i64,
    cause: &str,
) -> std::result::Result<(), ClusterError> {
    let Some(owned_fields) = owned_by(live, FIELD_MANAGER) else { return Ok(()) };
    let newest = to_controller_revision(live, &owned_fields, number, cause);
    cluster.apply_as(FIELD_MANAGER, &newest, SendMode::Write).await?;
    let others: Vec<&Revision> = recorded.iter().filter(|one| one.name != newest.name()).collect();
    for old in others.iter().take((others.len() + 1).saturating_sub(REVISION_HISTORY_LIMIT)) {
        cluster.delete(Kind::ControllerRevision, &old.name).await?;
    }
    Ok(())
}
