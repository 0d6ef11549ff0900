//! The cluster: connect as kubectl does, read and apply objects, watch them, reach pods.
//! API errors become [`ClusterError`] here; nothing of this module decides what to apply or what to print.

mod apply;
mod connect;
mod denied;
mod error;
mod facts;
mod kinds;
mod log;
#[cfg(test)]
pub(crate) mod played;
mod session;
mod tunnel;
mod watch;

use std::sync::Arc;

use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client};
use serde_json::Value;

pub use crate::preflight::{ClaimFacts, Platform};
pub use apply::{Change, Outcome};
pub use connect::{Access, DEFAULT_NAMESPACE, context_namespace, contexts};
pub use denied::{Denied, Place, Refusals};
pub use error::{ClusterError, NO_RIGHT};
pub use facts::{Look, claim_facts};
pub use kinds::Kind;
pub use log::{LogLines, LogOptions};
pub use tunnel::{Tunnel, TunnelTarget};
pub use watch::{Reach, Seen, Watched};

/// The result of asking the cluster.
pub type Result<T> = std::result::Result<T, ClusterError>;

/// A connection, and where it leads.
#[derive(Clone)]
pub struct Cluster {
    session: Arc<session::Session>,
    /// Address of the API server, for messages.
    pub server: String,
    /// Name of the kubeconfig's context; absent inside a pod.
    pub context: Option<String>,
    /// The namespace that verbs act in.
    pub namespace: String,
    /// The verb of this program that asks, as the table of rights names it.
    verb: &'static str,
    refusals: Refusals,
}

impl Cluster {
    /// A client with the credentials that were taken last.
    fn client(&self) -> Client {
        self.session.login().client
    }

    fn api(&self, client: Client, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(client, &self.namespace, &kind.api_resource())
    }

    fn explain(&self, error: kube::Error, verb: &'static str, kind: Kind, name: &str) -> ClusterError {
        ClusterError::from_kube(error, verb, kind, name, self)
    }

    /// A refusal that its reader is told already, so that it is not told again as something left out.
    pub fn is_told(&self, error: &ClusterError) {
        if let ClusterError::Forbidden { denied, .. } = error {
            self.refusals.forget(denied);
        }
    }

    /// One object as JSON, or nothing where it does not exist.
    ///
    /// # Errors
    /// Every refusal except "not found".
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let get = async |client| self.api(client, kind).get_opt(name).await;
        Ok(self.ask("get", kind, name, get).await?.map(json_of))
    }

    /// Objects of one kind, in order of name; `labels` is a label selector.
    ///
    /// # Errors
    /// Every refusal.
    pub async fn list(&self, kind: Kind, labels: &str, all_namespaces: bool) -> Result<Vec<Value>> {
        let parameters = ListParams::default().labels(labels);
        let list = async |client: Client| {
            let api = match all_namespaces {
                true => Api::all_with(client, &kind.api_resource()),
                false => self.api(client, kind),
            };
            api.list(&parameters).await
        };
        Ok(self.ask("list", kind, "", list).await?.items.into_iter().map(json_of).collect())
    }

    /// Deletes in the background, as kubectl does. Answers whether there was anything to delete.
    ///
    /// Never in the foreground: with the operator of 0.9.1 that never ends.
    ///
    /// # Errors
    /// Every refusal except "not found".
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<bool> {
        self.delete_if(kind, name, None).await
    }

    /// The same of the object with this uid alone: one that took its name meanwhile stays.
    async fn delete_if(&self, kind: Kind, name: &str, uid: Option<&str>) -> Result<bool> {
        let mut in_background = DeleteParams::background();
        in_background.preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let delete = async |client| match self.api(client, kind).delete(name, &in_background).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(kube::Error::Api(status)) if status.code == 409 && uid.is_some() => Ok(false),
            Err(error) => Err(error),
        };
        self.ask("delete", kind, name, delete).await
    }
}

fn json_of(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("an object that came as JSON goes back to JSON")
}
