//! Watching objects: one stream for several kinds, which survives expired watches and restarts of the server.

use futures::stream::{SelectAll, Stream, StreamExt};
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use std::pin::Pin;

use super::session::{Login, is_refusal};
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
        let watching = Watching::begin(self.clone(), watched.clone(), reach);
        Box::pin(futures::stream::unfold(watching, async |mut watching| {
            Some((watching.next().await?, watching))
        }))
    }
}

/// One watch, begun anew with each login.
struct Watching {
    cluster: Cluster,
    watched: Watched,
    reach: Reach,
    login: Login,
    events: Pin<Box<dyn Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send>>,
    /// What came of a list so far.
    listed: Vec<Value>,
}

impl Watching {
    fn begin(cluster: Cluster, watched: Watched, reach: Reach) -> Self {
        let login = cluster.session.login();
        let mut config = watcher::Config::default();
        if !watched.labels.is_empty() {
            config = config.labels(&watched.labels);
        }
        if !watched.fields.is_empty() {
            config = config.fields(&watched.fields);
        }
        let api = match reach {
            Reach::OneNamespace => cluster.api(login.client.clone(), watched.kind),
            Reach::AllNamespaces => kube::Api::all_with(login.client.clone(), &watched.kind.api_resource()),
        };
        let events = Box::pin(watcher(api, config).default_backoff());
        Self { cluster, watched, reach, login, events, listed: Vec::new() }
    }

    async fn next(&mut self) -> Option<Seen> {
        let kind = self.watched.kind;
        loop {
            let event = match self.events.next().await? {
                Ok(event) => event,
                Err(error) => {
                    let error = watch_error(error, kind, &self.cluster);
                    if is_refusal(&error) && self.cluster.session.renew(&self.login).await {
                        *self = Self::begin(self.cluster.clone(), self.watched.clone(), self.reach);
                        continue;
                    }
                    return Some(Seen::Trouble(kind, error));
                }
            };
            // It begins with this, before anything is asked of the server.
            if !matches!(event, watcher::Event::Init) {
                self.cluster.session.took(&self.login);
            }
            match event {
                watcher::Event::Init => self.listed.clear(),
                watcher::Event::InitApply(object) => self.listed.push(stamped(object, kind)),
                watcher::Event::InitDone => return Some(Seen::All(kind, std::mem::take(&mut self.listed))),
                watcher::Event::Apply(object) => return Some(Seen::Now(kind, stamped(object, kind))),
                watcher::Event::Delete(object) => return Some(Seen::Gone(kind, stamped(object, kind))),
            }
        }
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
