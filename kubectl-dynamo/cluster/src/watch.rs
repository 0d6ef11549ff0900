//! Watches objects: one stream for several kinds, which survives expired watches and API server restarts.
//! What an event means for a deployment is not decided here.

use futures::stream::{SelectAll, Stream, StreamExt};
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use std::pin::Pin;

use super::client::{Credentials, is_unauthorized};
use super::{Cluster, ClusterError, Kind, Result, json_of};
use kubectl_dynamo_core::readiness::ObjectChange;
use kubectl_dynamo_core::resources::object_at;

/// The objects of one kind to watch.
#[derive(Debug, Clone)]
pub struct WatchTarget {
    pub kind: Kind,
    /// Label selector.
    pub labels: String,
    /// Field selector, such as `metadata.name=qwen`.
    pub fields: String,
}

impl WatchTarget {
    /// Watches one object by name.
    pub fn by_name(kind: Kind, name: &str) -> Self {
        Self { kind, labels: String::new(), fields: format!("metadata.name={name}") }
    }

    /// Watches objects by label selector.
    pub fn by_labels(kind: Kind, labels: impl Into<String>) -> Self {
        Self { kind, labels: labels.into(), fields: String::new() }
    }
}

/// The namespaces of a list or a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceScope {
    OneNamespace,
    AllNamespaces,
}

/// An event of the watch of one kind.
#[derive(Debug)]
pub struct WatchEvent {
    pub kind: Kind,
    /// The error of a watch that failed. It reconnects automatically unless the error is permanent.
    pub change: Result<ObjectChange<Value>>,
}

impl WatchEvent {
    /// Returns the error that does not pass, if there is one, or else the change; `None` while the watch reconnects.
    ///
    /// # Errors
    /// Every API error that is not retryable.
    pub fn into_change(self) -> Result<Option<ObjectChange<Value>>> {
        match self.change {
            Ok(change) => Ok(Some(change)),
            Err(error) if error.is_retryable() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Cluster {
    /// Watches several kinds in the namespace. The stream does not end.
    pub fn watch(
        &self,
        targets: &[WatchTarget],
    ) -> SelectAll<Pin<Box<dyn Stream<Item = WatchEvent> + Send>>> {
        self.watch_in(targets, NamespaceScope::OneNamespace)
    }

    /// Watches several kinds, in the namespace or in all namespaces. The stream does not end.
    pub fn watch_in(
        &self,
        targets: &[WatchTarget],
        scope: NamespaceScope,
    ) -> SelectAll<Pin<Box<dyn Stream<Item = WatchEvent> + Send>>> {
        futures::stream::select_all(targets.iter().map(|target| self.watch_one(target, scope)))
    }

    fn watch_one(
        &self,
        target: &WatchTarget,
        scope: NamespaceScope,
    ) -> Pin<Box<dyn Stream<Item = WatchEvent> + Send>> {
        let watch = ObjectWatch::start(self.clone(), target.clone(), scope);
        Box::pin(futures::stream::unfold(watch, async |mut watch| Some((watch.next_event().await?, watch))))
    }
}

/// One watch, restarted whenever the credentials are renewed.
struct ObjectWatch {
    cluster: Cluster,
    target: WatchTarget,
    scope: NamespaceScope,
    credentials: Credentials,
    events: Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send>>,
    /// The objects received of an unfinished initial list.
    listed: Vec<Value>,
}

impl ObjectWatch {
    fn start(cluster: Cluster, target: WatchTarget, scope: NamespaceScope) -> Self {
        let credentials = cluster.api_client.credentials();
        let mut config = watcher::Config::default();
        if !target.labels.is_empty() {
            config = config.labels(&target.labels);
        }
        if !target.fields.is_empty() {
            config = config.fields(&target.fields);
        }
        let api = match scope {
            NamespaceScope::OneNamespace => cluster.api(credentials.client.clone(), target.kind),
            NamespaceScope::AllNamespaces => {
                kube::Api::all_with(credentials.client.clone(), &target.kind.api_resource())
            }
        };
        let events = Box::pin(watcher(api, config).default_backoff());
        Self { cluster, target, scope, credentials, events, listed: Vec::new() }
    }

    async fn next_event(&mut self) -> Option<WatchEvent> {
        let kind = self.target.kind;
        loop {
            let event = match self.events.next().await? {
                Ok(event) => event,
                Err(error) => {
                    let error = watch_error(error, kind, &self.cluster);
                    if is_unauthorized(&error) && self.cluster.api_client.renew(&self.credentials).await {
                        *self = Self::start(self.cluster.clone(), self.target.clone(), self.scope);
                        continue;
                    }
                    return Some(WatchEvent { kind, change: Err(error) });
                }
            };
            // `Init` comes before the first request, so it does not prove that the credentials were accepted.
            if !matches!(event, watcher::Event::Init) {
                self.cluster.api_client.mark_accepted(&self.credentials);
            }
            let change = match event {
                watcher::Event::Init => {
                    self.listed.clear();
                    continue;
                }
                watcher::Event::InitApply(object) => {
                    self.listed.push(with_kind(object, kind));
                    continue;
                }
                watcher::Event::InitDone => ObjectChange::Listed(std::mem::take(&mut self.listed)),
                watcher::Event::Apply(object) => ObjectChange::Applied(with_kind(object, kind)),
                watcher::Event::Delete(object) => ObjectChange::Deleted(with_kind(object, kind)),
            };
            return Some(WatchEvent { kind, change: Ok(change) });
        }
    }
}

/// Sets `kind`, which the API server omits for objects in a list.
fn with_kind(object: DynamicObject, kind: Kind) -> Value {
    let mut value = json_of(object);
    object_at(&mut value, &[]).insert("kind".into(), kind.to_string().into());
    value
}

fn watch_error(error: watcher::Error, kind: Kind, cluster: &Cluster) -> ClusterError {
    use watcher::Error as E;
    match error {
        E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
            ClusterError::from_kube(error, "watch", kind, "", cluster)
        }
        E::WatchError(status) => {
            ClusterError::from_kube(kube::Error::Api(status), "watch", kind, "", cluster)
        }
        other => ClusterError::Server {
            verb: "watch",
            kind,
            name: String::new(),
            message: super::connect::error_chain_text(&other),
        },
    }
}
