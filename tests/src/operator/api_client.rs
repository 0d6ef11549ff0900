//! The operator's requests to the API server: read, apply, patch, report events.
//! It does not contain rules of the operator.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::faults::OperatorFaults;
use super::names;
use crate::kubernetes::definitions::GraphGeneration;

/// The operator's client for one API server.
#[derive(Clone)]
pub(super) struct OperatorClient {
    pub(super) client: Client,
    pub(super) generation: GraphGeneration,
    pub(super) faults: Arc<OperatorFaults>,
}

pub(super) type ApiResult<T, E = kube::Error> = std::result::Result<T, E>;

impl OperatorClient {
    pub(super) fn graphs(&self) -> ApiResource {
        self.dynamo("DynamoGraphDeployment")
    }

    pub(super) fn components(&self) -> ApiResource {
        self.dynamo("DynamoComponentDeployment")
    }

    pub(super) fn adapters(&self) -> ApiResource {
        self.dynamo(super::scaling::ADAPTER_KIND)
    }

    fn dynamo(&self, kind: &str) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(names::API_GROUP, self.generation.version(), kind))
    }

    pub(super) fn api_in(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    /// Returns the object as JSON, or `None` if it does not exist.
    pub(super) async fn find(
        &self,
        namespace: &str,
        resource: &ApiResource,
        name: &str,
    ) -> ApiResult<Option<Value>> {
        Ok(self.api_in(namespace, resource).get_opt(name).await?.as_ref().map(as_value))
    }

    /// Returns the components that belong to this graph by label.
    pub(super) async fn components_of(&self, namespace: &str, graph: &str) -> ApiResult<Vec<Value>> {
        let labelled = ListParams::default().labels(&format!("{}={graph}", names::GRAPH_LABEL));
        Ok(self.api_in(namespace, &self.components()).list(&labelled).await?.iter().map(as_value).collect())
    }

    /// Creates or updates the object; an unchanged object is not written.
    pub(super) async fn apply(&self, object: &Value) -> ApiResult<Value> {
        let resource = resource_of(object);
        let api = self.api_in(text(object, "/metadata/namespace"), &resource);
        let applied = api
            .patch(
                text(object, "/metadata/name"),
                &PatchParams::apply(names::FIELD_MANAGER).force(),
                &Patch::Apply(object),
            )
            .await?;
        Ok(as_value(&applied))
    }

    /// As `apply`, for a cluster-scoped object.
    pub(super) async fn apply_cluster_scoped(&self, object: &Value) -> ApiResult<()> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource_of(object));
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        api.patch(text(object, "/metadata/name"), &parameters, &Patch::Apply(object)).await.map(drop)
    }

    /// Creates the object unless one with its name exists.
    pub(super) async fn create_if_absent(&self, object: &Value) -> ApiResult<()> {
        let api = self.api_in(text(object, "/metadata/namespace"), &resource_of(object));
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            created => created.map(drop),
        }
    }

    pub(super) async fn replace(&self, object: &Value) -> ApiResult<()> {
        let api = self.api_in(text(object, "/metadata/namespace"), &resource_of(object));
        let parameters =
            PostParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        api.replace(text(&as_value(&object), "/metadata/name"), &parameters, &object).await.map(drop)
    }

    /// Changes these fields with a merge patch, as the operator's field manager.
    pub(super) async fn merge_patch(&self, object: &Value, change: Value) -> ApiResult<()> {
        let api = self.api_in(text(object, "/metadata/namespace"), &resource_of(object));
        let parameters =
            PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(text(object, "/metadata/name"), &parameters, &Patch::Merge(change)).await.map(drop)
    }

    /// Adds or removes the finalizer.
    pub(super) async fn set_finalizer(&self, object: &Value, present: bool) -> ApiResult<()> {
        let mut finalizers: Vec<&str> = strings(object, "/metadata/finalizers");
        finalizers.retain(|finalizer| *finalizer != names::FINALIZER);
        if present {
            finalizers.push(names::FINALIZER);
        }
        // Includes the resource version that was read, so that a finalizer removed by another client is not
        // added again.
        let version = text(object, "/metadata/resourceVersion");
        self.merge_patch(object, json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}}))
            .await
    }

    /// Replaces the status unless it is equal.
    pub(super) async fn set_status(&self, object: &Value, status: Value) -> ApiResult<()> {
        if object.get("status") == Some(&status) {
            return Ok(());
        }
        self.json_patch(object, "/status", json!([{"op": "add", "path": "/status", "value": status}])).await
    }

    /// Changes these paths with a JSON patch, of the object or of a subresource such as `/status`.
    pub(super) async fn json_patch(&self, object: &Value, subresource: &str, patch: Value) -> ApiResult<()> {
        let resource = resource_of(object);
        let path = format!(
            "/apis/{}/namespaces/{}/{}/{}{subresource}?fieldManager={}",
            resource.api_version,
            text(object, "/metadata/namespace"),
            resource.plural,
            text(object, "/metadata/name"),
            names::FIELD_MANAGER,
        );
        let request = http::Request::patch(path)
            .header(http::header::CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request::<Value>(request).await.map(drop)
    }

    pub(super) async fn delete(&self, object: &Value) -> ApiResult<()> {
        let api = self.api_in(text(object, "/metadata/namespace"), &resource_of(object));
        match api.delete(text(object, "/metadata/name"), &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    /// Reports an event about the object, as the operator's controller of its kind does.
    pub(super) async fn report_event(
        &self,
        object: &Value,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> ApiResult<()> {
        let now = now();
        let name = text(object, "/metadata/name");
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{name}."), "namespace": text(object, "/metadata/namespace")},
            "type": kind,
            "reason": reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": text(object, "/kind").to_lowercase()},
            "involvedObject": {
                "apiVersion": text(object, "/apiVersion"),
                "kind": text(object, "/kind"),
                "name": name,
                "namespace": text(object, "/metadata/namespace"),
                "uid": text(object, "/metadata/uid"),
            },
        });
        self.create_if_absent(&event).await
    }
}

/// Returns the string at this JSON pointer, or an empty string.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the strings of the list at this JSON pointer.
pub(super) fn strings<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// Returns the list at this JSON pointer, or an empty list.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Returns the owner reference that makes `owner` the controller of an object.
pub(super) fn owner_references(owner: &Value) -> Value {
    json!([{
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": text(owner, "/metadata/name"),
        "uid": text(owner, "/metadata/uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// Returns the current time as Kubernetes writes it: in seconds, UTC.
pub(super) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default();
    let time = k8s_openapi::jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or_default());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn as_value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn resource_of(object: &Value) -> ApiResource {
    let api_version = text(object, "/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text(object, "/kind")))
}
