//! The events of a deployment: lists them, and follows new ones. Memory and requests are bounded however many
//! events arrive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, ObjectReference};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::workflow::lookup;
use crate::workflow::snapshot::{OwnedObjects, list_owned_objects, related_events};
use kubectl_dynamo_cluster::{Cluster, Kind, Platform, WatchEvent, WatchTarget, parse_object};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject, event_time};
use kubectl_dynamo_core::readiness::{DeploymentObjects, ObjectChange};

/// Minimum time between two lists of the deployment's objects.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of events that wait for the next list of objects.
const MAX_PENDING: usize = 256;
/// Maximum number of remembered objects that belong to other deployments.
const MAX_OTHERS: usize = 1024;

/// A deployment and its events.
pub(crate) struct DeploymentEvents {
    cluster: Cluster,
    platform: Platform,
    name: String,
    graph: Option<Value>,
    log: EventLog,
}

impl DeploymentEvents {
    /// Looks up a deployment or, before it exists, its fetch Jobs.
    ///
    /// # Errors
    /// A deployment that does not exist, and every API error.
    pub(crate) async fn find(name: &str, context: &crate::context::Context) -> Result<Self> {
        let lookup::DeploymentLookup { cluster, platform, graph } =
            lookup::find_deployment(name, context).await?;
        let mut events =
            Self { cluster, platform, name: name.into(), graph, log: EventLog::new(name.replace('.', "-")) };
        let jobs = lookup::fetch_jobs(&events.cluster, name).await.unwrap_or_default();
        if events.graph.is_none() && jobs.is_empty() {
            return Err(lookup::not_found(&events.cluster, &events.platform, name).into());
        }
        let owned = events.list_objects().await;
        events.log.objects = DeploymentObjects::new(&owned.observation, &owned.pvcs, &jobs);
        Ok(events)
    }

    /// Returns the existing events, oldest first.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn list(&mut self) -> Result<Vec<ObservedObject<Event>>> {
        let events = self.cluster.list_objects("").await?;
        let events = related_events(events, &self.log.objects);
        events.iter().for_each(|event| self.log.mark_shown(event));
        Ok(events)
    }

    /// Passes each new event to `show`, once for each occurrence.
    ///
    /// # Errors
    /// A watch that cannot continue, or an error of `show`.
    pub(crate) async fn follow(
        mut self,
        mut show: impl FnMut(&ObservedObject<Event>) -> Result<()>,
    ) -> Result<Infallible> {
        let target = WatchTarget::by_labels(Kind::Event, "");
        let mut changes = self.cluster.watch(&[target]);
        let mut next_refresh = Instant::now();
        loop {
            let event = match self.log.pending.is_empty() {
                // The stream does not end.
                true => Some(changes.select_next_some().await),
                false => timeout_at(next_refresh, changes.next()).await.unwrap_or_default(),
            };
            let change = event.map(WatchEvent::into_change).transpose()?.flatten();
            if let Some(change) = change {
                self.log.record_change(change.try_map(parse_object)?).iter().try_for_each(&mut show)?;
            }
            if !self.log.pending.is_empty() && Instant::now() >= next_refresh {
                if self.refresh().await {
                    self.log.resolve_pending().iter().try_for_each(&mut show)?;
                }
                next_refresh = Instant::now() + REFRESH_INTERVAL;
            }
        }
    }

    /// Lists the objects again, because new child objects have events too. Returns whether that succeeded;
    /// otherwise the earlier list remains.
    async fn refresh(&mut self) -> bool {
        let graph = self.cluster.get(Kind::Graph(self.platform.graph_api), &self.name).await;
        if let Ok(Some(graph)) = graph {
            self.graph = Some(graph);
        }
        let owned = self.list_objects().await;
        if owned.unlisted.iter().any(|one| one.error.is_retryable()) {
            return false;
        }
        let jobs = lookup::fetch_jobs(&self.cluster, &self.name).await.unwrap_or_default();
        self.log.objects = DeploymentObjects::new(&owned.observation, &owned.pvcs, &jobs);
        true
    }

    async fn list_objects(&self) -> OwnedObjects {
        list_owned_objects(&self.cluster, &self.name, self.graph.clone(), self.platform.graph_api).await
    }
}

/// Which events were shown, and which are not assigned to a deployment yet.
struct EventLog {
    /// Prefix of the names of child objects, without the hyphen.
    prefix: String,
    objects: DeploymentObjects,
    /// Time of the last shown occurrence, by the UID of the event.
    shown: BTreeMap<String, Option<Timestamp>>,
    /// Events of objects that were unknown when the event arrived.
    pending: VecDeque<ObservedObject<Event>>,
    /// Objects of other deployments, by name.
    others: BTreeSet<String>,
}

impl EventLog {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            objects: DeploymentObjects::default(),
            shown: BTreeMap::new(),
            pending: VecDeque::new(),
            others: BTreeSet::new(),
        }
    }

    /// Records a change of the events. Returns those to show now, oldest first.
    fn record_change(&mut self, change: ObjectChange<ObservedObject<Event>>) -> Vec<ObservedObject<Event>> {
        match change {
            ObjectChange::Listed(mut events) => {
                self.retain_shown(&events);
                events.sort_by_key(|event| event_time(event));
                events.into_iter().filter_map(|event| self.add(event)).collect()
            }
            ObjectChange::Applied(event) => self.add(event).into_iter().collect(),
            ObjectChange::Deleted(event) => {
                self.remove(event.uid());
                Vec::new()
            }
        }
    }

    fn mark_shown(&mut self, event: &Event) {
        self.shown.insert(event.uid().to_owned(), event_time(event));
    }

    /// Adds an event. Returns it if it is to be shown now.
    fn add(&mut self, event: ObservedObject<Event>) -> Option<ObservedObject<Event>> {
        if self.shown.get(event.uid()) == Some(&event_time(&event)) {
            return None;
        }
        if self.objects.has_event(&event) {
            self.mark_shown(&event);
            return Some(event);
        }
        if self.may_be_new_child(&event) {
            if self.pending.len() == MAX_PENDING {
                self.pending.pop_front();
            }
            self.pending.push_back(event);
        }
        None
    }

    /// Returns whether an event may be about an object that was created after the last list.
    fn may_be_new_child(&self, event: &Event) -> bool {
        let kind = event.involved_object.kind.as_deref();
        let name = event.involved_object.name.as_deref().unwrap_or_default();
        let has_prefix = name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('-'));
        (has_prefix || name.starts_with("fetch-") || kind == Some("PersistentVolumeClaim"))
            && !self.others.contains(&object_key(event))
    }

    /// Assigns the pending events after the objects were listed again. Returns those to show.
    fn resolve_pending(&mut self) -> Vec<ObservedObject<Event>> {
        let (related, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|event| self.objects.has_event(event));
        if self.others.len() + others.len() > MAX_OTHERS {
            self.others.clear();
        }
        self.others.extend(others.iter().map(|event| object_key(event)));
        related.iter().for_each(|event| self.mark_shown(event));
        related
    }

    /// Forgets events that have expired: those that are not in a complete list.
    fn retain_shown(&mut self, listed: &[ObservedObject<Event>]) {
        let listed: BTreeSet<&str> = listed.iter().map(|event| event.uid()).collect();
        self.shown.retain(|uid, _| listed.contains(uid.as_str()));
    }

    fn remove(&mut self, uid: &str) {
        self.shown.remove(uid);
    }
}

/// Returns the kind and the name of the object that an event is about.
fn object_key(event: &Event) -> String {
    let ObjectReference { kind, name, .. } = &event.involved_object;
    format!("{}/{}", kind.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_core::readiness::Observation;
    use serde_json::json;

    fn event(id: usize, pod: &str) -> ObservedObject<Event> {
        event_at(id, pod, "2026-11-25T10:00:00Z")
    }

    fn event_at(id: usize, pod: &str, time: &str) -> ObservedObject<Event> {
        let event = json!({
            "metadata": { "uid": id.to_string() }, "lastTimestamp": time,
            "involvedObject": { "kind": "Pod", "name": pod },
        });
        ObservedObject::parse(event).expect("an event")
    }

    fn log() -> EventLog {
        let pod = json!({ "metadata": { "name": "tiny-a", "uid": "a" } });
        let pods = vec![ObservedObject::parse(pod).expect("a pod")];
        let observation = Observation { pods, ..Observation::default() };
        EventLog { objects: DeploymentObjects::new(&observation, &[], &[]), ..EventLog::new("tiny".into()) }
    }

    #[test]
    fn memory_is_bounded() {
        let mut log = log();
        for id in 0..10_000 {
            log.add(event(id, &format!("tiny-{id}")));
            log.add(event(id, "tiny-a"));
            log.remove(&id.to_string());
        }
        assert_eq!((log.shown.len(), log.pending.len()), (0, MAX_PENDING));
        for _ in 0..100 {
            (0..MAX_PENDING).for_each(|id| drop(log.add(event(id, &format!("tiny-{id}")))));
            log.resolve_pending();
        }
        assert!(log.others.len() <= MAX_OTHERS, "{}", log.others.len());
    }

    #[test]
    fn each_occurrence_is_shown_once() {
        let mut log = log();
        assert!(log.add(event(1, "tiny-a")).is_some());
        assert!(log.add(event(1, "tiny-a")).is_none());
        assert!(log.add(event_at(1, "tiny-a", "2026-11-25T10:00:05Z")).is_some());
    }

    #[test]
    fn an_object_of_another_deployment_is_looked_up_once() {
        let mut log = log();
        assert!(log.add(event(1, "tiny-b")).is_none());
        assert!(log.resolve_pending().is_empty());
        assert!(log.add(event(2, "tiny-b")).is_none());
        assert!(log.pending.is_empty());
    }
}
