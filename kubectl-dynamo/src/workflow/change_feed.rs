//! The changes of watched objects, for a screen that is drawn again after each of them. A burst of changes
//! counts as one.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::report::Report;
use crate::workflow::watched_objects::WatchedObjects;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, WatchEvent};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::resources::GraphApi;

/// A burst ends when nothing has changed for this time.
const QUIET_PERIOD: Duration = Duration::from_millis(300);
/// Maximum duration of a burst. Objects that never stop changing are shown at least this often.
const MAX_BURST: Duration = Duration::from_secs(1);

/// What has happened since the last call.
#[derive(Debug)]
pub(crate) enum FeedUpdate {
    /// Objects have changed.
    Changed,
    /// A watch failed and reconnects.
    Reconnecting,
    /// The objects of a kind cannot be watched. The others still are.
    NotWatched(Kind, ClusterError),
}

/// The events of some watches, combined into bursts, and the objects after them.
pub(crate) struct ChangeFeed<S, T> {
    events: S,
    pub objects: T,
    /// Updates that arrived during a burst.
    pending: VecDeque<FeedUpdate>,
    not_watched: Vec<Kind>,
}

impl<S: Stream<Item = WatchEvent> + Unpin, T: WatchedObjects> ChangeFeed<S, T> {
    pub(crate) fn new(events: S, objects: T) -> Self {
        Self { events, objects, pending: VecDeque::new(), not_watched: Vec::new() }
    }

    /// Waits for the next update. It can be cancelled: the objects then have all changes so far, the update may be
    /// lost, but never an error.
    ///
    /// # Errors
    /// The failure of a required watch that does not reconnect, such as a missing permission.
    pub(crate) async fn next(&mut self) -> Result<FeedUpdate, ClusterError> {
        if let Some(update) = self.pending.pop_front() {
            return Ok(update);
        }
        let first = loop {
            let Some(event) = self.events.next().await else { std::future::pending().await };
            if let Some(update) = self.record(event).map_err(|error| *error)? {
                break update;
            }
        };
        if !matches!(first, FeedUpdate::Changed) {
            return Ok(first);
        }
        let burst_end = Instant::now() + MAX_BURST;
        loop {
            let until = burst_end.min(Instant::now() + QUIET_PERIOD);
            let Ok(Some(event)) = timeout_at(until, self.events.next()).await else { break };
            match self.record(event).map_err(|error| *error)? {
                None | Some(FeedUpdate::Changed) => {}
                Some(update) => self.pending.push_back(update),
            }
            if Instant::now() >= burst_end {
                break;
            }
        }
        Ok(FeedUpdate::Changed)
    }

    /// Records an event. Returns what it means for the feed, or `None` if it was already reported.
    fn record(&mut self, event: WatchEvent) -> Result<Option<FeedUpdate>, Box<ClusterError>> {
        let WatchEvent { kind, change } = event;
        let error = match change {
            Ok(change) => {
                // An object with unexpected content counts as a failure of the watch, so it is read again.
                if self.objects.record_change(kind, change).is_err() {
                    self.objects.record_failure(kind);
                }
                return Ok(Some(FeedUpdate::Changed));
            }
            Err(error) => error,
        };
        self.objects.record_failure(kind);
        match error {
            error if error.is_retryable() => Ok(Some(FeedUpdate::Reconnecting)),
            error if is_optional(kind, &error) => {
                if self.not_watched.contains(&kind) {
                    return Ok(None);
                }
                self.not_watched.push(kind);
                Ok(Some(FeedUpdate::NotWatched(kind, error)))
            }
            error => Err(Box::new(error)),
        }
    }
}

/// Returns whether a command continues without the watch of this kind. Graphs are always required, and so are
/// the components of v1alpha1, because only they show to which spec a status belongs.
fn is_optional(kind: Kind, error: &ClusterError) -> bool {
    let is_required = matches!(kind, Kind::Graph(_) | Kind::ComponentDeployment(GraphApi::V1Alpha1));
    !is_required && matches!(error, ClusterError::Forbidden { .. } | ClusterError::NotFound { .. })
}

/// Warns that the changes of a kind are not shown. A kind that the cluster does not serve does not change.
pub(crate) fn warn_not_watched(kind: Kind, error: &ClusterError, cluster: &Cluster, report: &Report) {
    if matches!(error, ClusterError::NotFound { .. }) {
        return;
    }
    cluster.mark_reported(error);
    let text = format!("changes of {kind} objects are not shown: {error}");
    report.warn(Some(MessageCode::OutputSkipped), text, error.hint());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream::{self, BoxStream};
    use serde_json::{Value, json};
    use tokio::time::{sleep, timeout};

    use super::*;
    use kubectl_dynamo_cluster::{MissingPermission, PermissionScope};
    use kubectl_dynamo_core::object::ObjectView;
    use kubectl_dynamo_core::readiness::ObjectChange;

    const GRAPH: Kind = Kind::Graph(GraphApi::V1Beta1);

    fn forbidden(kind: Kind) -> WatchEvent {
        let permission = MissingPermission {
            verb: "watch".into(),
            resource: kind.resource_name(),
            scope: PermissionScope::Namespace("serving".into()),
            user: None,
            note: String::new(),
        };
        WatchEvent { kind, change: Err(ClusterError::Forbidden { permission, persona: None }) }
    }

    /// Returns these events, then nothing.
    fn feed(events: Vec<WatchEvent>) -> ChangeFeed<BoxStream<'static, WatchEvent>, Vec<Value>> {
        ChangeFeed::new(stream::iter(events).chain(stream::pending()).boxed(), Vec::new())
    }

    fn applied(name: &str) -> WatchEvent {
        let graph = json!({ "metadata": { "name": name } });
        WatchEvent { kind: GRAPH, change: Ok(ObjectChange::Applied(graph)) }
    }

    #[tokio::test]
    async fn a_burst_ends_while_events_keep_arriving() {
        let changes = stream::unfold((), async |()| {
            sleep(Duration::from_millis(20)).await;
            Some((applied("a"), ()))
        });
        let mut feed = ChangeFeed::new(changes.boxed(), Vec::new());
        let update = timeout(Duration::from_secs(20), feed.next()).await.expect("the burst ends");
        assert!(matches!(update, Ok(FeedUpdate::Changed)), "{update:?}");
    }

    #[tokio::test]
    async fn an_error_within_a_burst_is_returned() {
        let mut feed = feed(vec![applied("a"), forbidden(GRAPH)]);
        let error = feed.next().await.expect_err("the watch of graphs is required");
        assert!(matches!(error, ClusterError::Forbidden { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_kind_without_permission_is_reported_once() {
        let mut feed = feed(vec![applied("a"), forbidden(Kind::Pod), forbidden(Kind::Pod), applied("b")]);
        assert!(matches!(feed.next().await, Ok(FeedUpdate::Changed)));
        assert!(matches!(feed.next().await, Ok(FeedUpdate::NotWatched(Kind::Pod, _))));
        assert!(timeout(Duration::from_millis(50), feed.next()).await.is_err(), "reported twice");
        let names: Vec<&str> = feed.objects.iter().map(|one| ObjectView::new(one).name()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_watch_that_reconnects_does_not_end_the_feed() {
        let outage = ClusterError::Unreachable { server: "s".into(), cause: "refused".into() };
        let mut feed = feed(vec![WatchEvent { kind: GRAPH, change: Err(outage) }, applied("a")]);
        assert!(matches!(feed.next().await, Ok(FeedUpdate::Reconnecting)));
        assert!(matches!(feed.next().await, Ok(FeedUpdate::Changed)));
    }
}
