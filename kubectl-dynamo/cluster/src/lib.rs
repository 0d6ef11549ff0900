//! Communication with a Kubernetes API server: connect as kubectl does, read and apply objects, watch them,
//! and forward ports of pods. API errors become [`ClusterError`] here. This crate does not decide what to
//! apply or print.

mod admission_denial;
mod apply;
mod client;
mod connect;
mod error;
mod facts;
#[cfg(any(test, feature = "fake-api-server"))]
pub mod fake_api_server;
mod forbidden;
mod kinds;
mod log;
mod port_forward;
mod watch;

use std::sync::Arc;

use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client};
use serde_json::Value;

use kubectl_dynamo_core::object::{ObjectView, ObservedObject};
use kubectl_dynamo_core::readiness::MalformedObject;

pub use admission_denial::AdmissionDenial;
pub use apply::{ApplyResult, Change, ConflictPolicy, SendMode};
pub use connect::{ConnectOptions, DEFAULT_NAMESPACE, context_namespace, contexts};
pub use error::{ClusterError, FORBIDDEN_CODE};
pub use facts::{FactsRequest, pvc_facts};
pub use forbidden::{MissingPermission, MissingPermissions, PermissionScope};
pub use kinds::{Kind, TypedKind};
pub use kubectl_dynamo_core::preflight::{Platform, PvcFacts};
pub use log::{LogLines, LogOptions};
pub use port_forward::{PortForward, PortForwardTarget};
pub use watch::{NamespaceScope, WatchEvent, WatchTarget};

/// The result of a request to the cluster.
pub type Result<T> = std::result::Result<T, ClusterError>;

/// A client of one cluster, with the context and the namespace it uses.
#[derive(Clone)]
pub struct Cluster {
    api_client: Arc<client::ApiClient>,
    /// URL of the API server, for messages.
    pub server: String,
    /// Name of the kubeconfig context; `None` inside a pod.
    pub context: Option<String>,
    /// The namespace of the command.
    pub namespace: String,
    /// The plugin's verb that sends the requests, as named in the RBAC table.
    pub verb: &'static str,
    missing_permissions: MissingPermissions,
}

impl Cluster {
    /// A client with the current credentials.
    fn client(&self) -> Client {
        self.api_client.credentials().client
    }

    fn api(&self, client: Client, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(client, &self.namespace, &kind.api_resource())
    }

    fn explain(&self, error: kube::Error, verb: &'static str, kind: Kind, name: &str) -> ClusterError {
        ClusterError::from_kube(error, verb, kind, name, self)
    }

    /// Removes a "forbidden" error that was already reported, so that it is not reported again as skipped.
    pub fn mark_reported(&self, error: &ClusterError) {
        if let ClusterError::Forbidden { permission, .. } = error {
            self.missing_permissions.remove(permission);
        }
    }

    /// Reads one object as JSON; `None` if it does not exist.
    ///
    /// # Errors
    /// Every API error except "not found".
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let get = async |client| self.api(client, kind).get_opt(name).await;
        Ok(self.request("get", kind, name, get).await?.map(json_of))
    }

    /// Lists the objects of one kind in the namespace, sorted by name; `labels` is a label selector.
    ///
    /// # Errors
    /// Every API error.
    pub async fn list(&self, kind: Kind, labels: &str) -> Result<Vec<Value>> {
        self.list_in(NamespaceScope::OneNamespace, kind, labels).await
    }

    /// Lists the objects of one kind, in the namespace or in all namespaces.
    ///
    /// # Errors
    /// Every API error.
    pub async fn list_in(&self, scope: NamespaceScope, kind: Kind, labels: &str) -> Result<Vec<Value>> {
        let parameters = ListParams::default().labels(labels);
        let list = async |client: Client| {
            let api = match scope {
                NamespaceScope::AllNamespaces => Api::all_with(client, &kind.api_resource()),
                NamespaceScope::OneNamespace => self.api(client, kind),
            };
            api.list(&parameters).await
        };
        Ok(self.request("list", kind, "", list).await?.items.into_iter().map(json_of).collect())
    }

    /// Reads one object of a Kubernetes kind; `None` if it does not exist.
    ///
    /// # Errors
    /// Every API error except "not found", and an object that does not have the fields of its kind.
    pub async fn get_object<T: TypedKind>(&self, name: &str) -> Result<Option<ObservedObject<T>>> {
        self.get(T::OBJECT_KIND, name).await?.map(|document| parse("get", document)).transpose()
    }

    /// Lists the objects of a Kubernetes kind in the namespace, sorted by name; `labels` is a label selector.
    ///
    /// # Errors
    /// Every API error, and an object that does not have the fields of its kind.
    pub async fn list_objects<T: TypedKind>(&self, labels: &str) -> Result<Vec<ObservedObject<T>>> {
        self.list_objects_in(NamespaceScope::OneNamespace, labels).await
    }

    /// Lists the objects of a Kubernetes kind, in the namespace or in all namespaces.
    ///
    /// # Errors
    /// Every API error, and an object that does not have the fields of its kind.
    pub async fn list_objects_in<T: TypedKind>(
        &self,
        scope: NamespaceScope,
        labels: &str,
    ) -> Result<Vec<ObservedObject<T>>> {
        let documents = self.list_in(scope, T::OBJECT_KIND, labels).await?.into_iter();
        documents.map(|document| parse("list", document)).collect()
    }

    /// Deletes an object with background propagation, as kubectl does. Returns whether it existed.
    ///
    /// Foreground propagation is never used: with the operator of 0.9.1 such a deletion does not finish.
    ///
    /// # Errors
    /// Every API error except "not found".
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<bool> {
        self.delete_with_uid(kind, name, None).await
    }

    /// Like [`Cluster::delete`], but only if the object still has this UID. A newer object of the same name
    /// is not deleted.
    async fn delete_with_uid(&self, kind: Kind, name: &str, uid: Option<&str>) -> Result<bool> {
        let mut in_background = DeleteParams::background();
        in_background.preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let delete = async |client| match self.api(client, kind).delete(name, &in_background).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(kube::Error::Api(status)) if status.code == 409 && uid.is_some() => Ok(false),
            Err(error) => Err(error),
        };
        self.request("delete", kind, name, delete).await
    }
}

fn json_of(object: DynamicObject) -> Value {
    serde_json::to_value(object).expect("a deserialized JSON object can be serialized again")
}

/// Parses an object of a watch.
///
/// # Errors
/// An object that does not have the fields of its kind.
pub fn parse_object<T: TypedKind>(document: Value) -> Result<ObservedObject<T>> {
    parse("watch", document)
}

fn parse<T: TypedKind>(verb: &'static str, document: Value) -> Result<ObservedObject<T>> {
    let name = ObjectView::new(&document).name().to_owned();
    let malformed = |error| ClusterError::malformed(verb, T::OBJECT_KIND, MalformedObject { name, error });
    ObservedObject::parse(document).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn malformed_object_is_reported_with_its_name() {
        let document = json!({ "metadata": { "name": "p" }, "spec": { "containers": "none" } });
        let error = parse_object::<Pod>(document).expect_err("the containers are not a list");
        let text = error.to_string();
        assert!(text.starts_with("the API server failed to watch Pod p: unexpected content: "), "{text}");
    }
}
