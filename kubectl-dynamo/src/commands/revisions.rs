//! Applying a graph and keeping what was applied as a revision. Keeping is a service: who has no right to it is told
//! so, and the change is made all the same.

use serde_json::Value;

use crate::change::applied;
use crate::change::revision::{self, KEPT, Revision, content, kept, number, set_number};
use crate::cluster::{Change, Cluster, ClusterError, Kind, Outcome};
use crate::error::Result;
use crate::report::Report;
use crate::resources::MANAGER;

/// The revisions that are kept of a graph, oldest first.
///
/// # Errors
/// Refusals.
pub(super) async fn of(cluster: &Cluster, graph: &Value) -> Result<Vec<Revision>> {
    Ok(list(cluster, graph).await?)
}

async fn list(cluster: &Cluster, graph: &Value) -> std::result::Result<Vec<Revision>, ClusterError> {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default();
    let listed = cluster.list(Kind::Revision, &revision::selector(name), false).await?;
    Ok(revision::revisions(&listed, graph))
}

/// Carries out the change of a graph and keeps it as a revision; an unchanged graph is neither written nor kept.
/// What is there before is kept first where it is not yet: a plugin may have been killed between the two, or be
/// older than revisions.
///
/// # Errors
/// Refusals of the graph itself.
pub(super) async fn apply(
    cluster: &Cluster,
    change: &Change,
    force: bool,
    cause: &str,
    report: &Report,
) -> Result<Value> {
    if change.outcome == Outcome::Unchanged {
        return Ok(cluster.apply(change, force).await?);
    }
    let known = match &change.live {
        Some(live) => with_what_is(cluster, live).await,
        None => Ok(Vec::new()),
    };
    let last = known.as_ref().ok().and_then(|known| known.last()).map(|last| last.number);
    let labelled = change.live.as_ref().and_then(number);
    let next = last.max(labelled).unwrap_or(0) + 1;
    let mut change = change.clone();
    set_number(&mut change.resource.object, next);
    let live = cluster.apply(&change, force).await?;
    let done = match known {
        Ok(known) => keep(cluster, &live, &known, next, cause).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        cluster.is_told(&error);
        let hint = "rollout undo cannot come back to it; the change itself is made".to_owned();
        report.warn(Some("KD0243"), format!("revision {next} is not kept: {error}"), Some(hint));
    }
    Ok(live)
}

/// The revisions of a graph, the present one among them.
async fn with_what_is(cluster: &Cluster, live: &Value) -> std::result::Result<Vec<Revision>, ClusterError> {
    let mut known = list(cluster, live).await?;
    let Some(own) = applied(live, MANAGER) else { return Ok(known) };
    let now = content(&own);
    if known.iter().any(|one| one.graph == now) {
        return Ok(known);
    }
    let last = known.last().map_or(0, |last| last.number);
    let number = number(live).filter(|number| *number > last).unwrap_or(last + 1);
    let resource = kept(live, &own, number, "up");
    let name = resource.name().to_owned();
    cluster.apply_as(MANAGER, &resource, false).await?;
    known.push(Revision { number, name, created: String::new(), cause: "up".into(), graph: now });
    Ok(known)
}

/// Keeps what was just applied, and lets the oldest go.
async fn keep(
    cluster: &Cluster,
    live: &Value,
    known: &[Revision],
    number: i64,
    cause: &str,
) -> std::result::Result<(), ClusterError> {
    let Some(own) = applied(live, MANAGER) else { return Ok(()) };
    let newest = kept(live, &own, number, cause);
    cluster.apply_as(MANAGER, &newest, false).await?;
    let others: Vec<&Revision> = known.iter().filter(|one| one.name != newest.name()).collect();
    for old in others.iter().take((others.len() + 1).saturating_sub(KEPT)) {
        cluster.delete(Kind::Revision, &old.name).await?;
    }
    Ok(())
}
