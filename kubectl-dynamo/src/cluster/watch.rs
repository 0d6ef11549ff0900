//! Watching objects: one stream for several kinds, which survives expired watches and restarts of the server.

use futures::stream::{SelectAll, Stream, StreamExt};
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use std::pin::Pin;

use super::{Cluster, ClusterError, Kind, json_of};

/// Which objects to watch in the namespace.
#[derive(Debug, Clone)]
pub struct Watched {
    pub kind: Kind,
    /// Label selector.
    pub labels: String,
    /// Field selector, such as `metadata.name=qwen`.
    pub fields: String,
}

impl Watched {
    /// One object by name.
    pub fn named(kind: Kind, name: &str) -> Self {
        Self { kind, labels: String::new(), fields: format!("metadata.name={name}") }
    }

    /// Objects by label.
    pub fn labelled(kind: Kind, labels: impl Into<String>) -> Self {
        Self { kind, labels: labels.into(), fields: String::new() }
    }
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    OneNamespace,
    AllNamespaces,
}

/// Something a watch brought.
#[derive(Debug)]
pub enum Seen {
    /// All objects of a kind, at the start and whenever the watch had to begin anew.
    All(Kind, Vec<Value>),
    /// One object as it is now.
    Now(Kind, Value),
    /// One object as it was when it went away.
    Gone(Kind, Value),
    /// The watch was refused or broke off; unless the refusal is final it goes on by itself.
    Trouble(Kind, ClusterError),
}

impl Cluster {
    /// Watches several kinds at once, for ever.
    pub fn watch(&self, what: &[Watched]) -> SelectAll<Pin<Box<dyn Stream<Item = Seen> + Send>>> {
        self.watch_in(what, Reach::OneNamespace)
    }

    /// The same, in this namespace or in all of them.
    pub fn watch_in(
        &self,
        what: &[Watched],
        reach: Reach,
    ) -> SelectAll<Pin<Box<dyn Stream<Item = Seen> + Send>>> {
        futures::stream::select_all(what.iter().map(|watched| self.watch_one(watched, reach)))
    }

    fn watch_one(&self, watched: &Watched, reach: Reach) -> Pin<Box<dyn Stream<Item = Seen> + Send>> {
        let kind = watched.kind;
        let mut config = watcher::Config::default();
        if !watched.labels.is_empty() {
            config = config.labels(&watched.labels);
        }
        if !watched.fields.is_empty() {
            config = config.fields(&watched.fields);
        }
        let cluster = self.clone();
        let mut listed = Vec::new();
        let api = match reach {
            Reach::OneNamespace => self.api(kind),
            Reach::AllNamespaces => kube::Api::all_with(self.client.clone(), &kind.api_resource()),
        };
        let events = watcher(api, config).default_backoff();
        Box::pin(events.filter_map(move |event| {
            let seen = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.push(stamped(object, kind));
                    None
                }
                Ok(watcher::Event::InitDone) => Some(Seen::All(kind, std::mem::take(&mut listed))),
                Ok(watcher::Event::Apply(object)) => Some(Seen::Now(kind, stamped(object, kind))),
                Ok(watcher::Event::Delete(object)) => Some(Seen::Gone(kind, stamped(object, kind))),
                Err(error) => Some(Seen::Trouble(kind, watch_error(error, kind, &cluster))),
            };
            std::future::ready(seen)
        }))
    }
}

/// Objects of a list carry no kind of their own.
fn stamped(object: DynamicObject, kind: Kind) -> Value {
    let mut value = json_of(object);
    value["kind"] = kind.to_string().into();
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
            message: super::connect::root_cause(&other),
        },
    }
}
